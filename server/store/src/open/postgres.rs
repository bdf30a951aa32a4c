//! A database on a Postgres server, shared by any number of issuers. Writers of the state, at whichever issuer, wait
//! for each other on one lock of the database, so that what a writer reads stays true until its commit and no commit
//! is refused for the sake of another. Everything has an end: connecting, waiting for the lock, each statement, and an
//! open transaction whose issuer has gone.

use super::migrations;
use crate::cells::signed;
use crate::error::{OpenError, StoreError};
use crate::sql::{Session, is_cut, query};
use crate::tx::{CHANNEL, Read, Wake};
use avouch_words::Secret;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, Row};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a Postgres server is reached.
pub struct Postgres {
    /// Where it is.
    pub host: Host,
    /// Its port; on a Unix socket the port in the socket's name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The role's password, if it needs one.
    pub password: Option<Secret>,
    /// How the connection is protected. None only where it does not leave this machine.
    pub tls: Option<PostgresTls>,
}

/// Where a Postgres server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Behind a Unix socket in this directory.
    Directory(PathBuf),
    /// At this name or address.
    Name(String),
}

/// How a connection to a Postgres server is protected: its certificate is always verified, and its name with it.
pub struct PostgresTls {
    /// The authorities that its certificate may be of, as PEM.
    pub authorities: Vec<u8>,
    /// A certificate of ours, as PEM, and its key.
    pub identity: Option<(Vec<u8>, Secret)>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres({})", self.name())
    }
}

impl Postgres {
    /// What it is called in sentences.
    pub fn name(&self) -> String {
        match &self.host {
            Host::Directory(directory) => format!("{} at {}", self.database, directory.display()),
            Host::Name(host) => format!("{} at {host}:{}", self.database, self.port),
        }
    }

    fn options(&self) -> Result<PgConnectOptions, std::str::Utf8Error> {
        let options = PgConnectOptions::new_without_pgpass()
            .port(self.port)
            .username(&self.user)
            .database(&self.database)
            .application_name("avouch")
            .disable_statement_logging();
        let options = match &self.host {
            Host::Directory(directory) => options.socket(directory),
            Host::Name(host) => options.host(host),
        };
        // An empty one too: the environment has no say in it.
        let password = match &self.password {
            Some(password) => std::str::from_utf8(password.expose())?,
            None => "",
        };
        let options = options.password(password);
        Ok(match &self.tls {
            None => options.ssl_mode(PgSslMode::Disable),
            Some(tls) => {
                let options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(tls.authorities.clone());
                match &tls.identity {
                    None => options,
                    Some((certificate, key)) => {
                        options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key.expose())
                    }
                }
            }
        })
    }
}

/// Its connections.
#[derive(Clone)]
pub(super) struct PostgresPools {
    writers: PgPool,
    readers: PgPool,
    options: PgConnectOptions,
}

impl PostgresPools {
    /// Reaches the server, and brings the schema up to date or makes it where there never was one.
    pub(super) async fn open(settings: &Postgres, made: bool) -> Result<Self, OpenError> {
        let name = settings.name();
        let unfit = |reason: String| OpenError::Unfit { database: name.clone(), reason };
        let options =
            settings.options().map_err(|_| unfit("needs a password, and what is in its file is no text".to_owned()))?;
        migrate(&name, &options, made).await?;
        let options = options.options([
            ("search_path", SCHEMA),
            // A server that acknowledges what is not on its disk would lose it.
            ("synchronous_commit", "on"),
            ("statement_timeout", STATEMENT),
            ("lock_timeout", LOCK),
            ("idle_in_transaction_session_timeout", IDLE),
        ]);
        Ok(Self { writers: pool(&options, WRITERS), readers: pool(&options, READERS), options })
    }

