//! The contents of a disk after a power loss.
//!
//! Synced data is there. Of each later write all, nothing or a part is there, sector by sector. A
//! file may have the length of a write whose data is missing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fastrand::Rng;

use crate::trace::{Node, Op, ROOT, Tree};

/// The fate of names: of new files, renamed and removed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Names survive in their order, and a synced file is found under its name, as in journaling
    /// file systems.
    InOrder,
    /// Each name survives independently, unless its folder is synced, which is all that POSIX
    /// promises.
    Alone,
}

/// The fate of writes that were not synced.
#[derive(Clone, Copy, Debug)]
enum Writes {
    Kept,
    Dropped,
    /// Writes to one file survive up to some moment.
    Cut,
    /// Each write survives independently.
    Scattered,
}

impl Writes {
    fn random(random: &mut Rng) -> Self {
        match random.u8(0..8) {
            0 => Self::Kept,
            1 => Self::Dropped,
            2..5 => Self::Cut,
            _ => Self::Scattered,
        }
    }
}

/// Writes the files that a power failure after `ops` leaves to the empty folder `target`.
pub(crate) fn leave(ops: &[Op], names: Names, random: &mut Rng, target: &Path) {
    let mut synced = HashMap::new();
    let mut writes: HashMap<Node, Vec<usize>> = HashMap::new();
    for (at, op) in ops.iter().enumerate() {
        match op {
            Op::Sync { node } => drop(synced.insert(*node, at)),
            Op::Write { node, .. } | Op::SetLength { node, .. } => writes.entry(*node).or_default().push(at),
            Op::Make { .. } | Op::Rename { .. } | Op::Remove { .. } => {}
        }
    }
    let kept = match names {
        Names::InOrder => names_in_order(ops, &synced, random),
        Names::Alone => names_alone(ops, &synced, random),
    };
    let mut tree = Tree::default();
    kept.into_iter().for_each(|at| tree.apply(&ops[at]));
    let of_all = random.bool().then(|| Writes::random(random));
    let mut fill = |node: Node, file: &File| {
        let (safe, mut unsafe_) = (synced.get(&node).copied(), Vec::new());
        for &at in writes.get(&node).into_iter().flatten() {
            if Some(at) < safe { perform(&ops[at], file) } else { unsafe_.push(&ops[at]) }
        }
        let fate = of_all.unwrap_or_else(|| Writes::random(random));
        survive(&unsafe_, fate, random, file);
    };
    build(&tree, ROOT, target, &mut fill);
}

/// Writes the result of `ops` to the empty folder `target`.
pub(crate) fn replay(ops: &[Op], target: &Path) {
    let mut tree = Tree::default();
    ops.iter().for_each(|op| tree.apply(op));
    build(&tree, ROOT, target, &mut |node, file| {
        let of_it = |op: &&Op| matches!(op, Op::Write { node: of, .. } | Op::SetLength { node: of, .. } if *of == node);
        ops.iter().filter(of_it).for_each(|op| perform(op, file));
    });
}

fn build(tree: &Tree, folder: Node, target: &Path, fill: &mut dyn FnMut(Node, &File)) {
    for (name, &node) in tree.folder(folder).into_iter().flatten() {
        let path = target.join(name);
        if tree.folder(node).is_some() {
            fs::create_dir(&path).unwrap();
            build(tree, node, &path, fill);
        } else {
            fill(node, &File::create_new(path).unwrap());
        }
    }
}

/// The folders whose names an operation changes.
fn folders(op: &Op) -> Vec<Node> {
    match op {
        Op::Make { at, .. } | Op::Remove { at } => vec![at.0],
        Op::Rename { from, to, .. } => vec![from.0, to.0],
        Op::Write { .. } | Op::SetLength { .. } | Op::Sync { .. } => Vec::new(),
    }
}

fn changes_of_names(ops: &[Op]) -> impl Iterator<Item = (usize, &Op)> {
    ops.iter().enumerate().filter(|(_, op)| !folders(op).is_empty())
}

/// Whether a change of names is on the disk because its folders were synced.
fn folder_synced(at: usize, op: &Op, synced: &HashMap<Node, usize>) -> bool {
    folders(op).iter().all(|folder| synced.get(folder) > Some(&at))
}

