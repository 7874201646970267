//! Recall: a statement finds the best memories and brings their records.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row;

use super::client::Client;
use super::present::{Present, Seq};
use super::rows::Table;
use super::statement::{Bits, Statement};
use crate::encoder::Term;
use crate::error::Error;
use crate::index::postings::MAX_WEIGHT;
use crate::index::{RowFilter, Scored, TextQuery, TopK, cascade};
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::Log;
use crate::sync::{Mutex, RwLock, RwLockReadGuard, lock, read};
use crate::tier::{Method, Search, Target, TierBytes, TierView};

/// Terms that are looked for in pairs: the rarest of those that are not looked for by
/// themselves.
const PAIRED: usize = 8;

/// How much more often two terms of a question are in one row than if they had
/// nothing to do with each other.
const TOGETHER: u64 = 4;

/// A term with so many times as many rows as are to be scored is not looked for by itself.
const TOO_MANY: u64 = 2;

/// Rows by overlap come with so many more than are asked for: the server's sums
/// are rounded in another order than ours.
const MARGIN: usize = 16;

/// Records that a view keeps for who asks for them next.
const RECORDS: usize = 1_024;

/// The rows that are scored for a text: those with one of its rarest terms, or with two of
/// the next ones; all rows that share a term, if they are few enough. Where even the rarest
/// has far too many rows, two terms have to be in one.
struct Candidates {
    /// Those that some row has, the rarest first.
    terms: Vec<i64>,
    /// How many of them are looked for by themselves.
    singly: usize,
    pairs: Vec<[i64; 2]>,
}

impl Candidates {
    /// What lets these rows through alone.
    fn condition(&self, made: &mut Statement) -> String {
        let rarest: Vec<i64> = self.terms.iter().take(self.singly).copied().collect();
        let mut clauses = Vec::new();
        if !rarest.is_empty() {
            clauses.push(format!("terms && {}", made.bind_list(rarest)));
        }
        for &pair in &self.pairs {
            clauses.push(format!("terms @> {}", made.bind_list(pair.into())));
        }
        format!("({})", clauses.join(" OR "))
    }
}

/// What recalls of one namespace see.
pub(super) struct PostgresView {
    pub client: Client,
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
    pub records: Mutex<HashMap<MemoryId, Vec<u8>>>,
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

    /// How many rows are to be scored for a text, those included that the filter leaves
    /// out: they are taken to have the terms of the others. A range of time has an index
    /// of its own, and no estimate here, so all rows within it are. Half as many again as
    /// other tiers score, which choose by the overlap of all terms.
    fn rows(&self, search: &Search<'_>, top: &TopK) -> u64 {
        if search.method == Method::Exact || search.filter.created.is_some() {
            return u64::MAX;
        }
        let rows = (search.term_limits.candidates.max(top.k()) as u64).saturating_mul(3) / 2;
        match self.least_held(search.filter) {
            Some(held) => rows.saturating_mul(self.len as u64) / held.max(1),
            None => rows,
        }
    }

    /// How the terms of a question are listed, and their weights.
    fn asked(&self, query: &TextQuery) -> Vec<(i64, f32)> {
        query.terms().iter().map(|term| (self.table.key(self.namespace, term.term), term.weight)).collect()
    }

    fn candidates(&self, search: &Search<'_>, query: &TextQuery, top: &TopK) -> Candidates {
        let rows = self.rows(search, top);
        let present = self.present();
        let counted = self.asked(query).into_iter().map(|(key, _)| (present.frequency(key).into(), key));
        let mut terms: Vec<(u64, i64)> = counted.filter(|&(frequency, _)| frequency > 0).collect();
        terms.sort_unstable();
        let singly = singly(&terms, rows);
        let rest = terms.get(singly..).unwrap_or_default();
        let least = usize::from(singly == 0);
        let pairs = pairs(rest.get(..PAIRED).unwrap_or(rest), self.len as u64, rows, least);
        Candidates { terms: terms.into_iter().map(|(_, key)| key).collect(), singly, pairs }
    }

    /// Offers the best texts to `top`.
    fn by_text(&self, search: &Search<'_>, query: &TextQuery, top: &mut TopK) -> Result<(), Error> {
        let mut candidates = self.candidates(search, query, top);
        if candidates.terms.is_empty() {
            return Ok(());
        }
        if candidates.singly == 0 {
            // Frequent terms may be together in few rows, or in none, which only tells what
            // is found here: `top` may be full of what other tiers have.
            let mut found = TopK::new(top.k());
            self.offer_candidates(search, query, &candidates, &mut found)?;
            if found.len() == found.k() {
                found.into_sorted().into_iter().for_each(|scored| top.push(scored));
                return Ok(());
            }
            candidates.singly = 1;
        }
        self.offer_candidates(search, query, &candidates, top)
    }

