//! usearch: a graph over bits (HNSW), with the parameters of the comparison with FAISS.

use std::fs::File;
use std::path::{Path, PathBuf};

use mnemocore::hdv::{Dimension, Hypervector};
use rayon::prelude::*;
use usearch::{Index, IndexOptions, MetricKind, ScalarKind, b1x8};

use crate::vectors::{Search, VectorIndex};
use crate::{Outcome, TOP};

/// Links of a node, twice as many in the lowest level.
const CONNECTIVITY: usize = 32;

/// Candidates of an addition.
const EXPANSION_ADD: usize = 200;

/// Candidates of a search.
const EXPANSIONS: [usize; 3] = [64, 256, 1024];

pub struct Hnsw {
    index: Index,
    file: PathBuf,
}

impl Hnsw {
    pub fn open(folder: &Path) -> Outcome<Self> {
        let options = IndexOptions {
            dimensions: Dimension::default().bits(),
            metric: MetricKind::Hamming,
            quantization: ScalarKind::B1,
            connectivity: CONNECTIVITY,
            expansion_add: EXPANSION_ADD,
            ..IndexOptions::default()
        };
        Ok(Self { index: Index::new(&options)?, file: folder.join("vectors.usearch") })
    }
}

impl VectorIndex for Hnsw {
    fn load(&mut self, vectors: &[Hypervector]) -> Outcome<()> {
        self.index.reserve_capacity_and_threads(vectors.len(), rayon::current_num_threads())?;
        let numbered = vectors.par_iter().enumerate();
        numbered.try_for_each(|(number, vector)| self.index.add(number as u64, bits(vector)))?;
        self.index.save(self.file.to_str().ok_or("expected a path in UTF-8")?)?;
        File::open(&self.file)?.sync_all()?;
        Ok(())
    }

    fn store(&mut self, number: u64, vector: &Hypervector) -> Outcome<()> {
        if self.index.size() == self.index.capacity() {
            self.index.reserve(2 * self.index.capacity())?;
        }
        self.index.add(number, bits(vector))?;
        Ok(())
    }

    fn searches(&self) -> Vec<(String, Search<'_>)> {
        let graph = |expansion| -> (String, Search<'_>) {
            let search = move |query: &Hypervector| {
                self.index.change_expansion_search(expansion);
                Ok(self.index.search(bits(query), TOP)?.keys)
            };
            (format!("HNSW, expansion {expansion}"), Box::new(search))
        };
        let exact = move |query: &Hypervector| Ok(self.index.exact_search(bits(query), TOP)?.keys);
        let mut searches: Vec<(String, Search<'_>)> = EXPANSIONS.map(graph).into();
        searches.push(("exact scan".to_owned(), Box::new(exact)));
        searches
    }
}

fn bits(vector: &Hypervector) -> &[b1x8] {
    b1x8::from_u8s(bytemuck::cast_slice(vector.words()))
}
