//! The sequence number of the bundle that everybody reads.

use crate::cells::{Cells, signed};
use crate::error::StoreError;
use crate::sql::query;
use crate::tx::{Read, Tx};
use avouch_words::Millis;

impl Read {
    /// The newest sequence number of the published bundle.
    pub async fn bundle_sequence(&mut self) -> Result<u64, StoreError> {
        let row = query("SELECT sequence FROM published WHERE id = 1").fetch_optional(self.sql()).await?;
        let row = row.ok_or(StoreError::Damaged { table: "published", column: "sequence" })?;
        Cells::of(&row, "published").unsigned("sequence")
    }
}

impl Tx {
    /// What is published changes with this transaction, or may have: the sequence number grows. It is never below the
    /// time, so that it does not go back either where the database was put back to an earlier state (BND-02).
    pub async fn publish(&mut self, now: Millis) -> Result<(), StoreError> {
        let before = self.bundle_sequence().await?;
        let next = u64::try_from(now.0).unwrap_or(0).max(before.saturating_add(1));
        query("UPDATE published SET sequence = $1 WHERE id = 1").bind(signed(next)).execute(self.sql()).await?;
        Ok(())
    }
}
