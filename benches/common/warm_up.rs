//! Which of Criterion's calls are warm-up.

/// Tells warm-up from samples, which Criterion does not: the first call is warm-up, and so
/// are those that asked for another number of iterations than the last ones.
#[derive(Default)]
pub struct WarmUp {
    calls: u64,
    iterations: u64,
}

impl WarmUp {
    /// Notes a call for so many iterations; whether all before it were warm-up.
    pub fn was_all(&mut self, iterations: u64) -> bool {
        let was = self.calls == 1 || iterations != self.iterations;
        (self.calls, self.iterations) = (self.calls + 1, iterations);
        was
    }
}
