//! A statement with its parameters, and hypervectors as one of them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// A value that goes with a statement, as one type of PostgreSQL's: told, so that the
/// server need not be asked what it expects.
pub(super) trait Parameter: ToSql + Send + Sync + 'static {
    /// That type.
    const TYPE: Type;
}

macro_rules! parameters {
    ($($rust:ty => $sql:ident),+ $(,)?) => {
        $(impl Parameter for $rust {
            const TYPE: Type = Type::$sql;
        })+
    };
}

parameters! {
    i64 => INT8, f32 => FLOAT4, Bits => BIT,
    Vec<i16> => INT2_ARRAY, Vec<i32> => INT4_ARRAY, Vec<i64> => INT8_ARRAY,
    Vec<f32> => FLOAT4_ARRAY, Vec<bool> => BOOL_ARRAY,
    Vec<String> => TEXT_ARRAY, Vec<Vec<u8>> => BYTEA_ARRAY,
    Vec<Bits> => VARBIT_ARRAY, Vec<Option<Bits>> => VARBIT_ARRAY,
}

/// A statement, and the values of its parameters.
#[derive(Default)]
pub(super) struct Statement {
    sql: String,
    /// Instead of it, where it may have been made already.
    again: Option<String>,
    values: Vec<(Box<dyn ToSql + Send + Sync>, Type)>,
    bytes: usize,
}

impl Statement {
    /// Adds a value of so many bytes; how the statement's text refers to it.
    pub(super) fn bind_sized<T: Parameter>(&mut self, value: T, bytes: usize) -> String {
        self.values.push((Box::new(value), T::TYPE));
        self.bytes += bytes;
        format!("${}", self.values.len())
    }

    /// Adds a value without parts of its own; how the text refers to it.
    pub(super) fn bind<T: Parameter>(&mut self, value: T) -> String {
        self.bind_sized(value, size_of::<T>())
    }

    /// Adds a list; how the text refers to it.
    pub(super) fn bind_list<T>(&mut self, values: Vec<T>) -> String
    where
        Vec<T>: Parameter,
    {
        let bytes = size_of_val(values.as_slice());
        self.bind_sized(values, bytes)
    }

    /// With this text.
    pub(super) fn text(mut self, sql: String) -> Self {
        self.sql = sql;
        self
    }

    /// With another text from the second attempt on.
    pub(super) fn again(mut self, sql: String) -> Self {
        self.again = Some(sql);
        self
    }

    /// Its text, for the first attempt or a later one.
    pub(super) fn sql(&self, attempt: u32) -> &str {
        self.again.as_ref().filter(|_| attempt > 1).unwrap_or(&self.sql)
    }

    /// About how many bytes the values take on their way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The values with their types.
    pub(super) fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect()
    }
}

/// A hypervector as PostgreSQL's `bit(n)`. Distances are the same in any order
/// of bits, so the words go as they lie in memory: little-endian, as in segments.
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
        out.put_slice(bytemuck::cast_slice(&self.0));
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::BIT | Type::VARBIT)
    }

    to_sql_checked!();
}
