//! Ships the spool to the issuer, at once and in order. Nothing waits for it: what is injected waits for the spool's
//! own disk only.

use crate::identity::schedule;
use crate::ids;
use crate::issuer::{AskFault, Issuer};
use crate::spool::{Spool, SpoolFault};
use avouch_wire::issuer::{OpenSpoolRequest, ShipAuditRequest, SpoolPosition};
use tokio_util::sync::CancellationToken;

/// The task that ships.
pub struct Shipper {
    /// What is shipped.
    pub spool: Spool,
    /// Where to.
    pub issuer: Issuer,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Issuer(#[from] AskFault),
    #[error(transparent)]
    Spool(#[from] SpoolFault),
}

impl Shipper {
    /// Ships until the shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut failures = 0;
        loop {
            let pause = tokio::select! {
                () = shutdown.cancelled() => return,
                failed = self.ship(&mut failures) => {
                    failures = u32::saturating_add(failures, 1);
                    tracing::warn!(reason = %failed, failures, "audit.spool.not_shipped");
                    schedule::backoff(failures, ids::share())
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn ship(&mut self, failures: &mut u32) -> Failed {
        match self.ship_until_it_fails(failures).await {
            Ok(never) => match never {},
            Err(failed) => failed,
        }
    }

    async fn ship_until_it_fails(&mut self, failures: &mut u32) -> Result<std::convert::Infallible, Failed> {
        self.issuer.connected().await;
        let opening = OpenSpoolRequest { spool: self.spool.id().0.to_vec(), ..Default::default() };
        let mut position = self.issuer.open_spool(opening).await?;
        let mut durable = self.spool.durable();
        loop {
            let next = self.take(position).await?;
            *failures = 0;
            // Anything new since `next`, or later.
            if durable.wait_for(|count| *count > next).await.is_err() {
                return Err(SpoolFault::Closed.into());
            }
            let records = self.spool.unshipped(next, BATCH_BYTES).await?;
            let batch = ShipAuditRequest { spool: self.spool.id().0.to_vec(), records };
            position = self.issuer.ship_audit(batch).await?;
            avouch_config::crash_point("ship-before-ack");
        }
    }

    async fn take(&self, position: SpoolPosition) -> Result<u64, Failed> {
        self.spool.acknowledge(position.next, position.checkpoint).await?;
        Ok(position.next)
    }
}

/// Bytes of records in one message.
const BATCH_BYTES: usize = 1024 * 1024;
