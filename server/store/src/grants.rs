//! Grants.

use crate::MAX_PAGE;
use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::tx::{Read, Tx};
use avouch_core::Grant;
use avouch_words::Ulid;

impl Read {
    /// A page of grants, oldest first: those after `after`, at most [`MAX_PAGE`].
    pub async fn grants(&mut self, after: Option<Ulid>) -> Result<Vec<Grant>, StoreError> {
        let rows = query("SELECT * FROM grants WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after.map_or_else(String::new, |id| id.to_string()))
            .bind(MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(grant).collect()
    }
}

impl Tx {
    /// Makes a grant; agent and credential must be there, and there must be none of the two.
    pub async fn create_grant(&mut self, grant: &Grant) -> Result<(), StoreError> {
        self.change_state().await?;
        query("INSERT INTO grants (id, agent, credential, created_ms) VALUES ($1, $2, $3, $4)")
            .bind(grant.id.to_string())
            .bind(grant.agent.as_str())
            .bind(grant.credential.as_str())
            .bind(grant.created.0)
            .execute(self.sql())
            .await
            .map_err(|error| StoreError::insert(error, "grant", "agent or credential"))?;
        Ok(())
    }

    /// Takes a grant back.
    pub async fn delete_grant(&mut self, id: Ulid) -> Result<Grant, StoreError> {
        self.change_state().await?;
        let row = query("DELETE FROM grants WHERE id = $1 RETURNING *")
            .bind(id.to_string())
            .fetch_optional(self.sql())
            .await?;
        grant(&row.ok_or(StoreError::NotFound("grant"))?)
    }
}

fn grant(row: &Row) -> Result<Grant, StoreError> {
    let cells = Cells::of(row, "grants");
    Ok(Grant {
        id: cells.ulid("id")?,
        agent: cells.name("agent")?,
        credential: cells.name("credential")?,
        created: cells.millis("created_ms")?,
    })
}
