//! fjall's errors and panics in our terms.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::Error;

/// Calls into fjall. It reports most of what is damaged, but not all: where it
/// trusts its files it asserts, and an engine must not die of a damaged file
/// that it is asked to read. After a panic nothing of ours is half done, for
/// only fjall's code runs in here, and its locks are poisoned, so that it
/// refuses what comes next. (Built with `panic = "abort"`, it does die.)
pub(super) fn contained<T>(
    path: &Path,
    action: &'static str,
    act: impl FnOnce() -> fjall::Result<T>,
) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => done.map_err(|error| explain(path, action, error)),
        Err(panic) => {
            let what = format!("the log (fjall failed to {action}: {})", message(&*panic));
            Err(Error::Corrupt { path: path.into(), what })
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

/// fjall's error in our terms.
pub(super) fn explain(path: &Path, action: &'static str, error: fjall::Error) -> Error {
    let path = path.to_path_buf();
    if let Some(source) = io_error(&error) {
        // A file that is missing or too short is as good as a damaged one.
        if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) {
            return Error::Corrupt { path, what: format!("a file of the log ({source})") };
        }
        return Error::io(&path, io::Error::new(source.kind(), source.to_string()));
    }
    match error {
        fjall::Error::Locked => Error::Locked { path },
        fjall::Error::JournalRecovery(_)
        | fjall::Error::InvalidVersion(_)
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_)
        | fjall::Error::Unrecoverable => Error::Corrupt { path, what: format!("the log ({error:?})") },
        fjall::Error::Storage(_) => Error::Corrupt { path, what: format!("a table of the log ({error:?})") },
        other => Error::Log { path, action, message: format!("{other:?}") },
    }
}

/// The operating system's error inside of one of fjall's, if it was that.
fn io_error(error: &fjall::Error) -> Option<&io::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    match error {
        fjall::Error::Io(found) => Some(found),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_store_is_an_error_that_names_it_and_the_way_out() {
        let failed =
            contained(Path::new("some/log"), "read", || -> fjall::Result<()> { panic!("an assertion") });
        let message = failed.unwrap_err().to_string();
        for part in ["some/log", "an assertion", "Engine::repair"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
