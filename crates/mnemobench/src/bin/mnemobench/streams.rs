//! Output to the standard streams, which may be closed or full. `println!` would panic with exit
//! code 101.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::CANNOT_JUDGE;

/// Prints to standard output. A closed pipe, as after `head`, is not an error.
///
/// # Errors
/// The operating system's, for example if the disk is full.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints a line to standard output.
///
/// # Errors
/// As [`print()`].
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    print(&format!("{text}\n"))
}

/// Prints a line to standard error, if that is possible.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Returns the exit code of a command after it has printed. If printing failed, 0 becomes
/// [`CANNOT_JUDGE`], and any other code is kept.
pub(crate) fn exit_code(code: u8, printed: io::Result<()>) -> u8 {
    match printed {
        Ok(()) => code,
        Err(error) => {
            note(format!("error: {error}"));
            if code == 0 { CANNOT_JUDGE } else { code }
        }
    }
}
