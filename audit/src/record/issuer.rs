//! What an issuer records.

use super::{Operator, SpoolEnd, events};
use crate::field::{Code, Commitment, Count, Moment, Outside};
use crate::spool::SpoolId;
use avouch_words::{Digest, Name, Selector, SpiffeId, Ulid};

events! {
    /// What an issuer records.
    pub enum IssuerEvent {
        /// The issuer started.
        Started = "issuer.started" {
            /// Its version.
            version: Outside<32>,
            /// The database's epoch, in hexadecimal.
            epoch: Outside<64>,
        }
        /// An authority was made. It is in every bundle from now on, and signs nothing yet.
        AuthorityCreated = "authority.created" {
            /// `x509`, `jwt` or `log`.
            kind: Code,
            /// SHA-256 of the certificate or public key.
            digest: Digest,
        }
        /// An authority signs from now on, and the one before it no more.
        AuthorityActivated = "authority.activated" {
            /// `x509`, `jwt` or `log`.
            kind: Code,
            /// SHA-256 of the certificate or public key.
            digest: Digest,
        }
        /// An authority whose last SVID has expired went from every bundle, with its key.
        AuthorityRemoved = "authority.removed" {
            /// `x509`, `jwt` or `log`.
            kind: Code,
            /// SHA-256 of the certificate or public key.
            digest: Digest,
        }
        /// A join token was made.
        TokenCreated = "token.created" {
            /// By whom.
            operator: Operator,
            /// SHA-256 of its secret part.
            token: Digest,
            /// The node that may join with it.
            node: Name,
            /// Its end.
            expires: Moment,
        }
        /// A join token was traded for a node SVID.
        TokenUsed = "token.used" {
            /// SHA-256 of its secret part.
            token: Digest,
            /// The node that joined.
            node: SpiffeId,
        }
        /// A used token was shown again, with another key.
        TokenReplayed = "token.replayed" {
            /// SHA-256 of its secret part.
            token: Digest,
            /// The node that joined with it.
            node: SpiffeId,
        }
        /// A token was shown after its end.
        TokenExpired = "token.expired_use" {
            /// SHA-256 of its secret part.
            token: Digest,
        }
        /// A node joined.
        NodeJoined = "node.joined" {
            /// The node.
            node: SpiffeId,
            /// What was verified about it.
            selectors: Vec<Selector>,
            /// The serial of its SVID, in hexadecimal.
            serial: Outside<64>,
            /// That SVID's end.
            not_after: Moment,
        }
        /// A node's SVID was renewed.
        NodeRenewed = "node.renewed" {
            /// The node.
            node: SpiffeId,
            /// The serial of the new SVID, in hexadecimal.
            serial: Outside<64>,
            /// Its end.
            not_after: Moment,
        }
        /// A node's renewal was refused; `cloned_state` if its state is in use twice.
        NodeRenewalRefused = "node.renewal_refused" {
            /// The node.
            node: SpiffeId,
            /// Why.
            reason: Code,
        }
        /// A node was banned: it gets nothing any more.
        NodeBanned = "node.banned" {
            /// By whom.
            operator: Operator,
            /// The node.
            node: SpiffeId,
            /// Commitment to the operator's reason.
            reason: Commitment,
            /// The version it came with.
            version: Count,
            /// Instances that were ended.
            instances: Count,
        }
        /// A node's identity was forgotten: it has to join anew.
        NodeEvicted = "node.evicted" {
            /// By whom.
            operator: Operator,
            /// The node.
            node: SpiffeId,
            /// Commitment to the operator's reason.
            reason: Commitment,
            /// Instances that were ended.
            instances: Count,
        }
        /// An attestation was refused.
        EnrolRefused = "node.enrol_refused" {
            /// Why.
            reason: Code,
        }
        /// An agent was registered.
        AgentRegistered = "agent.registered" {
            /// By whom.
            operator: Operator,
            /// The agent.
            agent: Name,
            /// Commitment to its owner.
            owner: Commitment,
            /// Where it may run.
            nodes: Vec<Selector>,
            /// What shows it.
            selectors: Vec<Selector>,
            /// The path of its IDs, if it is not the usual one.
            #[serde(skip_serializing_if = "Option::is_none")]
            id_path: Option<Outside<128>>,
        }
        /// An agent's registration was replaced.
        AgentUpdated = "agent.updated" {
            /// By whom.
            operator: Operator,
            /// The agent.
            agent: Name,
            /// Commitment to its owner.
            owner: Commitment,
            /// Where it may run.
            nodes: Vec<Selector>,
            /// What shows it.
            selectors: Vec<Selector>,
            /// The path of its IDs.
            id_path: Outside<128>,
        }
        /// An agent's registration was taken back; its grants went before it.
        AgentDeleted = "agent.deleted" {
            /// By whom.
            operator: Operator,
            /// The agent.
            agent: Name,
            /// Commitment to the operator's reason.
            reason: Commitment,
        }
        /// A credential was taken back; its grants went before it.
        CredentialDeleted = "credential.deleted" {
            /// By whom.
            operator: Operator,
            /// The credential.
            credential: Name,
            /// Commitment to the operator's reason.
            reason: Commitment,
        }
        /// A credential was made, or its binding replaced.
        CredentialPut = "credential.put" {
            /// By whom.
            operator: Operator,
            /// The credential.
            credential: Name,
            /// Its source.
            source: Name,
            /// Where in the source it lies, if the source needs to be told.
            #[serde(skip_serializing_if = "Option::is_none")]
            reference: Option<Outside<512>>,
            /// SHA-256 of the canonical binding.
            binding: Digest,
        }
        /// A grant was made.
        GrantCreated = "grant.created" {
            /// By whom.
            operator: Operator,
            /// The grant.
            grant: Ulid,
            /// To whom.
            agent: Name,
            /// Of what.
            credential: Name,
        }
        /// A grant was taken back.
        GrantDeleted = "grant.deleted" {
            /// By whom.
            operator: Operator,
            /// The grant.
            grant: Ulid,
            /// From whom.
            agent: Name,
            /// Of what.
            credential: Name,
        }
        /// An agent may go to a vendor with identity tokens of its own.
        TargetOpened = "target.opened" {
            /// By whom.
            operator: Operator,
            /// The agent.
            agent: Name,
            /// `anthropic`, `openai`, `aws`, `gcp` or `azure`.
            vendor: Code,
            /// Whom its tokens are for.
            audience: Outside<255>,
        }
        /// An agent may go to a vendor no more.
        TargetClosed = "target.closed" {
            /// By whom.
            operator: Operator,
            /// The agent.
            agent: Name,
            /// `anthropic`, `openai`, `aws`, `gcp` or `azure`.
            vendor: Code,
            /// Whom its tokens were for.
            audience: Outside<255>,
        }
        /// A lock was set.
        LockCreated = "lock.created" {
            /// By whom.
            operator: Operator,
            /// The lock.
            lock: Ulid,
            /// The agent that it stops.
            agent: Name,
            /// Commitment to the operator's reason.
            reason: Commitment,
            /// The version it came with.
            version: Count,
            /// Its end.
            #[serde(skip_serializing_if = "Option::is_none")]
            expires: Option<Moment>,
        }
        /// A lock was released.
        LockReleased = "lock.released" {
            /// By whom.
            operator: Operator,
            /// The lock.
            lock: Ulid,
            /// The agent that it stopped.
            agent: Name,
            /// The version it ended with.
            version: Count,
        }
        /// A lock ran out.
        LockExpired = "lock.expired" {
            /// The lock.
            lock: Ulid,
            /// The agent that it stopped.
            agent: Name,
            /// The version it ended with.
            version: Count,
        }
        /// A node says that a version with a new lock is in force there.
        LockApplied = "lock.applied" {
            /// The lock.
            lock: Ulid,
            /// The node.
            node: SpiffeId,
            /// The version.
            version: Count,
            /// From commit to acknowledgement, in microseconds.
            after_us: Count,
        }
        /// An X.509-SVID was signed.
        X509Issued = "svid.x509_issued" {
            /// The agent.
            agent: Name,
            /// Its instance.
            instance: Ulid,
            /// The node it was signed for.
            node: SpiffeId,
            /// Its serial, in hexadecimal.
            serial: Outside<64>,
            /// Its end.
            not_after: Moment,
        }
        /// A JWT-SVID was signed.
        JwtIssued = "svid.jwt_issued" {
            /// The agent.
            agent: Name,
            /// Its instance.
            instance: Ulid,
            /// The node it was signed for.
            node: SpiffeId,
            /// For whom.
            audience: Vec<Outside<255>>,
            /// Its id.
            jti: Outside<64>,
            /// Its end.
            expires: Moment,
        }
        /// A brokered JWT-SVID was signed for a helper's broker.
        BrokeredIssued = "svid.brokered_issued" {
            /// The agent on whose behalf.
            agent: Name,
            /// Its instance.
            instance: Ulid,
            /// The node it was signed for.
            node: SpiffeId,
            /// The source's audience.
            audience: Outside<255>,
            /// Its id.
            jti: Outside<64>,
            /// Its end.
            expires: Moment,
        }
        /// A brokered X.509-SVID was signed for a helper's broker.
        BrokeredX509Issued = "svid.brokered_x509_issued" {
            /// The agent on whose behalf.
            agent: Name,
            /// Its instance.
            instance: Ulid,
            /// The node it was signed for.
            node: SpiffeId,
            /// Its serial, in hexadecimal.
            serial: Outside<64>,
            /// Its end.
            not_after: Moment,
        }
        /// A node's own brokered SVID was signed.
        BrokeredNodeIssued = "svid.brokered_node_issued" {
            /// The node.
            node: SpiffeId,
            /// `jwt` or `x509`.
            kind: Code,
            /// The source's audience, of a JWT-SVID.
            #[serde(skip_serializing_if = "Option::is_none")]
            audience: Option<Outside<255>>,
            /// Its `jti`, or its serial in hexadecimal.
            id: Outside<64>,
            /// Its end.
            expires: Moment,
        }
        /// A brokered SVID that is no agent's was signed, for a node to try a source with.
        ProbeIssued = "svid.probe_issued" {
            /// The name in it, of no agent.
            probe: Name,
            /// The node it was signed for.
            node: SpiffeId,
            /// `jwt` or `x509`.
            kind: Code,
            /// The source's audience, of a JWT-SVID.
            #[serde(skip_serializing_if = "Option::is_none")]
            audience: Option<Outside<255>>,
            /// Its `jti`, or its serial in hexadecimal.
            id: Outside<64>,
            /// Its end.
            expires: Moment,
        }
        /// An instance began that was signed nothing yet.
        InstanceBegan = "instance.began" {
            /// The agent.
            agent: Name,
            /// Its id.
            instance: Ulid,
            /// The node it runs on.
            node: SpiffeId,
        }
        /// An instance ended.
        InstanceEnded = "instance.ended" {
            /// Its id.
            instance: Ulid,
            /// The node it ran on.
            node: SpiffeId,
        }
        /// A node asked for a document and did not get it.
        IssueRefused = "svid.issue_refused" {
            /// The agent asked for.
            agent: Outside<64>,
            /// The node that asked.
            node: SpiffeId,
            /// `x509`, `jwt`, `brokered`, `brokered_x509` or `instance`.
            kind: Code,
            /// Why.
            reason: Code,
        }
        /// A node asked for a JWT-SVID for a reserved audience on a workload's behalf.
        ReservedAudienceRefused = "svid.reserved_audience_refused" {
            /// The agent.
            agent: Name,
            /// The node that asked.
            node: SpiffeId,
            /// For whom.
            audience: Outside<255>,
        }
        /// A call on the admin socket was refused; `inside_session` if a session's process made it.
        AdminRefused = "admin.refused" {
            /// The uid of the process that called.
            uid: u32,
            /// Why.
            reason: Code,
        }
        /// A node announced its spool.
        SpoolOpened = "spool.opened" {
            /// The node.
            node: SpiffeId,
            /// The spool.
            spool: SpoolId,
        }
        /// A spool came to its end with all of its records here.
        SpoolClosed = "spool.closed" {
            /// The node.
            node: SpiffeId,
            /// The spool, and how many records it has.
            end: SpoolEnd,
        }
        /// ALARM: a node sent a record again with other contents.
        SpoolForked = "spool.forked" {
            /// The node.
            node: SpiffeId,
            /// The spool.
            spool: SpoolId,
            /// The record's number.
            seq: Count,
            /// The hash of the record that is in the log.
            held: Digest,
            /// The hash of what was sent.
            shown: Digest,
        }
        /// ALARM: a node left records out, or sent one that does not follow.
        SpoolGap = "spool.gap" {
            /// The node.
            node: SpiffeId,
            /// The spool.
            spool: SpoolId,
            /// The number that has to come next.
            expected: Count,
            /// The number that came.
            shown: Count,
        }
        /// ALARM: a node opened a new spool, and the one before had not come to its end.
        SpoolUnclosed = "spool.unclosed" {
            /// The node.
            node: SpiffeId,
            /// The spool before, and how many of its records are in the log.
            end: SpoolEnd,
            /// The new spool.
            opened: SpoolId,
        }
        /// ALARM: a node sent a record about an agent that it may not run.
        SpoolForeignAgent = "spool.foreign_agent" {
            /// The node.
            node: SpiffeId,
            /// The spool.
            spool: SpoolId,
            /// The record's number.
            seq: Count,
            /// The agent.
            agent: Name,
        }
        /// ALARM: a node sent bytes that are no record.
        SpoolMalformed = "spool.malformed" {
            /// The node.
            node: SpiffeId,
            /// The spool.
            spool: SpoolId,
            /// The number that has to come next.
            expected: Count,
        }
        /// The operator read the whole log.
        Exported = "log.exported" {
            /// By whom.
            operator: Operator,
            /// How many entries there were.
            size: Count,
        }
    }
}

impl IssuerEvent {
    /// The node and spool that an alarm is about: somebody rewrote, withheld or invented records, and `verify` has
    /// to name it and fail.
    pub const fn alarm(&self) -> Option<(&SpiffeId, SpoolId)> {
        match self {
            Self::SpoolForked { node, spool, .. }
            | Self::SpoolGap { node, spool, .. }
            | Self::SpoolUnclosed { node, end: SpoolEnd { spool, .. }, .. }
            | Self::SpoolForeignAgent { node, spool, .. }
            | Self::SpoolMalformed { node, spool, .. } => Some((node, *spool)),
            _ => None,
        }
    }
}
