//! What a process takes that has opened the store, and what the place holds of it.

use mnemocore::harness::probe::{Aspect, Footprint, Probe, Seen};
use mnemocore::hdv::Dimension;

use crate::Bench;
use crate::common::{Fixture, PROCESSES, Stock, measure_aspects, scales_up_to, temporary_folder};
use crate::elsewhere::{Filled, Remote};

/// Without the heap: an allocator that counts would slow down what else is measured here.
const ASPECTS: [Aspect; 3] = [Aspect::ANONYMOUS, Aspect::RESIDENT, Aspect::DISK];

/// Measures `footprint_<tier>/ram/<memories>`, over an empty engine with everything on this
/// machine, so that clients and their threads count; `footprint_rss_<tier>/ram/<memories>`;
/// and `footprint_<tier>/disk/<memories>`, the place's.
pub(crate) fn measure(bench: &mut Bench, remote: &dyn Remote) {
    let (test, profile) = (bench.test(), bench.latency.profile);
    let scales = if test { vec![100] } else { scales_up_to(profile.choose(1_000, 100_000, 100_000)) };
    let processes = if test { 1 } else { PROCESSES };
    let mut empty = Fixture::new(empty);
    for memories in scales {
        let stock = Stock::new(remote.tier(), memories);
        let see = || see(&remote.fill(&format!("footprint-{memories}"), stock), empty.get(), processes);
        let case = (remote.name(), memories);
        let recorder = &mut bench.latency.recorder;
        if let Some(seen) = measure_aspects(&mut bench.bytes, recorder, &ASPECTS, case, see)
            && let Some(&Footprint { anonymous, disk, .. }) = seen.first()
        {
            let each = |bytes: u64| bytes as f64 / memories as f64;
            let name = remote.name();
            println!("{memories} memories in {name}: {:.0} bytes a memory there", each(disk));
            println!("and {:.0} in RAM, an engine's without memories included\n", each(anonymous));
        }
    }
}

fn empty() -> Seen {
    Probe::empty(Dimension::default(), temporary_folder().path()).expect("a fresh process")
}

/// What fresh processes saw of one store.
fn see(filled: &Filled, empty: &Seen, processes: usize) -> Vec<Footprint> {
    let Filled { stock, store, config, bytes, .. } = filled;
    let probe = Probe::new(*stock, store).placed(config);
    let of = |_| Footprint::growth(&probe.measure().expect("a fresh process"), empty, *bytes);
    (0..processes).map(of).collect()
}
