//! The readers of what lies on disk: segments below their checksum, and the values of the log.
#![no_main]

use std::sync::{Arc, OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use mnemocore::encoder::Encoder;
use mnemocore::internals::log::{Placement, Record, SegmentEntry};
use mnemocore::internals::segment::Codec;
use mnemocore::internals::tier::fuzzing::{COLUMNS, columns, file, read_and_use};
use mnemocore_fuzz::tiny;

const TEXTS: [&str; 7] = [
    "Ada: the lighthouse keeper paints the boat blue",
    "The boat was blue, the boat was old, the boat sank",
    "A vector of its own stands beside this text",
    "keeper",
    "Was ist ein Leuchtturm?",
    "Ada: she keeps the weather in a journal, and the journal in a drawer of the lighthouse",
    "the keeper's vectors",
];

/// A change to a column of a valid segment.
#[derive(Debug, Arbitrary)]
enum Edit {
    Set { column: u8, at: u16, value: u8 },
    Word { column: u8, at: u8, value: u32 },
    Cut { column: u8, length: u16 },
    Append { column: u8, bytes: Vec<u8> },
    Replace { column: u8, bytes: Vec<u8> },
    Copy { column: u8, from: u8 },
}

impl Edit {
    fn apply(self, columns: &mut [Vec<u8>]) {
        let place = |column: u8| usize::from(column) % COLUMNS;
        match self {
            Self::Set { column, at, value } => {
                let column = &mut columns[place(column)];
                let length = column.len().max(1);
                if let Some(byte) = column.get_mut(usize::from(at) % length) {
                    *byte = value;
                }
            }
            Self::Word { column, at, value } => {
                let column = &mut columns[place(column)];
                let words = (column.len() / 4).max(1);
                if let Some(word) = column.chunks_exact_mut(4).nth(usize::from(at) % words) {
                    word.copy_from_slice(&value.to_le_bytes());
                }
            }
            Self::Cut { column, length } => columns[place(column)].truncate(length.into()),
            Self::Append { column, bytes } => columns[place(column)].extend(bytes),
            Self::Replace { column, bytes } => columns[place(column)] = bytes,
            Self::Copy { column, from } => columns[place(column)] = columns[place(from)].clone(),
        }
    }
}

struct Kept {
    encoder: Arc<Encoder>,
    /// With plain records, and with compressed ones.
    columns: [Vec<Vec<u8>>; 2],
}

fn kept() -> &'static Kept {
    static KEPT: OnceLock<Kept> = OnceLock::new();
    KEPT.get_or_init(|| {
        let encoder = Arc::new(Encoder::new(tiny().dimension, tiny().token_cache_bytes));
        let columns = [Codec::Plain, Codec::Zstd].map(|codec| {
            let columns = columns(&TEXTS, &encoder, codec).expect("a segment");
            let taken = read_and_use(&file(&columns), &encoder, &[]);
            assert_eq!(taken, Some(TEXTS.len()), "a segment as it is written is not taken");
            columns
        });
        Kept { encoder, columns }
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => {
            read_and_use(bytes, &kept().encoder, &[0, u32::MAX]);
        }
        1 => values(bytes),
        _ => {
            let columns = &kept().columns[usize::from(kind / 4 % 2)];
            let (mut input, mut columns) = (Unstructured::new(bytes), columns.clone());
            let dead = <[u32; 2]>::arbitrary(&mut input).map(|dead| dead.map(|row| row % 16));
            while !input.is_empty()
                && let Ok(edit) = Edit::arbitrary(&mut input)
            {
                edit.apply(&mut columns);
            }
            let dead = dead.unwrap_or_default();
            read_and_use(&file(&columns), &kept().encoder, if kind % 4 == 2 { &[] } else { &dead });
        }
    }
});

/// What is taken reads back as it is written again.
fn values(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        let again = Record::decode(&record.encode()).expect("a record");
        // NaN differs from itself.
        assert_eq!(format!("{again:?}"), format!("{record:?}"));
    }
    if let Ok(placement) = Placement::decode(bytes) {
        assert_eq!(Placement::decode(&placement.encode()).expect("a placement"), placement);
    }
    if let Ok(entry) = SegmentEntry::decode(bytes) {
        assert_eq!(entry.encode(), bytes);
    }
}
