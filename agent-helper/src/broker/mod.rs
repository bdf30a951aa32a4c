//! Walk B in one line: a request is decided on, its address judged, the intent made durable, the value fetched, put
//! in, sent, the answer scrubbed, the outcome recorded. Every way in calls [`Broker::call`] and nothing else; what
//! carries the bytes is passed in as a [`Forward`].

mod egress;
mod entrance;
mod ledger;
mod open_calls;
mod passages;
mod reveal;
mod values;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use avouch_policy::{Caller, CanonicalRequest, Origin, Passage, Permit, PolicyState, RefusalCode, Verdict, decide};
use avouch_sources::Source;
use avouch_words::{Clock, Name, Ulid};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use avouch_config::crash_point;
pub use egress::{Resolve, Resolving, SystemResolver};
pub use entrance::{Brokered, Entrances};
use ledger::Cause;
pub(crate) use ledger::{End, Progress};
pub use ledger::{Ledger, NotRecorded, Recording};
use open_calls::{Entry, OpenCalls, Subject};
pub(crate) use passages::Tunnel;
pub(crate) use reveal::{Revealed, part_name};
pub(crate) use values::Values;
pub use vault::Limits;
use vault::{Vault, VaultParts};

use crate::leases::Leases;

/// How often values are looked for that were kept for long enough.
const SWEEP: Duration = Duration::from_secs(5);

/// Whether the lock state is young enough to inject by.
pub trait Fresh: Send + Sync {
    /// At this time of the boot clock.
    fn is_fresh(&self, boot: Duration) -> bool;
}

/// The current policy, and how far it can be relied on.
#[derive(Clone)]
pub struct PolicyHandle {
    /// The newest state.
    pub state: watch::Receiver<Arc<PolicyState>>,
    /// Its age.
    pub fresh: Arc<dyn Fresh>,
}

/// What happens to targets that no credential of the trust domain binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbound {
    /// Refused.
    Deny,
    /// Passed on as they are, to public addresses only.
    Tunnel,
}

/// How targets are treated that nothing binds.
#[derive(Debug, Clone)]
pub struct Egress {
    /// Whether they are let through for a contained session.
    pub contained: Unbound,
    /// And for another.
    pub uncontained: Unbound,
    /// Ports that may be dialled beside 80 and 443.
    pub ports: BTreeSet<u16>,
}

/// What a broker is made of.
pub struct Parts {
    /// What it decides by.
    pub policy: PolicyHandle,
    /// Where it writes.
    pub ledger: Arc<dyn Ledger>,
    /// Where values come from.
    pub sources: Vec<Arc<dyn Source>>,
    /// With which identity sources are entered.
    pub entrances: Arc<dyn Entrances>,
    /// What each source is allowed, where it is not the default.
    pub limits: BTreeMap<Name, Limits>,
    /// What sources are owed.
    pub leases: Arc<Leases>,
    /// How names become addresses.
    pub resolver: Arc<dyn Resolve>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What happens to targets that nothing binds.
    pub egress: Egress,
}

/// Lets attested callers use credentials that they never see.
pub struct Broker {
    policy: PolicyHandle,
    ledger: Arc<dyn Ledger>,
    vault: Vault,
    resolver: Arc<dyn Resolve>,
    clock: Arc<dyn Clock>,
    egress: Egress,
    open: Arc<OpenCalls>,
    random: SystemRandom,
}

/// What the agent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: RefusalCode,
    /// The id by which an operator finds the reason.
    pub decision: Ulid,
}

/// Everything that a call was cleared for.
pub(crate) struct Cleared<'a> {
    /// The request that was judged, and that is to be sent.
    pub(crate) request: &'a CanonicalRequest,
    /// The permit and what is filled by it; none where nothing binds the target.
    pub(crate) filled: Option<(&'a Permit, Arc<Values>)>,
    /// Finds another value, should the tool refuse this one.
    pub(crate) another: Option<Another<'a>>,
    /// What may be dialled, in this order; empty where a connection at hand is used again.
    pub(crate) addresses: Vec<SocketAddr>,
    /// To be kept up to date.
    pub(crate) progress: &'a Progress,
}

/// Finds another value than the one that the tool refused.
pub(crate) struct Another<'a> {
    vault: &'a Vault,
    permit: &'a Permit,
    refused: Arc<Values>,
}

impl Another<'_> {
    /// Reads it once more, past every cache. Whether it is another one: the same would only be refused again.
    pub(crate) async fn is_there(&self) -> bool {
        self.vault.refused(self.permit, &self.refused).await
    }
}

