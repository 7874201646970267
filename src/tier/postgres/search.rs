//! Recall: a statement finds the best memories and brings their records.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row;

use super::candidates::{Asked, Candidates, rounding};
use super::client::Client;
use super::present::{Present, Seq};
use super::rows::{SHARE, Table};
use super::statement::Statement;
use crate::encoder::{Count, Document, Encoder, Length, Term};
use crate::error::Error;
use crate::hdv::{Hypervector, kernels};
use crate::index::{QueryTerm, RowFilter, Scored, TextQuery, TopK, cascade};
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::{Log, Record};
use crate::sync::{Mutex, RwLock, RwLockReadGuard, lock, read};
use crate::tier::{Method, Search, Target, TierBytes, TierView};

/// Terms of a question that a statement adds up one by one. It takes a quarter of the time of joining
/// them with those of each row, but a sum of thousands would be too deep for the server.
const ADDED_SINGLY: usize = 64;

/// Records that a view keeps for who asks for them next.
const RECORDS: usize = 1_024;

/// What a search has read of a row, for who asks for it next.
pub(super) struct Fetched {
    record: Arc<[u8]>,
    /// How its terms are listed; empty if they were not read.
    terms: Vec<i64>,
}

/// What recalls of one namespace see.
pub(super) struct PostgresView {
    pub client: Client,
    pub encoder: Arc<Encoder>,
    pub table: Table,
    pub present: Arc<RwLock<Present>>,
    pub log: Arc<dyn Log>,
    pub namespace: NamespaceId,
    /// Rows of this count and before are in it.
    pub seq: Seq,
    pub len: usize,
    /// How many of its memories came with a vector.
    pub supplied: usize,
    /// Those that the last searches have brought along.
    pub records: Mutex<HashMap<MemoryId, Fetched>>,
}

