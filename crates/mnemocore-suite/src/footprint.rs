//! Memory of the process, and disk space of a directory.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Memories in HOT, WARM and COLD of the agent that the footprint bench measures, and that
/// docs/sizing.md multiplies.
pub const AGENT: [usize; 3] = [500, 2_000, 7_500];

/// Resident memory of this process, in bytes.
///
/// Anonymous memory is what the process needs (heap, stacks); mapped memory is
/// the page cache seen through mapped files, which the system takes back when it
/// needs it. The sum of both is about the resident size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Everything in main memory.
    pub resident: u64,
    /// Backed by no file; `None` where the system does not tell.
    pub anonymous: Option<u64>,
    /// Backed by a file or shared; `None` where the system does not tell.
    pub mapped: Option<u64>,
}

impl Memory {
    /// Measures it now; `None` if the system does not tell.
    ///
    /// Takes up to milliseconds, because the system walks the page tables.
    pub fn now() -> Option<Self> {
        let resident = memory_stats::memory_stats()?.physical_mem as u64;
        let split = split();
        Some(Self {
            resident,
            anonymous: split.map(|(anonymous, _)| anonymous),
            mapped: split.map(|(_, mapped)| mapped),
        })
    }
}

/// Anonymous and mapped bytes: exact from `smaps_rollup`, or else from `status`,
/// whose counters lag behind by some pages per thread.
fn split() -> Option<(u64, u64)> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").ok();
    let status = || fs::read_to_string("/proc/self/status").ok();
    rollup.and_then(|text| split_rollup(&text)).or_else(|| status().and_then(|text| split_status(&text)))
}

fn split_rollup(text: &str) -> Option<(u64, u64)> {
    let (resident, anonymous) = (kilobytes(text, "Rss")?, kilobytes(text, "Anonymous")?);
    Some((anonymous, resident.saturating_sub(anonymous)))
}

fn split_status(text: &str) -> Option<(u64, u64)> {
    let shared = kilobytes(text, "RssShmem").unwrap_or(0);
    Some((kilobytes(text, "RssAnon")?, kilobytes(text, "RssFile")? + shared))
}

/// The bytes of a line `Key:   123 kB`.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let rest = |line: &str| {
        let value = line.strip_prefix(key)?.strip_prefix(':')?.trim().strip_suffix("kB")?;
        value.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    text.lines().find_map(rest)
}

/// Disk space of files, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The sum of the lengths.
    pub apparent: u64,
    /// The blocks behind them: less for sparse files, more for many small ones.
    /// The same as `apparent` where the system does not tell.
    pub allocated: u64,
}

impl Disk {
    /// Measures all files in `path` and below, or `path` itself if it is a file. Links are not
    /// followed. A file with several names counts once, and a file that disappears meanwhile counts
    /// nothing. Directories themselves are not counted.
    ///
    /// # Errors
    /// When `path` does not exist, or a directory cannot be read.
    pub fn of(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut disk = Self::default();
        disk.add(path.as_ref(), &fs::symlink_metadata(path.as_ref())?, &mut HashSet::new())?;
        Ok(disk)
    }

