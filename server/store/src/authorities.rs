//! Authorities: public halves, and references that only the key manager opens.

use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::tx::{Read, Tx};
use avouch_core::authority::{Authority, AuthorityState};
use avouch_core::keys::Purpose;
use avouch_words::{Millis, Ulid};

impl Read {
    /// All authorities, oldest first; rotation keeps them few.
    pub async fn authorities(&mut self) -> Result<Vec<Authority>, StoreError> {
        let rows = query("SELECT * FROM authorities ORDER BY id").fetch_all(self.sql()).await?;
        rows.iter().map(authority).collect()
    }
}

impl Tx {
    /// Keeps a new authority.
    pub async fn create_authority(&mut self, authority: &Authority) -> Result<(), StoreError> {
        self.change_state().await?;
        query(
            "INSERT INTO authorities (id, purpose, state, reference, public, created_ms, not_after_ms, last_expiry_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(authority.id.to_string())
        .bind(authority.purpose.as_str())
        .bind(authority.state.as_str())
        .bind(&authority.reference)
        .bind(&authority.public)
        .bind(authority.created.0)
        .bind(authority.not_after.0)
        .bind(authority.last_expiry.0)
        .execute(self.sql())
        .await
        .map_err(|error| StoreError::insert(error, "authority", "authority"))?;
        Ok(())
    }

    /// The prepared authority becomes active, and the active one of its purpose old.
    pub async fn activate_authority(&mut self, id: Ulid, purpose: Purpose) -> Result<(), StoreError> {
        self.change_state().await?;
        query("UPDATE authorities SET state = 'old' WHERE purpose = $1 AND state = 'active'")
            .bind(purpose.as_str())
            .execute(self.sql())
            .await?;
        let activated =
            query("UPDATE authorities SET state = 'active' WHERE id = $1 AND purpose = $2 AND state = 'prepared'")
                .bind(id.to_string())
                .bind(purpose.as_str())
                .execute(self.sql())
                .await?;
        if activated.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound("prepared authority")) }
    }

    /// Removes an authority with its key. An active one stays.
    pub async fn remove_authority(&mut self, id: Ulid) -> Result<(), StoreError> {
        self.change_state().await?;
        let removed = query("DELETE FROM authorities WHERE id = $1 AND state <> 'active'")
            .bind(id.to_string())
            .execute(self.sql())
            .await?;
        if removed.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound("removable authority")) }
    }

    /// Notes until when something that an authority signed is valid, so that it stays in the bundle as long: SVIDs of
    /// agents and nodes and the issuer's own. It must
    /// still be there, and active: what an authority signed that has gone meanwhile must not be handed out.
    pub async fn note_expiry(&mut self, id: Ulid, expiry: Millis) -> Result<(), StoreError> {
        let noted = query(
            "UPDATE authorities SET last_expiry_ms = CASE WHEN last_expiry_ms < $1 THEN $1 ELSE last_expiry_ms END
             WHERE id = $2 AND state = 'active'",
        )
        .bind(expiry.0)
        .bind(id.to_string())
        .execute(self.sql())
        .await?;
        if noted.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound("active authority")) }
    }
}

fn authority(row: &Row) -> Result<Authority, StoreError> {
    let cells = Cells::of(row, "authorities");
    Ok(Authority {
        id: cells.ulid("id")?,
        purpose: cells.read("purpose", Purpose::parse)?,
        state: cells.read("state", AuthorityState::parse)?,
        reference: cells.raw("reference")?,
        public: cells.raw("public")?,
        created: cells.millis("created_ms")?,
        not_after: cells.millis("not_after_ms")?,
        last_expiry: cells.millis("last_expiry_ms")?,
    })
}
