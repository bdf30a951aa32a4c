//! Opening the database: whole or not at all, and never an empty one in place of one that was lost (F14), as that would
//! silently lose every lock.

mod marker;
mod migrations;
mod postgres;
mod sqlite;

pub use postgres::{Changes, Host, Postgres, PostgresTls};

use crate::error::{OpenError, StoreError};
use crate::sql::Session;
use crate::tx::{Read, Tx};
use avouch_words::{Millis, TrustDomain};
use marker::Marker;
use postgres::PostgresPools;
use sqlite::SqlitePools;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where a database is.
#[derive(Debug)]
pub enum Place {
    /// In an SQLite file that one process holds.
    File(PathBuf),
    /// On a Postgres server, which several issuers may share.
    Postgres {
        /// How it is reached.
        settings: Box<Postgres>,
        /// A file of this issuer that says which database it has seen there.
        marker: PathBuf,
    },
}

impl<P: AsRef<Path>> From<P> for Place {
    fn from(path: P) -> Self {
        Self::File(path.as_ref().to_owned())
    }
}

/// The issuer's database. Clones share it.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    run: Arc<Run>,
}

#[derive(Clone)]
enum Backend {
    Sqlite(SqlitePools),
    Postgres(Box<PostgresPools>),
}

/// What is of this process alone.
struct Run {
    /// Random.
    id: [u8; 16],
    /// Transactions begun.
    begun: AtomicU64,
    /// A commit failed, so nothing more is written.
    stopped: AtomicBool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("shared", &self.is_shared()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database, or makes it where there never was one. `random` is the name of this run, and of the
    /// database if it is made now.
    pub async fn open(
        place: impl Into<Place>,
        trust_domain: &TrustDomain,
        random: [u8; 16],
        now: Millis,
    ) -> Result<Self, OpenError> {
        let place = place.into();
        let (backend, name, marker) = match &place {
            Place::File(path) => {
                let marker = Marker::beside(path);
                let pools = SqlitePools::open(path, marker.read()?.is_some()).await?;
                (Backend::Sqlite(pools), path.display().to_string(), marker)
            }
            Place::Postgres { settings, marker } => {
                let marker = Marker::at(marker);
                let pools = PostgresPools::open(settings, marker.read()?.is_some()).await?;
                (Backend::Postgres(Box::new(pools)), settings.name(), marker)
            }
        };
        let run = Run { id: random, begun: AtomicU64::new(0), stopped: AtomicBool::new(false) };
        let store = Self { backend, run: Arc::new(run) };
        store.recognise(&name, &marker, trust_domain, random, now).await?;
        Ok(store)
    }

    /// Whose database it is, and whether it is the one that was here before.
    async fn recognise(
        &self,
        name: &str,
        marker: &Marker,
        trust_domain: &TrustDomain,
        new_epoch: [u8; 16],
        now: Millis,
    ) -> Result<(), OpenError> {
        let failed = |error| OpenError::Store { database: name.to_owned(), error };
        let made = marker.read()?;
        let mut meta = self.read().await.map_err(failed)?.find_meta().await.map_err(failed)?;
        if meta.is_none() {
            if made.is_some() {
                return Err(OpenError::Gone(name.to_owned()));
            }
            let mut tx = self.begin().await.map_err(failed)?;
            tx.name_database(trust_domain, new_epoch, now).await.map_err(failed)?;
            meta = tx.find_meta().await.map_err(failed)?;
            tx.commit().await.map_err(failed)?;
        }
        let meta = meta.ok_or(StoreError::Damaged { table: "meta", column: "id" }).map_err(failed)?;
        if meta.trust_domain != *trust_domain {
            return Err(OpenError::TrustDomain {
                database: name.to_owned(),
                stored: meta.trust_domain.to_string(),
                configured: trust_domain.to_string(),
            });
        }
        match made {
            None => marker.write(&meta.epoch),
            Some(made) if made == Marker::text(&meta.epoch) => Ok(()),
            Some(_) => Err(OpenError::Foreign(name.to_owned())),
        }
    }

    /// Several issuers may be at this database.
    pub fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    /// What this run of this issuer is called in the database.
    pub fn run_id(&self) -> [u8; 16] {
        self.run.id
    }

    /// A consistent snapshot for reading.
    pub async fn read(&self) -> Result<Read, StoreError> {
        let session = match &self.backend {
            Backend::Sqlite(pools) => Session::sqlite(pools.readers.begin().await?),
            Backend::Postgres(pools) => pools.snapshot().await?,
        };
        Ok(Read::new(session))
    }

    /// A transaction for writing. Writers wait for each other, so hold it no longer than needed and never across
    /// anything but the store.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        if self.run.stopped.load(Ordering::SeqCst) {
            return Err(StoreError::Stopped);
        }
        let (session, mark) = match &self.backend {
            Backend::Sqlite(pools) => (Session::sqlite(pools.writer.begin_with("BEGIN IMMEDIATE").await?), None),
            Backend::Postgres(pools) => (pools.write().await?, Some(self.mark())),
        };
        Ok(Tx::new(session, self.clone(), mark))
    }

    /// A transaction beside the state: about the issuers themselves. It waits for no writer of the state where there
    /// are several issuers.
    pub(crate) async fn aside(&self) -> Result<Read, StoreError> {
        let session = match &self.backend {
            Backend::Sqlite(pools) => Session::sqlite(pools.writer.begin_with("BEGIN IMMEDIATE").await?),
            Backend::Postgres(pools) => pools.aside().await?,
        };
        Ok(Read::new(session))
    }

    /// What wakes this issuer when another changed something.
    pub fn changes(&self) -> Changes {
        match &self.backend {
            Backend::Sqlite(_) => Changes::never(),
            Backend::Postgres(pools) => pools.changes(),
        }
    }

    /// Ends all connections; what was committed is then in the database itself.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(pools) => pools.close().await,
            Backend::Postgres(pools) => pools.close().await,
        }
    }

    /// Nothing more is written.
    pub(crate) fn stop(&self) {
        self.run.stopped.store(true, Ordering::SeqCst);
    }

    /// What no other transaction of any issuer has.
    fn mark(&self) -> [u8; 16] {
        let mut mark = self.run.id;
        let begun = self.run.begun.fetch_add(1, Ordering::Relaxed);
        mark[8..].copy_from_slice(&begun.to_be_bytes());
        mark
    }

    /// Whether the transaction of this mark, which wrote this entry of the log, is in the database.
    pub(crate) async fn find_commit(&self, index: u64, mark: [u8; 16]) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Err(StoreError::Unknown),
            Backend::Postgres(pools) => pools.find_commit(index, mark).await,
        }
    }
}

#[cfg(test)]
mod tests;
