//! Files that survive a power loss.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Makes the names in `folder` survive a power loss.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Returns the first name in `folder` that is unused, of `prefix` and a number.
pub(crate) fn free_name(folder: &Path, prefix: &str) -> String {
    let mut number = 1;
    loop {
        let name = format!("{prefix}-{number}");
        if !folder.join(&name).exists() {
            return name;
        }
        number += 1;
    }
}

/// Writes a file, which gets its name in `folder` once it is on the disk. Until then it is `unfinished`.
pub(crate) fn write_file(folder: &Path, unfinished: &str, name: &str, content: &[u8]) -> io::Result<File> {
    let (unfinished, path) = (folder.join(unfinished), folder.join(name));
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    sync_folder(folder)?;
    Ok(file)
}
