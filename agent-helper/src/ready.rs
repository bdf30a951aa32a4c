//! Readiness: a state is in force, its age is good, and what is done can be recorded.

use crate::freshness::Freshness;
use crate::spool::Spool;
use avouch_config::Readiness;
use avouch_words::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The task that finds out.
pub struct Ready {
    /// The age of the state.
    pub freshness: Arc<Freshness>,
    /// The spool.
    pub spool: Spool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where it is told.
    pub told: watch::Sender<Readiness>,
}

impl Ready {
    /// Looks until the shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        // Who waits for a start is told soon; an issuer that is away is not looked for at that pace.
        let mut pause = FIRST_LOOK;
        loop {
            let now = self.look();
            self.told.send_if_modified(|told| {
                let changed = *told != now;
                *told = now;
                changed
            });
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LOOK);
        }
    }

    fn look(&self) -> Readiness {
        match self.freshness.check(self.clock.boot()) {
            Err(stale) => Readiness::NotReady(stale.code()),
            Ok(()) if self.spool.fault().is_some() => Readiness::NotReady("audit_unavailable"),
            Ok(()) => Readiness::Ready,
        }
    }
}

const FIRST_LOOK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(250);
