//! Snapshots and transactions.

use crate::cells::signed;
use crate::error::StoreError;
use crate::log::LogTail;
use crate::open::Store;
use crate::sql::{NotCommitted, Session, query};
use avouch_core::node::Serial;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A consistent snapshot of everything. Its methods are in the files of their nouns.
pub struct Read {
    session: Session,
}

impl Read {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    pub(crate) fn sql(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(crate) fn into_session(self) -> Session {
        self.session
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

/// A transaction that may write. Dropped without [`Tx::commit`], it changes nothing. While it is open no other changes
/// anything, at whichever issuer: what it reads stays true until its commit. After a statement of it failed it can only
/// be dropped.
pub struct Tx {
    read: Read,
    /// What this transaction appends to the log.
    pub(crate) tail: LogTail,
    /// Something changed that has to be recorded.
    changed: bool,
    /// The version that this transaction makes, if it changes what nodes know.
    version: Option<u64>,
    store: Store,
    /// What tells this transaction from all others, where its commit can get lost on its way.
    mark: Option<[u8; 16]>,
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
    pub(crate) fn new(session: Session, store: Store, mark: Option<[u8; 16]>) -> Self {
        Self { read: Read::new(session), tail: LogTail::default(), changed: false, version: None, store, mark }
    }

    pub(crate) fn mark(&self) -> Option<[u8; 16]> {
        self.mark
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
        query("UPDATE meta SET version = $1 WHERE id = 1").bind(signed(version)).execute(self.sql()).await?;
        self.version = Some(version);
        Ok(version)
    }

    /// Makes it all durable, or nothing of it. The answer is the newest version after it. A commit that got lost on
    /// its way to the database or back is looked for; only if that cannot be done it is unknown.
    pub async fn commit(mut self) -> Result<u64, StoreError> {
        if self.changed && self.tail.is_empty() {
            return Err(StoreError::Unrecorded);
        }
        self.flush_log().await?;
        let version = match self.version {
            Some(version) => {
                self.wake(Wake::State).await?;
                version
            }
            None => self.read.meta().await?.version,
        };
        let Self { read, tail, store, mark, .. } = self;
        match read.into_session().commit().await {
            Ok(()) => Ok(version),
            Err(NotCommitted::Nothing(error)) => Err(error.into()),
            Err(NotCommitted::Spoiled) => Err(StoreError::Spoiled),
            Err(NotCommitted::Disk(error)) => {
                let error = StoreError::from(error);
                if !matches!(error, StoreError::Busy(_)) {
                    store.stop();
                }
                Err(error)
            }
            Err(NotCommitted::Unknown(error)) => match (tail.written, mark) {
                (Some(index), Some(mark)) if store.find_commit(index, mark).await? => Ok(version),
                (Some(_), Some(_)) => Err(StoreError::Busy(error)),
                _ => Err(StoreError::Unknown),
            },
        }
    }
}

impl Read {
    /// Wakes all issuers of this database when this transaction has been committed.
    pub(crate) async fn wake(&mut self, wake: Wake) -> Result<(), StoreError> {
        if self.sql().is_shared() {
            query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(wake.as_str()).fetch_one(self.sql()).await?;
        }
        Ok(())
    }
}

/// What an issuer is woken for. It may be lost or come twice: whoever is woken reads what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// There is a new version of the state.
    State,
    /// A node connected to another issuer, went, or applied a version there.
    Nodes,
    /// Wakes may have been lost.
    Anything,
}

impl Wake {
    fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Nodes => "nodes",
            Self::Anything => "anything",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        [Self::State, Self::Nodes].into_iter().find(|wake| wake.as_str() == text).unwrap_or(Self::Anything)
    }
}

/// A serial number as it is bound.
pub(crate) fn bytes(serial: &Serial) -> &[u8] {
    &serial.0
}

/// Where the issuers of one database wake each other.
pub(crate) const CHANNEL: &str = "avouch";
