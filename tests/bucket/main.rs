//! Memories in object storage: the log by itself, and engines over it.

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod engines;
mod faulty;
#[path = "../common/proxy.rs"]
mod proxy;
mod sequence;
mod server;
#[path = "../common/servers.rs"]
mod servers;
