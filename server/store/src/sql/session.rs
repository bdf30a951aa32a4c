//! One transaction on one connection, and what became of it. A Postgres connection of which it is not known where it
//! stands is closed and never used again; waiting for an answer has an end, whatever the server and the network do.

use super::{Row, Statement, postgres, sqlite};
use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Sqlite, Transaction};
use std::io;
use std::time::Duration;
use tokio::runtime::Handle;

/// A transaction of one of the two databases. Dropped without a commit, it changes nothing.
pub(crate) struct Session {
    link: Link,
    /// A statement failed, so Postgres would take a COMMIT for a ROLLBACK without a word. The same on both.
    spoiled: bool,
}

enum Link {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Wire),
}

/// How a commit failed.
pub(crate) enum NotCommitted {
    /// Nothing of it was kept.
    Nothing(sqlx::Error),
    /// A statement failed before.
    Spoiled,
    /// The server may have it or not.
    Unknown(sqlx::Error),
    /// The disk failed, so what it holds is not known.
    Disk(sqlx::Error),
}

impl Session {
    pub(crate) fn sqlite(transaction: Transaction<'static, Sqlite>) -> Self {
        Self { link: Link::Sqlite(transaction), spoiled: false }
    }

    /// Begins with these statements, which take no values and answer nothing that is wanted.
    pub(crate) async fn postgres(
        connection: PoolConnection<Postgres>,
        begin: &'static str,
    ) -> Result<Self, sqlx::Error> {
        let mut wire = Wire { connection: Some(connection), standing: Standing::Open };
        wire.simple(begin).await?;
        Ok(Self { link: Link::Postgres(wire), spoiled: false })
    }

    /// What this dialect calls the database's own clock.
    pub(crate) fn now(&self) -> &'static str {
        match &self.link {
            Link::Sqlite(_) => sqlite::NOW,
            Link::Postgres(_) => postgres::NOW,
        }
    }

    /// Several issuers may be at this database.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.link, Link::Postgres(_))
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        let done = match &mut self.link {
            Link::Sqlite(transaction) => sqlite::execute(transaction, statement).await,
            Link::Postgres(wire) => wire.execute(statement).await,
        };
        self.spoiled |= done.is_err();
        done
    }

    pub(super) async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>, sqlx::Error> {
        let rows = match &mut self.link {
            Link::Sqlite(transaction) => sqlite::fetch(transaction, statement).await,
            Link::Postgres(wire) => wire.fetch(statement).await,
        };
        self.spoiled |= rows.is_err();
        rows
    }

    pub(crate) async fn commit(self) -> Result<(), NotCommitted> {
        if self.spoiled {
            return Err(NotCommitted::Spoiled);
        }
        match self.link {
            Link::Sqlite(transaction) => transaction.commit().await.map_err(NotCommitted::Disk),
            Link::Postgres(mut wire) => match wire.simple("COMMIT").await {
                Ok(()) => {
                    wire.standing = Standing::Ended;
                    Ok(())
                }
                // The server said no, so it was there to say so.
                Err(error) if error.as_database_error().is_some_and(|said| !is_cut(said)) => {
                    Err(NotCommitted::Nothing(error))
                }
                Err(error) => Err(NotCommitted::Unknown(error)),
            },
        }
    }
}

/// A connection to Postgres with a transaction on it.
struct Wire {
    /// Some until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A transaction is open.
    Open,
    /// None is.
    Ended,
    /// Nobody knows.
    Broken,
}

/// Waits for the server, but not for ever, and notes if the connection is good for nothing more.
macro_rules! answered {
    ($wire:ident, $call:path, $($argument:expr),*) => {{
        let Some(connection) = $wire.connection.as_mut() else { return Err(sqlx::Error::WorkerCrashed) };
        let answer = tokio::time::timeout(ANSWER, $call(connection, $($argument),*)).await;
        let answer = answer.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())));
        if let Err(error) = &answer
            && error.as_database_error().is_none_or(is_cut)
        {
            $wire.standing = Standing::Broken;
        }
        answer
    }};
}

impl Wire {
    async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        answered!(self, postgres::execute, statement)
    }

    async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>, sqlx::Error> {
        answered!(self, postgres::fetch, statement)
    }

    async fn simple(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
        answered!(self, simple, text)
    }
}

async fn simple(connection: &mut sqlx::PgConnection, text: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(text).execute(connection).await.map(|_| ())
}

impl Drop for Wire {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        match (self.standing, Handle::try_current()) {
            (Standing::Ended, _) => drop(connection),
            (Standing::Open, Ok(runtime)) => {
                runtime.spawn(async move {
                    let ended = tokio::time::timeout(ANSWER, simple(&mut connection, "ROLLBACK")).await;
                    if !matches!(ended, Ok(Ok(()))) {
                        connection.close_on_drop();
                    }
                });
            }
            (Standing::Broken, Ok(_)) => connection.close_on_drop(),
            // The process ends; the server sees the connection go.
            (_, Err(_)) => drop(connection.leak()),
        }
    }
}

/// The server ends the connection with these words: its class 57P is an operator's or a crash's doing, 25P03 and 25P04
/// are its patience with a transaction.
pub(crate) fn is_cut(said: &(dyn sqlx::error::DatabaseError + 'static)) -> bool {
    said.code()
        .is_some_and(|code| code.starts_with("57P") || code.starts_with("08") || matches!(&*code, "25P03" | "25P04"))
}

/// How long the server may take for one answer: longer than its own patience with a statement, which ends it cleanly.
const ANSWER: Duration = Duration::from_secs(4);
