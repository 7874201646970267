//! Reads the files of fjall's tables, changing nothing.
//!
//! Each of fjall's keyspaces is a tree in a folder of its own: table files in
//! `tables/`, a manifest `v<number>` that lists them with their checksums, and
//! `current`, which names the manifest and has its checksum. The tree checks
//! neither when it opens, so it is done here.
//!
//! A table is an archive of sections; its entries are in blocks of about 4 KB,
//! one after the other from the start of the file, each with a checksum of its
//! own. So they can be read without the rest, and without one another.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use lsm_tree::coding::Decode;
use lsm_tree::table::block::decoder::ParsedItem;
use lsm_tree::table::block::{BlockType, Header};
use lsm_tree::table::{Block, DataBlock};
use lsm_tree::{CompressionType, InternalValue};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

/// What every block begins with.
const BLOCK_MAGIC: &[u8; 4] = b"LSM\x03";

/// Larger blocks are not ours; refuses what a damaged length claims.
const MAX_BLOCK_BYTES: usize = 64 << 20;

/// Bytes of an archive's trailer: magic, version, kind of checksum, checksum,
/// start and length of the table of contents.
const TRAILER_BYTES: usize = 38;

/// A table file that a manifest lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub path: PathBuf,
    /// XXH3-128 of the whole file.
    pub checksum: u128,
}

/// What the manifest of a keyspace says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    /// These tables make up the keyspace.
    Tables(Vec<Listed>),
    /// There is none, and nothing that it could list: the keyspace was not made
    /// to its end.
    Unmade,
    /// This file is not what was written.
    Damaged(PathBuf),
}

/// An entry of a table.
pub(super) struct TableEntry {
    pub sequence: u64,
    pub key: Vec<u8>,
    /// `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// What could be read of a table.
pub(super) struct TableFile {
    pub entries: Vec<TableEntry>,
    /// Whether nothing in the file contradicts itself.
    pub sound: bool,
}

/// The manifest of the keyspace in `folder`.
pub(super) fn manifest(folder: &Path) -> io::Result<Manifest> {
    let current = folder.join("current");
    let Some(bytes) = read_if_there(&current)? else {
        let unmade = table_files(folder)?.is_empty() && !has_later_version(folder)?;
        return Ok(if unmade { Manifest::Unmade } else { Manifest::Damaged(current) });
    };
    let Some((number, checksum)) = decode_current(&bytes) else { return Ok(Manifest::Damaged(current)) };
    let path = folder.join(format!("v{number}"));
    let Some(bytes) = read_if_there(&path)? else { return Ok(Manifest::Damaged(path)) };
    let tables = (xxh3_128(&bytes) == checksum).then(|| decode_manifest(&bytes)).flatten();
    let list = |(number, checksum): (u64, u128)| {
        let path = folder.join("tables").join(number.to_string());
        Listed { path, checksum }
    };
    Ok(tables
        .map_or(Manifest::Damaged(path), |tables| Manifest::Tables(tables.into_iter().map(list).collect())))
}

/// All table files in a keyspace's folder, listed or not, in ascending order.
pub(super) fn table_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(numbered(&folder.join("tables"))?.into_iter().map(|(_, path)| path).collect())
}

/// The keyspaces of the log in `folder`, with their numbers.
pub(super) fn keyspaces(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    numbered(&folder.join("keyspaces"))
}

