//! Bars that show how far something long has come.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of so many steps. It hides itself where standard error is no terminal.
pub(crate) fn bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    // A template that is known to be one.
    match ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} eta {eta} {wide_msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
