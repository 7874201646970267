//! A statement with its parameters, and hypervectors as one of them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// A value that goes with a statement.
type Value = Box<dyn ToSql + Send + Sync>;

/// A statement, and the values of its parameters.
#[derive(Default)]
pub(super) struct Statement {
    sql: String,
    values: Vec<Value>,
    bytes: usize,
}

impl Statement {
    /// Adds a value of so many bytes; how the statement's text refers to it.
    pub(super) fn bind_sized(&mut self, value: impl ToSql + Send + Sync + 'static, bytes: usize) -> String {
        self.values.push(Box::new(value));
        self.bytes += bytes;
        format!("${}", self.values.len())
    }

    /// Adds a value without parts of its own; how the text refers to it.
    pub(super) fn bind<T: ToSql + Send + Sync + 'static>(&mut self, value: T) -> String {
        self.bind_sized(value, size_of::<T>())
    }

    /// Adds a list; how the text refers to it.
    pub(super) fn bind_list<T: ToSql + Send + Sync + 'static>(&mut self, values: Vec<T>) -> String {
        let bytes = size_of_val(values.as_slice());
        self.bind_sized(values, bytes)
    }

    /// With this text.
    pub(super) fn text(mut self, sql: String) -> Self {
        self.sql = sql;
        self
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// About how many bytes the values take on their way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

/// A hypervector as PostgreSQL's `bit(n)`. Distances are the same in any order
/// of bits, so the words go as they lie in memory on most machines.
#[derive(Clone)]
pub(super) struct Bits(pub Arc<[u64]>);

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits", self.0.len() * 64)
    }
}

impl ToSql for Bits {
    fn to_sql(&self, _type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Send + Sync>> {
        out.put_i32(i32::try_from(self.0.len() * 64)?);
        self.0.iter().for_each(|&word| out.put_u64_le(word));
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::BIT | Type::VARBIT)
    }

    to_sql_checked!();
}
