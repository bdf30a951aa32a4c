//! The task of one source: renews what is used, gives back what is due, and takes its time when the source is away.
//! Each source has its own, so that one that hangs keeps no other from being paid.

use super::book::Renewal;
use super::journal::Key;
use super::{Leases, name_of};
use avouch_audit::field::Code;
use avouch_audit::record::HelperEvent;
use avouch_sources::{Obligation, Source, SourceFault};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How many are given back, renewed or left at once.
pub(super) const AT_ONCE: usize = 8;
/// How long a source may take for one.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// However quiet it is, a keeper looks.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

pub(super) struct Keeper {
    leases: Arc<Leases>,
    source: Arc<dyn Source>,
}

impl Keeper {
    pub(super) fn new(leases: Arc<Leases>, source: Arc<dyn Source>) -> Self {
        Self { leases, source }
    }

    /// Works; once told to stop, until nothing is owed any more.
    pub(super) async fn run(self, stop: CancellationToken) {
        let keeper = Arc::new(self);
        let Some(wake) = keeper.leases.wakes.get(keeper.source.name()).cloned() else { return };
        let mut work = JoinSet::new();
        loop {
            while work.try_join_next().is_some() {}
            keeper.begin(&mut work).await;
            let name = keeper.source.name();
            if stop.is_cancelled() && work.is_empty() && keeper.leases.book().is_paid(name) {
                return;
            }
            let boot = keeper.leases.clock.boot();
            let next = keeper.leases.book().next(name, boot).map_or(LONGEST_SLEEP, |next| next.saturating_sub(boot));
            // With all hands busy there is nothing to begin before one of them is free.
            let next = if work.len() >= AT_ONCE { LONGEST_SLEEP } else { next.clamp(SHORTEST_SLEEP, LONGEST_SLEEP) };
            tokio::select! {
                () = wake.notified() => {}
                Some(_) = work.join_next() => {}
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    async fn begin(self: &Arc<Self>, work: &mut JoinSet<()>) {
        let (leases, name) = (&self.leases, self.source.name());
        let boot = leases.clock.boot();
        let expired = leases.book().expired(name, boot);
        for key in expired {
            self.lost(&key, "expired").await;
        }
        let leaving = leases.book().take_leaving(name);
        for agent in leaving {
            let keeper = self.clone();
            work.spawn(async move {
                // With the logins go their leases; what is owed is given back one by one all the same.
                if let Ok(Err(fault)) | Err(fault) =
                    timeout(DEADLINE, keeper.source.leave(&agent)).await.map_err(|_| SourceFault::Unavailable)
                {
                    tracing::warn!(source = %keeper.source.name(), %agent, %fault, "leases.leave");
                }
            });
        }
        for renewal in leases.book().take_renewals(name, boot) {
            work.spawn(self.clone().renew(renewal));
        }
        let room = AT_ONCE.saturating_sub(work.len());
        let due = leases.book().take_due(name, room, boot);
        for (key, owed) in due {
            work.spawn(self.clone().give_back(key, owed));
        }
    }

    async fn give_back(self: Arc<Self>, key: Key, owed: Obligation) {
        let giving = timeout(DEADLINE, self.source.revoke(&owed, self.leases.node.as_ref())).await;
        match giving.unwrap_or(Err(SourceFault::Unavailable)) {
            Ok(()) => {
                let Some(why) = self.leases.book().why(&key) else { return };
                tracing::info!(source = %key.0, why = why.as_str(), "leases.revoked");
                let (lease, source) = (name_of(&key), key.0.clone());
                self.leases.records.note(HelperEvent::LeaseRevoked { lease, source, why: why.code() });
                self.leases.settle(&key).await;
            }
            Err(fault) => {
                tracing::warn!(source = %key.0, %fault, "leases.revoke");
                let boot = self.leases.clock.boot();
                self.leases.book().put_off(&key, fault, boot);
            }
        }
    }

    async fn renew(self: Arc<Self>, Renewal { what, entrant }: Renewal) {
        let renewing = timeout(DEADLINE, self.source.renew(&what, entrant.as_ref())).await;
        match renewing.unwrap_or(Err(SourceFault::Unavailable)) {
            Ok(expires) if expires > what.expires => {
                let key = (what.source.clone(), what.id.clone());
                let renewed = Obligation { expires, ..what };
                // Only a later end: should the line be lost, the lease is given back earlier than it had to be.
                let recorded = self.leases.journal.record(&renewed).await;
                if recorded.is_ok() && self.leases.marks(&key).is_some() {
                    let agent = renewed.agent.clone();
                    self.leases.book().enter(renewed, None, self.leases.clock.as_ref());
                    let (lease, source) = (name_of(&key), key.0);
                    let event = HelperEvent::LeaseRenewed { lease, source, agent, expires: expires.into() };
                    self.leases.records.note(event);
                }
            }
            // It lasts as long as it did: another is taken before it ends.
            Ok(_) => {}
            Err(fault) => tracing::warn!(source = %what.source, %fault, "leases.renew"),
        }
    }

    /// It ended by itself. What was held until then was simply used up.
    async fn lost(&self, key: &Key, why: &'static str) {
        if self.leases.book().why(key).is_some() {
            tracing::warn!(source = %key.0, "leases.lost");
            let (lease, source) = (name_of(key), key.0.clone());
            self.leases.records.note(HelperEvent::LeaseLost { lease, source, why: Code::of(why) });
        }
        self.leases.settle(key).await;
    }
}

/// However much there is to do, a keeper lets others work.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);