/// What carries the bytes of a call.
pub(crate) trait Forward: Send {
    /// Whether a connection is at hand that was opened for the same bindings by the same session.
    fn reuse(&mut self, permit: &Permit) -> bool;
    /// Takes in as much of the body as is held back, and finds no placeholder in it; what is sent later is searched
    /// as it goes. Dropped when the call is cut.
    fn search(&mut self) -> impl Future<Output = Result<(), RefusalCode>> + Send;
    /// Sends the request and delivers the answer, scrubbed. Dropped when the call is cut.
    fn forward(self, cleared: Cleared<'_>) -> impl Future<Output = End> + Send;
}

impl Broker {
    /// Begins to work. From now on, until it is dropped, each change of the state cuts what it no longer permits.
    pub fn start(parts: Parts) -> Arc<Self> {
        let changes = parts.policy.state.clone();
        let vault = VaultParts {
            sources: parts.sources,
            limits: parts.limits,
            entrances: parts.entrances,
            leases: parts.leases,
            clock: Arc::clone(&parts.clock),
        };
        let broker = Arc::new(Self {
            vault: Vault::new(vault),
            policy: parts.policy,
            ledger: parts.ledger,
            resolver: parts.resolver,
            clock: parts.clock,
            egress: parts.egress,
            open: Arc::default(),
            random: SystemRandom::new(),
        });
        let weak = Arc::downgrade(&broker);
        tokio::spawn(async move {
            let mut changes = changes;
            loop {
                let changed = tokio::time::timeout(SWEEP, changes.changed()).await;
                let Some(broker) = weak.upgrade() else { return };
                match changed {
                    Ok(Ok(())) => {
                        let state = Arc::clone(&changes.borrow_and_update());
                        broker.apply(&state);
                    }
                    // Nobody tells of locks any more.
                    Ok(Err(_)) => {
                        broker.apply(&PolicyState::default());
                        return broker.forget_values();
                    }
                    Err(_) => broker.vault.sweep(),
                }
            }
        });
        broker
    }

    /// How many requests, streams and tunnels are open, of one agent or of all.
    pub fn open_calls(&self, agent: Option<&Name>) -> usize {
        self.open.count(agent)
    }

    /// The sources by name, and whether each is asked now.
    pub fn source_states(&self) -> Vec<(Name, bool)> {
        self.vault.states()
    }

    /// Forgets the values that were read, as after one was put anew.
    pub fn forget_values(&self) {
        self.vault.forget_all();
    }

    /// Has the next use of a credential read it anew; until then, and if that fails, what is kept is used as long as it
    /// is good. How many values were kept of it.
    pub fn rotate(&self, credential: &Name) -> usize {
        self.vault.rotate(credential)
    }

    /// One request, from the decision to the recorded outcome. `ended` is the session's end.
    pub(crate) async fn call<F: Forward>(
        &self,
        caller: &Caller,
        ended: &CancellationToken,
        request: CanonicalRequest,
        mut forward: F,
    ) -> Result<End, Refusal> {
        let began = self.clock.boot();
        let permit = match self.decide(caller, request).await? {
            Decision::Permit(permit) => permit,
            Decision::Passage(passage) => return self.pass(ended, *passage, forward, began).await,
        };
        let entry = self.enter(&permit, ended);
        if permit.searches_body()
            && let Err(code) = search(&entry, &mut forward).await
        {
            return Err(self.refuse_permitted(&permit, code).await);
        }
        let addresses = match forward.reuse(&permit) {
            true => Vec::new(),
            false => match egress::addresses(self.resolver.as_ref(), permit.dial()).await {
                Ok(addresses) => addresses,
                Err(code) => return Err(self.refuse_permitted(&permit, code).await),
            },
        };
        crash_point("before-intent");
        if self.ledger.durable(ledger::intent(&permit)).await.is_err() {
            return Err(self.refuse_permitted(&permit, RefusalCode::AuditUnavailable).await);
        }
        crash_point("after-intent");
        let progress = Progress::default();
        let end = match self.vault.values(&permit).await {
            Err(fault) => {
                tracing::warn!(decision = %permit.decision(), %fault, "broker.source.read");
                End::Refused(RefusalCode::SourceUnavailable)
            }
            // The source may have taken its time.
            Ok(_) if !self.is_fresh() => End::Refused(RefusalCode::Stale),
            Ok(values) => {
                crash_point("after-lease");
                let another = Some(Another { vault: &self.vault, permit: &permit, refused: values.clone() });
                let filled = Some((&*permit, values));
                let cleared = Cleared { request: permit.request(), filled, another, addresses, progress: &progress };
                carry(&entry, forward, cleared).await
            }
        };
        self.close(permit.decision(), caller, end, &progress, began)
    }

    /// Whether any credential of the trust domain binds this host and port.
    pub(crate) fn is_bound(&self, origin: &Origin) -> bool {
        self.policy.state.borrow().is_bound(origin)
    }

    /// Records that a connection on a session's listener was not shown to be the session's.
    pub(crate) async fn refuse_connection(&self, caller: &Caller, reason: &'static str) {
        let _ = self.ledger.durable(ledger::listener_refused(caller, reason)).await;
    }

    /// Refuses what was never decided on, and records it.
    pub(crate) async fn refuse(&self, caller: &Caller, code: RefusalCode) -> Refusal {
        self.record_refusal(caller, &Cause::Other { decision: self.decision(), code, version: 0 }, None).await
    }