    fn add(&mut self, path: &Path, metadata: &Metadata, seen: &mut HashSet<Inode>) -> io::Result<()> {
        if !metadata.is_dir() {
            if inode(metadata).is_none_or(|inode| seen.insert(inode)) {
                self.apparent += metadata.len();
                self.allocated += allocated(metadata);
            }
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) => self.add(&entry.path(), &metadata, seen)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Device and number of a file with more than one name.
type Inode = (u64, u64);

#[cfg(unix)]
fn inode(metadata: &Metadata) -> Option<Inode> {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(unix)]
fn allocated(metadata: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    // In units of 512 bytes, whatever the file system's block is.
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> Option<Inode> {
    None
}

#[cfg(not(unix))]
fn allocated(metadata: &Metadata) -> u64 {
    metadata.len()
}

/// The environment variable with the largest number of memories for footprints.
pub const MAX_SCALE_VARIABLE: &str = "MNEMO_MAX_SCALE";

/// Returns the numbers of memories for footprints: 1,000, 10,000, 50,000, 100,000 and 1,000,000, as
/// far as `max` allows, and `max` itself.
pub fn scales(max: usize) -> Vec<usize> {
    let mut scales = vec![1_000, 10_000, 50_000, 100_000, 1_000_000, max];
    scales.retain(|&scale| scale <= max);
    scales.sort_unstable();
    scales.dedup();
    scales
}

/// Returns the growth of bytes with the number of memories: the exponent of the power law that fits
/// best, by least squares over the logarithms. 1 is linear, less is sub-linear. Returns `None` for
/// fewer than two numbers of memories, or without bytes.
///
/// ```
/// use mnemocore_suite::footprint::growth_exponent;
///
/// let linear = growth_exponent(&[(1_000, 5e6), (10_000, 5e7), (100_000, 5e8)]).unwrap();
/// assert!((linear - 1.0).abs() < 1e-9);
/// ```
pub fn growth_exponent(points: &[(usize, f64)]) -> Option<f64> {
    let logarithms = points.iter().map(|&(memories, bytes)| ((memories as f64).ln(), bytes.ln()));
    let (xs, ys): (Vec<f64>, Vec<f64>) = logarithms.unzip();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (x_mean, y_mean) = (mean(&xs), mean(&ys));
    let variance: f64 = xs.iter().map(|x| (x - x_mean).powi(2)).sum();
    let covariance: f64 = xs.iter().zip(&ys).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    Some(covariance / variance).filter(|exponent| exponent.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn scales_end_at_the_largest_that_was_asked_for() {
        assert_eq!(scales(100_000), [1_000, 10_000, 50_000, 100_000]);
        assert_eq!(scales(20_000), [1_000, 10_000, 20_000]);
        assert_eq!((scales(300), scales(2_000_000).last()), (vec![300], Some(&2_000_000)));
    }

    #[test]
    fn growth_is_the_exponent_of_a_power_law() {
        let root = [1_000, 4_000, 9_000, 250_000].map(|n| (n, 7.0 * (n as f64).sqrt()));
        assert!((growth_exponent(&root).unwrap() - 0.5).abs() < 1e-9);
        for few in [&[][..], &[(1_000, 5.0)], &[(1_000, 5.0), (1_000, 6.0)], &[(0, 5.0), (10, 6.0)]] {
            assert_eq!(growth_exponent(few), None, "{few:?}");
        }
        assert_eq!(growth_exponent(&[(10, 0.0), (100, 5.0)]), None);
    }

    #[test]
    fn reads_what_linux_writes() {
        let rollup = "00400000-7fff rollup\nRss:        3000 kB\nPss: 5 kB\nAnonymous:  1000 kB\n";
        assert_eq!(split_rollup(rollup), Some((1_024_000, 2_048_000)));
        let status = "VmRSS: 9 kB\nRssAnon:\t 10 kB\nRssFile:\t 20 kB\nRssShmem:\t 1 kB\n";
        assert_eq!(split_status(status), Some((10_240, 21_504)));
        assert_eq!(split_rollup(status), None);
        assert_eq!(split_status("RssAnon: many kB"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn touched_heap_shows_as_anonymous_memory() {
        const BYTES: usize = 64 << 20;
        let before = Memory::now().unwrap().anonymous.unwrap();
        let block = std::hint::black_box(vec![1u8; BYTES]);
        let after = Memory::now().unwrap().anonymous.unwrap();
        assert_eq!(block.len(), BYTES);
        // Other tests allocate and free at the same time.
        assert!(after > before + (BYTES as u64) / 2, "{before} then {after}");
    }

    #[test]
    fn disk_counts_every_file_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join("a"), [7u8; 10_000]).unwrap();
        fs::write(dir.path().join("inner/b"), [7u8; 5]).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("inner/again")).unwrap();
        let disk = Disk::of(dir.path()).unwrap();
        assert_eq!(disk.apparent, if cfg!(unix) { 10_005 } else { 20_005 });
        assert_eq!(Disk::of(dir.path().join("inner/b")).unwrap().apparent, 5);
        assert!(Disk::of(dir.path().join("gone")).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_sparse_file_allocates_less_than_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("sparse")).unwrap();
        file.set_len(64 << 20).unwrap();
        file.sync_all().unwrap();
        let disk = Disk::of(dir.path()).unwrap();
        assert_eq!(disk.apparent, 64 << 20);
        assert!(disk.allocated < 1 << 20, "{}", disk.allocated);
    }
}
