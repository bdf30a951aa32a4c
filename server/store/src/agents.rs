//! Registered agents.

use crate::MAX_PAGE;
use crate::cells::{Cells, selectors};
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::tx::{Read, Tx};
use avouch_core::{Agent, SubjectNames};
use avouch_words::{IdPath, Millis, Name};
use std::time::Duration;

impl Read {
    /// The agent of this name.
    pub async fn agent(&mut self, name: &Name) -> Result<Option<Agent>, StoreError> {
        let row = query("SELECT * FROM agents WHERE name = $1 AND deleted_ms IS NULL")
            .bind(name.as_str())
            .fetch_optional(self.sql())
            .await?;
        row.as_ref().map(agent).transpose()
    }

    /// A page of agents by name: those after `after`, at most [`MAX_PAGE`].
    pub async fn agents(&mut self, after: Option<&Name>) -> Result<Vec<Agent>, StoreError> {
        let rows = query("SELECT * FROM agents WHERE name > $1 AND deleted_ms IS NULL ORDER BY name LIMIT $2")
            .bind(after.map_or("", Name::as_str))
            .bind(MAX_PAGE)
            .fetch_all(self.sql())
            .await?;
        rows.iter().map(agent).collect()
    }
}

impl Tx {
    /// Registers an agent; the name must be free, or of an agent that was deleted.
    pub async fn create_agent(&mut self, agent: &Agent) -> Result<(), StoreError> {
        // First the version, which others that write wait for: what is read then is the newest.
        self.change_state().await?;
        if self.agent(&agent.name).await?.is_some() {
            return Err(StoreError::Exists("agent"));
        }
        self.put_agent(agent).await
    }

    /// Replaces an agent's registration; when it was made stays.
    pub async fn update_agent(&mut self, agent: &Agent) -> Result<(), StoreError> {
        self.change_state().await?;
        let Some(before) = self.agent(&agent.name).await? else { return Err(StoreError::NotFound("agent")) };
        self.put_agent(&Agent { created: before.created, ..agent.clone() }).await
    }

    async fn put_agent(&mut self, agent: &Agent) -> Result<(), StoreError> {
        query(
            "INSERT INTO agents (name, owner, nodes, selectors, x509_ttl_s, jwt_ttl_s, id_path, hint, common_name,
                                 dns_names, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (name) DO UPDATE SET
                owner = excluded.owner, nodes = excluded.nodes, selectors = excluded.selectors,
                x509_ttl_s = excluded.x509_ttl_s, jwt_ttl_s = excluded.jwt_ttl_s, id_path = excluded.id_path,
                hint = excluded.hint, common_name = excluded.common_name, dns_names = excluded.dns_names,
                created_ms = excluded.created_ms, deleted_ms = NULL",
        )
        .bind(agent.name.as_str())
        .bind(&agent.owner)
        .bind(selectors(&agent.nodes))
        .bind(selectors(&agent.selectors))
        .bind(crate::cells::signed(agent.x509_ttl.as_secs()))
        .bind(crate::cells::signed(agent.jwt_ttl.as_secs()))
        .bind(agent.id_path.as_str())
        .bind(&agent.hint)
        .bind(&agent.names.common)
        .bind(agent.names.dns.join(" "))
        .bind(agent.created.0)
        .execute(self.sql())
        .await?;
        Ok(())
    }

    /// Takes an agent's registration back, and ends its instances. Its grants have to be gone; locks on its name stay.
    pub async fn delete_agent(&mut self, name: &Name, now: Millis) -> Result<(), StoreError> {
        self.change_state().await?;
        let deleted = query("UPDATE agents SET deleted_ms = $1 WHERE name = $2 AND deleted_ms IS NULL")
            .bind(now.0)
            .bind(name.as_str())
            .execute(self.sql())
            .await?;
        if deleted.rows_affected() != 1 {
            return Err(StoreError::NotFound("agent"));
        }
        query("UPDATE instances SET ended_ms = $1 WHERE agent = $2 AND ended_ms IS NULL")
            .bind(now.0)
            .bind(name.as_str())
            .execute(self.sql())
            .await?;
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
        id_path: cells.read("id_path", |text| IdPath::parse(text).ok())?,
        hint: cells.raw("hint")?,
        names: SubjectNames {
            common: cells.raw("common_name")?,
            dns: cells.raw::<String>("dns_names")?.split_whitespace().map(ToOwned::to_owned).collect(),
        },
        created: cells.millis("created_ms")?,
    })
}
