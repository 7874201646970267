//! Recall by vector: the rows of the nearest.

use tokio_postgres::Row;

use super::client::NEIGHBOURS;
use super::reach::{COMPARED, Reach};
use super::search::{PostgresView, limit};
use super::statement::{Bits, Statement};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::index::{RowFilter, TopK};
use crate::sync::write;
use crate::tier::{Method, Search};

/// Lets the index go on behind the nearest, for this statement alone: the setting is
/// made before the first row is read, and ends with the transaction.
const GO_ON: &str = "(SELECT set_config('hnsw.iterative_scan', 'strict_order', true)) IS NOT NULL AND ";

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
        if wanted == 0 {
            return Ok(Vec::new());
        }
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
