//! Adapters: folders that contain a `system.toml`.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use criterion_gate::random::Random;

/// The file that makes a folder an adapter.
pub const FILE: &str = "system.toml";
/// The folder of files that several adapters share.
pub const COMMON: &str = "common";

/// An adapter of one system.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The folder's name.
    pub name: String,
    /// The folder, absolute.
    pub folder: PathBuf,
    /// The folder as given by the caller, for messages.
    pub shown: PathBuf,
    /// The contents of its `system.toml`.
    pub about: About,
}

/// The contents of a `system.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The name of the system in reports.
    pub title: String,
    /// The program and its arguments, relative to the folder.
    pub command: Vec<String>,
    /// The command that builds the environment, run in the folder.
    #[serde(default)]
    pub build: Option<String>,
    /// Required files, relative to the folder, and `$VARIABLES` that must hold existing paths. If
    /// one is missing, the system is reported as missing.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Whether the system is an example, which is compared only if it is named.
    #[serde(default)]
    pub example: bool,
    /// Variants, each with its own row. Without any, the system has one row named after the folder.
    #[serde(default, rename = "variant")]
    pub variants: Vec<Variant>,
}

/// One way to run a system.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The name of the row.
    pub name: String,
    /// The name in reports, if it differs from the row's.
    #[serde(default)]
    pub title: Option<String>,
    /// Additional arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Additional requirements.
    #[serde(default)]
    pub requires: Vec<String>,
}

/// Reasons why an adapter cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// The folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is not a valid `system.toml`.
    #[error("{path}: {source}; expected the fields that adapters/PROTOCOL.md describes")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The parse error.
        source: Box<toml::de::Error>,
    },
    /// `command` is empty.
    #[error("{path}: expected a program in `command`, found an empty list")]
    NoCommand {
        /// The file.
        path: PathBuf,
    },
}

impl Adapter {
    /// Returns all adapters in `folder`, sorted by name. Returns none if the folder does not exist.
    ///
    /// # Errors
    /// The first [`AdapterError`], if an adapter cannot be read.
    pub fn find(folder: &Path) -> Result<Vec<Self>, AdapterError> {
        let error = |source| AdapterError::Io { path: folder.into(), source };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(error(source)),
        };
        let mut adapters = Vec::new();
        for entry in entries {
            let path = entry.map_err(error)?.path();
            if path.join(FILE).is_file() {
                adapters.push(Self::read(&path)?);
            }
        }
        adapters.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(adapters)
    }

    fn read(folder: &Path) -> Result<Self, AdapterError> {
        let (path, shown) = (folder.join(FILE), folder.to_path_buf());
        // The adapter runs in its own folder, where a relative path would name another one.
        let absolute = folder.canonicalize().and_then(|folder| Ok((folder, fs::read_to_string(&path)?)));
        let (folder, text) = match absolute {
            Ok(read) => read,
            Err(source) => return Err(AdapterError::Io { path, source }),
        };
        let about: About = match toml::from_str(&text) {
            Ok(about) => about,
            Err(source) => return Err(AdapterError::Toml { path, source: Box::new(source) }),
        };
        if about.command.is_empty() {
            return Err(AdapterError::NoCommand { path });
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, folder, shown, about })
    }

    /// Returns its variants, at least one.
    pub fn variants(&self) -> Vec<Variant> {
        if !self.about.variants.is_empty() {
            return self.about.variants.clone();
        }
        vec![Variant { name: self.name.clone(), title: None, arguments: Vec::new(), requires: Vec::new() }]
    }

    /// Returns the program and its arguments for a variant.
    pub fn command(&self, variant: &Variant) -> (PathBuf, Vec<String>) {
        let (program, arguments) = self.about.command.split_first().map_or(("", &[][..]), |(p, a)| (p, a));
        // A name without a slash is looked up in `PATH`.
        let program = if program.contains('/') { self.folder.join(program) } else { program.into() };
        (program, arguments.iter().chain(&variant.arguments).cloned().collect())
    }

    /// Returns the requirements of a variant that are missing.
    pub fn missing(&self, variant: &Variant) -> Vec<String> {
        let is_there = |required: &&String| match required.strip_prefix('$') {
            Some(variable) => env::var_os(variable).is_some_and(|value| Path::new(&value).exists()),
            None => self.folder.join(required).exists(),
        };
        let required = self.about.requires.iter().chain(&variant.requires);
        required.filter(|required| !is_there(required)).cloned().collect()
    }

    /// Returns the shell command that builds its environment.
    pub fn build(&self) -> Option<String> {
        self.about.build.as_ref().map(|build| format!("(cd {} && {build})", self.shown.display()))
    }

    /// Returns a hash of the files in the adapter's folder and in a sibling folder [`COMMON`].
    /// Subfolders, hidden files and Markdown files are left out.
    ///
    /// # Errors
    /// The operating system's, if a file cannot be read.
    pub fn digest(&self) -> io::Result<u64> {
        let mut files = files(&self.folder)?;
        let common = self.folder.with_file_name(COMMON);
        if common.is_dir() {
            files.extend(self::files(&common)?);
        }
        Ok(digest(files.iter().flat_map(|(name, text)| [name.as_bytes(), text])))
    }
}