impl PostgresView {
    pub(super) fn present(&self) -> RwLockReadGuard<'_, Present> {
        read(&self.present)
    }

    /// What every row has to fulfil that a search gives.
    pub(super) fn conditions(&self, made: &mut Statement, filter: &RowFilter) -> String {
        let mut all = format!("seq <= {}", made.bind(self.seq));
        if !filter.holding.is_empty() {
            let keys = filter.holding.iter().map(|&term| self.table.key(self.namespace, term)).collect();
            all += &format!(" AND terms @> {}", made.bind_list(keys));
        }
        if let Some(range) = &filter.created {
            let (store, namespace) = (made.bind(self.table.store), made.bind(i64::from(self.namespace.0)));
            let (start, end) = (made.bind(range.start), made.bind(range.end));
            all += &format!(
                " AND store = {store} AND namespace = {namespace} AND created >= {start} AND created < {end}"
            );
        }
        let hidden = self.present().hidden(self.namespace, self.seq);
        if !hidden.is_empty() {
            let ids = made.bind_list(hidden.iter().map(|dead| dead.id.0.cast_signed()).collect());
            let seqs = made.bind_list(hidden.iter().map(|dead| dead.seq).collect());
            all += &format!(
                " AND (id, seq) NOT IN (SELECT * FROM unnest({ids}::bigint[], {seqs}::bigint[]) AS dead (id, seq))"
            );
        }
        all
    }

    /// In how many rows the rarest is of the terms that a row has to have.
    pub(super) fn least_held(&self, filter: &RowFilter) -> Option<u64> {
        let present = self.present();
        let held = |&term: &Term| u64::from(present.frequency(self.table.key(self.namespace, term)));
        filter.holding.iter().map(held).min()
    }

    /// The terms of a question, in its order.
    fn asked(&self, query: &TextQuery) -> Vec<Asked> {
        let present = self.present();
        let asked = |term: &QueryTerm| {
            let key = self.table.key(self.namespace, term.term);
            let bound = term.weight * present.greatest_share(key);
            Asked { key, weight: term.weight, bound, frequency: present.frequency(key).into() }
        };
        query.terms().iter().map(asked).collect()
    }

    /// Offers the best texts to `top`: some that are likely to be among them, and then those that
    /// may be better than the worst of these, if there are any.
    fn by_text(&self, search: &Search<'_>, query: &TextQuery, top: &mut TopK) -> Result<(), Error> {
        let asked = self.asked(query);
        let all = search.method == Method::Exact || search.filter.created.is_some();
        let mut candidates = if all {
            // A range of time has an index of its own, and no estimate here.
            Candidates::all(asked.clone())
        } else {
            let admitted = self.least_held(search.filter);
            Candidates::likely(asked.clone(), top.k(), self.len as u64, admitted)
        };
        if candidates.is_empty() {
            return Ok(());
        }
        let mut offered = HashSet::new();
        loop {
            let rows = self.client.query("search", self.scored(search, &asked, &candidates, top))?;
            self.offer(&rows, top, &mut offered, |row| {
                score(row, &asked).map_err(|error| self.client.misread(&error))
            })?;
            match candidates.rest(top.threshold()) {
                Some(rest) => candidates = rest,
                None => return Ok(()),
            }
        }
    }

    /// The best of the candidates, with what their scores are made of.
    fn scored(&self, search: &Search<'_>, asked: &[Asked], candidates: &Candidates, top: &TopK) -> Statement {
        let mut made = Statement::default();
        let candidates = candidates.condition(&mut made);
        let score = sum(&mut made, asked);
        let conditions = self.conditions(&mut made, search.filter);
        let rounding = rounding(asked.len());
        let least = made.bind(top.threshold().max(0.0) * (1.0 - rounding));
        let (k, most) = (made.bind(limit(top.k())), made.bind(limit(top.k().saturating_add(top.ties()))));
        let kept = made.bind(1.0 - rounding);
        let table = &self.table.name;
        made.text(format!(
            "WITH scored AS MATERIALIZED ( \
               SELECT id, seq, record, terms, counts, length, ({score})::real AS score \
               FROM {table} WHERE {candidates} AND {conditions}), \
             worst AS (SELECT min(score) AS score FROM (SELECT score FROM scored ORDER BY score DESC LIMIT {k}) AS best) \
             SELECT id, seq, record, terms, counts, length FROM scored \
             WHERE score >= {least}::real AND score >= (SELECT score FROM worst) * {kept}::real \
             ORDER BY score DESC, id DESC LIMIT {most}"
        ))
    }

    /// Offers the rows of an answer to `top`, but for those that were `offered` before, and keeps
    /// what they hold.
    fn offer(
        &self,
        rows: &[Row],
        top: &mut TopK,
        offered: &mut HashSet<MemoryId>,
        score: impl Fn(&Row) -> Result<(f32, Vec<i64>), Error>,
    ) -> Result<(), Error> {
        let mut records = lock(&self.records);
        if records.len() + rows.len() > RECORDS {
            records.clear();
        }
        for row in rows {
            let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
            let (id, seq, record): (i64, Seq, Vec<u8>) =
                read().map_err(|error| self.client.misread(&error))?;
            let id = MemoryId(id.cast_unsigned());
            // A call that was given up may have left a row that is not known here.
            if self.present().row(self.namespace, id, self.seq) == Some(seq) && offered.insert(id) {
                let (score, terms) = score(row)?;
                records.insert(id, Fetched { record: record.into(), terms });
                top.push(Scored { score, id, tier: TierKind::Warm });
            }
        }
        Ok(())
    }

    /// The similarity of a row's vector, which is derived from its text if none was supplied.
    fn similarity(&self, row: &Row, query: &Hypervector, supplied: bool) -> Result<f32, Error> {
        let misread = |error| self.client.misread(&error);
        let distance = if supplied {
            row.try_get::<_, f64>(3).map_err(misread)? as u32
        } else {
            let record: Vec<u8> = row.try_get(2).map_err(misread)?;
            let text = Document::new(&Record::decode(&record)?.text).analyze()?;
            kernels::best().hamming(query.words(), self.encoder.encode(&text)?.words())
        };
        Ok(cascade::similarity(distance, query.dimension().bits()))
    }
}

