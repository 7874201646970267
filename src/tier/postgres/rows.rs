//! Rows of the table: how memories are put in, found again when the engine
//! opens, and deleted.

use std::sync::Arc;

use super::present::{Dead, Seq, key};
use super::statement::{Bits, Statement};
use crate::encoder::Term;
use crate::error::Error;
use crate::key::NamespaceId;
use crate::log::Record;
use crate::memory::Metadata;
use crate::segment::PreparedMemory;

/// A term's share of a row, as [`Count::share`](crate::encoder::Count::share) computes it. It
/// names the count once.
pub(super) const SHARE: &str =
    "(1 - (0.3::float8 + 0.009::float8 * length) / (count + 0.3::float8 + 0.009::float8 * length))";

/// One store's rows in the table for its dimension.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub name: String,
    /// Tells the stores in one database apart.
    pub store: i64,
}

/// Memories by column, as they go into the table.
#[derive(Default)]
struct Columns {
    ids: Vec<i64>,
    created: Vec<i64>,
    lengths: Vec<i32>,
    supplied: Vec<bool>,
    /// Of all memories, one after another.
    terms: Vec<i64>,
    counts: Vec<i16>,
    /// The places of each memory's first and last term among them, counted from 1.
    first: Vec<i32>,
    last: Vec<i32>,
    metadata: Vec<String>,
    records: Vec<Vec<u8>>,
    sketches: Vec<Bits>,
    vectors: Vec<Option<Bits>>,
}

impl Table {
    pub(super) fn new(bits: usize, store: i64) -> Self {
        Self { name: format!("mnemo_warm_{bits}"), store }
    }

    /// How a term of a namespace is listed.
    pub(super) fn key(&self, namespace: NamespaceId, term: Term) -> i64 {
        key(self.store, namespace, term)
    }

    /// Puts memories in, once however often it is made, and gives 1, or 0 if the
    /// store's epoch is another one; then it does nothing. No other insertion has the same
    /// `seq` and one of these ids.
    pub(super) fn insertion(
        &self,
        epoch: i64,
        namespace: NamespaceId,
        seq: Seq,
        memories: &[Arc<PreparedMemory>],
    ) -> Result<Statement, Error> {
        let mut columns = Columns::default();
        memories.iter().try_for_each(|memory| self.add(&mut columns, namespace, memory))?;
        let mut made = Statement::default();
        let (store, epoch) = (made.bind(self.store), made.bind(epoch));
        let (namespace, seq) = (made.bind(i64::from(namespace.0)), made.bind(seq));
        let Columns {
            ids,
            created,
            lengths,
            supplied,
            terms,
            counts,
            first,
            last,
            metadata,
            records,
            sketches,
            vectors,
        } = columns;
        let (ids, created) = (made.bind_list(ids), made.bind_list(created));
        let (lengths, supplied) = (made.bind_list(lengths), made.bind_list(supplied));
        let (terms, counts) = (made.bind_list(terms), made.bind_list(counts));
        let (first, last) = (made.bind_list(first), made.bind_list(last));
        let bytes = metadata.iter().map(String::len).sum();
        let metadata = made.bind_sized(metadata, bytes);
        let bytes = records.iter().map(Vec::len).sum();
        let records = made.bind_sized(records, bytes);
        let vector_bytes = |vector: &Bits| size_of_val(&*vector.0);
        let bytes = sketches.iter().map(vector_bytes).sum();
        let sketches = made.bind_sized(sketches, bytes);
        let bytes = vectors.iter().flatten().map(vector_bytes).sum();
        let vectors = made.bind_sized(vectors, bytes);
        let table = &self.name;
        let text = |conflict| {
            format!(
                "WITH owner AS (SELECT FROM mnemo_stores WHERE store = {store} AND epoch = {epoch} FOR SHARE), \
                 stored AS ( \
                   INSERT INTO {table} (store, namespace, seq, id, created, length, supplied, terms, counts, metadata, record, sketch, vector) \
                   SELECT {store}, {namespace}, {seq}, id, created, length, supplied, \
                          ({terms}::bigint[])[first:last], ({counts}::smallint[])[first:last], \
                          metadata::jsonb, record, sketch, vector \
                   FROM owner, unnest({ids}::bigint[], {created}::bigint[], {lengths}::integer[], {supplied}::boolean[], \
                                      {first}::integer[], {last}::integer[], {metadata}::text[], {records}::bytea[], \
                                      {sketches}::varbit[], {vectors}::varbit[]) \
                     AS given (id, created, length, supplied, first, last, metadata, record, sketch, vector) \
                   {conflict}) \
                 SELECT count(*) FROM owner"
            )
        };
        // To look whether each row is there takes a tenth of what putting it in takes.
        Ok(made.text(text("")).again(text("ON CONFLICT DO NOTHING")))
    }

