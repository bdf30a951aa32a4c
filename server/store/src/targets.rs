//! Vendors that agents may go to.

use crate::cells::Cells;
use crate::error::StoreError;
use crate::sql::{Row, query};
use crate::tx::{Read, Tx};
use avouch_core::target::OpenTarget;
use avouch_words::Name;
use avouch_words::target::{Target, Vendor};

impl Read {
    /// All of them, by agent and vendor.
    pub async fn targets(&mut self) -> Result<Vec<OpenTarget>, StoreError> {
        let rows = query("SELECT * FROM targets ORDER BY agent, vendor").fetch_all(self.sql()).await?;
        rows.iter().map(target).collect()
    }
}

impl Tx {
    /// Opens one; what was open of that vendor to that agent is replaced. The agent must be there.
    pub async fn open_target(&mut self, open: &OpenTarget) -> Result<(), StoreError> {
        self.change_state().await?;
        let settings = serde_json::to_string(open.target.settings())
            .map_err(|_| StoreError::Damaged { table: "targets", column: "settings" })?;
        query(
            "INSERT INTO targets (agent, vendor, audience, settings, created_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (agent, vendor) DO UPDATE SET audience = excluded.audience, settings = excluded.settings",
        )
        .bind(open.agent.as_str())
        .bind(open.target.vendor().as_str())
        .bind(open.target.audience())
        .bind(settings)
        .bind(open.created.0)
        .execute(self.sql())
        .await
        .map_err(|error| StoreError::insert(error, "target", "agent"))?;
        Ok(())
    }

    /// Closes one.
    pub async fn close_target(&mut self, agent: &Name, vendor: Vendor) -> Result<OpenTarget, StoreError> {
        self.change_state().await?;
        let row = query("DELETE FROM targets WHERE agent = $1 AND vendor = $2 RETURNING *")
            .bind(agent.as_str())
            .bind(vendor.as_str())
            .fetch_optional(self.sql())
            .await?;
        target(&row.ok_or(StoreError::NotFound("target"))?)
    }
}

fn target(row: &Row) -> Result<OpenTarget, StoreError> {
    let cells = Cells::of(row, "targets");
    let vendor = cells.read("vendor", Vendor::parse)?;
    let settings = cells.read("settings", |text| serde_json::from_str(text).ok())?;
    let audience: String = cells.raw("audience")?;
    let read = Target::new(vendor, Some(&audience), settings);
    let target = read.map_err(|_| StoreError::Damaged { table: "targets", column: "settings" })?;
    Ok(OpenTarget { agent: cells.name("agent")?, target, created: cells.millis("created_ms")? })
}
