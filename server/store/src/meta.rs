//! What the database is: whose, which, and how far.

use crate::cells::Cells;
use crate::error::StoreError;
use crate::tx::Read;
use avouch_words::{Millis, TrustDomain};
use sqlx::Row;
use sqlx::sqlite::SqlitePool;

/// The one row that names the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The trust domain it is of.
    pub trust_domain: TrustDomain,
    /// Random, made with the database.
    pub epoch: [u8; 16],
    /// One more with each change that nodes have to learn of. Never goes back within an epoch.
    pub version: u64,
    /// When it was made.
    pub created: Millis,
}

impl Read {
    /// Which database this is, and its newest version.
    pub async fn meta(&mut self) -> Result<Meta, StoreError> {
        self.find_meta().await?.ok_or(StoreError::Damaged { table: "meta", column: "id" })
    }

    pub(crate) async fn find_meta(&mut self) -> Result<Option<Meta>, StoreError> {
        let row = sqlx::query("SELECT * FROM meta WHERE id = 1").fetch_optional(self.sql()).await?;
        row.map(|row| {
            let cells = Cells::of(&row, "meta");
            Ok(Meta {
                trust_domain: cells.read("trust_domain", |text| TrustDomain::parse(text).ok())?,
                epoch: cells.array("epoch")?,
                version: cells.unsigned("version")?,
                created: cells.millis("created_ms")?,
            })
        })
        .transpose()
    }

    /// The database's own clock. The age of the lock state is counted from it, so it is read where that is read.
    pub async fn database_time(&mut self) -> Result<Millis, StoreError> {
        let row = sqlx::query(DATABASE_TIME).fetch_one(self.sql()).await?;
        Ok(Millis(row.try_get(0)?))
    }
}

/// The row of a new database.
pub(crate) async fn insert(
    pool: &SqlitePool,
    trust_domain: &TrustDomain,
    epoch: [u8; 16],
    now: Millis,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO meta (id, trust_domain, epoch, version, created_ms) VALUES (1, $1, $2, 1, $3)")
        .bind(trust_domain.as_str())
        .bind(&epoch[..])
        .bind(now.0)
        .execute(pool)
        .await?;
    Ok(())
}

/// Milliseconds since 1970, as SQLite says it.
const DATABASE_TIME: &str = "SELECT CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER)";
