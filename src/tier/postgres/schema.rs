//! The tables, and how a database gets them.

use deadpool_postgres::{Object, Transaction};

use super::client::CallError;
use crate::segment::SKETCH_BITS;

/// The migrations, in order of versions. One that is in a release never changes.
const MIGRATIONS: [(i32, &str); 1] = [(2, include_str!("migrations/2.sql"))];

/// Where it is noted which of them were made, for which dimension, and who owns
/// which store: an engine writes only as long as its epoch is the store's.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS mnemo_migrations (
        dimension integer NOT NULL,
        version integer NOT NULL,
        made timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (dimension, version)
    );
    CREATE TABLE IF NOT EXISTS mnemo_stores (
        store bigint PRIMARY KEY,
        epoch bigint NOT NULL
    );";

/// Names the lock that keeps two engines from migrating at once: "mnemo" in
/// ASCII.
const LOCK: i64 = 0x6d_6e_65_6d_6f;

/// The oldest pgvector that can scan an index on until enough rows pass a
/// filter.
pub(super) const PGVECTOR: (u32, u32) = (0, 8);

/// Bits of a sketch, for vectors of `bits` bits.
fn sketch_bits(bits: usize) -> usize {
    bits.min(SKETCH_BITS)
}

/// Brings the database up to date for vectors of `bits` bits; returns the
/// version of pgvector.
pub(super) async fn migrate(client: &mut Object, bits: usize) -> Result<String, CallError> {
    let transaction = client.transaction().await?;
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let version = pgvector(&transaction).await?;
    transaction.batch_execute(TABLES).await?;
    let dimension = i32::try_from(bits).unwrap_or(i32::MAX);
    let made = "SELECT coalesce(max(version), 0) FROM mnemo_migrations WHERE dimension = $1";
    let made: i32 = transaction.query_one(made, &[&dimension]).await?.try_get(0)?;
    for (version, sql) in MIGRATIONS.iter().filter(|&&(version, _)| version > made) {
        let sql =
            sql.replace("{bits}", &bits.to_string()).replace("{sketch}", &sketch_bits(bits).to_string());
        transaction.batch_execute(&sql).await?;
        let note = "INSERT INTO mnemo_migrations (dimension, version) VALUES ($1, $2)";
        transaction.execute(note, &[&dimension, version]).await?;
    }
    transaction.commit().await?;
    Ok(version)
}

/// The version of pgvector, which is put in if it is not there.
async fn pgvector(transaction: &Transaction<'_>) -> Result<String, CallError> {
    let installed = "SELECT extversion FROM pg_extension WHERE extname = 'vector'";
    if let Some(row) = transaction.query_opt(installed, &[]).await? {
        return Ok(row.try_get(0)?);
    }
    transaction.batch_execute("CREATE EXTENSION vector").await?;
    Ok(transaction.query_one(installed, &[]).await?.try_get(0)?)
}

/// Whether a version of pgvector is [`PGVECTOR`] or newer.
pub(super) fn is_recent(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) >= PGVECTOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, recent) in
            [("0.8.0", true), ("0.10.1", true), ("1.0", true), ("0.7.4", false), ("", false)]
        {
            assert_eq!(is_recent(version), recent, "{version}");
        }
    }
}