/// Returns the names and contents of the code files in a folder.
fn files(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_code = !name.starts_with('.') && !name.ends_with(".md");
        if is_code && entry.file_type()?.is_file() {
            files.push((name, fs::read(entry.path())?));
        }
    }
    files.sort();
    Ok(files)
}

/// Returns a hash of the sequence `parts`.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let fold = |sum: u64, part: &[u8]| Random::new(sum ^ xxhash_rust::xxh3::xxh3_64(part)).next_u64();
    parts.into_iter().fold(0, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join(FILE), text).unwrap();
    }

    #[test]
    fn a_folder_with_a_file_is_an_adapter_and_says_what_it_lacks() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "b", "title = 'B'\ncommand = ['./b']");
        let a = "title = 'A'\ncommand = ['.venv/bin/python', 'adapter.py']\nbuild = './build'\n\
                 requires = ['.venv/bin/python', '$NO_SUCH_VARIABLE']\n\
                 [[variant]]\nname = 'a-1'\narguments = ['--one']\n[[variant]]\nname = 'a-2'";
        write(root.path(), "a", a);
        fs::create_dir(root.path().join("c")).unwrap();
        let adapters = Adapter::find(root.path()).unwrap();
        let [a, b] = adapters.as_slice() else { panic!("{adapters:?}") };
        let variants = a.variants();
        assert_eq!(variants.iter().map(|variant| variant.name.as_str()).collect::<Vec<_>>(), ["a-1", "a-2"]);
        let (program, arguments) = a.command(&variants[0]);
        assert!(program.ends_with("a/.venv/bin/python") && arguments == ["adapter.py", "--one"]);
        assert_eq!(a.missing(&variants[0]), [".venv/bin/python", "$NO_SUCH_VARIABLE"]);
        let folder = root.path().join("a");
        assert_eq!(a.build().unwrap(), format!("(cd {} && ./build)", folder.display()));
        assert_eq!((b.variants()[0].name.as_str(), b.missing(&b.variants()[0]).len()), ("b", 0));
        assert!(Adapter::find(&root.path().join("gone")).unwrap().is_empty());
    }

    #[test]
    fn a_file_with_a_typing_error_is_named() {
        for text in ["title = 'A'\ncommand = ['x']\nrequire = []", "title = 'A'\ncommand = []", "title"] {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), "a", text);
            let error = Adapter::find(root.path()).unwrap_err().to_string();
            assert!(error.contains("a/system.toml"), "{error}");
        }
    }

    #[test]
    fn the_digest_changes_with_the_code_and_not_with_the_readme() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a", "title = 'A'\ncommand = ['x']");
        let digest = || Adapter::find(root.path()).unwrap()[0].digest().unwrap();
        let before = digest();
        fs::write(root.path().join("a/README.md"), "more").unwrap();
        assert_eq!(digest(), before);
        fs::write(root.path().join("a/adapter.py"), "print()").unwrap();
        assert_ne!(digest(), before);
    }
}
