//! `docs/sizing.md` is what its command prints.

#[path = "../examples/sizing/model.rs"]
mod model;

use self::model::{Figures, Workload, page};

#[test]
fn the_page_about_sizes_follows_from_its_figures() {
    let kept = include_str!("../docs/sizing.md");
    let made = page(&Figures::default(), &Workload::default());
    assert!(kept == made, "run: cargo run --release --example sizing > docs/sizing.md");
}
