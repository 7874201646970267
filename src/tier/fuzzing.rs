//! The door for fuzz targets: segments' files below their checksum, which would
//! keep every damage from the reader. Only in builds for fuzzing and for tests.

use std::sync::Arc;

use super::plan::Plan;
use super::slot::Slot;
use super::view::LocalView;
use super::{Method, Search, Target, TierView};
use crate::encoder::{Count, Document, Encoder, Term, TermStatistics, TermVector};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::index::{RowFilter, TextQuery, TopK, cascade};
use crate::key::{MemoryId, NamespaceId, TierKind, Timestamp};
use crate::log::Record;
use crate::memory::Metadata;
use crate::segment::column::{AlignedBytes, Bytes, SharedBytes};
use crate::segment::{Block, Codec, Part, PreparedMemory, Row, SKETCH_BITS, Segment, file as format};

/// The columns of a segment's file.
pub const COLUMNS: usize = format::COLUMNS.len();

/// What the files say of themselves.
const LABEL: format::Label =
    format::Label { log: 1, number: 0, commit: 0, tier: TierKind::Warm, namespace: NamespaceId(1) };

/// Hits that are asked for: fewer than there are rows, so that thresholds count.
const HITS: usize = 2;

/// The columns of a segment with a memory of each text that has words; every third
/// one has a vector of its own.
///
/// # Errors
/// What compressing the records reports.
pub fn columns(texts: &[&str], encoder: &Encoder, codec: Codec) -> Result<Vec<Vec<u8>>, Error> {
    let mut memories = Vec::new();
    for (text, at) in texts.iter().zip(1u64..) {
        let Ok(document) = Document::new(text).counts() else { continue };
        let supplied = at.is_multiple_of(3);
        let vector = if supplied {
            Hypervector::random(encoder.dimension(), at)
        } else {
            encoder.encode(&TermVector::from(&document))?
        };
        let record = Record {
            namespace: NamespaceId(1),
            created: Timestamp(at as i64 * 1_000),
            importance: at as f32,
            supplied,
            text: (*text).to_owned(),
            metadata: Metadata::from([("kind".to_owned(), "seed".to_owned())]),
        };
        let mut terms = document.terms().to_vec();
        terms.push((Term::metadata("kind", "seed"), Count::NONE));
        let row = Row {
            id: MemoryId(at * 2),
            created: record.created.0,
            importance: record.importance,
            accesses: at as u32,
            length: document.length(),
            supplied,
            terms: terms.into(),
            sketch: vector.words().iter().take(SKETCH_BITS / 64).copied().collect(),
        };
        let vector = supplied.then(|| vector.words().into());
        memories.push(Arc::new(PreparedMemory { row, vector, record: record.encode().into() }));
    }
    let part = Part::new(Segment::loose(memories));
    let packed = merged(std::slice::from_ref(&part), codec)?;
    Ok(packed.as_ref().map_or(Vec::new(), |packed| format::columns(packed).map(<[u8]>::to_vec).into()))
}

fn merged(parts: &[Part], codec: Codec) -> Result<Option<Segment>, Error> {
    Plan { slots: parts.iter().cloned().map(Slot::of).collect(), packs: true }.merge(codec)
}

/// The file of a segment with these columns, whatever they hold; columns that are
/// missing are empty.
pub fn file(columns: &[Vec<u8>]) -> Vec<u8> {
    let columns = std::array::from_fn(|at| columns.get(at).map_or(&[][..], Vec::as_slice));
    format::serialize_columns(&columns, LABEL).as_ref().to_vec()
}

