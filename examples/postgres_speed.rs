//! What WARM in PostgreSQL takes, beside pgvector alone and beside `COPY`: the same
//! memories, queries and server, in turns.
//!
//! With `vectors` behind the number, each memory comes with a vector of its own.
//!
//! ```sh
//! MNEMO_WARM=postgres MNEMO_POSTGRES="host=localhost dbname=empty" \
//!     cargo run --release --features postgres --example postgres_speed -- 100000
//! ```

use std::collections::HashSet;
use std::error::Error;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, TryStreamExt};
use mnemocore::config::Residence;
use mnemocore::encoder::Document;
use mnemocore::harness::stock::{SEED, Stock, new_texts};
use mnemocore::harness::workload::partial_query;
use mnemocore::{Config, Engine, MemoryId, Method, NewMemory, Query, TierKind};
use tokio::runtime::Runtime;
use tokio_postgres::types::{ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, Statement};

type Failure = Box<dyn Error>;

const QUERIES: usize = 300;
const LIMIT: usize = 10;
/// Neighbours that pgvector's index looks at: its default; as many as WARM asks of it
/// where memories come with vectors; and twice as many.
const SEARCHES: [u32; 3] = [40, 100, 200];
/// Candidates that a recall looks at: the default first.
const CANDIDATES: [usize; 3] = [512, 1_024, 2_048];
const BATCH: usize = 100;
const BATCHES: usize = 60;

fn main() -> Result<(), Failure> {
    let memories = std::env::args().nth(1).map_or(Ok(10_000), |count| count.parse())?;
    if Config::default().warm != Residence::Postgres {
        return Err("set MNEMO_WARM=postgres, and MNEMO_POSTGRES to an empty database".into());
    }
    let runtime = Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let vectors = std::env::args().nth(2).is_some_and(|kind| kind == "vectors");
    let stock = Stock { vectors, ..Stock::new(TierKind::Warm, memories) };
    let filled = Instant::now();
    let engine = stock.fill(folder.path())?;
    println!("{memories} memories stored in {:.1?}", filled.elapsed());
    let beside = Beside::new(runtime)?;
    beside.run("ANALYZE")?;
    drop(engine);
    for candidates in CANDIDATES {
        let mut config = stock.config();
        config.term_limits.candidates = candidates;
        let opened = Instant::now();
        let engine = Engine::open(folder.path(), config)?;
        println!("\n{candidates} candidates; opened in {:.2?}", opened.elapsed());
        recalls(&engine, stock, &beside)?;
    }
    stores(&Engine::open(folder.path(), stock.config())?, &beside)
}

/// Other sessions of the database, and a table with vectors alone.
struct Beside {
    runtime: Runtime,
    client: Client,
    /// A session for each of [`SEARCHES`].
    searching: Vec<(Client, Statement)>,
}

impl Beside {
    fn new(runtime: Runtime) -> Result<Self, Failure> {
        let text = std::env::var("MNEMO_POSTGRES")?;
        let connect = || {
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&text, NoTls).await?;
                tokio::spawn(connection);
                Ok::<Client, tokio_postgres::Error>(client)
            })
        };
        let (client, clients) = (connect()?, SEARCHES.map(|_| connect()));
        let mut beside = Self { runtime, client, searching: Vec::new() };
        let made = Instant::now();
        beside.run(
            "CREATE TABLE alone (id bigint PRIMARY KEY, vector bit(16384), record bytea)
                 WITH (toast_tuple_target = 8160);
             ALTER TABLE alone ALTER COLUMN vector SET STORAGE PLAIN;
             INSERT INTO alone SELECT id, vector, record FROM mnemo_warm_16384;
             CREATE TABLE twin (LIKE mnemo_warm_16384 INCLUDING ALL) WITH (toast_tuple_target = 8160);
             INSERT INTO twin SELECT * FROM mnemo_warm_16384;
             SET maintenance_work_mem = '4GB'; SET max_parallel_maintenance_workers = 2;
             CREATE INDEX ON alone USING hnsw (vector bit_hamming_ops);",
        )?;
        println!("pgvector's own table and its index made in {:.1?}", made.elapsed());
        for (client, search) in clients.into_iter().zip(SEARCHES) {
            let client = client?;
            let statement = beside.runtime.block_on(async {
                client.batch_execute(&format!("SET hnsw.ef_search = {search}")).await?;
                client.prepare("SELECT id, record FROM alone ORDER BY vector <~> $1 LIMIT 10").await
            })?;
            beside.searching.push((client, statement));
        }
        Ok(beside)
    }

    fn run(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }

    /// The ids that pgvector finds, in one of the sessions for it.
    fn nearest(
        &self,
        (client, statement): &(Client, Statement),
        bits: &Bits,
    ) -> Result<Vec<MemoryId>, Failure> {
        let rows = self.runtime.block_on(client.query(statement, &[bits]))?;
        rows.iter().map(|row| Ok(MemoryId(row.try_get::<_, i64>(0)? as u64))).collect()
    }

    /// What `COPY` takes for the rows of these memories, as they are in WARM.
    fn copy(&self, ids: &[MemoryId]) -> Result<Duration, Failure> {
        let (first, last) = (ids.first().ok_or("no ids")?, ids.last().ok_or("no ids")?);
        let out = format!(
            "COPY (SELECT * FROM mnemo_warm_16384 WHERE id BETWEEN {first} AND {last}) TO STDOUT (FORMAT binary)"
        );
        self.runtime.block_on(async {
            let rows: Vec<_> = self.client.copy_out(&out).await?.try_collect().await?;
            let rows = rows.concat();
            let started = Instant::now();
            let sink = self
                .client
                .copy_in::<_, std::io::Cursor<Vec<u8>>>("COPY twin FROM STDIN (FORMAT binary)")
                .await?;
            let mut sink = std::pin::pin!(sink);
            sink.send(std::io::Cursor::new(rows)).await?;
            if sink.finish().await? != ids.len() as u64 {
                return Err("not all rows were copied".into());
            }
            Ok(started.elapsed())
        })
    }
}

