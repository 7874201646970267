//! Compares WARM in PostgreSQL with pgvector alone, and with `COPY` and `INSERT`: the same
//! memories, queries and server, in turns.
//!
//! After the number of memories comes `texts`, or `vectors` for memories that come with their own
//! vectors. After that comes the number of other stores of this size in the same table.
//!
//! ```sh
//! MNEMO_POSTGRES="host=localhost dbname=empty" \
//!     cargo run --release --features postgres --example postgres_speed -- 100000
//! ```

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, TryStreamExt};
use mnemocore::encoder::Document;
use mnemocore::{Config, Engine, MemoryId, Method, NewMemory, Query, TierKind, WarmBackend};
use mnemocore_suite::fixture::{Fixture, SEED, new_texts};
use mnemocore_suite::workload::partial_query;
use tokio::runtime::Runtime;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, Row, Statement};

type Failure = Box<dyn Error>;

const QUERIES: usize = 300;
const LIMIT: usize = 10;
/// Neighbors that pgvector's index visits: its default, then as many as WARM asks for if memories
/// come with vectors, then twice as many.
const SEARCHES: [u32; 3] = [40, 100, 200];
const BATCH: usize = 100;
const BATCHES: usize = 60;
/// Vectors that are copied by one statement.
const COPIED_TOGETHER: usize = 1_000;
/// Batches between the one that is stored and the one whose rows are copied. Directly afterwards,
/// the rows for `COPY` would still be in the processor's cache.
const APART: usize = 10;
/// The stores that copied rows are put in.
const COPIED: i64 = 1;
const INSERTED: i64 = 2;
/// Of WARM's table, without the store.
const COLUMNS: &str =
    "namespace, seq, id, created, supplied, terms, counts, length, metadata, sketch, vector, record";

fn main() -> Result<(), Failure> {
    let memories = std::env::args().nth(1).map_or(Ok(10_000), |count| count.parse())?;
    let vectors = match std::env::args().nth(2).as_deref() {
        None | Some("texts") => false,
        Some("vectors") => true,
        Some(other) => return Err(format!("expected `texts` or `vectors`, found {other}").into()),
    };
    let others = std::env::args().nth(3).map_or(Ok(0), |count| count.parse())?;
    if std::env::var_os("MNEMO_POSTGRES").is_none() {
        return Err("set MNEMO_POSTGRES to the connection string of an empty database".into());
    }
    let runtime = Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let fixture = Fixture { vectors, ..Fixture::new(TierKind::Warm, memories) };
    let mut beside = Beside::new(runtime)?;
    beside.ours = fill(fixture, others, folder.path(), &beside)?;
    let opened = Instant::now();
    let engine = Engine::open(folder.path(), config(fixture))?;
    println!("opened in {:.2?}", opened.elapsed());
    beside.copy_vectors(&engine, fixture)?;
    recalls(&engine, fixture, &beside)?;
    stores(&engine, &beside)
}

/// The settings of `fixture`, with WARM in the database.
fn config(fixture: Fixture) -> Config {
    fixture.config().warm(WarmBackend::Postgres)
}

/// Fills WARM and returns the number of the measured store. Creates the index of vectors at the
/// end, which takes a quarter of the time.
fn fill(fixture: Fixture, others: u64, folder: &Path, beside: &Beside) -> Result<i64, Failure> {
    let engine = Engine::open(folder, config(fixture))?;
    let stores = beside.runtime.block_on(beside.client.query("SELECT store FROM mnemo_stores", &[]))?;
    let [ours] = &stores[..] else {
        return Err(format!("expected an empty database, found {} stores", stores.len() - 1).into());
    };
    let index: String = beside.runtime.block_on(async {
        let definition = "SELECT pg_get_indexdef('mnemo_warm_16384_vectors'::regclass)";
        let row = beside.client.query_one(definition, &[]).await?;
        beside.client.batch_execute("DROP INDEX mnemo_warm_16384_vectors").await?;
        row.try_get(0)
    })?;
    let filled = Instant::now();
    fixture.fill_in(&engine)?;
    println!("{} memories stored in {:.1?}", fixture.memories, filled.elapsed());
    let filled = Instant::now();
    for other in 1..=others {
        let (fixture, folder) = (Fixture { seed: SEED + other, ..fixture }, tempfile::tempdir()?);
        fixture.fill_in(&Engine::open(folder.path(), config(fixture))?)?;
    }
    println!("{others} more stores filled in {:.1?}", filled.elapsed());
    let made = Instant::now();
    beside.run(&index)?;
    println!("their vectors' index made in {:.1?}", made.elapsed());
    Ok(ours.try_get(0)?)
}