    fn add(
        &self,
        columns: &mut Columns,
        namespace: NamespaceId,
        memory: &PreparedMemory,
    ) -> Result<(), Error> {
        let row = &memory.row;
        columns.ids.push(row.id.0.cast_signed());
        columns.created.push(row.created);
        columns.lengths.push(row.length.get().into());
        columns.supplied.push(row.supplied);
        columns.first.push(place(columns.terms.len() + 1));
        columns.terms.extend(row.terms.iter().map(|&(term, _)| self.key(namespace, term)));
        columns.counts.extend(row.terms.iter().map(|&(_, count)| count.get().cast_signed()));
        columns.last.push(place(columns.terms.len()));
        columns.metadata.push(json(&Record::decode(&memory.record)?.metadata));
        columns.records.push(memory.record.to_vec());
        columns.sketches.push(Bits(Arc::from(&*row.sketch)));
        columns.vectors.push(memory.vector.clone().map(Bits));
        Ok(())
    }

    /// Begins epoch `next` after `epoch`, also if that was done already; gives no row
    /// if another engine has begun one.
    pub(super) fn renewal(&self, epoch: i64, next: i64) -> Statement {
        let mut made = Statement::default();
        let (store, epoch, next) = (made.bind(self.store), made.bind(epoch), made.bind(next));
        made.text(format!(
            "UPDATE mnemo_stores SET epoch = {next} WHERE store = {store} AND epoch IN ({epoch}, {next}) RETURNING epoch"
        ))
    }

    /// The names and terms of rows, of those that are there.
    pub(super) fn terms(&self, namespace: NamespaceId, dead: &[Dead]) -> Statement {
        let mut made = Statement::default();
        let these = self.these(&mut made, namespace, dead);
        let table = &self.name;
        made.text(format!("SELECT {table}.id, {table}.seq, terms FROM {table}, {these}"))
    }

    /// Deletes rows.
    pub(super) fn deletion(&self, epoch: i64, namespace: NamespaceId, dead: &[Dead]) -> Statement {
        let mut made = Statement::default();
        let these = self.these(&mut made, namespace, dead);
        let (store, epoch) = (made.bind(self.store), made.bind(epoch));
        let table = &self.name;
        made.text(format!(
            "DELETE FROM {table} USING {these} \
               AND EXISTS (SELECT FROM mnemo_stores WHERE store = {store} AND epoch = {epoch})"
        ))
    }

    /// What lets through these rows alone, to be joined with the table.
    fn these(&self, made: &mut Statement, namespace: NamespaceId, dead: &[Dead]) -> String {
        let (store, namespace) = (made.bind(self.store), made.bind(i64::from(namespace.0)));
        let ids = made.bind_list(dead.iter().map(|dead| dead.id.0.cast_signed()).collect());
        let seqs = made.bind_list(dead.iter().map(|dead| dead.seq).collect());
        let table = &self.name;
        format!(
            "unnest({ids}::bigint[], {seqs}::bigint[]) AS dead (id, seq) \
             WHERE {table}.store = {store} AND namespace = {namespace} \
               AND {table}.id = dead.id AND {table}.seq = dead.seq"
        )
    }
}

/// Where something is in an array of PostgreSQL's.
fn place(counted: usize) -> i32 {
    i32::try_from(counted).unwrap_or(i32::MAX)
}

/// Metadata as an object. PostgreSQL has no character 0 in its texts, so a
/// replacement stands for it; the record has it as it was.
fn json(metadata: &Metadata) -> String {
    let plain = |text: &str| serde_json::Value::from(text.replace('\0', "\u{fffd}"));
    let object: serde_json::Map<String, serde_json::Value> =
        metadata.iter().map(|(key, value)| (key.replace('\0', "\u{fffd}"), plain(value))).collect();
    serde_json::Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_become_json_that_postgresql_takes() {
        let metadata = [("a\"b", "c\\d"), ("nul", "x\0y")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(json(&metadata.into()), "{\"a\\\"b\":\"c\\\\d\",\"nul\":\"x\u{fffd}y\"}");
    }
}