/// The score of a row, for the terms that are `asked` for.
fn sum(made: &mut Statement, asked: &[Asked]) -> String {
    if asked.len() <= ADDED_SINGLY {
        let mut term = |asked: &Asked| {
            let (key, weight) = (made.bind(asked.key), made.bind(asked.weight));
            let share = SHARE.replace("count", &format!("counts[array_position(terms, {key}::bigint)]"));
            format!("coalesce({weight}::real * {share}, 0)")
        };
        return asked.iter().map(&mut term).collect::<Vec<_>>().join(" + ");
    }
    let (keys, weights) = asked.iter().map(|term| (term.key, term.weight)).unzip();
    let (keys, weights) = (made.bind_list::<i64>(keys), made.bind_list::<f32>(weights));
    format!(
        "SELECT sum(asked.weight * {SHARE}) FROM unnest(terms, counts) AS held (term, count) \
         JOIN unnest({keys}::bigint[], {weights}::real[]) AS asked (term, weight) USING (term)"
    )
}

/// How many rows are asked for.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The score of a row for the terms that are `asked` for, the same sum in the same order as in
/// other tiers; and how its terms are listed.
fn score(row: &Row, asked: &[Asked]) -> Result<(f32, Vec<i64>), tokio_postgres::Error> {
    let (terms, counts): (Vec<i64>, Vec<i16>) = (row.try_get(3)?, row.try_get(4)?);
    let length: i32 = row.try_get(5)?;
    let length = Length::new(usize::try_from(length).unwrap_or_default());
    let shares = asked.iter().filter_map(|asked| {
        let at = terms.iter().position(|&term| term == asked.key)?;
        let count = Count::new(usize::from(counts.get(at)?.cast_unsigned()));
        Some(asked.weight * count.share(length))
    });
    Ok((shares.fold(0.0, |sum, share| sum + share), terms))
}

impl TierView for PostgresView {
    fn len(&self) -> usize {
        self.len
    }

    fn document_frequency(&self, term: Term) -> usize {
        self.present().frequency(self.table.key(self.namespace, term)) as usize
    }

    fn search(&self, search: &Search<'_>, top: &mut TopK) -> Result<(), Error> {
        if self.len == 0 || top.k() == 0 {
            return Ok(());
        }
        match (search.target, search.method) {
            (Target::Text(query), _) => self.by_text(search, query, top),
            (Target::Vector { vector, supplied }, _) => {
                let rows = self.nearest(search, vector, supplied, top)?;
                self.offer(&rows, top, &mut HashSet::new(), |row| {
                    Ok((self.similarity(row, vector, supplied)?, Vec::new()))
                })
            }
        }
    }

    fn contains(&self, id: MemoryId) -> bool {
        self.present().row(self.namespace, id, self.seq).is_some()
    }

    fn held_terms(&self, id: MemoryId, terms: &[QueryTerm]) -> Option<Vec<Term>> {
        let records = lock(&self.records);
        let listed = &records.get(&id).filter(|fetched| !fetched.terms.is_empty())?.terms;
        let held = |&term: &Term| listed.contains(&self.table.key(self.namespace, term));
        Some(terms.iter().map(|asked| asked.term).filter(held).collect())
    }

    fn record(&self, id: MemoryId) -> Result<Option<Arc<[u8]>>, Error> {
        if let Some(fetched) = lock(&self.records).get(&id) {
            return Ok(Some(fetched.record.clone()));
        }
        if !self.contains(id) {
            return Ok(None);
        }
        self.log.record(id)
    }

    fn vector(&self, id: MemoryId) -> Result<Option<Vec<u64>>, Error> {
        if self.contains(id) { self.log.supplied_vector(id) } else { Ok(None) }
    }

    fn bytes(&self) -> TierBytes {
        TierBytes { ram: self.present().bytes(self.namespace) as u64, mapped: 0 }
    }
}
