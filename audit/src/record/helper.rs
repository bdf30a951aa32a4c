//! What a helper records in its spool.

use super::{Caller, LeaseOf, Loss, Mode, Outcome, Request, SpoolEnd, StaleCause, Use, events};
use crate::field::{Code, Count, Moment, Outside};
use avouch_words::{Name, Ulid};

events! {
    /// What a helper records.
    pub enum HelperEvent {
        /// The helper started.
        Started = "helper.started" {
            /// Its version.
            version: Outside<32>,
        }
        /// The helper ends on request.
        Stopped = "helper.stopped" {}
        /// The end of the spool was torn by a crash and cut away. Nothing that was acknowledged is in it.
        TailCut = "spool.tail_cut" {
            /// Bytes cut.
            bytes: Count,
        }
        /// This spool is new because the one before was not found as it was left.
        SpoolBroken = "spool.broken" {
            /// The spool before, and how many records it is known to have had at least.
            previous: SpoolEnd,
            /// What became of it.
            loss: Loss,
        }
        /// A process on the node was found to be an agent.
        Attested = "agent.attested" {
            /// Who it is.
            caller: Caller,
            /// Its process id.
            pid: u32,
            /// Its uid.
            uid: u32,
        }
        /// A process asked for an identity and has none.
        AttestationRefused = "agent.attestation_refused" {
            /// Its process id.
            pid: u32,
            /// Its uid.
            uid: u32,
            /// Why.
            reason: Code,
        }
        /// An X.509-SVID was handed to its workload.
        X509Served = "svid.x509_served" {
            /// Whose it is.
            caller: Caller,
            /// Its serial, in hexadecimal.
            serial: Outside<64>,
        }
        /// A JWT-SVID was handed to its workload.
        JwtServed = "svid.jwt_served" {
            /// Whose it is.
            caller: Caller,
            /// For whom.
            audience: Vec<Outside<255>>,
            /// Its id.
            #[serde(skip_serializing_if = "Option::is_none")]
            jti: Option<Outside<64>>,
        }
        /// A workload asked for a JWT-SVID for a reserved audience.
        ReservedAudienceRefused = "svid.reserved_audience_refused" {
            /// Who asked.
            caller: Caller,
            /// For whom.
            audience: Outside<255>,
        }
        /// A session began.
        SessionOpened = "session.opened" {
            /// The agent.
            agent: Name,
            /// The session.
            session: Ulid,
            /// The process it descends from.
            root_pid: u32,
            /// The uid of that process.
            uid: u32,
            /// The kernel cannot tell its connections by uid: only the listener shows whose they are.
            listener_alone: bool,
            /// The profile of the walls that were verified; none if it is not contained.
            #[serde(skip_serializing_if = "Option::is_none")]
            contained: Option<Name>,
            /// The session that it was opened inside of.
            #[serde(skip_serializing_if = "Option::is_none")]
            within: Option<Ulid>,
        }
        /// A session was not begun.
        SessionRefused = "session.refused" {
            /// The agent asked for, if that is a name at all.
            agent: Outside<64>,
            /// The process that asked.
            pid: u32,
            /// Its uid.
            uid: u32,
            /// Why.
            reason: Code,
        }
        /// A session ended.
        SessionClosed = "session.closed" {
            /// The agent.
            agent: Name,
            /// The session.
            session: Ulid,
            /// Processes below it that were killed.
            killed: u32,
        }
        /// A connection on a session's listener was not the session's.
        ListenerRefused = "session.listener_refused" {
            /// The agent.
            agent: Name,
            /// The session.
            session: Ulid,
            /// Why.
            reason: Code,
        }
        /// Credentials will be put into a request. Nothing is injected before this is durable.
        Intent = "broker.intent" {
            /// The decision.
            decision: Ulid,
            /// Who calls.
            caller: Caller,
            /// What is called.
            request: Request,
            /// What is put in, and by which rules.
            uses: Vec<Use>,
            /// The version of the state it was decided on.
            policy_version: Count,
            /// What it covers.
            mode: Mode,
        }
        /// How a permitted call ended.
        Outcome = "broker.outcome" {
            /// The decision.
            decision: Ulid,
            /// The agent.
            agent: Name,
            /// How.
            outcome: Outcome,
            /// The tool sent a credential back, and it was taken out.
            reflected: bool,
            /// The client had sent a credential of its own, and it was taken out.
            stripped: bool,
            /// Bytes of the answer's body that were passed on.
            bytes: Count,
            /// From the intent to the end, in microseconds.
            duration_us: Count,
        }
        /// A call was refused.
        Denied = "broker.denied" {
            /// The decision: what the agent was shown.
            decision: Ulid,
            /// Who called.
            caller: Caller,
            /// The code the agent was given.
            refusal: Code,
            /// Why, for operators.
            reason: Code,
            /// What of the request did not fit the nearest binding.
            #[serde(skip_serializing_if = "Option::is_none")]
            mismatch: Option<Code>,
            /// The lock that stood against it.
            #[serde(skip_serializing_if = "Option::is_none")]
            lock: Option<Ulid>,
            /// The credentials concerned.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            credentials: Vec<Name>,
            /// What was called, if it had a canonical form.
            #[serde(skip_serializing_if = "Option::is_none")]
            request: Option<Request>,
            /// The version of the state it was decided on.
            policy_version: Count,
        }
        /// From now on nothing is injected.
        StaleBegan = "locks.stale_began" {
            /// Why.
            cause: StaleCause,
            /// The version held.
            version: Count,
        }
        /// Injection goes on.
        StaleEnded = "locks.stale_ended" {
            /// Why nothing was injected.
            cause: StaleCause,
            /// The version held now.
            version: Count,
        }
        /// The issuer's database is another one (restored, or new): its versions begin anew.
        EpochChanged = "locks.epoch_changed" {
            /// The version held before.
            from_version: Count,
            /// The first version of the new epoch.
            to_version: Count,
        }
        /// A lock is in force on this node.
        LockApplied = "locks.applied" {
            /// The agent that is locked.
            agent: Name,
            /// The lock.
            lock: Ulid,
            /// The version it came with.
            version: Count,
            /// Connections and streams that were cut.
            cut: u32,
        }
        /// A lock is not in force any more on this node.
        LockLifted = "locks.lifted" {
            /// The agent that was locked.
            agent: Name,
            /// The lock.
            lock: Ulid,
            /// The version that ended it.
            version: Count,
        }
        /// A value was sealed in the node's own store.
        SecretPut = "secret.put" {
            /// The credential.
            credential: Name,
            /// The uid of the operator's process.
            uid: u32,
        }
        /// The content of a file was sealed as a backup.
        BackupSealed = "backup.sealed" {
            /// The backup.
            backup: Ulid,
            /// The uid of the operator's process.
            uid: u32,
        }
        /// A backup was written back into a file of the operator's.
        BackupRestored = "backup.restored" {
            /// The backup.
            backup: Ulid,
            /// The uid of the operator's process.
            uid: u32,
        }
        /// Something is owed to a source from now on. It is recorded there before it is used.
        LeaseTaken = "lease.taken" {
            /// What `lease list` calls it.
            lease: Outside<32>,
            /// The source.
            source: Name,
            /// What it is.
            of: LeaseOf,
            /// The agent it was taken for; none for the node's own.
            #[serde(skip_serializing_if = "Option::is_none")]
            agent: Option<Name>,
            /// Which of its instances.
            #[serde(skip_serializing_if = "Option::is_none")]
            instance: Option<Ulid>,
            /// The credential.
            #[serde(skip_serializing_if = "Option::is_none")]
            credential: Option<Name>,
            /// When it ends by itself.
            expires: Moment,
        }
        /// It lasts longer.
        LeaseRenewed = "lease.renewed" {
            /// Which.
            lease: Outside<32>,
            /// The source.
            source: Name,
            /// The agent it was taken for.
            #[serde(skip_serializing_if = "Option::is_none")]
            agent: Option<Name>,
            /// Its new end.
            expires: Moment,
        }
        /// It was given back at the source.
        LeaseRevoked = "lease.revoked" {
            /// Which.
            lease: Outside<32>,
            /// The source.
            source: Name,
            /// Why.
            why: Code,
        }
        /// It could not be given back before it ended by itself.
        LeaseLost = "lease.lost" {
            /// Which.
            lease: Outside<32>,
            /// The source.
            source: Name,
            /// Why.
            why: Code,
        }
        /// An operator had a source tried as an agent.
        SourceTested = "source.tested" {
            /// The source.
            source: Name,
            /// The agent by whose role it was entered.
            agent: Name,
            /// Which of its instances.
            instance: Ulid,
            /// What came of it: `passed`, or the first thing that is wrong.
            outcome: Code,
            /// The uid of the operator's process.
            uid: u32,
        }
        /// Every kept value of a credential is replaced at its next use.
        CredentialRotated = "credential.rotated" {
            /// The credential.
            credential: Name,
            /// How many were kept.
            kept: u32,
            /// The uid of the operator's process.
            uid: u32,
        }
        /// A call on the helper's admin socket was refused.
        AdminRefused = "admin.refused" {
            /// The uid of the process that called.
            uid: u32,
            /// Why.
            reason: Code,
        }
    }
}

