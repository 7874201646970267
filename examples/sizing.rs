//! Prints what many memories need in machines, RAM, storage and requests: the page
//! `SIZING.md`.
//!
//! ```sh
//! cargo run --release --example sizing > SIZING.md
//! ```

use mnemocore::harness::sizing::{Figures, Workload, page};

fn main() {
    print!("{}", page(&Figures::default(), &Workload::default()));
}
