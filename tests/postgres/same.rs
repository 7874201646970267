//! WARM in PostgreSQL gives the same results as WARM in this process.

use std::path::Path;

use fastrand::Rng;
use mnemocore::hdv::Hypervector;
use mnemocore::{Config, Engine, MemoryId, Method, Namespace, NewMemory, Query, Recall, TierKind, Timestamp};
use tempfile::TempDir;

use super::common::tiny;
use super::server::{QUICK, Server, open, shared};

/// The vocabulary of the memories: few words, so that many memories share some.
const WORDS: [&str; 24] = [
    "harbour", "lantern", "violin", "meadow", "glacier", "orchard", "compass", "kettle", "sparrow",
    "granite", "velvet", "thunder", "pepper", "saddle", "marble", "willow", "anchor", "candle", "falcon",
    "bridge", "copper", "ribbon", "tunnel", "walnut",
];

fn config() -> Config {
    tiny().remote(QUICK).hot_capacity(5).warm_capacity(40)
}

fn words(random: &mut Rng, count: usize) -> String {
    (0..count).map(|_| WORDS[random.usize(..WORDS.len())]).collect::<Vec<_>>().join(" ")
}

fn namespaces() -> [Namespace; 2] {
    ["ada", "bob \0 \"x\""].map(|name| Namespace::new(name).unwrap())
}

/// A vector near one of a few centers, so that some memories are alike.
fn vector(random: &mut Rng, config: &Config) -> Hypervector {
    let mut words = Hypervector::random(config.dimension, random.u64(..6)).words().to_vec();
    words[random.usize(..8)] ^= random.u64(..);
    Hypervector::from_words(words).unwrap()
}

fn memory(random: &mut Rng, config: &Config, number: i64) -> NewMemory {
    let count = random.usize(1..9);
    let memory = NewMemory::new(words(random, count))
        .namespace(random.choice(namespaces()).unwrap())
        .metadata("kind", random.choice(["plan", "fact", "a \0 b"]).unwrap())
        .importance(random.u32(1..4) as f32)
        .created(Timestamp(number * 1_000));
    if random.u8(..4) == 0 { memory.vector(vector(random, config)) } else { memory }
}

fn query(random: &mut Rng, config: &Config) -> Query {
    let count = random.usize(1..6);
    let query = match random.u8(..4) {
        0 => Query::vector(vector(random, config)),
        1 => Query::like(vector(random, config)),
        _ => Query::text(words(random, count)),
    };
    let query = query
        .namespace(random.choice(namespaces()).unwrap())
        .limit(random.usize(1..30))
        .method(random.choice([Method::Indexed, Method::Exact]).unwrap())
        .touch(random.bool());
    let query = if random.u8(..3) == 0 { query.metadata("kind", "plan") } else { query };
    if random.u8(..3) == 0 { query.created(Timestamp(5_000)..Timestamp(60_000)) } else { query }
}

/// Two engines that get the same operations.
struct Pair<'a> {
    config: Config,
    folders: [&'a Path; 2],
    server: &'a Server,
    engines: Option<[Engine; 2]>,
}

