//! Estimates the machines, memory, storage and requests that many agents need: arithmetic on the
//! results of the benches, and a simulation of a cache of agents.
//!
//! `cargo run --release --example sizing` prints the page `docs/sizing.md`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use criterion_gate::random::Random;
use mnemocore_suite::footprint::AGENT;
use mnemocore_suite::load::choice::Zipfian;

/// Measured figures: bytes for one memory among 100,000, unless a field says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    /// RAM of an open engine with the memories of an agent and the default settings,
    /// over that of one without any (printed by the footprint bench).
    pub agent: f64,
    /// The local disk, or the local copy of a store in a bucket (`footprint_*/disk/100000`).
    pub disk: [f64; 3],
    /// RAM of an engine without memories.
    pub engine: f64,
    /// The bucket (`footprint_cold-*/disk/100000`), with 30 % for objects that are not yet
    /// compacted.
    pub bucket: f64,
    /// Seconds of a core for a recall (`recall/throughput/1`).
    pub recall: f64,
    /// Seconds from opening to the first answer if the copy has to be fetched
    /// (`cold_start_cold-*/wall/100000_0`).
    pub open: f64,
    /// Requests of a store, alone (`store_cold-*`).
    pub store_requests: f64,
    /// Requests of a session from opening to closing, without its stores (printed by the
    /// bench `remote`).
    pub open_requests: f64,
    /// PostgreSQL, for a row of shared WARM (`footprint_warm-postgres/disk/100000`).
    pub row: f64,
    /// RAM of the engine for each row in its catalogue (printed by the bench `remote`).
    pub known: f64,
    /// Seconds of a core, the engine's share included, for a recall that asks shared
    /// WARM, and for a store after which a memory moves there
    /// (`recall_warm-postgres/throughput/50_0`, `store_…`: cores over operations a second).
    pub shared: [f64; 2],
}

impl Default for Figures {
    /// The figures of `docs/results.md` and of the benches of this revision.
    fn default() -> Self {
        Self {
            agent: 2.5e6,
            disk: [99.0, 99.0, 359.0],
            engine: 92_000.0,
            bucket: 290.0 * 1.3,
            recall: 1.0 / 2_263.0,
            open: 0.5 / 100_000.0,
            store_requests: 1.2,
            open_requests: 10.0,
            row: 615.0,
            known: 187.0,
            shared: [2.0 / 1_551.0, 2.0 / 6_354.0],
        }
    }
}

/// The assumptions about one agent, and the machines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Workload {
    /// Memories in HOT, WARM and COLD of one agent.
    pub memories: [f64; 3],
    /// Recalls a day.
    pub recalls: f64,
    /// Stores a day.
    pub stores: f64,
    /// The load of the busiest hour over the mean.
    pub peak: f64,
    /// The share of agents whose engine is open, on any machine.
    pub open: f64,
    /// The share of agents that have a copy on some machine.
    pub copied: f64,
    /// Cores, bytes of RAM and bytes of disk of a machine. Half of each is planned with.
    pub machine: [f64; 3],
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            memories: AGENT.map(|memories| memories as f64),
            recalls: 200.0,
            stores: 100.0,
            peak: 5.0,
            open: 0.1,
            copied: 0.5,
            machine: [8.0, 32e9, 500e9],
        }
    }
}

/// The share of a machine that the plan uses.
const USED: f64 = 0.5;

/// Shares of the agents for which there is room, in the simulation.
const SHARES: [f64; 6] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0];

/// Recalls that are simulated, and the number of them that count. The first ones fill the caches
/// and do not count.
const SIMULATED: usize = 1_000_000;
const COUNTED: usize = 200_000;

/// The resources that a number of memories needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Need {
    /// Agents.
    pub agents: f64,
    /// Recalls a second in the busiest hour.
    pub recalls: f64,
    /// Stores a second in the busiest hour.
    pub stores: f64,
    /// Engines that are opened a second in the busiest hour.
    pub opened: f64,
    /// Copies that are fetched a second in the busiest hour.
    pub fetched: f64,
    /// Cores, bytes of RAM, bytes of disk on all machines.
    pub machines: [f64; 3],
    /// Machines: the largest number by cores, RAM or disk.
    pub count: f64,
    /// Bytes in the bucket.
    pub bucket: f64,
    /// Requests a second to the bucket.
    pub requests: f64,
    /// Bytes a second from the bucket.
    pub traffic: f64,
}

