//! Progress bars.

use indicatif::{ProgressBar, ProgressStyle};

/// Creates a bar of `steps` steps. It stays hidden if standard error is not a terminal.
pub(crate) fn bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    // The template is constant and valid.
    match ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} eta {eta} {wide_msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