impl<'a> Pair<'a> {
    fn new(config: Config, folders: [&'a Path; 2], server: &'a Server) -> Self {
        let mut pair = Self { config, folders, server, engines: None };
        pair.reopen();
        pair
    }

    fn reopen(&mut self) {
        self.engines.take().into_iter().flatten().for_each(|engine| engine.close().unwrap());
        let [local, there] = self.folders;
        self.engines = Some([
            Engine::open(local, self.config.clone().warm(mnemocore::WarmBackend::Local)).unwrap(),
            open(there, &self.config, &self.server.connection()).unwrap(),
        ]);
    }

    fn both<T: PartialEq + std::fmt::Debug>(&self, act: impl Fn(&Engine) -> T) -> T {
        let [local, there] = self.engines.as_ref().unwrap();
        let expected = act(local);
        assert_eq!(act(there), expected);
        expected
    }

    fn ask(&self, query: &Query) -> Recall {
        let [local, there] =
            self.engines.as_ref().unwrap().each_ref().map(|engine| engine.recall(query).unwrap());
        let bits = |recall: &Recall| recall.hits.iter().map(|hit| hit.score.to_bits()).collect::<Vec<_>>();
        assert_eq!((&there, bits(&there)), (&local, bits(&local)), "{query:?}");
        there
    }
}

fn run(seed: u64, server: &Server) {
    let (local, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = Rng::with_seed(seed);
    let mut pair = Pair::new(config(), [local.path(), there.path()], server);
    let (mut ids, mut number): (Vec<MemoryId>, i64) = (Vec::new(), 0);
    let mut found = [0; 3];
    for _ in 0..60 {
        match random.u8(..100) {
            0..45 => {
                let count = random.i64(1..12);
                let config = &pair.config;
                let some: Vec<NewMemory> =
                    (0..count).map(|at| memory(&mut random, config, number + at)).collect();
                number += count;
                let stored = pair.both(|engine| engine.store_batch(some.clone()).unwrap());
                ids.extend(stored.iter().map(MemoryId::from));
            }
            45..80 => {
                let recall = pair.ask(&query(&mut random, &pair.config));
                recall.hits.iter().for_each(|hit| found[hit.memory.tier as usize] += 1);
            }
            80..90 if !ids.is_empty() => {
                let some: Vec<MemoryId> =
                    (0..random.usize(1..4)).map(|_| ids[random.usize(..ids.len())]).collect();
                pair.both(|engine| engine.forget_batch(&some).unwrap());
                // Dead rows count in the statistics until they are merged or deleted.
                pair.both(|engine| engine.consolidate_at(Timestamp(number * 1_000)).map(drop).unwrap());
            }
            90..97 => {
                let later = Timestamp(number * 1_000 + random.i64(0..200) * 86_400_000);
                pair.both(|engine| {
                    engine.consolidate_at(later).map(|moved| (moved.promoted, moved.demoted)).unwrap()
                });
            }
            _ => pair.reopen(),
        }
        pair.both(|engine| engine.stats().memories);
    }
    assert!(found[TierKind::Warm as usize] > 0, "nothing was found in WARM");
}

/// Texts whose words are rarer the later they come in the alphabet, as in a language.
fn text(random: &mut Rng) -> String {
    let word = |random: &mut Rng| format!("w{}x", (2_000.0_f64.powf(random.f64())) as u32);
    (0..random.usize(6..14)).map(|_| word(random)).collect::<Vec<_>>().join(" ")
}

/// The memories of an engine whose WARM is in the database, and one that has them in HOT.
fn with_many(server: &Server, memories: &[NewMemory]) -> (TempDir, [Engine; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let warm = config().hot_capacity(0).warm_capacity(usize::MAX);
    let warm = open(folder.path(), &warm, &server.connection()).unwrap();
    let hot = Engine::in_memory(tiny().hot_capacity(usize::MAX)).unwrap();
    for engine in [&warm, &hot] {
        engine.store_batch(memories.to_vec()).unwrap();
    }
    (folder, [warm, hot])
}

/// Ids and scores.
fn found(engine: &Engine, query: &Query) -> Vec<(MemoryId, f32)> {
    engine.recall(query).unwrap().hits.into_iter().map(|hit| (hit.memory.id, hit.score)).collect()
}

/// An upper bound says whether some row was left out that is better than the worst hit.
#[test]
fn the_best_of_many_texts_are_found_in_two_round_trips() {
    let Some(server) = shared() else { return };
    let mut random = Rng::with_seed(7);
    let texts: Vec<String> = (0..6_000).map(|_| text(&mut random)).collect();
    let memories = texts.iter().zip(0..).map(|(text, number)| {
        let memory = NewMemory::new(text.as_str()).created(Timestamp(number));
        if number % 40 == 0 { memory.metadata("kind", "rare") } else { memory }
    });
    let (_folder, [warm, hot]) = with_many(server, &memories.collect::<Vec<_>>());
    let filters: [fn(Query) -> Query; 3] = [
        |query| query,
        |query| query.metadata("kind", "rare"),
        |query| query.created(Timestamp(1_000)..Timestamp(1_100)),
    ];
    let requests = || warm.traffic(TierKind::Warm).requests;
    for filter in filters {
        let (mut second, mut asked) = (0, 0);
        for number in (0..6_000).step_by(100) {
            let words: Vec<&str> = texts[number].split(' ').step_by(2).collect();
            let query = filter(Query::text(words.join(" ")).limit(10).touch(false));
            let before = requests();
            let in_database = found(&warm, &query);
            let trips = requests() - before;
            assert!((1..=2).contains(&trips), "{trips} round trips for {query:?}");
            second += trips - 1;
            asked += 1;
            assert_eq!(in_database, found(&hot, &query), "{query:?}");
            assert_eq!(in_database, found(&warm, &query.method(Method::Exact)));
        }
        assert!(second < asked, "{second} of {asked} recalls took a second round trip");
    }
}

/// Terms with too many rows are searched for in pairs, and no memory may have both.
#[test]
fn terms_that_are_frequent_and_seldom_together_are_found_all_the_same() {
    let Some(server) = shared() else { return };
    let each = |word: &'static str| (0..2_000).map(move |number| NewMemory::new(format!("{word} w{number}")));
    let memories: Vec<NewMemory> = each("harbour").chain(each("lantern")).collect();
    let (_folder, [engine, hot]) = with_many(server, &memories);
    let requests = || engine.traffic(TierKind::Warm).requests;
    for together in 0..12 {
        for text in ["harbour lantern", "harbour", "violin compass"] {
            let query = Query::text(text).limit(10).touch(false);
            let before = requests();
            let hits = found(&engine, &query);
            let trips = match text {
                "harbour lantern" if together < 10 => 2,
                "violin compass" => 0,
                _ => 1,
            };
            assert_eq!(requests() - before, trips, "{together} together, {text}");
            assert_eq!(hits, found(&hot, &query), "{together} together, {text}");
        }
        for engine in [&engine, &hot] {
            engine.store(format!("harbour lantern {together}")).unwrap();
        }
    }
}

/// Hits in HOT say nothing about memories in WARM.
#[test]
fn a_rarer_term_is_found_in_warm_however_many_hits_there_are_in_hot() {
    let Some(server) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = config().hot_capacity(16).warm_capacity(usize::MAX);
    let engine = open(folder.path(), &config, &server.connection()).unwrap();
    let long = WORDS[4..20].join(" ");
    let rare = (0..2_000).map(|number| NewMemory::new(format!("harbour w{number}")));
    let frequent = (0..4_000).map(|number| NewMemory::new(format!("lantern {long} w{number}")));
    engine.store_batch(rare.chain(frequent).collect()).unwrap();
    let recall = engine.recall(Query::text("harbour lantern").limit(10).touch(false)).unwrap();
    let tiers = |tier| recall.hits.iter().filter(|hit| hit.memory.tier == tier).count();
    assert_eq!(tiers(TierKind::Warm), 10, "{recall:?}");
    assert!(recall.hits.iter().all(|hit| hit.memory.text.starts_with("harbour")));
}

#[test]
fn the_same_operations_have_the_same_results_as_with_local_warm() {
    let Some(server) = shared() else { return };
    let sequences = std::env::var("MNEMO_SEQUENCES").map_or(8, |count| count.parse().unwrap());
    (0..sequences).for_each(|seed| run(seed, server));
}
