//! The locks and channels by which an engine's threads hand work to one another. They are the
//! standard library's or, built with `--cfg shuttle`, those of a model checker, which chooses the
//! next thread at each of them (`tests/model.rs`).

pub(crate) use std::sync::PoisonError;
use std::sync::TryLockError;

#[cfg(not(shuttle))]
pub(crate) use {
    arc_swap::ArcSwap,
    std::sync::{
        Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        mpsc::{Receiver, RecvError, SyncSender, sync_channel},
    },
};

#[cfg(shuttle)]
pub(crate) use {
    model::ArcSwap,
    shuttle::sync::{
        Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        mpsc::{Receiver, RecvError, SyncSender, sync_channel},
    },
};

/// Locks, also after another thread has panicked while it held the lock: what
/// is behind these locks is consistent between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], unless another thread holds the lock.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// As [`lock`], for one of many readers.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], for the one writer beside them.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(shuttle)]
mod model {
    use std::sync::Arc;

    use super::{RwLock, read, write};

    /// Stands in for the `ArcSwap` of `arc_swap`, whose atomics the checker does
    /// not see: other threads may run before and after each load and store.
    pub(crate) struct ArcSwap<T>(RwLock<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(RwLock::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            self.load_full()
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            read(&self.0).clone()
        }

        pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
            std::mem::replace(&mut *write(&self.0), value)
        }
    }
}
