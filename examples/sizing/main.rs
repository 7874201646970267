//! Prints the page `docs/sizing.md`: how many machines, and how much RAM, storage and requests
//! many memories need.
//!
//! ```sh
//! cargo run --release --example sizing > docs/sizing.md
//! ```

mod model;

use self::model::{Figures, Workload, page};

fn main() {
    print!("{}", page(&Figures::default(), &Workload::default()));
}
