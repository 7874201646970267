//! Reads what can be read of a damaged segment's file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::Block;
use super::column::{Column, SharedBytes};
use super::file::{COLUMNS, Columns, Header, bytes_of};
use crate::key::MemoryId;

/// A memory that was read from a damaged file.
#[derive(Debug, PartialEq)]
pub struct Salvaged {
    /// Its id.
    pub id: MemoryId,
    /// How often it was accessed, or 1.
    pub accesses: u32,
    /// Its record.
    pub record: Vec<u8>,
    /// Its vector, if it was supplied and can be read.
    pub vector: Option<Vec<u64>>,
}

/// The memories that could be read of a damaged file.
#[derive(Debug, Default)]
pub struct SalvagedFile {
    /// By their rows: those whose records have the right checksums.
    pub rows: BTreeMap<u32, Salvaged>,
    /// The rows of the others, with their ids. Empty if ids cannot be told.
    pub lost: BTreeMap<u32, MemoryId>,
}

/// Reads what can be read of a damaged file. Nothing, if it is not the one whose header has the given
/// checksum.
///
/// # Errors
/// The operating system's.
pub fn salvage(path: &Path, checksum: u64) -> io::Result<SalvagedFile> {
    let bytes = bytes_of(path, false)?;
    let header = Header::sound((*bytes).as_ref()).filter(|header| header.checksum == checksum);
    Ok(header.and_then(|header| salvage_rows(header, bytes)).unwrap_or_default())
}

fn salvage_rows(header: Header, bytes: SharedBytes) -> Option<SalvagedFile> {
    let sound = header.columns.iter().filter(|column| column.is_sound((*bytes).as_ref()));
    let sound: Vec<u64> = sound.map(|column| column.id).collect();
    let is_sound = |at: usize| COLUMNS.get(at).is_some_and(|id| sound.contains(id));
    let mut columns = Columns::new(header, bytes)?;
    columns.is_lenient = true;
    let ids = columns.numbers()?;
    columns.skip(5);
    let accesses: Column<u32> = columns.next()?;
    let accesses = if is_sound(8) { accesses } else { Vec::new().into() };
    let supplied: Column<u64> = columns.next()?;
    columns.skip(7);
    let records = columns.records()?;
    columns.skip(2);
    let vectors = if is_sound(9) { columns.vectors(&supplied) } else { None };
    let are_ids_sound = is_sound(0) && (is_sound(1) || is_sound(2));
    let (mut block, mut found) = (Block::default(), SalvagedFile::default());
    for (row, id) in (0..).zip(ids.iter()) {
        let id = MemoryId(id.cast_unsigned());
        let Some(record) = records.get(row, id, &mut block) else {
            found.lost.extend(are_ids_sound.then_some((row, id)));
            continue;
        };
        let is_supplied = supplied.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1);
        let vector = vectors.as_ref().filter(|_| is_supplied).and_then(|all| all.sound(&supplied, row));
        let accesses = accesses.get(row as usize).copied().unwrap_or(1);
        let vector = vector.map(<[u64]>::to_vec);
        found.rows.insert(row, Salvaged { id, accesses, record: record.to_vec(), vector });
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::segment::file::tests::{LABEL, segment};
    use crate::segment::file::{describe, fingerprint, open, serialize};

    /// All records of the segment, damaged at every byte in turn.
    #[test]
    fn a_flipped_byte_is_damage_and_costs_no_more_than_the_rows_that_it_hits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        let written = segment();
        let bytes = serialize(&written, LABEL);
        let print = fingerprint(&bytes);
        let (mut lost, mut padding) = ([0; 7], 0);
        for at in 0..bytes.as_ref().len() {
            let mut flipped = bytes.as_ref().to_vec();
            flipped[at] ^= 0x10;
            std::fs::write(&path, &flipped).unwrap();
            match open(&path, 7, print, false) {
                Ok(_) => padding += 1,
                Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
            }
            assert_eq!(describe(&path).unwrap().map(|(label, _)| label), Some(LABEL), "byte {at}");
            let salvaged = salvage(&path, print.1).unwrap();
            for (row, memory) in &salvaged.rows {
                assert_eq!(Some(memory.id), written.id(*row), "byte {at}");
                assert_eq!(memory.record, written.record(*row, &mut Block::default()).unwrap());
            }
            lost[written.len() - salvaged.rows.len()] += 1;
        }
        println!("lost rows: {lost:?}, {padding} bytes of padding");
        // Those of the two headers cost nothing, those of records one row.
        let [none, one, .., all] = lost;
        assert!(none > 1_000 && one >= 24 && all <= 64, "{lost:?}");
    }
}
