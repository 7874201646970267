//! RAM and disk by tier and scale.

use super::{RunConfig, RunError};
use crate::benchmark::median;
use crate::probe::{Aspect, Footprint, PROCESSES, Probe};
use criterion_gate::measure::Measurement;
use mnemocore::engine::Engine;
use mnemocore::key::TierKind;

/// Measures what stores of all [`RunConfig::scales`] take in every tier, as
/// `footprint_hot/ram/10000` and the like; see [`Footprint`].
///
/// Each store is opened by fresh processes of this program, which must call
/// [`serve`](crate::probe::serve) in the first line of its `main`: what a
/// process did before cannot be told from what a store takes. Heap is measured
/// where `serve` was given a counting allocator.
///
/// # Errors
/// [`RunError`]; of kind [`Probe`](RunError::Probe) where `serve` was not called.
pub fn run_footprint(config: &RunConfig) -> Result<Vec<Measurement>, RunError> {
    config.check()?;
    let empty = Probe::empty(config.dimension, &config.scratch)?;
    let mut measured = Vec::new();
    for tier in TierKind::ALL {
        for &memories in &config.scales {
            let stock = config.stock(tier, memories);
            let folder = tempfile::tempdir_in(&config.scratch)?;
            let engine = stock.fill(folder.path())?;
            stock.check(&engine)?;
            drop(engine);
            // The file of WARM vectors that others have left shrinks when it is opened again.
            drop(Engine::open(folder.path(), stock.config())?);
            let seen = Footprint::of(stock, folder.path(), &empty, PROCESSES)?;
            for aspect in Aspect::ALL {
                let values: Vec<f64> =
                    seen.iter().filter_map(aspect.value).map(|bytes| bytes as f64).collect();
                if !values.is_empty() {
                    let name = format!("{}/{memories}", aspect.group(tier));
                    measured.push(Measurement::new(name, aspect.kind, median(values)));
                }
            }
        }
    }
    config.save(&measured)?;
    Ok(measured)
}
