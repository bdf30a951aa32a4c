//! What the broker writes down, and when: an intent that is durable before anything is injected, its outcome, or a
//! denial. Exactly one intent with one outcome, or one denial, for every request.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use avouch_audit::field::{Code, Count, Outside};
use avouch_audit::record::{Caller, HelperEvent, Mode, Outcome, Request, Use};
use avouch_policy::{CanonicalRequest, Denial, Fill, Passage, Permit, Place, Reason, RefusalCode, RevealPermit};
use avouch_words::{Name, Ulid};

use crate::spool::Spool;

/// A record on its way to the disk.
pub type Recording<'a> = Pin<Box<dyn Future<Output = Result<(), NotRecorded>> + Send + 'a>>;

/// The record could not be made durable. Nothing may be injected on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record could not be made durable")]
pub struct NotRecorded;

/// Where records go: the helper's spool.
pub trait Ledger: Send + Sync {
    /// Writes a record. It is durable when it returns.
    fn durable(&self, event: HelperEvent) -> Recording<'_>;
    /// Writes a record behind those before it, without waiting for the disk.
    fn behind(&self, event: HelperEvent);
}

impl Ledger for Spool {
    fn durable(&self, event: HelperEvent) -> Recording<'_> {
        Box::pin(async move {
            let code = event.code();
            self.append(event).await.map(drop).map_err(|fault| {
                tracing::error!(code, %fault, "audit.record.refused");
                NotRecorded
            })
        })
    }

    fn behind(&self, event: HelperEvent) {
        let code = event.code();
        // An outcome that is lost here is written as unknown by the next start.
        if let Err(fault) = self.append_later(event) {
            tracing::error!(code, %fault, "audit.record.lost");
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Answered, and the answer delivered whole.
    Done,
    /// Refused after the intent; nothing of an answer was delivered.
    Refused(RefusalCode),
    /// The answer broke off while it was delivered, on either side.
    Broken,
    /// A lock, a changed grant or the session's end cut it.
    Cut,
    /// A kept connection had gone before it answered; the request is made again under a new decision.
    ConnectionGone,
    /// The tool refused the credential, and there is another value of it by now; nothing of the answer was delivered, and
    /// the request is made again under a new decision.
    Outdated,
}

/// Why a request was refused.
pub(super) enum Cause<'a> {
    /// A decision said so.
    Denial(&'a Denial),
    /// Something after or instead of a decision; the version is 0 where there was no decision.
    Other {
        /// The decision's id.
        decision: Ulid,
        /// What the agent is told, and here also the reason.
        code: RefusalCode,
        /// The version of the state.
        version: u64,
    },
}

/// What is known of a call while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    status: AtomicU16,
    answered: AtomicBool,
    reflected: AtomicBool,
    stripped: AtomicBool,
    received: AtomicU64,
}