/// What in a folder has a number for a name, in ascending order; nothing if there
/// is no such folder.
fn numbered(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        found.extend(number_of(&path).map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// Whether the file is what the manifest lists.
pub(super) fn is_as_listed(listed: &Listed) -> io::Result<bool> {
    let mut file = match File::open(&listed.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // A piece at a time: a log may be larger than what there is of memory.
    let (mut hash, mut piece) = (Xxh3Default::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash.digest128() == listed.checksum),
            read => hash.update(&piece[..read]),
        }
    }
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.parse().ok()
}

/// Whether the folder has a manifest after the first, which lists nothing.
fn has_later_version(folder: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix('v')?.parse::<u64>().ok());
        if number.is_some_and(|number| number > 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number and the checksum of the manifest that `current` names.
fn decode_current(bytes: &[u8]) -> Option<(u64, u128)> {
    let (number, rest) = bytes.split_first_chunk()?;
    let (checksum, kind) = rest.split_first_chunk()?;
    (kind == [0]).then_some((u64::from_le_bytes(*number), u128::from_le_bytes(*checksum)))
}

/// The tables in a manifest: for each level and each run in it their number,
/// then each one's id, kind of checksum, checksum and an offset of its sequence
/// numbers, which only tables that were ingested have.
fn decode_manifest(bytes: &[u8]) -> Option<Vec<(u64, u128)>> {
    let archive = sfa::Reader::from_reader(&mut Cursor::new(bytes)).ok()?;
    let section = archive.toc().section(b"tables")?;
    let (start, length) = (usize::try_from(section.pos()).ok()?, usize::try_from(section.len()).ok()?);
    let mut rest = bytes.get(start..start.checked_add(length)?)?;
    let mut take = |count: usize| {
        let (taken, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(taken)
    };
    let mut tables = Vec::new();
    for _ in 0..*take(1)?.first()? {
        for _ in 0..*take(1)?.first()? {
            for _ in 0..u32::from_le_bytes(take(4)?.try_into().ok()?) {
                let number = u64::from_le_bytes(take(8)?.try_into().ok()?);
                (take(1)? == [0]).then_some(())?;
                let checksum = u128::from_le_bytes(take(16)?.try_into().ok()?);
                take(8)?;
                tables.push((number, checksum));
            }
        }
    }
    Some(tables)
}

/// Reads all entries of a table whose blocks are right, wherever they stand.
pub(super) fn read(path: &Path, compression: CompressionType) -> io::Result<TableFile> {
    let Some(bytes) = read_if_there(path)? else {
        return Ok(TableFile { entries: Vec::new(), sound: false });
    };
    let (mut entries, mut blocks, mut at) = (Vec::new(), Vec::new(), 0);
    while at < bytes.len() {
        match block(&bytes[at..], compression) {
            Some((length, found)) => {
                entries.extend(found);
                blocks.push(at..at + length);
                at += length;
            }
            None => {
                at += 1;
                let next = bytes[at..].windows(BLOCK_MAGIC.len()).position(|window| window == BLOCK_MAGIC);
                at += next.unwrap_or(bytes.len() - at);
            }
        }
    }
    let sound = is_sound(&bytes, &blocks).unwrap_or(false);
    Ok(TableFile { entries, sound })
}

/// The block that `bytes` begin with: its length and its entries, if it has any.
fn block(bytes: &[u8], compression: CompressionType) -> Option<(usize, Vec<TableEntry>)> {
    let header = Header::decode_from(&mut &bytes[..]).ok()?;
    let length = Header::serialized_len() + header.data_length as usize;
    let block = bytes.get(..length)?;
    let checksum = header.checksum.into_u128();
    (xxh3_128(&block[Header::serialized_len()..]) == checksum).then_some(())?;
    if header.block_type != BlockType::Data {
        return Some((length, Vec::new()));
    }
    (header.uncompressed_length as usize <= MAX_BLOCK_BYTES).then_some(())?;
    // Its checksum is right, so it can be decoded; but the decoder panics
    // rather than report, and this is no place to die at.
    let decode = || {
        let block = DataBlock::new(Block::from_reader(&mut &*block, compression).ok()?);
        let entries = block.iter().map(|item| to_entry(item.materialize(block.as_slice())));
        Some(entries.collect())
    };
    let entries = catch_unwind(AssertUnwindSafe(decode)).ok()??;
    Some((length, entries))
}

fn to_entry(item: InternalValue) -> TableEntry {
    let value = (!item.key.value_type.is_tombstone()).then(|| item.value.to_vec());
    TableEntry { sequence: item.key.seqno, key: item.key.user_key.to_vec(), value }
}

/// Whether an archive consists of these blocks, its table's version, a table of
/// contents and a trailer, and of nothing else.
fn is_sound(bytes: &[u8], blocks: &[std::ops::Range<usize>]) -> Option<bool> {
    let archive = sfa::Reader::from_reader(&mut Cursor::new(bytes)).ok()?;
    let version = archive.toc().section(b"table_version")?;
    let version =
        usize::try_from(version.pos()).ok()?..usize::try_from(version.pos() + version.len()).ok()?;
    if bytes.get(version.clone())? != [3] {
        return Some(false);
    }
    let trailer = bytes.len().checked_sub(TRAILER_BYTES)?;
    let numbers = bytes.get(trailer + TRAILER_BYTES - 16..)?;
    let (contents, length) = numbers.split_first_chunk()?;
    let contents = usize::try_from(u64::from_le_bytes(*contents)).ok()?;
    if u64::from_le_bytes(length.try_into().ok()?) != (trailer.checked_sub(contents)?) as u64 {
        return Some(false);
    }
    let mut at = 0;
    for block in blocks {
        if at == version.start {
            at = version.end;
        }
        if block.start != at {
            return Some(false);
        }
        at = block.end;
    }
    Some(at == contents)
}
