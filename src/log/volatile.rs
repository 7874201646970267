//! A log in memory, for tests and for memories that need not last.

use std::collections::BTreeMap;

use super::{Batch, Durability, Log, Table, Visit};
use crate::error::Error;
use crate::sync::{RwLock, read, write};

type Values = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A log that ends with its process.
#[derive(Debug, Default)]
pub struct VolatileLog {
    values: RwLock<Values>,
}

impl Log for VolatileLog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let values = read(&self.values);
        Ok(values.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let values = read(&self.values);
        let from = values.range((table, prefix.to_vec())..);
        for ((_, key), value) in from.take_while(|((t, key), _)| *t == table && key.starts_with(prefix)) {
            visit(key, value)?;
        }
        Ok(())
    }

    fn commit(&self, batch: &Batch, _durability: Durability) -> Result<(), Error> {
        let mut values = write(&self.values);
        for (table, key, value) in &batch.changes {
            match value {
                Some(value) => values.insert((*table, key.clone()), value.clone()),
                None => values.remove(&(*table, key.clone())),
            };
        }
        Ok(())
    }

    fn compact(&self) -> Result<(), Error> {
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