/// Calculates the resources for `memories`. The share `hits[0]` of recalls finds the engine open,
/// and the share `hits[1]` finds a copy on the machine.
pub(crate) fn need(memories: f64, figures: &Figures, workload: &Workload, hits: [f64; 2]) -> Need {
    let each: f64 = workload.memories.iter().sum();
    let agents = memories / each;
    let a_second = |a_day: f64| agents * a_day / 86_400.0 * workload.peak;
    let of_agent = |bytes: [f64; 3]| bytes.iter().zip(workload.memories).map(|(a, b)| a * b).sum::<f64>();
    let (recalls, stores) = (a_second(workload.recalls), a_second(workload.stores));
    let (opened, fetched) = (recalls * (1.0 - hits[0]), recalls * (1.0 - hits[1]));
    let cores = recalls * figures.recall + opened * figures.open * each;
    let ram = agents * workload.open * (figures.agent + figures.engine);
    let disk = agents * workload.copied * of_agent(figures.disk);
    let machines = [cores, ram, disk];
    Need {
        agents,
        recalls,
        stores,
        opened,
        fetched,
        machines,
        count: count(machines, workload),
        bucket: memories * figures.bucket,
        requests: stores * figures.store_requests + opened * figures.open_requests,
        traffic: fetched * each * figures.bucket,
    }
}

/// The resources of the database if WARM is in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SharedNeed {
    /// Rows.
    pub rows: f64,
    /// Statements a second in the busiest hour: recalls and stores.
    pub statements: f64,
    /// Cores, bytes of RAM, bytes of disk.
    pub servers: [f64; 3],
    /// Servers: the largest number by cores, RAM or disk.
    pub count: f64,
}

/// Calculates the resources for the WARM of `memories` in a database. Each recall sends one query,
/// and each store moves one memory there.
///
/// The whole table is planned to be in RAM, as it was during the measurement.
pub(crate) fn shared_need(memories: f64, figures: &Figures, workload: &Workload) -> SharedNeed {
    let each: f64 = workload.memories.iter().sum();
    let [_, warm, _] = workload.memories;
    let Need { recalls, stores, .. } = need(memories, figures, workload, [1.0; 2]);
    let rows = memories * warm / each;
    let table = rows * figures.row;
    let [recall, store] = figures.shared;
    let servers = [recalls * recall + stores * store, table, table];
    SharedNeed { rows, statements: recalls + stores, servers, count: count(servers, workload) }
}

/// Machines: the largest number by cores, RAM or disk.
fn count(needs: [f64; 3], workload: &Workload) -> f64 {
    let scarcest = needs.iter().zip(workload.machine).map(|(need, has)| need / (has * USED));
    scarcest.fold(1.0, f64::max).ceil()
}

/// Agents placed on machines by rendezvous hashing. The choice of agents to ask is Zipfian.
pub(crate) struct Placement {
    machines: usize,
    zipfian: Zipfian,
    /// The machine of each agent.
    places: Vec<usize>,
}

impl Placement {
    /// Places agents.
    pub(crate) fn new(agents: u32, machines: u32) -> Self {
        let weight =
            |agent: u32, machine: u32| Random::new(u64::from(agent) << 32 | u64::from(machine)).next_u64();
        let place = |agent| (0..machines).max_by_key(|&machine| weight(agent, machine)).unwrap_or_default();
        Self {
            machines: machines as usize,
            zipfian: Zipfian::new(agents.into()),
            places: (0..agents).map(|agent| place(agent) as usize).collect(),
        }
    }

    /// Returns the share of recalls whose agent is in the cache, and the load of the busiest
    /// machine over the mean. Each machine caches its part of `share` of the agents, the most
    /// recently used ones.
    pub(crate) fn hit_rate(&self, share: f64, seed: u64) -> (f64, f64) {
        let room = ((self.places.len() as f64 * share / self.machines as f64).ceil() as usize).max(1);
        let mut caches: Vec<Recent> = (0..self.machines).map(|_| Recent::default()).collect();
        let mut asked = vec![0usize; self.machines];
        let mut random = Random::new(seed);
        let mut hits = 0;
        for number in 0..SIMULATED {
            let agent = self.zipfian.rank(&mut random);
            let place = self.places.get(agent as usize).copied().unwrap_or_default();
            let hit = caches.get_mut(place).is_some_and(|cache| cache.touch(agent, room));
            if number >= SIMULATED - COUNTED {
                hits += usize::from(hit);
                asked.iter_mut().skip(place).take(1).for_each(|count| *count += 1);
            }
        }
        let counted = COUNTED as f64;
        let busiest = asked.iter().copied().max().unwrap_or_default() as f64;
        (hits as f64 / counted, busiest / (counted / self.machines as f64))
    }
}

