//! What the database is: whose, which, and how far.

use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::{query, written};
use crate::tx::Read;
use avouch_words::{Millis, TrustDomain};

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
        let row = query("SELECT * FROM meta WHERE id = 1").fetch_optional(self.sql()).await?;
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

    /// The database's own clock, no later than what this snapshot shows: read it first. The age of the lock state is
    /// counted from it.
    pub async fn database_time(&mut self) -> Result<Millis, StoreError> {
        let now = self.sql().now();
        let row = written(format!("SELECT {now}")).fetch_one(self.sql()).await?;
        Ok(Millis(row.at(0)?))
    }

    /// Names a new database, unless somebody was faster.
    pub(crate) async fn name_database(
        &mut self,
        trust_domain: &TrustDomain,
        epoch: [u8; 16],
        now: Millis,
    ) -> Result<(), StoreError> {
        query(
            "INSERT INTO meta (id, trust_domain, epoch, version, created_ms) VALUES (1, $1, $2, 1, $3)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(trust_domain.as_str())
        .bind(&epoch[..])
        .bind(now.0)
        .execute(self.sql())
        .await?;
        Ok(())
    }
}
