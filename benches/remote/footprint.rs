//! The footprint of a process that has the store open, and the bytes that the place holds.

use mnemocore_suite::footprint_process::{Aspect, Footprint, FootprintProcess, PROCESSES, Seen};

use crate::Bench;
use crate::backend::Remote;
use crate::common::{Fixture, Lazy, empty_engine, measure_aspects};

/// Without the heap: an allocator that counts would slow down what else is measured here.
const ASPECTS: [Aspect; 3] = [Aspect::ANONYMOUS, Aspect::RESIDENT, Aspect::DISK];

/// Measures `footprint_<tier>/ram/<memories>`, over an empty engine with everything on this
/// machine, so that clients and their threads count; `footprint_rss_<tier>/ram/<memories>`;
/// and `footprint_<tier>/disk/<memories>`, the place's.
pub(crate) fn measure(bench: &mut Bench, remote: &dyn Remote) {
    let processes = if bench.test() { 1 } else { PROCESSES };
    let mut empty = Lazy::new(empty_engine);
    let mut before: Option<(usize, Footprint)> = None;
    for memories in bench.scales.clone() {
        let fixture = Fixture::new(remote.tier(), memories);
        let see = || see(remote, fixture, empty.get(), processes);
        let case = (remote.name(), memories);
        let recorder = &mut bench.latency.recorder;
        if let Some(seen) = measure_aspects(&mut bench.bytes, recorder, &ASPECTS, case, see)
            && let Some(&seen) = seen.get(processes / 2)
        {
            print(remote.name(), (memories, seen), before.replace((memories, seen)));
        }
    }
}

/// Measures one store in fresh processes, and sorts the results by anonymous memory.
fn see(remote: &dyn Remote, fixture: Fixture, empty: &Seen, processes: usize) -> Vec<Footprint> {
    let filled = remote.fill(&format!("footprint-{}", fixture.memories), fixture);
    let process = FootprintProcess::new(fixture, &filled.store).placed(&filled.config);
    let seen = Footprint::seen_by(&process, fixture, empty, remote.bytes(&filled), processes);
    let mut seen = seen.unwrap_or_else(|error| panic!("{error}"));
    seen.sort_by_key(|footprint| footprint.anonymous);
    seen
}

/// Prints the bytes of a memory at the place, and the RAM of each added memory. The difference
/// between two sizes leaves out the clients, which take as much RAM for few memories.
fn print(name: &str, (memories, seen): (usize, Footprint), before: Option<(usize, Footprint)>) {
    let (fewer, least) = before.map_or((0, 0), |(fewer, seen)| (fewer, seen.anonymous));
    let ram = seen.anonymous.saturating_sub(least) as f64 / (memories - fewer) as f64;
    let there = seen.disk as f64 / memories as f64;
    println!("{memories} memories in {name}: {there:.0} bytes a memory there");
    println!("and {ram:.0} of RAM for each that is added to {fewer}\n");
}
