//! A log in memory, for tests and for memories that need not last.

use std::sync::Arc;

use super::state::State;
use super::{Batch, Durability, Log, Table, Visit};
use crate::error::Error;
use crate::sync::{RwLock, read, write};

/// A log that ends with its process.
#[derive(Debug, Default)]
pub struct VolatileLog {
    state: RwLock<State>,
}

impl Log for VolatileLog {
    fn memory(&self) -> usize {
        read(&self.state).memory()
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, Error> {
        let found = read(&self.state).get(table, key);
        Ok(found.and_then(|found| found.read().ok()))
    }

    fn contains(&self, table: Table, key: &[u8]) -> Result<bool, Error> {
        Ok(read(&self.state).contains(table, key))
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let found = read(&self.state).all(table, prefix);
        found
            .into_iter()
            .try_for_each(|(key, value)| value.read().map_or(Ok(()), |value| visit(&key, &value)))
    }

    fn commit(&self, batch: &Batch, _durability: Durability) -> Result<(), Error> {
        let mut state = write(&self.state);
        batch.changes.iter().for_each(|change| state.apply(change, 0));
        Ok(())
    }

    fn compact(&self) -> Result<(), Error> {
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
