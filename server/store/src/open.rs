//! Opening the database: one process at a time, whole or not at all, and never an empty one in place of one that was
//! lost (F14), as that would silently lose every lock.

use crate::error::{OpenError, SQLITE_CORRUPT, SQLITE_NOTADB, StoreError, primary_code};
use crate::meta;
use crate::tx::{Read, Tx};
use avouch_words::{Millis, TrustDomain};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Row, SqlSafeStr};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The issuer's database. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    stopped: Arc<AtomicBool>,
    /// Held as long as the store is open.
    _held: Arc<File>,
}

impl Store {
    /// Opens the database, or makes it where there never was one. `new_epoch` is random and used only then.
    pub async fn open(
        path: &Path,
        trust_domain: &TrustDomain,
        new_epoch: [u8; 16],
        now: Millis,
    ) -> Result<Self, OpenError> {
        let held = hold(path)?;
        let made = read_marker(path)?;
        prepare_file(path, made.is_some())?;
        let store = Self {
            writer: pool(path, 1),
            readers: pool(path, READERS),
            stopped: Arc::new(AtomicBool::new(false)),
            _held: Arc::new(held),
        };
        store.check_whole(path).await?;
        migrations().run(&store.writer).await.map_err(|error| migration_failed(path, error))?;
        let failed = |error| OpenError::Store { path: path.to_owned(), error };
        let epoch = match store.read().await.map_err(failed)?.find_meta().await.map_err(failed)? {
            Some(meta) if meta.trust_domain != *trust_domain => {
                return Err(OpenError::TrustDomain {
                    path: path.to_owned(),
                    stored: meta.trust_domain.to_string(),
                    configured: trust_domain.to_string(),
                });
            }
            Some(meta) if made.as_ref().is_some_and(|made| *made != marker(&meta.epoch)) => {
                return Err(OpenError::Foreign(path.to_owned()));
            }
            Some(meta) => meta.epoch,
            None if made.is_some() => return Err(OpenError::Gone(path.to_owned())),
            None => {
                meta::insert(&store.writer, trust_domain, new_epoch, now).await.map_err(failed)?;
                new_epoch
            }
        };
        if made.is_none() {
            write_marker(path, &epoch)?;
        }
        Ok(store)
    }

    /// A consistent snapshot for reading.
    pub async fn read(&self) -> Result<Read, StoreError> {
        Ok(Read::new(self.readers.begin().await?))
    }

    /// A transaction for writing. Writers wait for each other, so hold it no longer than needed and never across
    /// anything but the store.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(StoreError::Stopped);
        }
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx::new(Read::new(transaction), self.stopped.clone()))
    }

    /// Ends all connections; what was committed is then in the database file itself.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn check_whole(&self, path: &Path) -> Result<(), OpenError> {
        let damaged = |finding: String| OpenError::Damaged { path: path.to_owned(), finding };
        for check in ["PRAGMA integrity_check(1)", "PRAGMA foreign_key_check"] {
            let rows =
                sqlx::query(check).fetch_all(&self.writer).await.map_err(|error| match primary_code(&error) {
                    Some(SQLITE_CORRUPT | SQLITE_NOTADB) => damaged(error.to_string()),
                    _ => OpenError::Store { path: path.to_owned(), error: error.into() },
                })?;
            if let Some(row) = rows.first() {
                let finding: String = row.try_get(0).unwrap_or_else(|_| check.to_owned());
                if finding != "ok" {
                    return Err(damaged(finding));
                }
            }
        }
        Ok(())
    }
}

/// The schema, oldest first. A migration that was released is never edited; its checksum is compared.
fn migrations() -> Migrator {
    let made = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        made(1, "init", include_str!("../migrations/sqlite/0001_init.sql")),
        made(2, "traces", include_str!("../migrations/sqlite/0002_traces.sql")),
        made(3, "reference", include_str!("../migrations/sqlite/0003_reference.sql")),
        made(5, "federation", include_str!("../migrations/sqlite/0005_federation.sql")),
    ])
}

fn migration_failed(path: &Path, error: MigrateError) -> OpenError {
    let corrupt = match &error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            matches!(primary_code(error), Some(SQLITE_CORRUPT | SQLITE_NOTADB))
        }
        _ => false,
    };
    if corrupt {
        OpenError::Damaged { path: path.to_owned(), finding: error.to_string() }
    } else {
        OpenError::Migration { path: path.to_owned(), error }
    }
}

fn pool(path: &Path, connections: u32) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .disable_statement_logging();
    SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE).connect_lazy_with(options)
}

/// Takes the lock that keeps a second issuer out. It goes with the process, however that ends.
fn hold(path: &Path) -> Result<File, OpenError> {
    let beside = beside(path, ".lock");
    let failed = |error| OpenError::File { path: beside.clone(), error };
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&beside).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        Err(fs::TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Only for the message: without it the sentence is shorter.
            let read = file.take(16).read_to_string(&mut owner).ok();
            let owner = read.and_then(|_| owner.trim().parse().ok());
            return Err(OpenError::InUse { path: path.to_owned(), owner });
        }
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}

/// Makes the file, for nobody else to read, where there never was one.
fn prepare_file(path: &Path, made: bool) -> Result<(), OpenError> {
    let failed = |error| OpenError::File { path: path.to_owned(), error };
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(failed(error)),
    };
    if length > 0 {
        return Ok(());
    }
    let log_left = fs::metadata(beside(path, "-wal")).is_ok_and(|metadata| metadata.len() > 0);
    if made || log_left {
        return Err(OpenError::Gone(path.to_owned()));
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    Ok(())
}

/// What the marker says: which database was made here.
fn read_marker(path: &Path) -> Result<Option<String>, OpenError> {
    let beside = beside(path, MARKER);
    match fs::read_to_string(&beside) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::File { path: beside, error }),
    }
}

fn write_marker(path: &Path, epoch: &[u8; 16]) -> Result<(), OpenError> {
    let beside = beside(path, MARKER);
    let failed = |error| OpenError::File { path: beside.clone(), error };
    let fresh = beside.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(failed)?;
    file.write_all(marker(epoch).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&fresh, &beside).map_err(failed)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

fn marker(epoch: &[u8; 16]) -> String {
    format!("{:032x}\n", u128::from_be_bytes(*epoch))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Says that a database was made here, and which.
const MARKER: &str = ".made";
/// Connections for reading; one more writes.
const READERS: u32 = 4;
/// How long to wait for a connection or for another transaction.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
