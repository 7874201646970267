//! The page about sizes is what its command prints.

use mnemocore::harness::sizing::{Figures, Workload, page};

#[test]
fn the_page_about_sizes_follows_from_its_figures() {
    let kept = include_str!("../SIZING.md");
    let made = page(&Figures::default(), &Workload::default());
    assert!(kept == made, "run: cargo run --release --example sizing > SIZING.md");
}
