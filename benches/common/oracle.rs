//! A search beside the oracle, which scores every memory.

use std::collections::HashMap;

use mnemocore::Recall;
use mnemocore_suite::quality::overlap;

/// The share of the first `k` exact hits that were found; of equal ones any.
///
/// # Panics
/// If the two score a memory differently. Without equal scores, what only one of them found could
/// not be compared.
pub fn recall_of(found: &Recall, exact: &Recall, k: usize) -> Option<f64> {
    let exact: Vec<(u32, f32)> = exact.hits.iter().map(|hit| (hit.memory.id.0 as u32, hit.score)).collect();
    let scores: HashMap<u32, f32> =
        found.hits.iter().map(|hit| (hit.memory.id.0 as u32, hit.score)).collect();
    for (id, score) in &exact {
        assert!(scores.get(id).is_none_or(|found| found == score), "scores of memory {id}");
    }
    let ids: Vec<u32> = found.hits.iter().map(|hit| hit.memory.id.0 as u32).collect();
    overlap(&ids, &exact, k, |id| scores[&id])
}