impl Progress {
    /// The tool's server answered with this status.
    pub(crate) fn status(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// From now on the client has read a part of the answer.
    pub(crate) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// A form of the credential came back.
    pub(crate) fn reflected(&self) {
        self.reflected.store(true, Ordering::Relaxed);
    }

    /// The client had sent a credential of its own.
    pub(crate) fn stripped(&self) {
        self.stripped.store(true, Ordering::Relaxed);
    }

    /// So many bytes of content were received.
    pub(crate) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether the client has read a part of the answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// All of it, as the outcome of a call.
    pub(super) fn outcome(&self, decision: Ulid, agent: &Name, end: End, duration: Duration) -> HelperEvent {
        let status = Some(self.status.load(Ordering::Relaxed)).filter(|status| *status != 0);
        let failed = |kind| Outcome::Error { kind: Code::of(kind), status };
        let outcome = match (end, status) {
            (End::Done, Some(status)) => Outcome::Ok { status },
            // A tunnel shows no status.
            (End::Done, None) => Outcome::Ok { status: 0 },
            (End::Refused(code), _) => failed(code.as_str()),
            (End::Broken, _) => failed("broken_off"),
            (End::ConnectionGone, _) => failed("connection_gone"),
            (End::Outdated, _) => failed("credential_outdated"),
            (End::Cut, status) => Outcome::Cut { status },
        };
        HelperEvent::Outcome {
            decision,
            agent: agent.clone(),
            outcome,
            reflected: self.reflected.load(Ordering::Relaxed),
            stripped: self.stripped.load(Ordering::Relaxed),
            bytes: Count(self.received.load(Ordering::Relaxed)),
            duration_us: Count(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}

/// The intent of a permitted call.
pub(super) fn intent(permit: &Permit) -> HelperEvent {
    let used = |fill: &Fill| Use { credential: fill.credential().clone(), grants: fill.grants().to_vec() };
    HelperEvent::Intent {
        decision: permit.decision(),
        caller: caller(permit.caller()),
        request: request(permit.request()),
        uses: permit.fills().iter().map(used).collect(),
        policy_version: Count(permit.policy_version()),
        mode: Mode::Each,
    }
}

/// The intent of giving a value to a program that holds it. There is no request: what stands in its place names the
/// credential, and no host.
pub(super) fn reveal(permit: &RevealPermit) -> HelperEvent {
    let fill = permit.fill();
    HelperEvent::Intent {
        decision: permit.decision(),
        caller: caller(permit.caller()),
        request: Request {
            scheme: Code::of("reveal"),
            host: Outside::of(""),
            port: 0,
            method: Outside::of("REVEAL"),
            path: Outside::of(format!("/{}", fill.credential())),
            query_keys: Outside::of(""),
        },
        uses: vec![Use { credential: fill.credential().clone(), grants: fill.grants().to_vec() }],
        policy_version: Count(permit.policy_version()),
        mode: Mode::Reveal,
    }
}

/// The intent of letting bytes pass to what nothing binds: nothing is put in.
pub(super) fn passage(passage: &Passage) -> HelperEvent {
    HelperEvent::Intent {
        decision: passage.decision(),
        caller: caller(passage.caller()),
        request: request(passage.request()),
        uses: Vec::new(),
        policy_version: Count(passage.policy_version()),
        mode: Mode::Each,
    }
}

/// A refusal; `of` is the request, where it had a canonical form.
pub(super) fn denied(asker: &avouch_policy::Caller, cause: &Cause<'_>, of: Option<&CanonicalRequest>) -> HelperEvent {
    let (decision, refusal, reason, version) = match cause {
        Cause::Denial(denial) => (denial.decision(), denial.refusal(), denial.reason().rule(), denial.policy_version()),
        Cause::Other { decision, code, version } => (*decision, *code, code.as_str(), *version),
    };
    let why = match cause {
        Cause::Denial(denial) => Some(denial.reason()),
        Cause::Other { .. } => None,
    };
    let (mismatch, lock, credentials) = match why {
        Some(Reason::Locked { lock }) => (None, Some(*lock), Vec::new()),
        Some(Reason::NotGranted { nearest: Some(miss) } | Reason::Placeholder { miss: Some(miss) }) => {
            (Some(Code::of(miss.mismatch.as_str())), None, vec![miss.credential.clone()])
        }
        Some(Reason::AmbiguousSlot { credentials, .. } | Reason::AmbiguousRoute { credentials }) => {
            (None, None, credentials.clone())
        }
        Some(Reason::Misplaced { place }) => (Some(Code::of(place.as_str())), None, Vec::new()),
        // What no decision saw is the body.
        None if refusal == RefusalCode::PlaceholderMisplaced => {
            (Some(Code::of(Place::Body.as_str())), None, Vec::new())
        }
        Some(
            Reason::NotGranted { nearest: None }
            | Reason::Placeholder { miss: None }
            | Reason::UnknownAgent
            | Reason::NotActive { .. },
        )
        | None => (None, None, Vec::new()),
    };
    HelperEvent::Denied {
        decision,
        caller: caller(asker),
        refusal: Code::of(refusal.as_str()),
        reason: Code::of(reason),
        mismatch,
        lock,
        credentials,
        request: of.map(request),
        policy_version: Count(version),
    }
}

/// A connection that was not shown to be the session's.
pub(super) fn listener_refused(caller: &avouch_policy::Caller, reason: &'static str) -> HelperEvent {
    HelperEvent::ListenerRefused { agent: caller.agent.clone(), session: caller.session, reason: Code::of(reason) }
}

fn caller(caller: &avouch_policy::Caller) -> Caller {
    Caller { agent: caller.agent.clone(), instance: caller.instance, session: Some(caller.session) }
}

fn request(request: &CanonicalRequest) -> Request {
    let origin = request.origin();
    let keys = request.query().map(|pair| pair.key).collect::<Vec<_>>().join("&");
    Request {
        scheme: Code::of(origin.scheme().as_str()),
        host: Outside::of(origin.host().as_str()),
        port: origin.port(),
        method: Outside::of(request.method().as_str()),
        path: Outside::of(request.path()),
        query_keys: Outside::of(keys),
    }
}