impl HelperEvent {
    /// The agent it is about. The issuer takes it only from a node that may run that agent.
    pub fn agent(&self) -> Option<&Name> {
        match self {
            Self::Attested { caller, .. }
            | Self::X509Served { caller, .. }
            | Self::JwtServed { caller, .. }
            | Self::ReservedAudienceRefused { caller, .. }
            | Self::Intent { caller, .. }
            | Self::Denied { caller, .. } => Some(&caller.agent),
            Self::SessionOpened { agent, .. }
            | Self::SessionClosed { agent, .. }
            | Self::ListenerRefused { agent, .. }
            | Self::Outcome { agent, .. }
            | Self::LockApplied { agent, .. }
            | Self::LockLifted { agent, .. }
            | Self::SourceTested { agent, .. } => Some(agent),
            Self::LeaseTaken { agent, .. } | Self::LeaseRenewed { agent, .. } => agent.as_ref(),
            // The agent may have gone from this node since; that it was its lease says the record of taking it.
            Self::LeaseRevoked { .. } | Self::LeaseLost { .. } => None,
            // The agent of a refused session is a claim that was not believed.
            Self::SessionRefused { .. }
            | Self::Started { .. }
            | Self::Stopped {}
            | Self::TailCut { .. }
            | Self::SpoolBroken { .. }
            | Self::AttestationRefused { .. }
            | Self::StaleBegan { .. }
            | Self::StaleEnded { .. }
            | Self::EpochChanged { .. }
            | Self::SecretPut { .. }
            | Self::CredentialRotated { .. }
            | Self::BackupSealed { .. }
            | Self::BackupRestored { .. }
            | Self::AdminRefused { .. } => None,
        }
    }
}
