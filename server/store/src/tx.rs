//! Snapshots and transactions.

use crate::cells::signed;
use crate::error::StoreError;
use crate::log::LogTail;
use avouch_core::node::Serial;
use sqlx::{Sqlite, SqliteConnection, Transaction};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A consistent snapshot of everything. Its methods are in the files of their nouns.
pub struct Read {
    transaction: Transaction<'static, Sqlite>,
}

impl Read {
    pub(crate) fn new(transaction: Transaction<'static, Sqlite>) -> Self {
        Self { transaction }
    }

    pub(crate) fn sql(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

/// A transaction that may write. Dropped without [`Tx::commit`], it changes nothing.
pub struct Tx {
    read: Read,
    /// What this transaction appends to the log.
    pub(crate) tail: LogTail,
    /// Something changed that has to be recorded.
    changed: bool,
    /// The version that this transaction makes, if it changes what nodes know.
    version: Option<u64>,
    stopped: Arc<AtomicBool>,
}

impl Deref for Tx {
    type Target = Read;

    fn deref(&self) -> &Read {
        &self.read
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Read {
        &mut self.read
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("changed", &self.changed).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Tx {
    pub(crate) fn new(read: Read, stopped: Arc<AtomicBool>) -> Self {
        Self { read, tail: LogTail::default(), changed: false, version: None, stopped }
    }

    /// A change that needs an event.
    pub(crate) fn change(&mut self) {
        self.changed = true;
    }

    /// A change that needs an event and that nodes have to learn of.
    pub(crate) async fn change_state(&mut self) -> Result<(), StoreError> {
        self.changed = true;
        self.new_version().await.map(|_| ())
    }

    /// The version that this transaction makes: one more than the newest. The first call takes it; a transaction
    /// that changes what nodes know takes it by itself.
    pub async fn new_version(&mut self) -> Result<u64, StoreError> {
        if let Some(version) = self.version {
            return Ok(version);
        }
        let version = self.read.meta().await?.version + 1;
        sqlx::query("UPDATE meta SET version = $1 WHERE id = 1").bind(signed(version)).execute(self.sql()).await?;
        self.version = Some(version);
        Ok(version)
    }

    /// Makes it all durable, or nothing of it. The answer is the newest version after it.
    pub async fn commit(mut self) -> Result<u64, StoreError> {
        if self.changed && self.tail.is_empty() {
            return Err(StoreError::Unrecorded);
        }
        self.flush_log().await?;
        let version = match self.version {
            Some(version) => version,
            None => self.read.meta().await?.version,
        };
        let stopped = self.stopped;
        self.read.transaction.commit().await.map_err(|error| {
            let error = StoreError::from(error);
            if !matches!(error, StoreError::Busy(_)) {
                stopped.store(true, Ordering::SeqCst);
            }
            error
        })?;
        Ok(version)
    }
}

/// A serial number as it is bound.
pub(crate) fn bytes(serial: &Serial) -> &[u8] {
    &serial.0
}
