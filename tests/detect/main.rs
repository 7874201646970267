//! `mnemobench detect` and `init-baselines`, the real program on files as the
//! benches leave them: every verdict and every exit code.
#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod confirmed;
mod home;
mod recorded;
mod screened;