fn connect(runtime: &Runtime) -> Result<Client, Failure> {
    let text = std::env::var("MNEMO_POSTGRES")?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    })
}

/// Other sessions of the database.
struct Beside {
    runtime: Runtime,
    client: Client,
    /// The store that is measured.
    ours: i64,
    /// A session for each of [`SEARCHES`].
    searching: Vec<(Client, Statement)>,
}

impl Beside {
    fn new(runtime: Runtime) -> Result<Self, Failure> {
        let client = connect(&runtime)?;
        let beside = Self { runtime, client, ours: 0, searching: Vec::new() };
        beside.run("SET maintenance_work_mem = '4GB'; SET max_parallel_maintenance_workers = 2")?;
        Ok(beside)
    }

    /// Makes a table with vectors and our records alone, stored as in WARM, and its index. WARM keeps
    /// only supplied vectors, so the engine derives those of texts.
    fn copy_vectors(&mut self, engine: &Engine, fixture: Fixture) -> Result<(), Failure> {
        let made = Instant::now();
        self.run(
            "CREATE TABLE alone (id bigint PRIMARY KEY, vector bit(16384), record bytea)
                 WITH (toast_tuple_target = 8160);
             ALTER TABLE alone ALTER COLUMN vector SET STORAGE PLAIN",
        )?;
        let insert = "INSERT INTO alone SELECT id, given.vector, record \
                      FROM unnest($1::bigint[], $2::varbit[]) AS given (id, vector) \
                      JOIN mnemo_warm_16384 USING (id) WHERE store = $3 AND namespace = \
                        (SELECT min(namespace) FROM mnemo_warm_16384 WHERE store = $3)";
        // Identifiers count from 0.
        let all: Vec<i64> = (0..i64::try_from(fixture.memories)?).collect();
        for ids in all.chunks(COPIED_TOGETHER) {
            let vectors = ids.iter().map(|&id| {
                let vector = engine.vector(MemoryId(id as u64))?.ok_or("a memory that is not there")?;
                Raw::bits(vector.words())
            });
            let vectors = vectors.collect::<Result<Vec<Raw>, Failure>>()?;
            let copied = self.runtime.block_on(self.client.execute(insert, &[&ids, &vectors, &self.ours]))?;
            complete(copied, ids.len())?;
        }
        self.run("CREATE INDEX ON alone USING hnsw (vector bit_hamming_ops)")?;
        println!("pgvector's own table and its index made in {:.1?}", made.elapsed());
        self.run("VACUUM ANALYZE")?;
        for search in SEARCHES {
            let client = connect(&self.runtime)?;
            let statement = self.runtime.block_on(async {
                client.batch_execute(&format!("SET hnsw.ef_search = {search}")).await?;
                client.prepare("SELECT id, record FROM alone ORDER BY vector <~> $1 LIMIT 10").await
            })?;
            self.searching.push((client, statement));
        }
        Ok(())
    }

    /// The rows of memories, as those of another store.
    fn rows_of(&self, ids: &[MemoryId], store: i64) -> Result<String, Failure> {
        let (first, last) = (ids.first().ok_or("no ids")?, ids.last().ok_or("no ids")?);
        Ok(format!(
            "SELECT {store}::bigint, {COLUMNS} FROM mnemo_warm_16384 \
             WHERE id BETWEEN {first} AND {last} AND store = {}",
            self.ours
        ))
    }

    fn run(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }

    /// The ids that pgvector finds, in one of the sessions for it.
    fn nearest(
        &self,
        (client, statement): &(Client, Statement),
        bits: &Raw,
    ) -> Result<Vec<MemoryId>, Failure> {
        let rows = self.runtime.block_on(client.query(statement, &[bits]))?;
        rows.iter().map(|row| Ok(MemoryId(row.try_get::<_, i64>(0)? as u64))).collect()
    }

