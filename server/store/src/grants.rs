//! Grants.

use crate::MAX_PAGE;
use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::tx::{Read, Tx};
use avouch_core::Grant;
use avouch_words::{Name, Ulid};

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

impl Read {
    /// All grants to an agent, oldest first.
    pub async fn grants_to(&mut self, agent: &Name) -> Result<Vec<Grant>, StoreError> {
        let rows = query("SELECT * FROM grants WHERE agent = $1 ORDER BY id")
            .bind(agent.as_str())
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(grant).collect()
    }

    /// All grants of a credential, oldest first.
    pub async fn grants_of(&mut self, credential: &Name) -> Result<Vec<Grant>, StoreError> {
        let rows = query("SELECT * FROM grants WHERE credential = $1 ORDER BY id")
            .bind(credential.as_str())
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(grant).collect()
    }

    /// The grant of this credential to this agent.
    pub async fn grant(&mut self, agent: &Name, credential: &Name) -> Result<Option<Grant>, StoreError> {
        let row = query("SELECT * FROM grants WHERE agent = $1 AND credential = $2")
            .bind(agent.as_str())
            .bind(credential.as_str())
            .fetch_optional(self.sql())
            .await?;
        row.as_ref().map(grant).transpose()
    }
}

impl Tx {
    /// Makes a grant; agent and credential must be there, and there must be none of the two.
    pub async fn create_grant(&mut self, grant: &Grant) -> Result<(), StoreError> {
        self.change_state().await?;
        // One that was deleted still has its row.
        if self.agent(&grant.agent).await?.is_none() {
            return Err(StoreError::NotFound("agent or credential"));
        }
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