/// Reads `bytes` as a segment's file, and if they are taken, uses all of it: each
/// kind of search, every record, a merge, and what came out of that again. Rows of
/// `dead` do not count. Returns the number of rows, or `None` if they are refused.
///
/// # Panics
/// If what was read contradicts itself.
pub fn read_and_use(bytes: &[u8], encoder: &Arc<Encoder>, dead: &[u32]) -> Option<usize> {
    let segment = format::read(aligned(bytes), 0, false)?;
    let rows = segment.len();
    let mut part = Part::new(segment);
    let live = Arc::make_mut(&mut part.live);
    for &row in dead {
        live.remove(row);
    }
    use_all(std::slice::from_ref(&part), encoder);
    // Of two parts that take turns, so that a merge has something to do.
    let mut parts = [part.clone(), part.clone()];
    for row in part.live.iter() {
        Arc::make_mut(&mut parts[row as usize % 2].live).remove(row);
    }
    for codec in [Codec::Plain, Codec::Zstd] {
        if let Ok(Some(merged)) = merged(&parts, codec) {
            assert_eq!(merged.len(), part.live.len(), "a merge keeps every live row");
            let bytes = format::serialize(&merged, LABEL);
            let merged = format::read(aligned(bytes.as_ref()), 1, false);
            assert!(merged.is_some(), "a merged segment is not taken");
            use_all(&merged.map(Part::new).into_iter().collect::<Vec<_>>(), encoder);
        }
    }
    Some(rows)
}

/// A copy of `bytes` that starts as a mapped file does.
fn aligned(bytes: &[u8]) -> SharedBytes {
    Arc::new(Bytes::Held(AlignedBytes::from(bytes)))
}

impl TermStatistics for LocalView {
    fn documents(&self) -> u64 {
        TierView::len(self) as u64
    }

    fn document_frequency(&self, term: Term) -> u64 {
        TierView::document_frequency(self, term) as u64
    }
}

fn use_all(parts: &[Part], encoder: &Arc<Encoder>) {
    let view =
        LocalView { parts: parts.to_vec(), tier: TierKind::Cold, encoder: encoder.clone(), records: None };
    for part in parts {
        use_rows(&view, &part.segment, encoder);
    }
    let random = Hypervector::random(encoder.dimension(), 7);
    let text = TextQuery::new("the lighthouse keeper's blue boat", &view).ok();
    let texts = text.iter().map(Target::Text);
    let vectors = [true, false].map(|supplied| Target::Vector { vector: &random, supplied });
    let filters = [
        RowFilter::default(),
        RowFilter { holding: vec![Term::metadata("kind", "seed")], created: Some(0..3_000) },
    ];
    for target in texts.chain(vectors) {
        for method in [Method::Indexed, Method::Exact] {
            for filter in &filters {
                search(&view, Search { target, method, filter, cascade_limits: cascade::Limits::default() });
            }
        }
    }
}

fn search(view: &LocalView, search: Search<'_>) {
    let mut top = TopK::new(HITS);
    // Damage that only shows at a row is a typed error there.
    if view.search(&search, &mut top).is_ok() {
        for hit in top.into_sorted() {
            assert!(view.contains(hit.id), "a hit that is not there");
            let _ = view.record(hit.id).map(|record| record.map(|bytes| Record::decode(&bytes)));
        }
    }
}

