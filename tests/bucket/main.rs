//! Memories in object storage: the log by itself, and engines over it.

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod engines;
mod faulty;
#[path = "../common/s3.rs"]
mod s3;
mod sequence;
