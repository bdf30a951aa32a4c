//! Registered agents.

use crate::MAX_PAGE;
use crate::cells::{Cells, selectors};
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::tx::{Read, Tx};
use avouch_core::Agent;
use avouch_words::Name;
use std::time::Duration;

impl Read {
    /// The agent of this name.
    pub async fn agent(&mut self, name: &Name) -> Result<Option<Agent>, StoreError> {
        let row = query("SELECT * FROM agents WHERE name = $1").bind(name.as_str()).fetch_optional(self.sql()).await?;
        row.as_ref().map(agent).transpose()
    }

    /// A page of agents by name: those after `after`, at most [`MAX_PAGE`].
    pub async fn agents(&mut self, after: Option<&Name>) -> Result<Vec<Agent>, StoreError> {
        let rows = query("SELECT * FROM agents WHERE name > $1 ORDER BY name LIMIT $2")
            .bind(after.map_or("", Name::as_str))
            .bind(MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(agent).collect()
    }
}

impl Tx {
    /// Registers an agent; the name must be free.
    pub async fn create_agent(&mut self, agent: &Agent) -> Result<(), StoreError> {
        self.change_state().await?;
        query(
            "INSERT INTO agents (name, owner, nodes, selectors, x509_ttl_s, jwt_ttl_s, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(agent.name.as_str())
        .bind(&agent.owner)
        .bind(selectors(&agent.nodes))
        .bind(selectors(&agent.selectors))
        .bind(crate::cells::signed(agent.x509_ttl.as_secs()))
        .bind(crate::cells::signed(agent.jwt_ttl.as_secs()))
        .bind(agent.created.0)
        .execute(self.sql())
        .await
        .map_err(|error| StoreError::insert(error, "agent", "agent"))?;
        Ok(())
    }
}

fn agent(row: &Row) -> Result<Agent, StoreError> {
    let cells = Cells::of(row, "agents");
    Ok(Agent {
        name: cells.name("name")?,
        owner: cells.raw("owner")?,
        nodes: cells.selectors("nodes")?,
        selectors: cells.selectors("selectors")?,
        x509_ttl: Duration::from_secs(cells.unsigned("x509_ttl_s")?),
        jwt_ttl: Duration::from_secs(cells.unsigned("jwt_ttl_s")?),
        created: cells.millis("created_ms")?,
    })
}
