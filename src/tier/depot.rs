//! Where segments are kept besides this machine's disk.

use crate::error::Error;

/// Keeps the files of segments for other machines.
///
/// A name is given to one content alone, so whoever writes it writes the same.
pub trait Depot: Send + Sync {
    /// Its name in errors.
    fn place(&self) -> &str;

    /// Keeps a file.
    ///
    /// # Errors
    /// Whatever writing it reports; it may be kept all the same.
    fn keep(&self, name: &str, content: Vec<u8>) -> Result<(), Error>;

    /// The contents of files, in the order of their names; `None` for one that is
    /// not kept.
    ///
    /// # Errors
    /// Whatever reading them reports.
    fn fetch(&self, names: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Error>;

    /// Deletes files that nothing refers to any more.
    ///
    /// # Errors
    /// Whatever deleting them reports; some may be gone.
    fn discard(&self, names: Vec<String>) -> Result<(), Error>;
}

#[cfg(feature = "object-store")]
impl Depot for crate::bucket::Bucket {
    fn place(&self) -> &str {
        self.name()
    }

    fn keep(&self, name: &str, content: Vec<u8>) -> Result<(), Error> {
        self.put(name, content)
    }

    fn fetch(&self, names: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.read_all(names)
    }

    fn discard(&self, names: Vec<String>) -> Result<(), Error> {
        self.delete(names)
    }
}
