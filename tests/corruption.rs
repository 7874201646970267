//! Damages every file of a store in turn: cuts it at many places, flips a byte, removes it,
//! replaces it by another store's, or exchanges it for an older one. The store must open, or be
//! refused with an error that names a remedy that works.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use common::{copy, everything, files, flip, note, tiny, word};
use mnemocore::{Config, Engine, Error, MemoryId, Namespace, NewMemory, Query, Repair};

/// The numbers of places in each file at which it is cut, and at which a byte is flipped.
const CUTS: usize = 13;
const FLIPS: usize = 48;

/// The longest run of records in a block, or in a batch of a checkpoint: it is closed at 4 KB, and each
/// record is longer than a tenth of that.
const BLOCK: usize = 11;

/// Memories that are in no file after a consolidation: fewer than eight of each namespace, in HOT and in
/// WARM.
const UNPACKED: usize = 28;

/// Even smaller tiers, because each case restores them.
fn small() -> Config {
    tiny().hot_capacity(4).warm_capacity(10)
}

/// The expected contents of a store.
#[derive(Clone, Default)]
struct Truth {
    texts: BTreeMap<MemoryId, (Namespace, String)>,
    forgotten: BTreeMap<MemoryId, String>,
    /// Memories stored or forgotten since the store was last closed. Only the journal has them.
    journaled: BTreeSet<MemoryId>,
}

/// A store that is filled in sessions, and its expected contents.
struct Story {
    name: &'static str,
    random: fastrand::Rng,
    told: usize,
    truth: Truth,
}

impl Story {
    fn new(name: &'static str) -> Self {
        Self { name, random: fastrand::Rng::with_seed(7), told: 0, truth: Truth::default() }
    }

    fn memory(&mut self) -> (NewMemory, Namespace, String) {
        self.told += 1;
        let text = format!("{} of {}", note(&word(self.told)), self.name);
        let namespace = if self.told.is_multiple_of(3) {
            Namespace::new("second").unwrap()
        } else {
            Namespace::default()
        };
        // Metadata that makes a record long; a longer text would take longer to encode.
        let filler: String = (0..70).map(|_| format!("{:06x}", self.random.u32(..1 << 24))).collect();
        let memory = NewMemory::new(text.as_str()).namespace(namespace.clone()).metadata("filler", filler);
        let embedding = (0..16).map(|_| self.random.f32() - 0.5).collect();
        let memory = if self.told.is_multiple_of(4) { memory.embedding(embedding) } else { memory };
        (memory, namespace, text)
    }

    fn store(&mut self, engine: &Engine, count: usize) {
        for _ in 0..count {
            let (memory, namespace, text) = self.memory();
            let id = engine.store(memory).unwrap().id;
            self.truth.texts.insert(id, (namespace, text));
            self.truth.journaled.insert(id);
        }
    }

    /// Forgets one of about `every`.
    fn forget(&mut self, engine: &Engine, every: usize) {
        let ids: Vec<MemoryId> = self.truth.texts.keys().copied().collect();
        for id in ids.into_iter().skip(self.told % every).step_by(every) {
            assert!(engine.forget(id).unwrap());
            let (_, text) = self.truth.texts.remove(&id).unwrap();
            self.truth.forgotten.insert(id, text);
            self.truth.journaled.insert(id);
        }
    }

    /// One session of an engine, which is still open then.
    fn session(&mut self, folder: &Path, count: usize) -> Engine {
        let engine = Engine::open(folder, small()).unwrap();
        self.truth.journaled.clear();
        self.store(&engine, count);
        engine.recall(Query::text("journal").limit(5)).unwrap();
        engine.consolidate().unwrap();
        self.forget(&engine, 9);
        self.store(&engine, 4);
        engine
    }
}

/// Copies of one store: closed, killed, and each at an earlier moment.
struct Copies {
    closed: PathBuf,
    killed: PathBuf,
    closed_before: PathBuf,
    killed_before: PathBuf,
    /// Killed before it was closed for the last time.
    killed_long_before: PathBuf,
    closed_truth: Truth,
    killed_truth: Truth,
}

