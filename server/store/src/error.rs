//! What can go wrong in the store, by whose fault.

use avouch_core::Fault;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;
use std::io;
use std::path::PathBuf;

/// Why something was not read or written. None of these names a value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is one already.
    #[error("there already is such a {0}")]
    Exists(&'static str),
    /// It, or something it refers to, is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A stored value cannot be read as what it is. It is never skipped.
    #[error("the stored value {table}.{column} is damaged")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The transaction changed something and recorded nothing.
    #[error("a change was to be committed without its event")]
    Unrecorded,
    /// An event has no canonical form.
    #[error("the event cannot be written: {0}")]
    Event(#[from] avouch_audit::canonical::BadForm),
    /// Another transaction is in the way for too long, the disk is full, or the database does not answer. Nothing was
    /// changed.
    #[error("the store is busy, full or away: {0}")]
    Busy(sqlx::Error),
    /// The connection was lost during the commit, and it cannot be found out whether the database has it.
    #[error("it is not known whether the change was committed")]
    Unknown,
    /// A statement of the transaction failed before, so there is nothing that could be committed.
    #[error("a transaction was to be committed of which a statement had failed")]
    Spoiled,
    /// Another issuer leads by now.
    #[error("another issuer leads")]
    Fenced,
    /// A commit failed before, so what the disk holds is not known (F09): nothing more is written.
    #[error("an earlier commit failed; restart the issuer when the disk is well again")]
    Stopped,
    /// Anything else that SQL says.
    #[error("the store failed: {0}")]
    Sql(sqlx::Error),
}

impl StoreError {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Exists(_) | Self::NotFound(_) => Fault::Caller,
            Self::Busy(_) | Self::Unknown | Self::Fenced => Fault::Later,
            Self::Damaged { .. } | Self::Unrecorded | Self::Spoiled | Self::Event(_) | Self::Stopped | Self::Sql(_) => {
                Fault::Us
            }
        }
    }

    /// An insert that a uniqueness rule or a missing referent refused.
    pub(crate) fn insert(error: sqlx::Error, kind: &'static str, referent: &'static str) -> Self {
        match error.as_database_error() {
            Some(refused) if refused.is_unique_violation() => Self::Exists(kind),
            Some(refused) if refused.is_foreign_key_violation() => Self::NotFound(referent),
            _ => error.into(),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let busy = match &error {
            sqlx::Error::PoolTimedOut => true,
            // SQLite has no wire; for Postgres it is the connection.
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => true,
            other => match state(other) {
                Some(state) => LATER.iter().any(|later| state.starts_with(later)),
                None => matches!(primary_code(other), Some(SQLITE_BUSY | SQLITE_LOCKED | SQLITE_FULL)),
            },
        };
        if busy { Self::Busy(error) } else { Self::Sql(error) }
    }
}

/// Why the store could not be opened. Each is a sentence for whoever starts the issuer.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the database {database} is in use by another issuer{}", owner.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The database.
        database: String,
        /// The other process, if it said who it is.
        owner: Option<u32>,
    },
    /// A file beside it or its directory cannot be used.
    #[error("{path} cannot be used: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There was a database, and it is gone or empty.
    #[error(
        "the database {0} was made before and is now missing or empty; restore it, or remove the whole state directory to begin anew"
    )]
    Gone(String),
    /// It is not whole.
    #[error("the database {database} is damaged ({finding}); restore it from a backup")]
    Damaged {
        /// The database.
        database: String,
        /// The first thing found.
        finding: String,
    },
    /// Another database was put in its place.
    #[error("the database {0} is not the one that was made here; restore the right one")]
    Foreign(String),
    /// The database is another trust domain's.
    #[error("the database {database} is of trust domain {stored}, but the settings say {configured}")]
    TrustDomain {
        /// The database.
        database: String,
        /// Its trust domain.
        stored: String,
        /// The trust domain of the settings.
        configured: String,
    },
    /// It was written by a newer version, or a migration failed.
    #[error("the database {database} cannot be brought up to date: {error}")]
    Migration {
        /// The database.
        database: String,
        /// What is wrong.
        error: sqlx::migrate::MigrateError,
    },
    /// Its server is one that this cannot work with; the reason goes on with "it".
    #[error("the database {database} cannot be used: it {reason}")]
    Unfit {
        /// The database.
        database: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else.
    #[error("the database {database} cannot be opened: {error}")]
    Store {
        /// The database.
        database: String,
        /// What is wrong.
        error: StoreError,
    },
}

/// The low byte of SQLite's extended result code.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let said = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    let code: i32 = said.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Postgres's five characters.
fn state(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// What Postgres says that may be over soon: connections that fail, transactions in each other's way, resources that
/// are used up, a server that goes or comes, and patience that ends (25P03, 55P03, 57014).
const LATER: [&str; 8] = ["08", "40", "53", "57P", "57014", "55P03", "25P03", "25P04"];

const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
pub(crate) const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
pub(crate) const SQLITE_NOTADB: i32 = 26;