fn use_rows(view: &LocalView, segment: &Segment, encoder: &Encoder) {
    let mut block = Block::default();
    for row in 0..=segment.len() as u32 {
        if let Ok(record) = segment.record(row, &mut block) {
            let _ = Record::decode(record);
        }
        if let Ok(terms) = segment.counts(row) {
            let _ = encoder.encode(&TermVector::from(&terms));
        }
        let _ = (segment.vector(row).is_ok(), segment.memory(row, 2).is_ok());
        if let Some(id) = segment.id(row) {
            let _ = (segment.find(id), view.contains(id), view.held_terms(id, &[]), view.record(id).is_ok());
        }
    }
    let _ = (view.bytes(), TierView::document_frequency(view, Term(0)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hdv::Dimension;
    use crate::index::RowVectors;

    const TEXTS: [&str; 4] =
        ["the keeper paints the boat blue", "Ada: a boat, a boat", "a vector of its own", "lighthouse"];

    fn encoder() -> Arc<Encoder> {
        Arc::new(Encoder::new(Dimension::new(512).unwrap(), 1 << 20))
    }

    /// With their places as in [`format::columns`].
    const FIRST_ID: usize = 0;
    const IDS: usize = 1;
    const IMPORTANCE: usize = 7;
    const ACCESSES: usize = 8;
    const SUPPLIED: usize = 9;
    const SKETCHES: usize = 10;
    const FIRST_END: usize = 17;
    const ENDS: usize = 18;
    const BLOCK_STARTS: usize = 20;
    const TERM_PLACES: usize = 24;
    const VECTORS: usize = 26;

    /// The checksum hid these: each was taken, and panicked when it was used, or gave
    /// an error that opening the store again did not mend.
    #[test]
    fn columns_that_contradict_one_another_are_refused() {
        let encoder = encoder();
        let words = |words: &[u64]| bytemuck::cast_slice::<u64, u8>(words).to_vec();
        let shorts = |words: &[u32]| bytemuck::cast_slice::<u32, u8>(words).to_vec();
        for codec in [Codec::Plain, Codec::Zstd] {
            let valid = columns(&TEXTS, &encoder, codec).unwrap();
            assert_eq!(read_and_use(&file(&valid), &encoder, &[]), Some(4));
            for (column, bytes, what) in [
                (FIRST_ID, words(&[u64::MAX]), "an id that no memory has"),
                (IDS, shorts(&[0, 4, 4, 6]), "an id twice"),
                (IMPORTANCE, shorts(&[1]), "the importance of one memory alone"),
                (IMPORTANCE, bytemuck::cast_slice(&[1.0f32, 2.0, f32::NAN, 1.0]).to_vec(), "no importance"),
                (ACCESSES, shorts(&[1]), "the accesses of one memory alone"),
                (SUPPLIED, words(&[u64::MAX]), "more vectors than there are"),
                (SKETCHES, Vec::new(), "no sketches"),
                (SKETCHES, vec![0; 8 * 17], "ragged sketches"),
                (SKETCHES, vec![0; (8 * 16) << 10], "sketches too long to be counted"),
                (FIRST_END, words(&[0]), "a record of nothing, which a merge drops"),
                (ENDS, shorts(&[90, 30, 60, 99]), "records that end before they begin"),
                (ENDS, shorts(&[30, 30, 60, 99]), "a record of nothing between others"),
                (BLOCK_STARTS, words(&[30]), "a first block behind the first record"),
                (TERM_PLACES, vec![0xff; valid[TERM_PLACES].len()], "terms that are not there"),
                (VECTORS, words(&[8; 3]), "vectors of another length"),
                (VECTORS, Vec::new(), "no vectors"),
            ] {
                let mut damaged = valid.clone();
                damaged[column] = bytes;
                let read = read_and_use(&file(&damaged), &encoder, &[]);
                assert!(read.is_none() || column == VECTORS, "{what}: {codec:?}");
            }
        }
        assert_eq!(read_and_use(&file(&[]), &encoder, &[]), None, "no rows");
    }

    #[test]
    fn supplied_vectors_of_another_dimension_are_damage() {
        let (short, long) = (encoder(), Arc::new(Encoder::new(Dimension::new(1_024).unwrap(), 0)));
        let of_long = file(&columns(&TEXTS, &long, Codec::Plain).unwrap());
        assert_eq!(read_and_use(&of_long, &short, &[]), Some(4));
        let segment = format::read(aligned(&of_long), 0, false).unwrap();
        let mut vectors = RowVectors::new(&short);
        let read = vectors.get(&segment, 2).map(<[u64]>::len);
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    }

    proptest! {
        #[test]
        fn a_changed_column_is_refused_or_used_without_a_panic(
            changes in prop::collection::vec((0..COLUMNS, any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in prop::option::of((0..COLUMNS, any::<prop::sample::Index>())),
            plain in any::<bool>(),
        ) {
            let encoder = encoder();
            let codec = if plain { Codec::Plain } else { Codec::Zstd };
            let mut columns = columns(&TEXTS, &encoder, codec).unwrap();
            for (column, at, value) in changes {
                if !columns[column].is_empty() {
                    let at = at.index(columns[column].len());
                    columns[column][at] = value;
                }
            }
            if let Some((column, at)) = cut {
                let length = at.index(columns[column].len() + 1);
                columns[column].truncate(length);
            }
            read_and_use(&file(&columns), &encoder, &[1]);
        }
    }
}
