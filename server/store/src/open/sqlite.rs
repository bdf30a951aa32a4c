//! One SQLite file, held by one process at a time.

use super::marker::beside;
use super::migrations;
use crate::error::{OpenError, SQLITE_CORRUPT, SQLITE_NOTADB, primary_code};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Row};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Its connections.
#[derive(Clone)]
pub(super) struct SqlitePools {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    /// Held as long as the store is open.
    _held: Arc<File>,
}

impl SqlitePools {
    /// Opens the file, brought up to date, or makes it where there never was one.
    pub(super) async fn open(path: &Path, made: bool) -> Result<Self, OpenError> {
        let held = hold(path)?;
        prepare_file(path, made)?;
        let pools = Self { writer: pool(path, 1), readers: pool(path, READERS), _held: Arc::new(held) };
        pools.check_whole(path).await?;
        migrations::sqlite().run(&pools.writer).await.map_err(|error| migration_failed(path, error))?;
        Ok(pools)
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn check_whole(&self, path: &Path) -> Result<(), OpenError> {
        let damaged = |finding: String| OpenError::Damaged { database: path.display().to_string(), finding };
        for check in ["PRAGMA integrity_check(1)", "PRAGMA foreign_key_check"] {
            let rows =
                sqlx::query(check).fetch_all(&self.writer).await.map_err(|error| match primary_code(&error) {
                    Some(SQLITE_CORRUPT | SQLITE_NOTADB) => damaged(error.to_string()),
                    _ => OpenError::Store { database: path.display().to_string(), error: error.into() },
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

fn migration_failed(path: &Path, error: MigrateError) -> OpenError {
    let corrupt = match &error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            matches!(primary_code(error), Some(SQLITE_CORRUPT | SQLITE_NOTADB))
        }
        _ => false,
    };
    if corrupt {
        OpenError::Damaged { database: path.display().to_string(), finding: error.to_string() }
    } else {
        OpenError::Migration { database: path.display().to_string(), error }
    }
}

pub(super) fn pool(path: &Path, connections: u32) -> SqlitePool {
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
            return Err(OpenError::InUse { database: path.display().to_string(), owner });
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
        return Err(OpenError::Gone(path.display().to_string()));
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    Ok(())
}

/// Connections for reading; one more writes.
const READERS: u32 = 4;
/// How long to wait for a connection or for another transaction.
const PATIENCE: Duration = Duration::from_secs(5);