/// A question, its vector for pgvector, the exact ten, and the memory that it was made of.
type Asked = (Query, Bits, Vec<MemoryId>, MemoryId);

/// Recalls by text or vector, and pgvector with the vector of the same text.
fn recalls(engine: &Engine, stock: Stock, beside: &Beside) -> Result<(), Failure> {
    let mut asked = Vec::with_capacity(QUERIES);
    for source in stock.sources(engine, QUERIES)? {
        let text = partial_query(&source.text, 0.6, source.id.0);
        let vector = engine.encoder().encode(&Document::new(&text).analyze()?)?;
        let bits = Bits(vector.words().to_vec());
        let query = if stock.vectors { Query::vector(vector) } else { Query::text(&text) };
        let query = query.limit(LIMIT).touch(false);
        let exact = ids(engine, &query.clone().method(Method::Exact))?;
        asked.push((query, bits, exact, source.id));
    }
    for (session, search) in beside.searching.iter().zip(SEARCHES) {
        // Brings into memory what is found there when it counts.
        ask(engine, beside, session, &asked)?;
        let (ours, theirs) = ask(engine, beside, session, &asked)?;
        let (name, beside) = (
            ours.print("recall from WARM in PostgreSQL"),
            theirs.print(&format!("pgvector alone, {search} neighbours")),
        );
        println!("recall takes {:.2} times as long", name.as_secs_f64() / beside.as_secs_f64());
    }
    Ok(())
}

/// All questions to the engine and to pgvector in one of its sessions, in turns: a second
/// session would find in the processor's cache what the first has just looked at.
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

/// What a kind of search found, and how long it took.
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

    /// Prints it, and gives the median.
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

/// Batches of new memories, and `COPY` of the same rows into a table with the same
/// indexes.
fn stores(engine: &Engine, beside: &Beside) -> Result<(), Failure> {
    let texts = new_texts(SEED, BATCH * BATCHES);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for batch in texts.chunks(BATCH) {
        let batch = batch.iter().map(|text| NewMemory::new(text.as_str())).collect();
        let started = Instant::now();
        let ids = engine.store_batch(batch)?;
        ours.push(started.elapsed());
        theirs.push(beside.copy(&ids)?);
    }
    for (name, mut times) in [("engine, log and encoding included", ours), ("COPY of the same rows", theirs)]
    {
        times.sort_unstable();
        println!(
            "{BATCH} stores, {name}: P50 {:.2?}, P95 {:.2?}",
            times[BATCHES / 2],
            times[BATCHES * 95 / 100]
        );
    }
    Ok(())
}

/// A vector as PostgreSQL's `bit(n)`.
#[derive(Debug)]
struct Bits(Vec<u64>);

impl ToSql for Bits {
    fn to_sql(
        &self,
        _type: &Type,
        out: &mut tokio_postgres::types::private::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn Error + Send + Sync>> {
        out.extend_from_slice(&i32::try_from(self.0.len() * 64)?.to_be_bytes());
        self.0.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        Ok(tokio_postgres::types::IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::BIT
    }

    to_sql_checked!();
}
