//! RAM and disk by tier and scale.

use super::{RunConfig, RunError};
use crate::benchmark::median;
use crate::footprint_process::{Aspect, Footprint, FootprintProcess, PROCESSES};
use criterion_gate::measure::Measurement;
use mnemocore::{Engine, TierKind};

/// Measures what stores of all [`RunConfig::scales`] take in every tier, as
/// `footprint_hot/ram/10000` and the like; see [`Footprint`].
///
/// Each store is opened by fresh processes of this program, which must call
/// [`serve`](crate::footprint_process::serve) in the first line of its `main`: what a
/// process did before cannot be told from what a store takes. Heap is measured
/// where `serve` was given a counting allocator.
///
/// # Errors
/// [`RunError`]; of kind [`Footprint`](RunError::Footprint) where `serve` was not called.
pub fn run_footprint(config: &RunConfig) -> Result<Vec<Measurement>, RunError> {
    config.check()?;
    let empty = FootprintProcess::empty(config.dimension, &config.scratch)?;
    let mut measured = Vec::new();
    for tier in TierKind::ALL {
        for &memories in &config.scales {
            let fixture = config.fixture(tier, memories);
            let (folder, engine) = config.fill(fixture)?;
            fixture.check(&engine)?;
            drop(engine);
            // The file of WARM vectors that others have left shrinks when it is opened again.
            drop(Engine::open(folder.path(), fixture.config())?);
            let seen = Footprint::of(fixture, folder.path(), &empty, PROCESSES)?;
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
