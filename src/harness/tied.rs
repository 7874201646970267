//! A process that ends with the one that started it.
//!
//! Who runs a bench for its figures stops it when it is stopped itself; this is for when
//! it cannot, because it was killed.

/// The variable that holds the number of the process to end with.
pub const TIED_VARIABLE: &str = "MNEMO_TIED_TO";

/// Ends this process as soon as the one that [`TIED_VARIABLE`] names does, if that is
/// its parent. Without the variable, and on other systems than Linux, it does nothing.
pub fn end_with_parent() {
    #[cfg(target_os = "linux")]
    if let Some(parent) = std::env::var(TIED_VARIABLE).ok().and_then(|number| number.parse::<i32>().ok()) {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};
        // Fails on no Linux; then it would merely live on to its end.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // It may have ended before that.
        if getppid().is_none_or(|actual| actual.as_raw_nonzero().get() != parent) {
            std::process::exit(2);
        }
    }
}
