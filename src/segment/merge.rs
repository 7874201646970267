//! Merging segments, and packing loose ones.

use std::sync::Arc;

use super::forward::Forward;
use super::live::Live;
use super::numbers::Numbers;
use super::postings::{DROPPED, Postings};
use super::records::{Block, Codec, RecordsBuilder};
use super::vectors::Vectors;
use super::{Accesses, Contents, LANES, Owners, Packed, PreparedMemory, Segment, scatter, set, unless_all};
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId};

/// A segment that is merged with others.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The rows.
    pub segment: &'a Segment,
    /// Which of them are taken.
    pub live: &'a Live,
    /// How often they were accessed, where the segment does not say so.
    pub accesses: &'a Accesses,
}

impl Source<'_> {
    /// How often the memory in `row` was accessed.
    pub fn accesses_of(&self, row: u32) -> u32 {
        self.accesses.get(&row).copied().unwrap_or_else(|| self.segment.accesses(row))
    }
}

/// One segment of the live rows of `sources`; `None` if there are none. It is packed with `codec`,
/// or loose without one, which all sources must be then.
///
/// # Errors
/// [`Error::Corrupt`] if a source cannot be read, [`Error::Io`] if a record cannot be compressed.
pub fn merge(sources: &[Source<'_>], codec: Option<Codec>) -> Result<Option<Segment>, Error> {
    combine(sources, codec, false)
}

/// One shared segment of the live rows of `sources`, which are shared too; `None` if there are none.
///
/// # Errors
/// As [`merge`].
pub fn share(sources: &[Source<'_>], codec: Codec) -> Result<Option<Segment>, Error> {
    combine(sources, Some(codec), true)
}

fn combine(sources: &[Source<'_>], codec: Option<Codec>, shares: bool) -> Result<Option<Segment>, Error> {
    let (order, remaps) = interleave(sources, shares);
    if order.is_empty() {
        return Ok(None);
    }
    let words = sources.iter().map(|source| source.segment.sketch_words()).max().unwrap_or_default();
    let mut sketches = vec![0; order.len().div_ceil(LANES) * LANES * words];
    let mut supplied = vec![0u64; order.len().div_ceil(64)];
    for (at, row) in order.iter().enumerate() {
        scatter(&mut sketches, words, at, row.segment().sketch(row.at()));
        set(&mut supplied, at, row.segment().is_supplied(row.row));
    }
    let lists: Vec<(&Postings, &[u32])> = sources
        .iter()
        .zip(&remaps)
        .map(|(source, remap)| (&source.segment.postings, remap.as_slice()))
        .collect();
    let postings = Postings::merge(&lists);
    let numbers = |column: fn(&Segment) -> &Numbers| {
        order.iter().filter_map(|row| column(row.segment()).get(row.at())).collect()
    };
    let contents = match codec {
        Some(codec) => Contents::Packed(Box::new(pack(&order, codec, &postings, &supplied)?)),
        None => Contents::Loose(order.iter().map(Picked::memory).collect::<Result<_, Error>>()?),
    };
    let ids = numbers(|segment| &segment.ids);
    let owners = shares.then(|| Box::new(Owners::new(order.iter().map(Picked::owner), &ids)));
    Ok(Some(Segment {
        ids,
        created: numbers(|segment| &segment.created),
        lengths: order.iter().map(|row| row.segment().length(row.row).get()).collect(),
        importance: unless_all(order.iter().map(|row| row.segment().importance(row.row)), 1.0),
        accesses: unless_all(order.iter().map(Picked::accesses), 1),
        supplied: supplied.into(),
        sketches: sketches.into(),
        postings,
        owners,
        contents,
        origin: None,
    }))
}

/// A row of a source.
struct Picked<'a> {
    source: Source<'a>,
    /// The place of the source.
    part: usize,
    row: u32,
}

impl<'a> Picked<'a> {
    fn segment(&self) -> &'a Segment {
        self.source.segment
    }

    fn at(&self) -> usize {
        self.row as usize
    }

    fn id(&self) -> MemoryId {
        self.segment().id(self.row).unwrap_or_default()
    }

    fn accesses(&self) -> u32 {
        self.source.accesses_of(self.row)
    }

    fn owner(&self) -> NamespaceId {
        self.segment().owner(self.row).unwrap_or_default()
    }

    fn memory(&self) -> Result<Arc<PreparedMemory>, Error> {
        self.segment().memory(self.row, self.accesses())
    }
}

/// The live rows of all sources in ascending order of ids, or of namespaces first if they are to be shared, and
/// for each source the new row of every old one.
fn interleave<'a>(sources: &[Source<'a>], shares: bool) -> (Vec<Picked<'a>>, Vec<Vec<u32>>) {
    let total = sources.iter().map(|source| source.live.len()).sum();
    let mut keyed: Vec<(i64, usize, u32)> = Vec::with_capacity(total);
    for (part, source) in sources.iter().enumerate() {
        let ids = source.live.iter().filter_map(|row| Some((source.segment.ids.get(row as usize)?, row)));
        keyed.extend(ids.map(|(id, row)| (id, part, row)));
    }
    // Runs that are sorted already: the merge sort of the standard library
    // finds them and merges in one pass.
    if shares {
        let owner = |part: usize, row| sources.get(part).and_then(|source| source.segment.owner(row));
        keyed.sort_by_cached_key(|&(id, part, row)| (owner(part, row), id));
    } else {
        keyed.sort();
    }
    let mut remaps: Vec<Vec<u32>> =
        sources.iter().map(|source| vec![DROPPED; source.segment.len()]).collect();
    for (new, &(_, part, row)) in keyed.iter().enumerate() {
        remaps[part][row as usize] = new as u32;
    }
    let picked = keyed.into_iter().map(|(_, part, row)| Picked { source: sources[part], part, row });
    (picked.collect(), remaps)
}

/// The contents of `rows`, of which `supplied` have a vector.
fn pack(rows: &[Picked<'_>], codec: Codec, postings: &Postings, supplied: &[u64]) -> Result<Packed, Error> {
    let mut records = RecordsBuilder::new(codec, rows.len());
    let (mut words, mut length): (Vec<u64>, usize) = (Vec::new(), 0);
    // Rows ascend within each source, so each of its blocks is decoded once.
    let sources = rows.iter().map(|row| row.part + 1).max().unwrap_or_default();
    let mut blocks: Vec<Block> = (0..sources).map(|_| Block::default()).collect();
    for row in rows {
        records.push(row.id(), row.segment().record(row.row, &mut blocks[row.part])?)?;
        if row.segment().is_supplied(row.row) {
            let vector = row.segment().vector(row.row)?;
            words.extend_from_slice(vector);
            length = vector.len();
        }
    }
    let ragged = || Error::Corrupt { path: "a segment".into(), what: "vectors of several lengths".into() };
    Ok(Packed {
        records: records.finish()?,
        forward: Forward::invert(postings, rows.len()),
        vectors: Vectors::of(words, length, supplied).ok_or_else(ragged)?,
    })
}
