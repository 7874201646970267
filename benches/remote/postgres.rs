//! WARM in a PostgreSQL database with pgvector.

use std::cell::Cell;
use std::time::Duration;

use mnemocore::{TierKind, WarmBackend};
use tokio_postgres::{Client, NoTls};

use crate::backend::{Filled, Opened, Remote};
use crate::common::{Fixture, asked_for, temporary_folder};
use crate::database::open;
use crate::proxy::Proxy;

/// The environment variable with the connection, as `host=... port=... user=...`.
const VARIABLE: &str = "MNEMO_POSTGRES";

/// The table of memories of the default dimension.
const TABLE: &str = "mnemo_warm_16384";

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
            asked_for(found.ok_or_else(|| format!("{VARIABLE}: {name}... is missing"))).to_owned()
        };
        let (host, port) = (word("host="), word("port="));
        let port = port.parse().map_err(|error| format!("{VARIABLE}: port={port}: {error}"));
        let port = asked_for(port);
        let database = Self { connection, host, port, networks: Cell::default() };
        let any = format!("SELECT EXISTS (SELECT FROM {TABLE})");
        let held = database.ask(async |client| client.query_one(&any, &[]).await.map(|row| row.get(0)));
        if held == Some(true) {
            asked_for(Err(format!("{VARIABLE}: expected an empty database, found memories in it")))
        }
        Some(database)
    }

    /// Does what `ask` says of the table, unless there is none yet.
    fn ask<T>(&self, ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let asked = async {
            let (client, connection) = tokio_postgres::connect(&self.connection, NoTls).await?;
            tokio::spawn(connection);
            let there = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&TABLE]).await?;
            if there.get(0) { ask(&client).await.map(Some) } else { Ok(None) }
        };
        let asked: Result<_, tokio_postgres::Error> = runtime.expect("a thread").block_on(asked);
        asked.unwrap_or_else(|error| panic!("{VARIABLE}: {error}"))
    }

    /// Takes all rows out, and the room that they had: what is measured must not depend on
    /// what was measured before.
    pub(crate) fn clear(&self) {
        self.ask(async |client| client.batch_execute(&format!("TRUNCATE {TABLE}")).await);
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

    /// In place of the one before, which nobody has open any more.
    fn fill(&self, _purpose: &str, fixture: Fixture) -> Filled {
        self.clear();
        let files = temporary_folder();
        let config = fixture.config().warm(WarmBackend::Postgres);
        let engine = open(files.path(), &config, &self.connection).unwrap_or_else(|error| panic!("{error}"));
        fixture.fill_in(&engine).expect("room for a store");
        engine.close().expect("a database that can be written to");
        Filled { fixture, store: files.path().into(), config, files }
    }

    /// Of its table and indexes.
    fn bytes(&self, _filled: &Filled) -> u64 {
        let held = self.ask(async |client| {
            client.batch_execute(&format!("VACUUM ANALYZE {TABLE}")).await?;
            let size = format!("SELECT pg_total_relation_size('{TABLE}')");
            client.query_one(&size, &[]).await.map(|row| row.get::<_, i64>(0))
        });
        held.unwrap_or_default().unsigned_abs()
    }

    fn open(&self, filled: Filled, delay: Duration) -> Opened {
        let Filled { fixture, store, config, files, .. } = filled;
        let connection = if delay.is_zero() { self.connection.clone() } else { self.behind(delay) };
        let config = config.background(true);
        let engine = open(&store, &config, &connection).unwrap_or_else(|error| panic!("{error}"));
        Opened { engine, fixture, traffic: Box::new(|engine| engine.traffic(TierKind::Warm)), files }
    }
}
