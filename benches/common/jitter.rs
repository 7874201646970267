//! Tiny jitter, because Criterion cannot compare constant samples.

/// Factors of 1 with a tiny jitter, for samples that may all be equal: Criterion
/// panics on a comparison without any variance (its issues #720 and #873). Over an
/// even number of samples the mean stays.
#[derive(Default)]
pub struct Jitter {
    calls: u64,
}

impl Jitter {
    /// The factor of the next sample.
    pub fn next(&mut self) -> f64 {
        self.calls += 1;
        if self.calls.is_multiple_of(2) { 1.0 + 1e-7 } else { 1.0 - 1e-7 }
    }
}
