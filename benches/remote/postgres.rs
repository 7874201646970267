//! WARM in a PostgreSQL database with pgvector.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use mnemocore::encoder::Encoder;
use mnemocore::harness::measure::Kind;
use mnemocore::log::{Batch, DiskLog, Durability, Log};
use mnemocore::tier::cold::ColdTier;
use mnemocore::tier::hot::HotTier;
use mnemocore::tier::postgres::{Database, PostgresTier};
use mnemocore::{Config, Engine, Error, Parts, TierKind};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::common::{Recorder, Stock, temporary_folder};
use crate::elsewhere::{Opened, Remote};
use crate::proxy::Proxy;

/// The environment variable with the connection, as `host=... port=... user=...`.
const VARIABLE: &str = "MNEMO_POSTGRES";

/// A database.
pub(crate) struct Postgres {
    connection: String,
    host: String,
    port: u16,
    /// Networks that are in use.
    networks: Cell<Vec<Proxy>>,
}

impl Postgres {
    /// The database that the environment names, if it names one.
    pub(crate) fn from_env() -> Option<Self> {
        let connection = std::env::var(VARIABLE).ok().filter(|connection| !connection.is_empty())?;
        let word = |name: &str| {
            let found = connection.split_whitespace().find_map(|word| word.strip_prefix(name));
            found.unwrap_or_else(|| panic!("{VARIABLE}: {name}... is missing")).to_owned()
        };
        let (host, port) = (word("host="), word("port=").parse().expect("the number of a port"));
        Some(Self { connection, host, port, networks: Cell::default() })
    }

    /// Bytes of its tables and indexes, and rows in them.
    fn holds(&self) -> (f64, f64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let asked = async {
            let (client, connection) = tokio_postgres::connect(&self.connection, NoTls).await?;
            tokio::spawn(connection);
            client.batch_execute("VACUUM ANALYZE mnemo_warm_16384").await?;
            let ask = "SELECT pg_total_relation_size('mnemo_warm_16384')::float8, count(*)::float8 FROM mnemo_warm_16384";
            client.query_one(ask, &[]).await
        };
        let row = runtime.expect("a thread").block_on(asked).unwrap_or_else(|error| panic!("{error}"));
        (row.get(0), row.get(1))
    }

    /// Prints and notes what it holds.
    pub(crate) fn footprint(&self, recorder: &mut Recorder) {
        let (bytes, rows) = self.holds();
        let name = format!("footprint_{}/disk/{rows}", self.name());
        println!("{name}: {:.1} MB, {:.0} bytes a memory", bytes / 1e6, bytes / rows);
        recorder.note_value(&name, Kind::Disk, bytes);
    }

    /// The same, behind a network; half of the delay lies on either way.
    fn behind(&self, delay: Duration) -> String {
        let proxy = Proxy::start(&self.host, self.port);
        proxy.delay(delay / 2);
        let others = self.connection.split_whitespace();
        let others = others.filter(|word| !word.starts_with("host=") && !word.starts_with("port="));
        let connection =
            others.chain(["host=127.0.0.1"]).collect::<Vec<_>>().join(" ") + &format!(" port={}", proxy.port);
        let mut networks = self.networks.take();
        networks.push(proxy);
        self.networks.set(networks);
        connection
    }
}

impl Remote for Postgres {
    fn name(&self) -> &str {
        "warm-postgres"
    }

    fn tier(&self) -> TierKind {
        TierKind::Warm
    }

    fn open(&self, _purpose: &str, stock: Stock, delay: Duration) -> Opened {
        let files = temporary_folder();
        let config = stock.config();
        let engine = open(&files, &config, &self.connection).unwrap_or_else(|error| panic!("{error}"));
        stock.fill_in(&engine).expect("room for a store");
        drop(engine);
        let connection = if delay.is_zero() { self.connection.clone() } else { self.behind(delay) };
        let config = Config { background: true, ..config };
        let engine = open(&files, &config, &connection).unwrap_or_else(|error| panic!("{error}"));
        Opened { engine, stock, traffic: Box::new(|engine| engine.traffic(TierKind::Warm)), files }
    }
}

/// Opens the store in `folder`, with WARM in the database.
fn open(folder: &TempDir, config: &Config, connection: &str) -> Result<Engine, Error> {
    let log: Arc<dyn Log> = Arc::new(DiskLog::open(&folder.path().join("log"), config.log_cache_bytes)?);
    let encoder = Arc::new(Encoder::new(config.dimension, config.token_cache_bytes));
    let mut batch = Batch::default();
    let database = Database::parse(connection)?;
    let warm = PostgresTier::open(database, encoder.clone(), log.clone(), config.remote, &mut batch)?;
    let (cold, _) = ColdTier::open(&folder.path().join("cold"), None, encoder.clone(), &log, &mut batch)?;
    log.commit(&batch, Durability::Buffered)?;
    let hot = HotTier::new(encoder.clone());
    let parts = Parts { encoder, log, tiers: [Box::new(hot), Box::new(warm), Box::new(cold)] };
    Engine::from_parts(config.clone(), parts)
}
