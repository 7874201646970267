//! What came of a load.

use mnemocore::Error;
use mnemocore::harness::load::Finished;

/// What a load of `count` operations measured.
///
/// # Panics
/// If an operation failed or was left out: then there is nothing to measure.
pub fn done(finished: Result<Finished, Error>, count: usize) -> Finished {
    let finished = finished.unwrap_or_else(|error| panic!("under load: {error}"));
    assert_eq!(finished.operations, count as u64, "operations done");
    finished
}
