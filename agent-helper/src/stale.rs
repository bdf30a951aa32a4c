//! Tells when the lock state became too old, or unbelievable, and when it was good again.

use crate::freshness::{Doubt, Freshness, Stale};
use crate::journal::Journal;
use crate::state::NodeState;
use avouch_audit::record::{HelperEvent, StaleCause};
use avouch_words::{Clock, Millis};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Watches the age of the lock state.
pub struct StaleWatch {
    freshness: Arc<Freshness>,
    states: watch::Receiver<Option<Arc<NodeState>>>,
    journal: Journal,
    clock: Arc<dyn Clock>,
    told: Mutex<Option<StaleCause>>,
}

impl StaleWatch {
    /// Over this lock state.
    pub fn new(
        freshness: Arc<Freshness>,
        states: watch::Receiver<Option<Arc<NodeState>>>,
        journal: Journal,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { freshness, states, journal, clock, told: Mutex::default() }
    }

    /// The age itself.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The issuer confirmed the state.
    pub fn confirm(&self, epoch: &[u8], database: Millis, boot: Duration) {
        self.freshness.confirm(epoch, database, boot);
        self.look();
    }

    /// The issuer said something that cannot be.
    pub fn doubt(&self, doubt: Doubt) {
        self.freshness.doubt(doubt);
        self.look();
    }

    /// Looks again and again until the shutdown: age comes without anybody saying anything.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            self.look();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn look(&self) {
        let now = match self.freshness.check(self.clock.boot()) {
            // Before the first word of the issuer nothing has begun that could end.
            Ok(()) | Err(Stale::Unknown | Stale::Unheard) => None,
            Err(Stale::Old | Stale::Doubted(Doubt::Unreadable)) => Some(StaleCause::Age),
            Err(Stale::Doubted(Doubt::VersionWentBack)) => Some(StaleCause::VersionWentBack),
            Err(Stale::Doubted(Doubt::OtherTrustDomain)) => Some(StaleCause::OtherTrustDomain),
            Err(Stale::Doubted(Doubt::LocksVanished)) => Some(StaleCause::LocksVanished),
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == now {
            return;
        }
        let version = self.states.borrow().as_ref().map_or(0, |state| state.version).into();
        if let Some(cause) = *told {
            tracing::info!(?cause, "locks.stale.end");
            self.journal.note(HelperEvent::StaleEnded { cause, version });
        }
        if let Some(cause) = now {
            tracing::warn!(?cause, "locks.stale.begin");
            self.journal.note(HelperEvent::StaleBegan { cause, version });
        }
        *told = now;
    }
}

/// How often the age is looked at. What is injected asks for itself; this is for the record.
const LOOK: Duration = Duration::from_millis(500);
