//! Recall by vector: the rows of the nearest.

use tokio_postgres::Row;

use super::client::NEIGHBOURS;
use super::reach::{COMPARED, Reach};
use super::search::{PostgresView, limit};
use super::statement::{Bits, Statement};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::index::{RowFilter, TopK};
use crate::segment::SKETCH_BITS;
use crate::sync::write;
use crate::tier::{Method, Search};

/// Lets the index go on behind the nearest, for this statement alone: the setting is
/// made before the first row is read, and ends with the transaction.
const GO_ON: &str = "(SELECT set_config('hnsw.iterative_scan', 'strict_order', true)) IS NOT NULL AND ";

/// Texts whose vectors are derived and compared, at least and for each one that is wanted.
const COMPARED_TEXTS: usize = 256;
const FOR_EACH_WANTED: usize = 16;

impl PostgresView {
    /// The rows of the nearest supplied vectors, as many as are asked for if there are so many; or
    /// those of texts whose vectors are likely to be the nearest. How far the search has to go for them in this namespace is remembered.
    pub(super) fn nearest(
        &self,
        search: &Search<'_>,
        query: &Hypervector,
        supplied: bool,
        top: &TopK,
    ) -> Result<Vec<Row>, Error> {
        if !supplied {
            let statement = self.by_sketch(search, query, top);
            return self.client.query("search", statement);
        }
        let wanted = top.k().min(self.most(search.filter));
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let mut reach = self.reach(search, wanted);
        loop {
            let statement = self.by_distance(search, query, top, reach);
            let rows = self.client.query("search", statement)?;
            if rows.len() >= wanted || reach == Reach::All {
                return Ok(rows);
            }
            reach = reach.further(self.len, wanted, rows.len());
            if search.filter.is_empty() {
                write(&self.present).note_reach(self.namespace, reach);
            }
        }
    }

    /// How far a search goes at first.
    fn reach(&self, search: &Search<'_>, wanted: usize) -> Reach {
        // Of equally near rows the newest counts, which no index knows.
        if search.method == Method::Exact || self.len <= COMPARED {
            return Reach::All;
        }
        let known = self.present().reach(self.namespace);
        known.unwrap_or(if wanted >= NEIGHBOURS || !search.filter.is_empty() {
            Reach::Enough
        } else {
            Reach::Nearest
        })
    }

    /// How many memories with a supplied vector pass the filter at most.
    fn most(&self, filter: &RowFilter) -> usize {
        let held = self.least_held(filter).and_then(|held| usize::try_from(held).ok());
        held.map_or(self.supplied, |held| held.min(self.supplied))
    }

    /// Texts by the distance of their sketches: some that the nearest are likely to be among.
    fn by_sketch(&self, search: &Search<'_>, query: &Hypervector, top: &TopK) -> Statement {
        let mut made = Statement::default();
        let sketch = query.words().get(..SKETCH_BITS / 64).unwrap_or(query.words());
        let sketch = made.bind_sized(Bits(sketch.into()), size_of_val(sketch));
        let (store, namespace) = (made.bind(self.table.store), made.bind(i64::from(self.namespace.0)));
        let conditions = self.conditions(&mut made, search.filter);
        let most = match search.method {
            Method::Indexed => top.k().saturating_mul(FOR_EACH_WANTED).saturating_add(COMPARED_TEXTS),
            Method::Exact => usize::MAX,
        };
        let (limit, table) = (made.bind(limit(most)), &self.table.name);
        made.text(format!(
            "SELECT id, seq, record FROM {table} \
             WHERE store = {store} AND namespace = {namespace} AND NOT supplied AND {conditions} \
             ORDER BY sketch <~> {sketch}, id DESC LIMIT {limit}"
        ))
    }

    /// Supplied vectors by their distance.
    fn by_distance(&self, search: &Search<'_>, query: &Hypervector, top: &TopK, reach: Reach) -> Statement {
        let mut made = Statement::default();
        let vector = made.bind_sized(Bits(query.words().into()), size_of_val(query.words()));
        let (nearest, setting) = match reach {
            Reach::Nearest => ("distance", ""),
            Reach::Enough => ("distance", GO_ON),
            Reach::All => ("distance + 0, id DESC", ""),
        };
        let (store, namespace) = (made.bind(self.table.store), made.bind(i64::from(self.namespace.0)));
        let conditions = self.conditions(&mut made, search.filter);
        let limit = made.bind(limit(top.k()));
        let (table, order) =
            (&self.table.name, nearest.replace("distance", &format!("(vector <~> {vector})")));
        made.text(format!(
            "SELECT id, seq, record, vector <~> {vector} AS distance FROM {table} \
             WHERE {setting}store = {store} AND namespace = {namespace} AND supplied AND {conditions} \
             ORDER BY {order} LIMIT {limit}"
        ))
    }
}