    /// Measures `COPY` of the rows of these memories, as they are in WARM, into the same table for
    /// another store.
    fn copy(&self, ids: &[MemoryId]) -> Result<Duration, Failure> {
        let out = format!("COPY ({}) TO STDOUT (FORMAT binary)", self.rows_of(ids, COPIED)?);
        let into = format!("COPY mnemo_warm_16384 (store, {COLUMNS}) FROM STDIN (FORMAT binary)");
        self.runtime.block_on(async {
            let rows: Vec<_> = self.client.copy_out(&out).await?.try_collect().await?;
            let rows = rows.concat();
            let started = Instant::now();
            let sink = self.client.copy_in::<_, std::io::Cursor<Vec<u8>>>(&into).await?;
            let mut sink = std::pin::pin!(sink);
            sink.send(std::io::Cursor::new(rows)).await?;
            complete(sink.finish().await?, ids.len())?;
            Ok(started.elapsed())
        })
    }

    /// Measures one `INSERT` of these rows, for yet another store.
    fn insert(&self, ids: &[MemoryId]) -> Result<Duration, Failure> {
        let columns = 1 + COLUMNS.split(',').count();
        let row = |row: usize| {
            let values = (1..=columns).map(|column| format!("${}", row * columns + column));
            format!("({})", values.collect::<Vec<_>>().join(","))
        };
        let rows = (0..ids.len()).map(row).collect::<Vec<_>>().join(",");
        let insert = format!("INSERT INTO mnemo_warm_16384 (store, {COLUMNS}) VALUES {rows}");
        self.runtime.block_on(async {
            let rows = self.client.query(&self.rows_of(ids, INSERTED)?, &[]).await?;
            let value = |row: &Row, column| row.try_get(column).map(|value: Option<Raw>| value);
            let values: Result<Vec<_>, _> =
                rows.iter().flat_map(|row| (0..columns).map(move |column| value(row, column))).collect();
            let values = values?;
            let statement = self.client.prepare(&insert).await?;
            let started = Instant::now();
            complete(self.client.execute_raw(&statement, &values).await?, ids.len())?;
            Ok(started.elapsed())
        })
    }
}

/// Checks that all rows were written.
fn complete(rows: u64, expected: usize) -> Result<(), Failure> {
    if rows == expected as u64 { Ok(()) } else { Err(format!("{rows} of {expected} rows came").into()) }
}

/// A value as it is sent, of whatever type.
#[derive(Debug)]
struct Raw(Vec<u8>);

impl Raw {
    /// A vector as PostgreSQL's `bit(n)`.
    fn bits(words: &[u64]) -> Result<Self, Failure> {
        let mut sent = i32::try_from(words.len() * 64)?.to_be_bytes().to_vec();
        words.iter().for_each(|word| sent.extend_from_slice(&word.to_le_bytes()));
        Ok(Self(sent))
    }
}

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_type: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_type: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Send + Sync>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_type: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A question, its vector for pgvector, the exact top ten, and the memory behind it.
type Asked = (Query, Raw, Vec<MemoryId>, MemoryId);

/// Recalls by text or vector, and pgvector with the vector of the same text.
fn recalls(engine: &Engine, fixture: Fixture, beside: &Beside) -> Result<(), Failure> {
    let mut asked = Vec::with_capacity(QUERIES);
    for source in fixture.sources(engine, QUERIES)? {
        let text = partial_query(&source.text, 0.6, source.id.0);
        let vector = engine.encoder().encode(&Document::new(&text).analyze()?)?;
        let bits = Raw::bits(vector.words())?;
        let query = if fixture.vectors { Query::vector(vector) } else { Query::text(&text) };
        let query = query.limit(LIMIT).touch(false);
        let exact = ids(engine, &query.clone().method(Method::Exact))?;
        asked.push((query, bits, exact, source.id));
    }
    for (session, search) in beside.searching.iter().zip(SEARCHES) {
        // A warm-up that loads the visited pages into memory.
        ask(engine, beside, session, &asked)?;
        let before = engine.traffic(TierKind::Warm).requests;
        let (ours, theirs) = ask(engine, beside, session, &asked)?;
        let requests = engine.traffic(TierKind::Warm).requests - before;
        let (ours, theirs) = (
            ours.print("recall from WARM in PostgreSQL"),
            theirs.print(&format!("pgvector alone, {search} neighbours")),
        );
        println!(
            "recall takes {:.2} times as long, and {:.2} round trips",
            ours.as_secs_f64() / theirs.as_secs_f64(),
            requests as f64 / asked.len() as f64,
        );
    }
    Ok(())
}