/// The most recently used agents.
#[derive(Default)]
struct Recent {
    used: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
    clock: u64,
}

impl Recent {
    /// Uses an agent, and returns whether it was cached.
    fn touch(&mut self, agent: u64, room: usize) -> bool {
        self.clock += 1;
        let before = self.used.insert(agent, self.clock);
        before.map(|time| self.order.remove(&time));
        self.order.insert(self.clock, agent);
        if self.used.len() > room
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.used.remove(&oldest);
        }
        before.is_some()
    }
}

/// The numbers of memories on the page, and the machines that agents are placed on.
const SIZES: [(f64, u32); 3] = [(1e6, 1), (1e8, 8), (1e9, 64)];

/// The page: measured figures, assumptions, arithmetic and simulation.
pub(crate) fn page(figures: &Figures, workload: &Workload) -> String {
    let each: f64 = workload.memories.iter().sum();
    let mut page = include_str!("head.md").to_owned();
    page.push_str("\n| | HOT | WARM | COLD |\n|---|---:|---:|---:|\n");
    row(
        &mut page,
        "disk per memory, or the local copy of a bucket",
        &figures.disk.map(|value| format!("{value:.0} B")),
    );
    row(&mut page, "memories of an agent", &workload.memories.map(|count| format!("{count:.0}")));
    let _ = writeln!(
        page,
        "\n- An agent's open engine takes {} of RAM, {} of it without any memories.\n\
         - The bucket holds {:.0} B per memory.\n\
         - A recall takes {:.2} ms of a core. Opening an agent of {each:.0} memories takes {:.0} ms.\n\
         - From opening to closing, an engine makes {:.0} requests, and {:.1} for each store that commits alone.\n\
         - Each agent recalls {:.0} times and stores {:.0} memories per day. The busiest hour has {:.0} times the mean.\n\
         - {:.0} % of the agents are open, and {:.0} % have a copy on some machine.\n\
         - A machine has {:.0} cores, {} of RAM and {} of disk. Half of each is used.",
        bytes(figures.agent + figures.engine),
        bytes(figures.engine),
        figures.bucket,
        figures.recall * 1e3,
        figures.open * each * 1e3,
        figures.open_requests,
        figures.store_requests,
        workload.recalls,
        workload.stores,
        workload.peak,
        workload.open * 100.0,
        workload.copied * 100.0,
        workload.machine[0],
        bytes(workload.machine[1]),
        bytes(workload.machine[2]),
    );
    let placements = SIZES.map(|(memories, machines)| Placement::new((memories / each) as u32, machines));
    let needs = placements.each_ref().map(|placement| {
        let hits = [workload.open, workload.copied].map(|share| placement.hit_rate(share, 1).0);
        need(placement.places.len() as f64 * each, figures, workload, hits)
    });
    page.push_str(include_str!("needs.md"));
    let mut column = |name: &str, cell: &dyn Fn(&Need) -> String| {
        row(&mut page, name, &needs.each_ref().map(cell));
    };
    column("agents: memories / memories of an agent", &|need| thousands(need.agents));
    column("recalls per second: agents x recalls per day / 86,400 x peak", &|need| thousands(need.recalls));
    column("stores per second", &|need| thousands(need.stores));
    column("engines opened per second: recalls x (1 - share that finds its engine open)", &|need| {
        thousands(need.opened)
    });
    column("copies fetched per second: recalls x (1 - share that finds a copy)", &|need| {
        thousands(need.fetched)
    });
    column("cores: recalls x time + opened x time", &|need| thousands(need.machines[0]));
    column("RAM: open agents x RAM of an engine", &|need| bytes(need.machines[1]));
    column("disk: copied agents x memories x disk", &|need| bytes(need.machines[2]));
    column("machines: the scarcest of the three, half used", &|need| thousands(need.count));
    column("bucket: memories x bytes", &|need| bytes(need.bucket));
    column("requests per second: stores x requests + opened x requests", &|need| thousands(need.requests));
    column("bytes per second from the bucket: fetched x bytes of an agent", &|need| bytes(need.traffic));
    push_shared(&mut page, figures, workload);
    page.push_str(include_str!("simulation.md"));
    for share in SHARES {
        let cells = placements.each_ref().map(|placement| {
            let (hits, busiest) = placement.hit_rate(share, 1);
            format!("{:.1} %, busiest {busiest:.2}", hits * 100.0)
        });
        row(&mut page, &format!("{:.0} %", share * 100.0), &cells);
    }
    page.push_str(include_str!("foot.md"));
    page
}