    pub(super) async fn snapshot(&self) -> Result<Session, StoreError> {
        begin(&self.readers, READERS, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    /// The only one that writes the state, until it ends.
    pub(super) async fn write(&self) -> Result<Session, StoreError> {
        begin(&self.writers, WRITERS, BEGIN_WRITING).await
    }

    pub(super) async fn aside(&self) -> Result<Session, StoreError> {
        begin(&self.readers, READERS, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await
    }

    pub(super) async fn find_commit(&self, index: u64, mark: [u8; 16]) -> Result<bool, StoreError> {
        let looked = tokio::time::timeout(RESOLVING, async {
            loop {
                // The transaction in doubt holds the writers' lock until it has ended, so whoever has that lock sees
                // how it ended.
                match self.look_for(index, mark).await {
                    Ok(found) => return found,
                    Err(error) => tracing::debug!(%error, "a commit in doubt could not be looked for yet"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        let found = looked.await.map_err(|_| StoreError::Unknown)?;
        tracing::warn!(found, "the connection was lost during a commit, which was looked for");
        Ok(found)
    }

    async fn look_for(&self, index: u64, mark: [u8; 16]) -> Result<bool, StoreError> {
        let mut read = Read::new(self.write().await?);
        let row = query("SELECT 1 FROM log WHERE idx = $1 AND tx = $2")
            .bind(signed(index))
            .bind(&mark[..])
            .fetch_optional(read.sql())
            .await?;
        Ok(row.is_some())
    }

    pub(super) fn changes(&self) -> Changes {
        Changes { options: Some(self.options.clone()), listener: None }
    }

    pub(super) async fn close(&self) {
        let both = async { tokio::join!(self.readers.close(), self.writers.close()) };
        // A server that does not answer is not waited for: what was acknowledged is there.
        let _ = tokio::time::timeout(CLOSING, both).await;
    }
}

/// Begins on a connection that works. One from the pool may have died in the meantime; nothing was done on it yet, so
/// the next is tried.
async fn begin(pool: &PgPool, connections: u32, begin: &'static str) -> Result<Session, StoreError> {
    let mut tried = 0;
    loop {
        let connection: PoolConnection<sqlx::Postgres> = pool.acquire().await?;
        match Session::postgres(connection, begin).await {
            Ok(session) => return Ok(session),
            Err(error) if is_dead(&error) && tried < connections => tried += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The connection is no more. One that only does not answer says nothing about the next.
fn is_dead(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::TimedOut,
        error => error.as_database_error().is_some_and(is_cut),
    }
}

fn pool(options: &PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECTING)
        .test_before_acquire(false)
        .connect_lazy_with(options.clone())
}

/// One connection of its own, one issuer at a time, each migration whole or not at all.
async fn migrate(name: &str, options: &PgConnectOptions, made: bool) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| OpenError::Store { database: name.to_owned(), error: error.into() };
    let unfit = |reason: &str| OpenError::Unfit { database: name.to_owned(), reason: reason.to_owned() };
    let options = options.clone().options([("search_path", SCHEMA), ("statement_timeout", MIGRATING)]);
    let connecting = tokio::time::timeout(CONNECTING, options.connect());
    let mut connection = connecting.await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut)).map_err(failed)?;
    let server = sqlx::query(
        "SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
                current_setting('fsync') AS fsync, pg_is_in_recovery() AS standby",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(failed)?;
    let version: i32 = server.try_get("version").map_err(failed)?;
    if version < OLDEST {
        return Err(unfit("is older than Postgres 13"));
    }
    if server.try_get::<String, _>("encoding").map_err(failed)? != "UTF8" {
        return Err(unfit("was not made with the encoding UTF8"));
    }
    if server.try_get::<bool, _>("standby").map_err(failed)? {
        return Err(unfit("is a standby, which takes no changes"));
    }
    if server.try_get::<String, _>("fsync").map_err(failed)? != "on" {
        tracing::warn!("the database server runs with fsync off: it loses acknowledged events when it crashes");
    }
    sqlx::query("SELECT pg_advisory_lock($1)").bind(MIGRATION_LOCK).execute(&mut connection).await.map_err(failed)?;
    let there = sqlx::query("SELECT to_regclass('meta') IS NOT NULL").fetch_one(&mut connection).await;
    if made && !there.and_then(|row| row.try_get::<bool, _>(0)).map_err(failed)? {
        return Err(OpenError::Gone(name.to_owned()));
    }
    prepare(&mut connection).await.map_err(failed)?;
    migrations::postgres()
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|error| OpenError::Migration { database: name.to_owned(), error })?;
    // With the connection goes its lock.
    connection.close().await.map_err(failed)
}

/// A schema of our own, in which nobody else makes anything.
async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("CREATE SCHEMA IF NOT EXISTS avouch").execute(connection).await.map(|_| ())
}

/// Wakes an issuer when another changed something. A wake may come twice, late or not at all; after each break in the
/// connection it wakes for anything.
pub struct Changes {
    /// None where nobody else can change anything.
    options: Option<PgConnectOptions>,
    listener: Option<PgListener>,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}

impl Changes {
    pub(super) fn never() -> Self {
        Self { options: None, listener: None }
    }

    /// Waits for the next wake.
    pub async fn next(&mut self) -> Wake {
        let Some(options) = &self.options else { return std::future::pending().await };
        loop {
            let Some(listener) = &mut self.listener else {
                match tokio::time::timeout(CONNECTING, listen(options)).await {
                    Ok(Ok(listener)) => {
                        self.listener = Some(listener);
                        return Wake::Anything;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "changes of other issuers cannot be listened for"),
                    Err(_) => tracing::debug!("changes of other issuers cannot be listened for: no answer"),
                }
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            // A connection that died without a word looks like one on which nothing happens.
            match tokio::time::timeout(LISTENING, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => {
                    let mut wake = Wake::parse(notification.payload());
                    while let Some(more) = listener.next_buffered() {
                        if Wake::parse(more.payload()) != wake {
                            wake = Wake::Anything;
                        }
                    }
                    return wake;
                }
                Ok(Ok(None) | Err(_)) | Err(_) => self.listener = None,
            }
        }
    }
}

async fn listen(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    // Of its own, so that one that hangs keeps nobody waiting.
    let mut listener = PgListener::connect_with(&pool(options, 1)).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Begins, and takes the writers' lock; it goes with the transaction.
const BEGIN_WRITING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(7025930471253243237)";
/// One issuer at a time makes or changes tables.
const MIGRATION_LOCK: i64 = 7_025_930_471_253_243_238;
/// Where the tables are.
const SCHEMA: &str = "avouch";
/// Connections of one issuer that write; only one of all issuers' does at a time, so few are enough.
const WRITERS: u32 = 4;
/// Connections of one issuer that read.
const READERS: u32 = 8;
/// How long a connection may take to be had.
const CONNECTING: Duration = Duration::from_millis(1_500);
/// How long the server works at one statement, in its own words.
const STATEMENT: &str = "3s";
/// How long it waits for another transaction.
const LOCK: &str = "2500ms";
/// How long it leaves a transaction open that says nothing, as of an issuer whose machine has gone.
const IDLE: &str = "5s";
/// How long one migration may take.
const MIGRATING: &str = "10min";
/// How long a commit in doubt is looked for.
const RESOLVING: Duration = Duration::from_secs(8);
/// How long until something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long nothing may be heard before the connection for wakes is made anew.
const LISTENING: Duration = Duration::from_secs(60);
/// How long open connections may take to end.
const CLOSING: Duration = Duration::from_secs(3);
/// Postgres 13, as the server writes it.
const OLDEST: i32 = 130_000;
