//! The folders that results are kept in, and how their files are written.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use tempfile::NamedTempFile;

/// The folder within Criterion's folder.
const FOLDER: &str = "mnemobench";

/// Returns Criterion's folder: `CRITERION_HOME`, or `criterion` in Cargo's target folder.
pub fn home() -> PathBuf {
    if let Some(home) = std::env::var_os("CRITERION_HOME") {
        return home.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).or_else(target_of_cargo);
    target.unwrap_or_else(|| "target".into()).join("criterion")
}

fn target_of_cargo() -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    serde_json::from_slice(&output.stdout).ok().map(|Metadata { target_directory }| target_directory)
}

/// The folder of a run.
pub fn folder(home: &Path, run: &str) -> PathBuf {
    home.join(FOLDER).join(run)
}

/// The folder with the executables of a run.
pub fn programs(home: &Path, run: &str) -> PathBuf {
    folder(home, run).join("bin")
}

/// Returns the path of a bench's executable that is kept with a run.
pub fn program(home: &Path, run: &str, bench: &str) -> PathBuf {
    programs(home, run).join(bench)
}

/// Makes `path` the file `current`, as a hard link if asked for and possible.
pub(super) fn keep(current: &Path, path: &Path, link: bool) -> io::Result<()> {
    // The kept executable may be the running one.
    if fs::canonicalize(path).ok() == Some(fs::canonicalize(current)?) {
        return Ok(());
    }
    if link {
        fs::create_dir_all(folder_of(path))?;
        let removed = fs::remove_file(path);
        if removed.is_ok() || !path.exists() {
            return fs::hard_link(current, path).or_else(|_| fs::copy(current, path).map(drop));
        }
    }
    // Copies under another name first, because the existing file may be running.
    replace(path, |file| fs::copy(current, file.path()).map(drop))
}

/// Writes a file completely or not at all. Creates its folder if needed.
///
/// # Errors
/// If it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |file| file.write_all(bytes))
}

/// Fills a file under a temporary name, and then renames it to `path`.
fn replace(path: &Path, fill: impl FnOnce(&mut NamedTempFile) -> io::Result<()>) -> io::Result<()> {
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    fill(&mut file)?;
    file.persist(path)?;
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_program_that_is_run_keeps_itself() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("latency");
        fs::write(&path, "a program").unwrap();
        for link in [true, false] {
            keep(&path, &path, link).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"a program");
        }
    }
}
