//! Which issuer does what only one may do. The lease ends by the database's clock; the fence in it is one more with each
//! holder and is checked in the transaction of whatever the leader writes, so that one that was slow, stopped or cut off
//! writes nothing once another leads, whatever its own clock says.

use crate::cells::{Cells, signed};
use crate::error::StoreError;
use crate::sql::query;
use crate::tx::Tx;
use std::time::Duration;

/// That this issuer leads: the number under which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence(u64);

impl Tx {
    /// Takes the lead or keeps it, unless another issuer has it. Where there is one issuer at a time, whoever had it is
    /// gone.
    pub async fn take_lead(&mut self, own: [u8; 16], life: Duration) -> Result<Option<Fence>, StoreError> {
        // Of two that want it at once the second sees the first: only one transaction is open at a time. The time is
        // that of the transaction's beginning, so what it had to wait is taken off the lease.
        let now = self.database_time().await?;
        let until = now.plus(life).0;
        let row = query("SELECT * FROM leaders WHERE role = 'leader'").fetch_optional(self.sql()).await?;
        let Some(row) = row else {
            query("INSERT INTO leaders (role, holder, fence, until_ms) VALUES ('leader', $1, 1, $2)")
                .bind(&own[..])
                .bind(until)
                .execute(self.sql())
                .await?;
            return Ok(Some(Fence(1)));
        };
        let cells = Cells::of(&row, "leaders");
        let (held, fence) = (cells.array::<16>("holder")? == own, cells.unsigned("fence")?);
        if !held && self.sql().is_shared() && now < cells.millis("until_ms")? {
            return Ok(None);
        }
        let fence = if held { fence } else { fence + 1 };
        query("UPDATE leaders SET holder = $1, fence = $2, until_ms = $3 WHERE role = 'leader'")
            .bind(&own[..])
            .bind(signed(fence))
            .bind(until)
            .execute(self.sql())
            .await?;
        Ok(Some(Fence(fence)))
    }

    /// Whether the issuer that got this still leads; it does until the end of this transaction.
    pub async fn check_lead(&mut self, fence: Fence) -> Result<(), StoreError> {
        let row = query("SELECT fence FROM leaders WHERE role = 'leader'").fetch_optional(self.sql()).await?;
        let held = row.map(|row| Cells::of(&row, "leaders").unsigned("fence")).transpose()?;
        if held == Some(fence.0) { Ok(()) } else { Err(StoreError::Fenced) }
    }

    /// Gives the lead up, if it is still held, so that nobody waits for its end.
    pub async fn leave_lead(&mut self, fence: Fence) -> Result<(), StoreError> {
        query("UPDATE leaders SET until_ms = 0 WHERE role = 'leader' AND fence = $1")
            .bind(signed(fence.0))
            .execute(self.sql())
            .await
            .map(|_| ())
            .map_err(StoreError::from)
    }
}
