//! WARM in a PostgreSQL database with pgvector.

use std::cell::Cell;
use std::time::Duration;

use mnemocore::harness::measure::Kind;
use mnemocore::{Config, TierKind};
use tokio_postgres::NoTls;

use crate::common::{Recorder, Stock, temporary_folder};
use crate::database::open;
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
        let engine = open(files.path(), &config, &self.connection).unwrap_or_else(|error| panic!("{error}"));
        stock.fill_in(&engine).expect("room for a store");
        drop(engine);
        let connection = if delay.is_zero() { self.connection.clone() } else { self.behind(delay) };
        let config = Config { background: true, ..config };
        let engine = open(files.path(), &config, &connection).unwrap_or_else(|error| panic!("{error}"));
        Opened { engine, stock, traffic: Box::new(|engine| engine.traffic(TierKind::Warm)), files }
    }
}
