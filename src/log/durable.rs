//! Files and folders of a store: nobody but their user can read them, and they survive a power loss.
//!
//! Everything that the engine makes on this machine is made here. Only the objects of a shared folder are not,
//! because other users may write there too.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::error::Error;
use crate::telemetry::or_warn;

/// Its user reads and writes a file.
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;

/// Its user lists and changes a folder.
#[cfg(unix)]
const FOLDER_MODE: u32 = 0o700;

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
    let mut file = make_file(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    sync_folder(folder)?;
    Ok(file)
}

/// Makes a file, or empties the one that is there.
pub(crate) fn make_file(path: &Path) -> io::Result<File> {
    private_file().write(true).truncate(true).open(path)
}

/// Opens a file whose end is written to. Makes an empty one if there is none.
pub(crate) fn append_file(path: &Path) -> io::Result<File> {
    private_file().append(true).open(path)
}

/// Opens a file for reading and writing. Makes an empty one if there is none. Returns whether it is new.
pub(crate) fn open_or_make_file(path: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return Ok((opened?, false)),
    }
    match private_file().read(true).write(true).create_new(true).open(path) {
        // Another process was quicker, and may have removed it again.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((private_file().read(true).write(true).open(path)?, false))
        }
        made => Ok((made?, true)),
    }
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    options.mode(FILE_MODE);
    options
}

/// Removes a file that no opening reads, if there is one. The next opening does if this fails.
pub(crate) fn remove_unneeded(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => drop(or_warn("remove a file", removed.map_err(|error| Error::io(path, error)))),
    }
}

/// Makes the folder `path`, whose parent exists, if there is none. One that is there keeps its mode.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    match private_folder().create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// As [`make_folder`], with those above it.
pub(crate) fn make_folders(path: &Path) -> io::Result<()> {
    private_folder().recursive(true).create(path)
}

fn private_folder() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has modes"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    builder.mode(FOLDER_MODE);
    builder
}
