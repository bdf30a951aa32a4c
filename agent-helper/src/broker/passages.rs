//! What passes without a credential: requests and tunnels to what nothing binds, and the tunnels to bound hosts that
//! are looked into.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use avouch_policy::{Caller, CanonicalRequest, Origin, Passage, Reason, RefusalCode, Verdict, decide};
use avouch_words::Ulid;
use tokio_util::sync::CancellationToken;

use super::ledger::{self, Cause};
use super::open_calls::{Entry, Subject};
use super::{Broker, Cleared, Decision, End, Forward, NotRecorded, Progress, Refusal, Unbound, carry, egress, search};

/// The ports that a target which nothing binds may have without being listed.
const UNBOUND_PORTS: [u16; 2] = [80, 443];

/// A tunnel that was cleared.
pub(crate) struct Tunnel {
    decision: Ulid,
    /// What may be dialled.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Cuts it.
    pub(crate) entry: Entry,
    began: Duration,
    /// To be kept up to date.
    pub(crate) progress: Progress,
}

impl Broker {
    /// A tunnel to what nothing binds: the addresses that may be dialled, and the entry that cuts it. The caller
    /// has to end it with [`Self::end_tunnel`].
    pub(crate) async fn open_tunnel(
        &self,
        caller: &Caller,
        ended: &CancellationToken,
        request: CanonicalRequest,
    ) -> Result<Tunnel, Refusal> {
        let began = self.clock.boot();
        match self.decide(caller, request).await? {
            Decision::Passage(passage) => {
                let entry = self.enter_passage(&passage, ended);
                let addresses = self.clear_passage(&passage).await?;
                let decision = passage.decision();
                Ok(Tunnel { decision, addresses, entry, began, progress: Progress::default() })
            }
            // Bound since it was looked at: no longer a tunnel.
            Decision::Permit(permit) => Err(self.refuse_permitted(&permit, RefusalCode::Denied).await),
        }
    }

    /// Records the end of a tunnel.
    pub(crate) fn end_tunnel(&self, caller: &Caller, tunnel: &Tunnel, end: End) -> Result<End, Refusal> {
        self.close(tunnel.decision, caller, end, &tunnel.progress, tunnel.began)
    }

    /// Enters a tunnel to a bound host, which is intercepted; cut when the agent is locked or the session ends. An
    /// agent that may do nothing at all is refused here; all else is decided on each request in the tunnel.
    pub(crate) async fn enter_intercepted(
        &self,
        caller: &Caller,
        ended: &CancellationToken,
        request: CanonicalRequest,
    ) -> Result<Entry, Refusal> {
        let (state, now) = (Arc::clone(&self.policy.state.borrow()), self.clock.now());
        let entry = self.open.enter(caller, Subject::Intercepted, ended);
        self.open.judge_one(&entry, &self.policy.state.borrow(), now);
        match decide(&state, caller, request.clone(), now, self.decision()) {
            Verdict::Deny(denial) if is_of_the_agent(denial.reason()) => {
                Err(self.record_refusal(caller, &Cause::Denial(&denial), Some(&request)).await)
            }
            Verdict::Deny(_) | Verdict::Allow(_) | Verdict::Unbound(_) => Ok(entry),
        }
    }

    /// Whether the settings let anything pass to this target.
    pub(super) fn may_pass(&self, caller: &Caller, origin: &Origin) -> bool {
        let port = origin.port();
        let unbound = if caller.contained { self.egress.contained } else { self.egress.uncontained };
        unbound == Unbound::Tunnel && (UNBOUND_PORTS.contains(&port) || self.egress.ports.contains(&port))
    }

    /// One request to what nothing binds.
    pub(super) async fn pass<F: Forward>(
        &self,
        ended: &CancellationToken,
        passage: Passage,
        mut forward: F,
        began: Duration,
    ) -> Result<End, Refusal> {
        let entry = self.enter_passage(&passage, ended);
        if let Err(code) = search(&entry, &mut forward).await {
            return Err(self.refuse_passage(&passage, code).await);
        }
        let addresses = self.clear_passage(&passage).await?;
        let progress = Progress::default();
        let cleared =
            Cleared { request: passage.request(), filled: None, another: None, addresses, progress: &progress };
        let end = carry(&entry, forward, cleared).await;
        self.close(passage.decision(), passage.caller(), end, &progress, began)
    }

    fn enter_passage(&self, passage: &Passage, ended: &CancellationToken) -> Entry {
        let entry = self.open.enter(passage.caller(), Subject::Passage(passage.request().clone()), ended);
        self.open.judge_one(&entry, &self.policy.state.borrow(), self.clock.now());
        entry
    }

    async fn clear_passage(&self, passage: &Passage) -> Result<Vec<SocketAddr>, Refusal> {
        let origin = passage.request().origin();
        let code = match egress::unbound(self.resolver.as_ref(), origin.host(), origin.port()).await {
            Err(code) => code,
            Ok(addresses) => match self.ledger.durable(ledger::passage(passage)).await {
                Ok(()) => return Ok(addresses),
                Err(NotRecorded) => RefusalCode::AuditUnavailable,
            },
        };
        Err(self.refuse_passage(passage, code).await)
    }

    async fn refuse_passage(&self, passage: &Passage, code: RefusalCode) -> Refusal {
        let cause = Cause::Other { decision: passage.decision(), code, version: passage.policy_version() };
        self.record_refusal(passage.caller(), &cause, Some(passage.request())).await
    }
}

/// Whether the agent may do nothing at all, whatever it asks for.
fn is_of_the_agent(reason: &Reason) -> bool {
    match reason {
        Reason::Locked { .. } | Reason::UnknownAgent | Reason::NotActive { .. } => true,
        Reason::NotGranted { .. }
        | Reason::Placeholder { .. }
        | Reason::Misplaced { .. }
        | Reason::AmbiguousSlot { .. }
        | Reason::AmbiguousRoute { .. } => false,
    }
}