fn names_in_order(ops: &[Op], synced: &HashMap<Node, usize>, random: &mut Rng) -> Vec<usize> {
    let safe = |&(at, op): &(usize, &Op)| {
        let itself = match op {
            Op::Make { node, .. } | Op::Rename { node, .. } => synced.get(node) > Some(&at),
            _ => false,
        };
        itself || folder_synced(at, op, synced)
    };
    let least = changes_of_names(ops).filter(safe).last().map_or(0, |(at, _)| at + 1);
    let end = match random.u8(0..3) {
        0 => least,
        1 => ops.len(),
        _ => random.usize(least..=ops.len()),
    };
    changes_of_names(&ops[..end]).map(|(at, _)| at).collect()
}

fn names_alone(ops: &[Op], synced: &HashMap<Node, usize>, random: &mut Rng) -> Vec<usize> {
    let share = *random.choice(&[0, 20, 50, 80, 100]).unwrap_or(&50);
    changes_of_names(ops)
        .filter(|&(at, op)| folder_synced(at, op, synced) || random.u8(0..100) < share)
        .map(|(at, _)| at)
        .collect()
}

fn perform(op: &Op, file: &File) {
    match op {
        Op::Write { at, bytes, .. } => file.write_all_at(bytes, *at).unwrap(),
        Op::SetLength { length, .. } => file.set_len(*length).unwrap(),
        Op::Make { .. } | Op::Rename { .. } | Op::Remove { .. } | Op::Sync { .. } => {}
    }
}

fn survive(ops: &[&Op], fate: Writes, random: &mut Rng, file: &File) {
    match fate {
        Writes::Kept => ops.iter().for_each(|op| perform(op, file)),
        Writes::Dropped => ops.iter().for_each(|op| lengthen(op, random, file)),
        Writes::Cut => {
            let cut = random.usize(0..=ops.len());
            ops[..cut].iter().for_each(|op| perform(op, file));
            ops.get(cut).iter().for_each(|op| tear(op, random, file));
            ops[cut..].iter().skip(1).for_each(|op| lengthen(op, random, file));
        }
        Writes::Scattered => scatter(ops, random, file),
    }
}

/// Keeps some sectors of some writes. A kept sector holds everything that was written to it until
/// then.
fn scatter(ops: &[&Op], random: &mut Rng, file: &File) {
    let size = *random.choice(&[512, 4096]).unwrap_or(&512);
    let mut kept_until = HashMap::new();
    for (number, op) in ops.iter().enumerate() {
        let share = *random.choice(&[0, 50, 100]).unwrap_or(&50);
        for (sector, _) in sectors(op, size) {
            if random.u8(0..100) < share {
                kept_until.insert(sector, number);
            }
        }
    }
    for (number, op) in ops.iter().enumerate() {
        if let Op::Write { at, bytes, .. } = op {
            for (_, part) in sectors(op, size).filter(|(sector, _)| kept_until.get(sector) >= Some(&number)) {
                file.write_all_at(&bytes[part.clone()], at + part.start as u64).unwrap();
            }
            lengthen(op, random, file);
        } else if random.bool() {
            perform(op, file);
        }
    }
}

/// Drops a write, or keeps only the length that it gave the file.
fn lengthen(op: &Op, random: &mut Rng, file: &File) {
    if let Op::Write { at, bytes, .. } = op
        && random.u8(0..4) == 0
    {
        let length = file.metadata().unwrap().len().max(at + bytes.len() as u64);
        file.set_len(length).unwrap();
    }
}

/// Keeps the beginning of a write, or some sectors.
fn tear(op: &Op, random: &mut Rng, file: &File) {
    let Op::Write { at, bytes, .. } = op else { return };
    let size = *random.choice(&[1, 512, 4096]).unwrap_or(&1);
    if size == 1 {
        file.write_all_at(&bytes[..random.usize(0..=bytes.len())], *at).unwrap();
        return;
    }
    for (_, part) in sectors(op, size).filter(|_| random.bool()) {
        file.write_all_at(&bytes[part.clone()], at + part.start as u64).unwrap();
    }
}

/// The sectors that a write touches, each with the part of the write in it.
fn sectors(op: &Op, size: u64) -> impl Iterator<Item = (u64, Range<usize>)> {
    let (at, length) = match op {
        Op::Write { at, bytes, .. } => (*at, bytes.len()),
        _ => (0, 0),
    };
    let touched = at / size..(at + length as u64).div_ceil(size);
    touched.filter(move |_| length > 0).map(move |sector| {
        let start = (sector * size).saturating_sub(at) as usize;
        (sector, start..length.min(((sector + 1) * size - at) as usize))
    })
}