/// Asks all questions of the engine and of pgvector in one of its sessions, in turns. A second
/// session would find the pages of the first in the processor's cache.
fn ask(
    engine: &Engine,
    beside: &Beside,
    session: &(Client, Statement),
    asked: &[Asked],
) -> Result<(Found, Found), Failure> {
    let (mut ours, mut theirs) = (Found::default(), Found::default());
    for (query, bits, exact, source) in asked {
        let started = Instant::now();
        let found = ids(engine, query)?;
        ours.add(started.elapsed(), &found, exact, *source);
        let started = Instant::now();
        let found = beside.nearest(session, bits)?;
        theirs.add(started.elapsed(), &found, exact, *source);
    }
    Ok((ours, theirs))
}

fn ids(engine: &Engine, query: &Query) -> Result<Vec<MemoryId>, Failure> {
    Ok(engine.recall(query)?.hits.iter().map(|hit| hit.memory.id).collect())
}

/// The quality and the times of one kind of search.
#[derive(Default)]
struct Found {
    times: Vec<Duration>,
    shared: usize,
    sources: usize,
}

impl Found {
    fn add(&mut self, time: Duration, found: &[MemoryId], exact: &[MemoryId], source: MemoryId) {
        self.times.push(time);
        let found: HashSet<&MemoryId> = found.iter().collect();
        self.shared += exact.iter().filter(|id| found.contains(id)).count();
        self.sources += usize::from(found.contains(&source));
    }

    /// Prints the results and returns the median time.
    fn print(mut self, name: &str) -> Duration {
        self.times.sort_unstable();
        let count = self.times.len();
        let (middle, most) = (self.times[count / 2], self.times[count * 95 / 100]);
        let (shared, sources) =
            (self.shared as f64 / (count * LIMIT) as f64, self.sources as f64 / count as f64);
        println!(
            "{name}: P50 {middle:.2?}, P95 {most:.2?}, of the exact ten {shared:.3}, source found {sources:.3}"
        );
        middle
    }
}

/// Batches of new memories, and `COPY` and `INSERT` of the same rows.
fn stores(engine: &Engine, beside: &Beside) -> Result<(), Failure> {
    let texts = new_texts(SEED, BATCH * (BATCHES + 2 * APART));
    let (mut stored, mut times) = (Vec::new(), [(); 3].map(|()| Vec::with_capacity(BATCHES)));
    for batch in texts.chunks(BATCH) {
        let batch = batch.iter().map(|text| NewMemory::new(text.as_str())).collect();
        let started = Instant::now();
        let batch = engine.store_batch(batch)?;
        let taken = started.elapsed();
        stored.push(batch.iter().map(MemoryId::from).collect::<Vec<_>>());
        if let [_, copied, inserted] = stored.iter().rev().step_by(APART).take(3).collect::<Vec<_>>()[..] {
            let taken = [taken, beside.copy(copied)?, beside.insert(inserted)?];
            times.iter_mut().zip(taken).for_each(|(times, time)| times.push(time));
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let [ours, ..] = &times;
    for (name, taken) in ["engine, log and encoding included", "COPY of the same rows", "one INSERT of them"]
        .iter()
        .zip(&times)
    {
        let (middle, most) = (taken[BATCHES / 2], taken[BATCHES * 95 / 100]);
        let ratio = ours[BATCHES / 2].as_secs_f64() / middle.as_secs_f64();
        println!(
            "{BATCH} stores, {name}: P50 {middle:.2?}, P95 {most:.2?}; the engine takes {ratio:.2} times as long"
        );
    }
    Ok(())
}