    fn offer_candidates(
        &self,
        search: &Search<'_>,
        query: &TextQuery,
        candidates: &Candidates,
        top: &mut TopK,
    ) -> Result<(), Error> {
        if search.method == Method::Terms {
            let asked = self.asked(query);
            let rows = self.client.query("search", self.by_overlap(search, &asked, candidates, top))?;
            return self.offer(&rows, top, |row| overlap(row, &asked));
        }
        let Some(statement) = self.by_score(search, query, candidates, top) else { return Ok(()) };
        let rows = self.client.query("search", statement)?;
        self.offer(&rows, top, |row| row.try_get(3))
    }

    /// Texts by the score of their vectors, as other tiers compute it: every
    /// step of it has one exact or correctly rounded result.
    fn by_score(
        &self,
        search: &Search<'_>,
        query: &TextQuery,
        candidates: &Candidates,
        top: &TopK,
    ) -> Option<Statement> {
        let vector = query.vector()?;
        let mut made = Statement::default();
        let candidates = candidates.condition(&mut made);
        let words = vector.planes().len() / vector.count().max(1);
        let planes = vector.planes().chunks_exact(words.max(1)).enumerate().map(|(plane, words)| {
            let bits = made.bind_sized(Bits(words.into()), size_of_val(words));
            format!("{} * (coalesce(text_vector, vector) <~> {bits})", 2_u64 << plane)
        });
        let distances = planes.collect::<Vec<_>>().join(" + ");
        let all = ((1_u64 << vector.count()) - 1) * (words as u64 * 64);
        let unit = made.bind(vector.unit());
        let conditions = self.conditions(&mut made, search.filter);
        let least = made.bind(top.threshold());
        let limit = made.bind(limit(top.k()));
        let table = &self.table.name;
        Some(made.text(format!(
            // The best first: a score that is asked for among the conditions is computed twice.
            "SELECT id, seq, record, score FROM ( \
               SELECT id, seq, record, ({all} - ({distances}))::real * {unit}::real * norm AS score \
               FROM {table} WHERE {candidates} AND {conditions} \
               ORDER BY score DESC, id DESC LIMIT {limit}) AS best \
             WHERE score >= {least}::real"
        )))
    }

    /// Texts by the overlap of terms, which are `asked` for with these weights; the rows
    /// have what it is summed up from.
    fn by_overlap(
        &self,
        search: &Search<'_>,
        asked: &[(i64, f32)],
        candidates: &Candidates,
        top: &TopK,
    ) -> Statement {
        let mut made = Statement::default();
        let candidates = candidates.condition(&mut made);
        let (all, weights) = asked.iter().copied().unzip();
        let (all, weights) = (made.bind_list::<i64>(all), made.bind_list::<f32>(weights));
        let conditions = self.conditions(&mut made, search.filter);
        let limit = made.bind(limit(top.k().saturating_add(MARGIN)));
        let table = &self.table.name;
        made.text(format!(
            "SELECT id, seq, record, terms, weights, \
               (SELECT sum(asked.weight * held.weight) FROM unnest(terms, weights) AS held (term, weight) \
                JOIN unnest({all}::bigint[], {weights}::real[]) AS asked (term, weight) USING (term)) AS overlap \
             FROM {table} WHERE {candidates} AND {conditions} \
             ORDER BY overlap DESC, id DESC LIMIT {limit}"
        ))
    }

    /// Offers the rows of an answer to `top`, and keeps their records.
    fn offer(
        &self,
        rows: &[Row],
        top: &mut TopK,
        score: impl Fn(&Row) -> Result<f32, tokio_postgres::Error>,
    ) -> Result<(), Error> {
        let mut records = lock(&self.records);
        if records.len() + rows.len() > RECORDS {
            records.clear();
        }
        for row in rows {
            let (id, seq, record, score) = self.read(row, &score)?;
            // A call that was given up may have left a row that is not known here.
            if self.present().row(self.namespace, id, self.seq) == Some(seq) {
                records.insert(id, record);
                top.push(Scored { score, id, tier: TierKind::Warm });
            }
        }
        Ok(())
    }

    fn read(
        &self,
        row: &Row,
        score: impl Fn(&Row) -> Result<f32, tokio_postgres::Error>,
    ) -> Result<(MemoryId, Seq, Vec<u8>, f32), Error> {
        let read = || {
            let id: i64 = row.try_get(0)?;
            Ok((MemoryId(id.cast_unsigned()), row.try_get(1)?, row.try_get(2)?, score(row)?))
        };
        read().map_err(|error: tokio_postgres::Error| self.client.misread(&error))
    }
}

/// How many of `frequencies` are together no more than `most`.
fn within(most: u64, frequencies: impl Iterator<Item = u64>) -> usize {
    let sums = frequencies.scan(0_u64, |sum, frequency| {
        *sum = sum.saturating_add(frequency);
        Some(*sum)
    });
    sums.take_while(|&sum| sum <= most).count()
}