impl Copies {
    fn make(folder: &Path, name: &'static str) -> Self {
        let at = |what: &str| folder.join(format!("{name}-{what}"));
        let (store, mut story) = (at("store"), Story::new(name));
        drop(story.session(&store, 30));
        copy(&store, &at("closed-before"));
        let engine = story.session(&store, 12);
        copy(&store, &at("killed-long-before"));
        drop(engine);
        drop(story.session(&store, 12));
        copy(&store, &at("closed"));
        let closed_truth = story.truth.clone();
        let engine = story.session(&store, 8);
        copy(&store, &at("killed-before"));
        story.store(&engine, 6);
        story.forget(&engine, 11);
        story.store(&engine, 5);
        copy(&store, &at("killed"));
        Self {
            closed: at("closed"),
            killed: at("killed"),
            closed_before: at("closed-before"),
            killed_before: at("killed-before"),
            killed_long_before: at("killed-long-before"),
            closed_truth,
            killed_truth: story.truth,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Lock,
    Identity,
    Journal,
    Reserve,
    Segment,
}

fn kind(file: &Path) -> Kind {
    let name = file.file_name().unwrap().to_str().unwrap();
    match name {
        "lock" => Kind::Lock,
        "identity" => Kind::Identity,
        "reserve" => Kind::Reserve,
        _ if name.ends_with(".journal") => Kind::Journal,
        _ if name.ends_with(".seg") => Kind::Segment,
        _ => panic!("{} is of no kind", file.display()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Removed,
    Cut(usize),
    Flipped(usize),
    /// Exchanged for a file of another store.
    Foreign,
    /// Exchanged for an earlier copy of the same file.
    Older,
}

impl Damage {
    fn name(self) -> &'static str {
        match self {
            Damage::Removed => "removed",
            Damage::Cut(_) => "cut",
            Damage::Flipped(_) => "flipped",
            Damage::Foreign => "foreign",
            Damage::Older => "older",
        }
    }
}

/// Returns the damages for a file of this length; removal comes first.
fn damages(length: usize, exchanges: bool) -> Vec<Damage> {
    if exchanges {
        return vec![Damage::Foreign, Damage::Older];
    }
    let places = |count: usize| (0..count.min(length)).map(move |place| place * length / count.min(length));
    let mut cuts: BTreeSet<usize> = places(CUTS).collect();
    cuts.extend(length.checked_sub(1));
    let mut flips: BTreeSet<usize> = places(FLIPS).collect();
    flips.extend(length.checked_sub(1));
    let cuts = cuts.into_iter().map(Damage::Cut);
    let flips = flips.into_iter().map(Damage::Flipped);
    [Damage::Removed, Damage::Foreign, Damage::Older].into_iter().chain(cuts).chain(flips).collect()
}

/// Damages the file; returns `false` if that changes nothing.
fn inflict(damage: Damage, file: &Path, relative: &Path, foreign: &Path, older: &Path) -> bool {
    let before = fs::read(file).unwrap();
    match damage {
        Damage::Removed => fs::remove_file(file).unwrap(),
        Damage::Cut(at) => OpenOptions::new().write(true).open(file).unwrap().set_len(at as u64).unwrap(),
        Damage::Flipped(at) => flip(file, at),
        Damage::Foreign => exchange(file, relative, foreign),
        Damage::Older => exchange(file, relative, older),
    }
    fs::read(file).ok() != Some(before)
}

/// Replaces the file by the same file of another copy, or by one of the same kind if that copy has
/// none of the name.
fn exchange(file: &Path, relative: &Path, other: &Path) {
    let same = other.join(relative);
    let alike = || files(other).into_iter().rfind(|file| kind(file) == kind(relative));
    if let Some(twin) = if same.exists() { Some(same) } else { alike() } {
        fs::copy(twin, file).unwrap();
    }
}

/// Outcomes of the cases of one kind of file and one damage.
#[derive(Default)]
struct Tally {
    whole: usize,
    less: usize,
    refused: usize,
    lost: usize,
    back: usize,
}

/// One store under damage.
struct Sweep<'a> {
    name: &'static str,
    pristine: &'a Path,
    foreign: &'a Path,
    older: &'a Path,
    truth: &'a Truth,
    /// Whether files are only exchanged.
    exchanges: bool,
    scratch: PathBuf,
    table: BTreeMap<(Kind, &'static str), Tally>,
    cases: usize,
    /// Flips in segments that cost more than a block.
    firsts: usize,
}

impl Sweep<'_> {
    fn run(&mut self) {
        copy(self.pristine, &self.scratch);
        for file in files(self.pristine) {
            let relative = file.strip_prefix(self.pristine).unwrap().to_path_buf();
            let length = fs::metadata(&file).unwrap().len() as usize;
            // Memories lost after removal of the file: the most that lesser damage may lose.
            let mut gone = BTreeSet::new();
            for damage in damages(length, self.exchanges) {
                if inflict(damage, &self.scratch.join(&relative), &relative, self.foreign, self.older) {
                    self.case(&relative, damage, &mut gone);
                    fs::remove_dir_all(&self.scratch).unwrap();
                    copy(self.pristine, &self.scratch);
                }
            }
        }
    }

    fn case(&mut self, relative: &Path, damage: Damage, gone: &mut BTreeSet<MemoryId>) {
        self.cases += 1;
        let (kind, case) = (kind(relative), format!("{}, {damage:?}", relative.display()));
        let tally = self.table.entry((kind, damage.name())).or_default();
        let before = contents(&self.scratch);
        let (engine, repair) = match Engine::open(&self.scratch, small()) {
            Ok(engine) => (engine, None),
            Err(error) => {
                tally.refused += 1;
                assert!(contents(&self.scratch) == before, "{case}: the refusal changes the store");
                check_error(&error, &self.scratch, &case);
                let repair =
                    Engine::repair(&self.scratch, small()).unwrap_or_else(|error| panic!("{case}: {error}"));
                let engine =
                    Engine::open(&self.scratch, small()).unwrap_or_else(|error| panic!("{case}: {error}"));
                (engine, Some(repair))
            }
        };
        let (lost, back) = check(&engine, self.truth, &case);
        check_loss(kind, damage, &lost, &back, self.truth, gone, &case);
        match &repair {
            Some(repair) => check_repair(repair, &engine, self.truth, &lost, &case),
            None if lost.is_empty() && back.is_empty() => tally.whole += 1,
            None => tally.less += 1,
        }
        tally.lost = tally.lost.max(lost.len());
        tally.back = tally.back.max(back.len());
        if kind == Kind::Segment && lost.len() > BLOCK && matches!(damage, Damage::Flipped(_)) {
            self.firsts += 1;
        }
        if kind == Kind::Journal
            && matches!(damage, Damage::Flipped(_))
            && repair.is_none()
            && !lost.is_empty()
        {
            assert!(
                engine.repaired_files().iter().any(|file| file.ends_with(relative)),
                "{case}: {:?}",
                engine.repaired_files()
            );
        }
        if damage == Damage::Removed {
            *gone = lost;
        }
        if repair.is_some() {
            let id = engine.store(note("later")).unwrap().id;
            let given = self.truth.texts.contains_key(&id) || self.truth.forgotten.contains_key(&id);
            assert!(!given, "{case}: {id} is given again");
        }
    }
}

/// All files, also empty ones.
fn contents(store: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(store).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The error is typed, names a file, and says what to do.
fn check_error(error: &Error, folder: &Path, case: &str) {
    let message = error.to_string();
    let Error::Corrupt { path, .. } = error else { panic!("{case}: {error:?}") };
    assert!(
        path.starts_with(folder.join("log")) || path.starts_with(folder.join("segments")),
        "{case}: {message}"
    );
    assert!(message.contains("Engine::repair"), "{case}: {message}");
}

/// Reads everything in both ways. Returns the ids of missing memories, and those of forgotten
/// memories that are back. Fails at a text that is not the memory's own.
fn check(engine: &Engine, truth: &Truth, case: &str) -> (BTreeSet<MemoryId>, BTreeSet<MemoryId>) {
    let (mut lost, mut back, mut read) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    let ids = truth.texts.keys().chain(truth.forgotten.keys());
    let known = |id: &MemoryId| truth.texts.get(id).map(|(_, text)| text).or_else(|| truth.forgotten.get(id));
    for &id in ids {
        match engine.get(id).unwrap_or_else(|error| panic!("{case}: {id}: {error}")) {
            None => drop(truth.texts.contains_key(&id).then(|| lost.insert(id))),
            Some(memory) => {
                assert_eq!(Some(&memory.text), known(&id), "{case}: {id}");
                if let Some((namespace, _)) = truth.texts.get(&id) {
                    let name = memory.namespace.as_str();
                    assert!(
                        memory.namespace == *namespace || name.starts_with("recovered-"),
                        "{case}: {id}: {name}"
                    );
                } else {
                    back.insert(id);
                }
                read.insert(id, memory.text);
            }
        }
    }
    let spaces = engine.stats().namespaces;
    let recalled: BTreeMap<MemoryId, String> =
        spaces.iter().flat_map(|(namespace, _)| everything(engine, namespace)).collect();
    assert_eq!(recalled, read, "{case}: what is recalled is not what is read");
    assert_eq!(engine.stats().total(), read.len(), "{case}");
    (lost, back)
}

/// Fails if anything is lost besides the content of the damaged part, or if a forgotten memory is
/// back without need.
///
/// The journal alone holds what is in no segment, and knows which memories of segments were forgotten. A
/// kill or a power loss at an earlier moment leaves the same files as a journal that is cut behind its
/// checkpoint or replaced by an older one, so nothing can tell these cases apart.
fn check_loss(
    kind: Kind,
    damage: Damage,
    lost: &BTreeSet<MemoryId>,
    back: &BTreeSet<MemoryId>,
    truth: &Truth,
    gone: &BTreeSet<MemoryId>,
    case: &str,
) {
    let in_journal = truth.journaled.len() + UNPACKED;
    let most = match (kind, damage) {
        (Kind::Journal, Damage::Flipped(_)) if lost.len() <= BLOCK => BLOCK,
        (Kind::Journal, _) => in_journal,
        (Kind::Segment, _) => usize::MAX,
        _ => 0,
    };
    assert!(lost.len() <= most, "{case}: lost {lost:?}, at most {most} expected");
    let lesser = matches!(damage, Damage::Cut(_) | Damage::Flipped(_));
    let may_go = |id: &MemoryId| gone.contains(id) || kind == Kind::Journal && truth.journaled.contains(id);
    assert!(!lesser || lost.iter().all(may_go), "{case}: lost {lost:?}, without the file {gone:?}");
    assert!(back.is_empty() || kind == Kind::Journal, "{case}: {back:?} are back");
}

fn check_repair(repair: &Repair, engine: &Engine, truth: &Truth, lost: &BTreeSet<MemoryId>, case: &str) {
    assert_eq!(repair.kept, engine.stats().total(), "{case}");
    assert!(!repair.damaged.is_empty(), "{case}: nothing is reported as damaged");
    assert!(repair.set_aside.is_dir(), "{case}");
    let named: BTreeSet<MemoryId> = repair.lost.iter().copied().collect();
    assert!(named.is_subset(lost), "{case}: {named:?} are reported as lost, {lost:?} are");
    assert!(lost.is_empty() || !repair.complete, "{case}: {lost:?} are lost, and it is said to be complete");
    assert!(repair.without_vector.iter().all(|id| truth.texts.contains_key(id)), "{case}");
}

const WITH_OPEN: &str = "closed, with files of open ones";
const WITH_CLOSED: &str = "killed, with files of closed ones";

fn print(sweep: &Sweep<'_>) {
    println!("\n{}: {} cases", sweep.name, sweep.cases);
    println!(
        "| file | damage | opened whole | opened with less | refused and repaired | most lost | most back |"
    );
    println!("|---|---|---|---|---|---|---|");
    for ((kind, damage), tally) in &sweep.table {
        let Tally { whole, less, refused, lost, back } = tally;
        println!("| {kind:?} | {damage} | {whole} | {less} | {refused} | {lost} | {back} |");
    }
}

#[test]
fn damage_to_any_file_costs_what_it_hit_and_never_gives_a_wrong_text() {
    // Thousands of stores are opened and closed here, and none has to survive a power loss. In
    // memory, if available, this takes a tenth of the time.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let (own, other) = (Copies::make(folder.path(), "own"), Copies::make(folder.path(), "other"));
    let (a, b) = (&own, &other);
    // Store, another one of the kind, an older one, and whether files are
    // exchanged only.
    let plans = [
        ("closed", &a.closed, &b.closed, &a.closed_before, &a.closed_truth, false),
        // A journal that is not empty is the worst that can get into a closed store.
        (WITH_OPEN, &a.closed, &b.killed, &a.killed_long_before, &a.closed_truth, true),
        ("killed", &a.killed, &b.killed, &a.killed_before, &a.killed_truth, false),
        (WITH_CLOSED, &a.killed, &b.closed, &a.closed_before, &a.killed_truth, true),
    ];
    let done: Vec<Sweep<'_>> = std::thread::scope(|scope| {
        let running = plans.map(|(name, pristine, foreign, older, truth, exchanges)| {
            let (scratch, table) = (folder.path().join(name), BTreeMap::new());
            let mut sweep = Sweep {
                name,
                pristine,
                foreign,
                older,
                truth,
                exchanges,
                scratch,
                table,
                cases: 0,
                firsts: 0,
            };
            scope.spawn(move || {
                sweep.run();
                sweep
            })
        });
        running.into_iter().map(|sweep| sweep.join().expect("no case failed")).collect()
    });
    done.iter().for_each(print);
    let cases: usize = done.iter().map(|sweep| sweep.cases).sum();
    let firsts: usize = done.iter().map(|sweep| sweep.firsts).sum();
    println!("\n{cases} cases in all; {firsts} flipped bytes cost more than a block");
    assert!(cases >= 500 && firsts <= cases / 50, "{cases} cases, {firsts}");
}
