//! What a store has in the database when an engine opens it.

use std::time::Duration;

use tokio_postgres::Row;

use super::client::{CallError, Client, Connection, Purpose};
use super::present::{self, Present, Seq};
use super::rows::{SHARE, Table};
use super::schema;
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId};
use crate::log::{Batch, Durability, Log};
use crate::remote::Limits;

/// The name under which the log keeps the store's number in the database.
const STORE: &str = "postgres store";

/// What loading ids and term statistics may take: at a million memories it is
/// some seconds.
const OPENING: Duration = Duration::from_secs(600);

/// What the database holds of a store.
pub(super) struct Kept {
    pub epoch: i64,
    pub present: Present,
    /// The number of the last change.
    pub seq: Seq,
}

/// By which number the database knows the store of this log. The log has it before this returns.
///
/// # Errors
/// What the log reports.
pub(super) fn store_number(log: &dyn Log) -> Result<u64, Error> {
    if let Some(store) = log.setting(STORE)? {
        return Ok(store);
    }
    // Before there is any row of that number, which nobody could delete else.
    let store = fastrand::u64(..);
    let mut batch = Batch::default();
    batch.put_setting(STORE, store);
    log.commit(&batch, Durability::Synced)?;
    Ok(store)
}

/// Brings the database up to date, on the connection that the writer has from then on.
pub(super) fn migrate(client: &Client, limits: Limits, bits: usize) -> Result<(), Error> {
    let limits = Limits { call: OPENING, ..limits };
    let version = client.with_connection(
        Purpose::Writing,
        "migrate",
        limits,
        move |mut connection: Connection| async move {
            let version = schema::migrate(&mut connection, bits).await?;
            Ok((version, connection))
        },
    )?;
    if schema::is_recent(&version) {
        return Ok(());
    }
    let (major, minor) = schema::PGVECTOR;
    let message =
        format!("expected pgvector {major}.{minor} or later, found {version}; update the extension");
    Err(Error::Refused { what: client.name().into(), action: "search", message })
}

/// Takes a store over, and reads what is there of it.
pub(super) fn load(client: &Client, limits: Limits, table: &Table) -> Result<Kept, Error> {
    let limits = Limits { call: OPENING, ..limits };
    let table = table.clone();
    let (epoch, rows, terms) =
        client.with_connection(Purpose::Reading, "open", limits, move |mut connection: Connection| {
            let table = table.clone();
            async move {
                let held = take_over(&mut connection, &table).await?;
                Ok((held, connection))
            }
        })?;
    let (mut present, mut seq) = (Present::default(), 0);
    for row in rows {
        let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        let (namespace, id, at, supplied): (i64, i64, Seq, bool) =
            read().map_err(|error| client.misread(&error))?;
        // Numbers of namespaces have 32 bits; another one is none of ours.
        let Ok(namespace) = u32::try_from(namespace) else { continue };
        let row = present::Row { namespace: NamespaceId(namespace), seq: at, supplied };
        present.insert(MemoryId(id.cast_unsigned()), row);
        seq = seq.max(at);
    }
    for row in terms {
        let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        let (key, count, share): (i64, i64, f32) = read().map_err(|error| client.misread(&error))?;
        present.count(key, count, share);
    }
    Ok(Kept { epoch, present, seq })
}

async fn take_over(
    connection: &mut Connection,
    table: &Table,
) -> Result<(i64, Vec<Row>, Vec<Row>), CallError> {
    let Table { name, store } = table;
    let epoch = fastrand::i64(..);
    let transaction = connection.transaction().await?;
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    let take = "INSERT INTO mnemo_stores (store, epoch) VALUES ($1, $2) \
                ON CONFLICT (store) DO UPDATE SET epoch = excluded.epoch";
    transaction.execute(take, &[store, &epoch]).await?;
    let ids = format!("SELECT namespace, id, seq, supplied FROM {name} WHERE store = $1");
    let rows = transaction.query(&ids, &[store]).await?;
    let terms = format!(
        "SELECT term, count(*), max({SHARE})::real \
                 FROM {name}, unnest(terms, counts) AS held (term, count) WHERE store = $1 GROUP BY term"
    );
    let terms = transaction.query(&terms, &[store]).await?;
    transaction.commit().await?;
    Ok((epoch, rows, terms))
}