/// How many of `terms`, the rarest first, are looked for by themselves so that about `rows`
/// rows are found: all of them, if that is all there is, or so many as fill a quarter. One
/// at least, unless it has [`TOO_MANY`] times as many rows and there is another to go with it.
fn singly(terms: &[(u64, i64)], rows: u64) -> usize {
    let frequencies = || terms.iter().map(|&(frequency, _)| frequency);
    if within(rows, frequencies()) == terms.len() {
        return terms.len();
    }
    if terms.len() > 1 && within(rows.saturating_mul(TOO_MANY), frequencies()) == 0 {
        return 0;
    }
    within(rows / 4, frequencies()).max(1)
}

/// Pairs of `terms` that are in few of `len` rows together: about `rows` in all, and
/// `least` pairs at any rate.
fn pairs(terms: &[(u64, i64)], len: u64, rows: u64, least: usize) -> Vec<[i64; 2]> {
    let mut pairs: Vec<(u64, [i64; 2])> = Vec::new();
    for (at, &(frequency, key)) in terms.iter().enumerate() {
        for &(other, with) in terms.get(at + 1..).unwrap_or_default() {
            let expected = frequency.saturating_mul(other).saturating_mul(TOGETHER) / len.max(1);
            pairs.push((expected.min(frequency), [key, with]));
        }
    }
    // Of equal ones those with the rarest terms come first, whatever their keys are.
    pairs.sort_by_key(|&(expected, _)| expected);
    let few = within(rows, pairs.iter().map(|&(expected, _)| expected)).max(least);
    pairs.into_iter().take(few).map(|(_, pair)| pair).collect()
}

/// How many rows are asked for.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The overlap of a row's terms with those of the query, which come with their
/// keys: the same sum, in the same order, as in other tiers.
fn overlap(row: &Row, asked: &[(i64, f32)]) -> Result<f32, tokio_postgres::Error> {
    let (terms, weights): (Vec<i64>, Vec<i16>) = (row.try_get(3)?, row.try_get(4)?);
    let shares = asked.iter().filter_map(|&(key, weight)| {
        let at = terms.iter().position(|&term| term == key)?;
        weights.get(at).map(|&held| weight * (f32::from(held) / f32::from(MAX_WEIGHT)))
    });
    Ok(shares.fold(0.0, |sum, share| sum + share))
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
                let bits = vector.dimension().bits();
                self.offer(&rows, top, |row| {
                    let distance: f64 = row.try_get(3)?;
                    Ok(cascade::similarity(distance as u32, bits))
                })
            }
        }
    }

    fn contains(&self, id: MemoryId) -> bool {
        self.present().row(self.namespace, id, self.seq).is_some()
    }

    fn record(&self, id: MemoryId) -> Result<Option<Vec<u8>>, Error> {
        if let Some(record) = lock(&self.records).remove(&id) {
            return Ok(Some(record));
        }
        if self.contains(id) { self.log.record(id) } else { Ok(None) }
    }

    fn bytes(&self) -> TierBytes {
        TierBytes { ram: self.present().bytes(self.namespace) as u64, mapped: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_terms_are_taken_as_fit() {
        for (most, count) in [(0, 0), (2, 1), (5, 2), (9, 2), (10, 3), (u64::MAX, 3)] {
            assert_eq!(within(most, [2, 3, 5].into_iter()), count, "{most}");
        }
        assert_eq!(within(u64::MAX, [u64::MAX, 1].into_iter()), 2);
    }

    #[test]
    fn the_rarest_pairs_come_first_and_few_enough_for_the_rows() {
        let terms = [(10, 1), (100, 2), (1_000, 3)];
        // Expected in 4, 40 (cut off at 10) and 400 (cut off at 100) rows.
        assert_eq!(pairs(&terms, 1_000, 1_000, 0), [[1, 2], [1, 3], [2, 3]]);
        assert_eq!(pairs(&terms, 1_000, 20, 0), [[1, 2], [1, 3]]);
        assert!(pairs(&terms, 1_000, 3, 0).is_empty() && pairs(&terms[..1], 1_000, 100, 1).is_empty());
        assert_eq!(pairs(&terms, 1_000, 3, 1), [[1, 2]]);
    }

    #[test]
    fn a_term_is_looked_for_by_itself_unless_it_has_too_many_rows() {
        let terms = [(10, 1), (100, 2), (1_000, 3)];
        for (rows, count) in [(2_000, 3), (440, 2), (60, 1), (12, 1), (5, 1), (4, 0)] {
            assert_eq!(singly(&terms, rows), count, "{rows}");
        }
        assert_eq!((singly(&terms[..1], 4), singly(&[], 4)), (1, 0));
    }
}