/// Adds the needs of the database if WARM is in it.
fn push_shared(page: &mut String, figures: &Figures, workload: &Workload) {
    let [recall, store] = figures.shared.map(|seconds| seconds * 1e3);
    page.push_str(include_str!("shared.md"));
    let _ = writeln!(
        page,
        "- A memory in the database takes {} of the engine's RAM.\n\
         - A row takes {}, indexes included.\n\
         - A recall takes {recall:.2} ms of a core and a store {store:.2} ms, the engine's share included.\n\n\
         | | 1M | 100M | 1B |\n|---|---:|---:|---:|",
        bytes(figures.known),
        bytes(figures.row),
    );
    let needs = SIZES.map(|(memories, _)| shared_need(memories, figures, workload));
    let mut column = |name: &str, cell: &dyn Fn(&SharedNeed) -> String| {
        row(page, name, &needs.each_ref().map(cell));
    };
    column("rows: memories x share in WARM", &|need| thousands(need.rows));
    column("statements per second: recalls + stores", &|need| thousands(need.statements));
    column("cores: recalls x time + stores x time", &|need| thousands(need.servers[0]));
    column("RAM and disk: rows x bytes", &|need| bytes(need.servers[1]));
    column("servers: the scarcest of the three, half used", &|need| thousands(need.count));
}

/// A row of a table.
fn row(page: &mut String, name: &str, cells: &[String]) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
}

/// A number with at most two digits behind the point and commas in front of it.
fn thousands(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn bytes(value: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let (factor, unit) = units.into_iter().find(|&(factor, _)| value >= factor).unwrap_or((1.0, "B"));
    format!("{:.1} {unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_all_agents_misses_each_once_at_most() {
        let (hits, busiest) = Placement::new(1_000, 4).hit_rate(1.0, 1);
        assert!(hits > 0.98 && busiest >= 1.0, "{hits} {busiest}");
    }

    #[test]
    fn more_room_finds_more_and_frequent_agents_are_found_with_little() {
        let rates: Vec<f64> =
            [0.01, 0.1, 0.5].map(|share| Placement::new(1_000, 2).hit_rate(share, 1).0).into();
        assert!(rates.is_sorted() && rates[0] > 0.1 && rates[2] > 0.8, "{rates:?}");
    }

    #[test]
    fn twice_the_memories_need_twice_of_everything() {
        let (figures, workload) = (Figures::default(), Workload::default());
        let (one, two) = (need(1e8, &figures, &workload, [0.5; 2]), need(2e8, &figures, &workload, [0.5; 2]));
        assert_eq!(two.agents, 2.0 * one.agents);
        assert!((two.machines[1] / one.machines[1] - 2.0).abs() < 1e-9);
        assert!((two.requests / one.requests - 2.0).abs() < 1e-9);
        // By hand: 10,000 agents, a tenth open, each with 2.5 MB and 92 kB.
        assert_eq!(one.machines[1].round(), 2_592_000_000.0);
    }

    #[test]
    fn a_database_has_what_is_in_warm_and_is_asked_by_recalls_and_stores() {
        let figures = Figures { row: 1e3, shared: [0.01, 0.02], ..Figures::default() };
        let workload = Workload { peak: 1.0, ..Workload::default() };
        let need = shared_need(8.64e8, &figures, &workload);
        // By hand: 86,400 agents, so 200 recalls and 100 stores a second, and a fifth of
        // all memories in WARM.
        assert_eq!((need.rows, need.statements), (1.728e8, 300.0));
        assert_eq!(need.servers.map(f64::round), [4.0, 1.728e11, 1.728e11]);
        // Half of 32 GB is planned with.
        assert_eq!(need.count, 11.0);
    }
}
