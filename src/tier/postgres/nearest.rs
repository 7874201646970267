//! Recall by vector: how far a search goes for the nearest.

use tokio_postgres::Row;

use super::client::NEIGHBOURS;
use super::search::{PostgresView, limit};
use super::statement::{Bits, Statement};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::index::{RowFilter, TopK};
use crate::sync::write;
use crate::tier::{Method, Search};

/// In a namespace of up to so many memories all vectors are compared, which
/// takes as long as the index takes to find some.
const COMPARED: usize = 2_048;

/// So many more are compared for each vector of others that the index passes over,
/// which takes it as long (measured with all in RAM, ten asked for among 300,000).
const FOR_EACH_PASSED: usize = 12;

/// Lets the index go on behind the nearest, for this statement alone: the setting is
/// made before the first row is read, and ends with the transaction.
const GO_ON: &str = "(SELECT set_config('hnsw.iterative_scan', 'strict_order', true)) IS NOT NULL AND ";

/// How far a search for the nearest vectors goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The index gives the nearest of the whole table at once.
    Nearest,
    /// The index goes on until there are as many as are asked for, or it gives up. That
    /// takes half as long again even where the nearest would have been enough.
    Enough,
    /// All of the namespace are compared.
    All,
}

impl Reach {
    /// What to do if it gave `found` of the `wanted` ones, in a namespace of `len`.
    fn further(self, len: usize, wanted: usize, found: usize) -> Self {
        match self {
            Self::Nearest if !is_soon_compared(len, wanted, found) => Self::Enough,
            _ => Self::All,
        }
    }
}

/// Whether all vectors of a namespace are compared in the time in which the index finds the
/// `wanted` ones, if only `found` of the nearest of the table belong to it.
fn is_soon_compared(len: usize, wanted: usize, found: usize) -> bool {
    let passed = wanted.saturating_mul(NEIGHBOURS) / found.max(1);
    len <= COMPARED.saturating_add(passed.saturating_mul(FOR_EACH_PASSED))
}

impl PostgresView {
    /// The rows of the nearest vectors of one kind, as many as are asked for if there are
    /// so many. How far the search has to go for them in this namespace is remembered.
    pub(super) fn nearest(
        &self,
        search: &Search<'_>,
        query: &Hypervector,
        supplied: bool,
        top: &TopK,
    ) -> Result<Vec<Row>, Error> {
        let wanted = top.k().min(self.most(supplied, search.filter));
        let mut reach = self.reach(search, supplied, wanted);
        loop {
            let statement = self.by_distance(search, query, supplied, top, reach);
            let rows = self.client.query("search", statement)?;
            if rows.len() >= wanted || reach == Reach::All {
                return Ok(rows);
            }
            reach = reach.further(self.len, wanted, rows.len());
            if search.filter.is_empty() {
                write(&self.present).note_reach(self.namespace, supplied, reach);
            }
        }
    }

    /// How far a search goes at first.
    fn reach(&self, search: &Search<'_>, supplied: bool, wanted: usize) -> Reach {
        // Of equally near rows the newest counts, which no index knows.
        if search.method == Method::Exact || self.len <= COMPARED {
            return Reach::All;
        }
        let known = self.present().reach(self.namespace, supplied);
        known.unwrap_or(if wanted >= NEIGHBOURS || !search.filter.is_empty() {
            Reach::Enough
        } else {
            Reach::Nearest
        })
    }

    /// How many memories with a vector of this kind pass the filter at most.
    fn most(&self, supplied: bool, filter: &RowFilter) -> usize {
        let all = if supplied { self.supplied } else { self.len.saturating_sub(self.supplied) };
        self.least_held(filter).map_or(all, |held| all.min(usize::try_from(held).unwrap_or(usize::MAX)))
    }

    /// Vectors of one kind by their distance.
    fn by_distance(
        &self,
        search: &Search<'_>,
        query: &Hypervector,
        supplied: bool,
        top: &TopK,
        reach: Reach,
    ) -> Statement {
        let mut made = Statement::default();
        let vector = made.bind_sized(Bits(query.words().into()), size_of_val(query.words()));
        let (nearest, setting) = match reach {
            Reach::Nearest => ("distance", ""),
            Reach::Enough => ("distance", GO_ON),
            Reach::All => ("distance + 0, id DESC", ""),
        };
        let (store, namespace) = (made.bind(self.table.store), made.bind(i64::from(self.namespace.0)));
        let kind = if supplied { "supplied" } else { "NOT supplied" };
        let conditions = self.conditions(&mut made, search.filter);
        let limit = made.bind(limit(top.k()));
        let (table, order) =
            (&self.table.name, nearest.replace("distance", &format!("(vector <~> {vector})")));
        made.text(format!(
            "SELECT id, seq, record, vector <~> {vector} AS distance FROM {table} \
             WHERE {setting}store = {store} AND namespace = {namespace} AND {kind} AND {conditions} \
             ORDER BY {order} LIMIT {limit}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_vectors_are_compared_the_more_of_others_are_passed_over() {
        let most = |wanted, found| (0..100_000).rfind(|&len| is_soon_compared(len, wanted, found));
        // All of the hundred nearest, a half, a third, one of them; none, of more.
        let found =
            [(100, 100), (100, 50), (10, 3), (10, 1), (50, 0)].map(|(wanted, found)| most(wanted, found));
        assert_eq!(found, [3_248, 4_448, 6_044, 14_048, 62_048].map(Some));
    }

    #[test]
    fn a_search_that_gave_too_few_ends_with_all() {
        let further = |reach: Reach| reach.further(20_000, 10, 3);
        assert_eq!(further(Reach::Nearest), Reach::Enough);
        assert_eq!(further(Reach::Enough), Reach::All);
        assert_eq!(Reach::Nearest.further(5_000, 10, 3), Reach::All);
    }
}
