//! Rows of the table: how memories are put in, found again when the engine
//! opens, and deleted.

use super::present::{Dead, Seq, key};
use super::statement::{Bits, Statement};
use crate::encoder::{Encoder, Term};
use crate::error::Error;
use crate::index::postings::kept;
use crate::key::NamespaceId;
use crate::log::Record;
use crate::memory::Metadata;
use crate::tier::{Admission, local};

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
    norms: Vec<f32>,
    supplied: Vec<bool>,
    /// Of all memories, one after another.
    terms: Vec<i64>,
    weights: Vec<i16>,
    /// The places of each memory's first and last term among them, counted from 1.
    first: Vec<i32>,
    last: Vec<i32>,
    metadata: Vec<String>,
    records: Vec<Vec<u8>>,
    vectors: Vec<Bits>,
    text_vectors: Vec<Option<Bits>>,
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
        memories: &[Admission],
        encoder: &Encoder,
    ) -> Result<Statement, Error> {
        let mut columns = Columns::default();
        memories.iter().try_for_each(|memory| self.add(&mut columns, namespace, memory, encoder))?;
        let mut made = Statement::default();
        let (store, epoch) = (made.bind(self.store), made.bind(epoch));
        let (namespace, seq) = (made.bind(i64::from(namespace.0)), made.bind(seq));
        let Columns {
            ids,
            created,
            norms,
            supplied,
            terms,
            weights,
            first,
            last,
            metadata,
            records,
            vectors,
            text_vectors,
        } = columns;
        let (ids, created, norms) = (made.bind_list(ids), made.bind_list(created), made.bind_list(norms));
        let supplied = made.bind_list(supplied);
        let (terms, weights) = (made.bind_list(terms), made.bind_list(weights));
        let (first, last) = (made.bind_list(first), made.bind_list(last));
        let bytes = metadata.iter().map(String::len).sum();
        let metadata = made.bind_sized(metadata, bytes);
        let bytes = records.iter().map(Vec::len).sum();
        let records = made.bind_sized(records, bytes);
        let vector_bytes = |vector: &Bits| size_of_val(&*vector.0);
        let bytes = vectors.iter().map(vector_bytes).sum();
        let vectors = made.bind_sized(vectors, bytes);
        let bytes = text_vectors.iter().flatten().map(vector_bytes).sum();
        let text_vectors = made.bind_sized(text_vectors, bytes);
        let table = &self.name;
        let text = |conflict| {
            format!(
                "WITH owner AS (SELECT FROM mnemo_stores WHERE store = {store} AND epoch = {epoch} FOR SHARE), \
                 stored AS ( \
                   INSERT INTO {table} (store, namespace, seq, id, created, norm, supplied, terms, weights, metadata, record, vector, text_vector) \
                   SELECT {store}, {namespace}, {seq}, id, created, norm, supplied, \
                          ({terms}::bigint[])[first:last], ({weights}::smallint[])[first:last], \
                          metadata::jsonb, record, vector, text_vector \
                   FROM owner, unnest({ids}::bigint[], {created}::bigint[], {norms}::real[], {supplied}::boolean[], \
                                      {first}::integer[], {last}::integer[], {metadata}::text[], {records}::bytea[], \
                                      {vectors}::varbit[], {text_vectors}::varbit[]) \
                     AS given (id, created, norm, supplied, first, last, metadata, record, vector, text_vector) \
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
        memory: &Admission,
        encoder: &Encoder,
    ) -> Result<(), Error> {
        let row = &memory.row;
        let text_vector = if row.supplied {
            let mut words = Vec::new();
            local::encode_record(encoder, &memory.record, &mut words)?;
            Some(Bits(words.into()))
        } else {
            None
        };
        columns.ids.push(row.id.0.cast_signed());
        columns.created.push(row.created);
        columns.norms.push(row.norm);
        columns.supplied.push(row.supplied);
        columns.first.push(place(columns.terms.len() + 1));
        columns.terms.extend(row.terms.iter().map(|&(term, _)| self.key(namespace, term)));
        columns.weights.extend(row.terms.iter().map(|&(_, weight)| kept(weight).cast_signed()));
        columns.last.push(place(columns.terms.len()));
        columns.metadata.push(json(&Record::decode(&memory.record)?.metadata));
        columns.records.push(memory.record.to_vec());
        columns.vectors.push(Bits(memory.vector.clone()));
        columns.text_vectors.push(text_vector);
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
