//! A value for a program that has to hold it itself: the same decision, permit and record as for one that is put into a
//! request. What is given is in use until this is dropped; then the lease goes back and the outcome is written.

use super::ledger::{self, Cause};
use super::open_calls::{Entry, Subject};
use super::{Broker, End, Ledger, Progress, Refusal, crash_point};
use crate::leases::Taken;
use avouch_policy::{Caller, Fill, RefusalCode, decide_reveal};
use avouch_sources::{Part, Wanted};
use avouch_words::{Clock, Name, Secret, Ulid};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A value that is held by a program.
pub(crate) struct Revealed {
    taken: Taken,
    entry: Entry,
    decision: Ulid,
    agent: Name,
    began: Duration,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
}

/// How a source's parts are called outside.
pub(crate) const fn part_name(part: Part) -> &'static str {
    match part {
        Part::Value => "value",
        Part::Username => "username",
        Part::Certificate => "certificate",
        Part::PrivateKey => "private_key",
        Part::CaChain => "ca_chain",
    }
}

impl Broker {
    /// Gives this caller the value of a credential. `ended` is the end of whatever holds it.
    pub(crate) async fn reveal(
        &self,
        caller: &Caller,
        ended: &CancellationToken,
        wanted: &Name,
    ) -> Result<Revealed, Refusal> {
        let began = self.clock.boot();
        let decision = self.decision();
        let state = Arc::clone(&self.policy.state.borrow());
        let other = |code| Cause::Other { decision, code, version: state.version() };
        if !self.is_fresh() {
            return Err(self.record_refusal(caller, &other(RefusalCode::Stale), None).await);
        }
        let permit = match decide_reveal(&state, caller, wanted, self.clock.now(), decision) {
            Ok(permit) => permit,
            Err(denial) => return Err(self.record_refusal(caller, &Cause::Denial(&denial), None).await),
        };
        let fill = permit.fill();
        let subject = Subject::Reveal { credential: wanted.clone(), issue: issue(fill) };
        // Registered first and judged then: a change that comes between is seen by one of the two.
        let entry = self.open.enter(caller, subject, ended);
        self.open.judge_one(&entry, &self.policy.state.borrow(), self.clock.now());
        if self.ledger.durable(ledger::reveal(&permit)).await.is_err() {
            return Err(self.record_refusal(caller, &other(RefusalCode::AuditUnavailable), None).await);
        }
        crash_point("after-reveal-intent");
        let asked = Wanted {
            credential: fill.credential().clone(),
            binding: fill.binding(),
            reference: fill.reference().clone(),
            entrant: self.vault.entrant(caller),
            // A program's lease is its own, and nobody else's.
            fresh: true,
        };
        let refused = |code| {
            self.ledger.behind(Progress::default().outcome(
                decision,
                &caller.agent,
                End::Refused(code),
                self.clock.boot().saturating_sub(began),
            ));
            Refusal { code, decision }
        };
        let taken = self.vault.take(fill.source(), &asked).await.map_err(|fault| {
            tracing::warn!(%decision, %fault, "broker.reveal.read");
            refused(RefusalCode::SourceUnavailable)
        })?;
        if entry.cut().is_cancelled() || !self.is_fresh() {
            return Err(refused(RefusalCode::Denied));
        }
        let (ledger, clock) = (self.ledger.clone(), self.clock.clone());
        Ok(Revealed { taken, entry, decision, agent: caller.agent.clone(), began, ledger, clock })
    }
}

impl Revealed {
    /// What is given.
    pub(crate) fn parts(&self) -> &[(Part, Secret)] {
        self.taken.lease.parts()
    }

    /// When its lease ends at the source, as it was when it was taken.
    pub(crate) fn expires_ms(&self) -> i64 {
        self.taken.lease.expires.map_or(0, |expires| expires.0)
    }

    /// The decision by which it was given.
    pub(crate) fn decision(&self) -> Ulid {
        self.decision
    }

    /// Waits until it may not be held any more: what it was given on has ended, or its lease.
    pub(crate) async fn ended(&self) {
        loop {
            tokio::select! {
                () = self.entry.cut().cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let boot = self.clock.boot();
            if !self.taken.held.iter().all(|held| held.is_live(boot)) {
                return;
            }
            self.taken.held.iter().for_each(crate::leases::Held::touch);
        }
    }
}

impl Drop for Revealed {
    fn drop(&mut self) {
        let end = if self.entry.cut().is_cancelled() { End::Cut } else { End::Done };
        let duration = self.clock.boot().saturating_sub(self.began);
        self.ledger.behind(Progress::default().outcome(self.decision, &self.agent, end, duration));
    }
}

/// What has to stay as it was: source, reference and binding.
pub(super) fn issue(fill: &Fill) -> avouch_words::Digest {
    let text = [fill.source().as_str().as_bytes(), &[0], fill.reference().as_str().as_bytes(), &[0]].concat();
    avouch_words::Digest::of(&[&text, fill.binding().as_bytes()])
}

/// How often a held lease is looked at, and counted as used.
const LOOK: Duration = Duration::from_secs(1);