    async fn decide(&self, caller: &Caller, request: CanonicalRequest) -> Result<Decision, Refusal> {
        let decision = self.decision();
        let state = Arc::clone(&self.policy.state.borrow());
        let other = |code| Cause::Other { decision, code, version: state.version() };
        if !self.is_fresh() {
            return Err(self.record_refusal(caller, &other(RefusalCode::Stale), Some(&request)).await);
        }
        let judged = request.clone();
        match decide(&state, caller, request, self.clock.now(), decision) {
            Verdict::Allow(permit) => Ok(Decision::Permit(Box::new(permit))),
            Verdict::Unbound(passage) if self.may_pass(caller, judged.origin()) => {
                Ok(Decision::Passage(Box::new(passage)))
            }
            Verdict::Unbound(_) => {
                Err(self.record_refusal(caller, &other(RefusalCode::UnboundHost), Some(&judged)).await)
            }
            Verdict::Deny(denial) => {
                tracing::info!(%decision, agent = %caller.agent, rule = denial.reason().rule(), "broker.request.denied");
                Err(self.record_refusal(caller, &Cause::Denial(&denial), Some(&judged)).await)
            }
        }
    }

    /// Enters a permitted call. Registered first and compared then: a change that comes between is seen by one of
    /// the two.
    fn enter(&self, permit: &Permit, ended: &CancellationToken) -> Entry {
        let subject = Subject::Call { request: permit.request().clone(), fills: permit.pool_key() };
        let entry = self.open.enter(permit.caller(), subject, ended);
        let state = Arc::clone(&self.policy.state.borrow());
        if state.version() != permit.policy_version() {
            self.open.judge_one(&entry, &state, self.clock.now());
        }
        entry
    }

    async fn refuse_permitted(&self, permit: &Permit, code: RefusalCode) -> Refusal {
        let cause = Cause::Other { decision: permit.decision(), code, version: permit.policy_version() };
        self.record_refusal(permit.caller(), &cause, Some(permit.request())).await
    }

    /// Waited for, so that an agent which is refused again and again is slowed by its own records and never crowds
    /// out others' (case A31). What cannot be recorded is refused all the same.
    async fn record_refusal(&self, caller: &Caller, cause: &Cause<'_>, request: Option<&CanonicalRequest>) -> Refusal {
        let _ = self.ledger.durable(ledger::denied(caller, cause, request)).await;
        match cause {
            Cause::Denial(denial) => Refusal { code: denial.refusal(), decision: denial.decision() },
            Cause::Other { decision, code, .. } => Refusal { code: *code, decision: *decision },
        }
    }

    fn close(
        &self,
        decision: Ulid,
        caller: &Caller,
        end: End,
        progress: &Progress,
        began: Duration,
    ) -> Result<End, Refusal> {
        crash_point("before-outcome");
        let duration = self.clock.boot().saturating_sub(began);
        self.ledger.behind(progress.outcome(decision, &caller.agent, end, duration));
        match end {
            End::Refused(code) => Err(Refusal { code, decision }),
            End::Cut if !progress.is_answered() => Err(Refusal { code: RefusalCode::Denied, decision }),
            End::Done | End::Broken | End::Cut | End::ConnectionGone | End::Outdated => Ok(end),
        }
    }

    /// Cuts what this state no longer permits, and forgets what locked agents used. How many calls were cut.
    pub(crate) fn apply(&self, state: &PolicyState) -> usize {
        let now = self.clock.now();
        let cut = self.open.judge(state, now);
        self.vault.forget(state, now);
        if cut > 0 {
            tracing::info!(cut, version = state.version(), "broker.calls.cut");
        }
        cut
    }

    fn is_fresh(&self) -> bool {
        self.policy.fresh.is_fresh(self.clock.boot())
    }

    fn decision(&self) -> Ulid {
        let mut random = [0; 10];
        // Without randomness two decisions of one millisecond could share an id: it names a record and opens nothing.
        let _ = self.random.fill(&mut random);
        Ulid::new(self.clock.now(), random)
    }
}

enum Decision {
    Permit(Box<Permit>),
    Passage(Box<Passage>),
}

/// Searches a body before anything of the call leaves the node. A call that is cut while its body comes in is refused
/// like one that came after the cut.
async fn search<F: Forward>(entry: &Entry, forward: &mut F) -> Result<(), RefusalCode> {
    tokio::select! {
        biased;
        () = entry.cut().cancelled() => Err(RefusalCode::Denied),
        searched = forward.search() => searched,
    }
}

/// Carries a call until it ends or is cut. The cut is looked at first, so that a call which was cut before it began
/// sends nothing.
async fn carry<F: Forward>(entry: &Entry, forward: F, cleared: Cleared<'_>) -> End {
    tokio::select! {
        biased;
        () = entry.cut().cancelled() => End::Cut,
        end = forward.forward(cleared) => end,
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broker({} open)", self.open.count(None))
    }
}
