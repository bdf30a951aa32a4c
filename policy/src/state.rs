//! What a decision reads: one version of the issuer's state, whole.

use crate::binding::Binding;
use crate::origin::{Host, Origin};
use avouch_words::{Millis, Name, Reference, Ulid};
use std::collections::{BTreeMap, BTreeSet};

/// Where an agent is in its life (DESIGN §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// Known, not yet allowed to act.
    Registered,
    /// May act.
    Active,
    /// Stopped for a time.
    Suspended,
    /// Stopped until looked into.
    Quarantined,
    /// Ended.
    Retired,
}

/// A registered agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its name.
    pub name: Name,
    /// Only an active agent is permitted anything.
    pub state: AgentState,
}

/// An enabled credential: never its value.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its name.
    pub name: Name,
    /// The source that holds the value.
    pub source: Name,
    /// Where in the source it lies.
    pub reference: Reference,
    /// Where it may go.
    pub binding: Binding,
}

/// An agent may use a credential.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The grant's id, which the permit and the record carry as the rule.
    pub id: Ulid,
    /// Who.
    pub agent: Name,
    /// What.
    pub credential: Name,
}

/// What a lock stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockTarget {
    /// One agent.
    Agent(Name),
    /// Every agent. A target that the reader does not know, or cannot read, is this one: unknown means no.
    Everything,
}

/// A denial that is stronger than every grant.
#[derive(Clone, Debug)]
pub struct Lock {
    /// The lock's id.
    pub id: Ulid,
    /// What it stops.
    pub target: LockTarget,
    /// From this moment on it stops nothing; none if it lasts until released.
    pub expires: Option<Millis>,
}

impl Lock {
    /// Whether it stops this agent now.
    pub fn stops(&self, agent: &Name, now: Millis) -> bool {
        let in_force = self.expires.is_none_or(|expires| now < expires);
        in_force
            && match &self.target {
                LockTarget::Agent(name) => name == agent,
                LockTarget::Everything => true,
            }
    }
}

/// The parts of a [`PolicyState`].
#[derive(Clone, Debug, Default)]
pub struct StateParts {
    /// Counts up with every change.
    pub version: u64,
    /// Random, made with the database: versions of two epochs do not compare.
    pub epoch: Vec<u8>,
    /// Agents of this node.
    pub agents: Vec<Agent>,
    /// Credentials granted to agents of this node.
    pub credentials: Vec<Credential>,
    /// Grants of agents of this node.
    pub grants: Vec<Grant>,
    /// Locks in force, or running out.
    pub locks: Vec<Lock>,
    /// Origins that any enabled credential of the trust domain binds, whoever holds the grant.
    pub bound_origins: Vec<Origin>,
    /// Audiences of sources and of the issuer.
    pub reserved_audiences: Vec<String>,
}

/// One version of the state, sliced for the question it is asked: what may this agent do.
#[derive(Clone, Debug, Default)]
pub struct PolicyState {
    version: u64,
    epoch: Vec<u8>,
    agents: BTreeMap<Name, AgentState>,
    credentials: BTreeMap<Name, Credential>,
    grants: BTreeMap<Name, Vec<Grant>>,
    locks: Vec<Lock>,
    bound: BTreeSet<(Host, u16)>,
    reserved_audiences: BTreeSet<String>,
}

impl PolicyState {
    /// Takes the parts over. A credential's own origin is bound even where `bound_origins` forgot it.
    pub fn new(parts: StateParts) -> Self {
        let mut grants: BTreeMap<Name, Vec<Grant>> = BTreeMap::new();
        for grant in parts.grants {
            grants.entry(grant.agent.clone()).or_default().push(grant);
        }
        for slice in grants.values_mut() {
            slice.sort_by_key(|grant| grant.id);
        }
        let mut locks = parts.locks;
        locks.sort_by_key(|lock| lock.id);
        let own = parts.credentials.iter().map(|credential| credential.binding.origin());
        let bound = own.chain(&parts.bound_origins).map(|origin| (origin.host().clone(), origin.port())).collect();
        Self {
            version: parts.version,
            epoch: parts.epoch,
            agents: parts.agents.into_iter().map(|agent| (agent.name, agent.state)).collect(),
            credentials: parts
                .credentials
                .into_iter()
                .map(|credential| (credential.name.clone(), credential))
                .collect(),
            grants,
            locks,
            bound,
            reserved_audiences: parts.reserved_audiences.into_iter().collect(),
        }
    }

    /// The version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The epoch that the version counts in.
    pub fn epoch(&self) -> &[u8] {
        &self.epoch
    }

    /// Where the agent is in its life; none if this node does not know it.
    pub fn agent(&self, name: &Name) -> Option<AgentState> {
        self.agents.get(name).copied()
    }

    /// A credential by name.
    pub fn credential(&self, name: &Name) -> Option<&Credential> {
        self.credentials.get(name)
    }

    /// All credentials, by name.
    pub fn credentials(&self) -> impl Iterator<Item = &Credential> {
        self.credentials.values()
    }

    /// The grants of one agent, by id.
    pub fn grants(&self, agent: &Name) -> &[Grant] {
        self.grants.get(agent).map_or(&[], Vec::as_slice)
    }

    /// All locks held, in force or not.
    pub fn locks(&self) -> &[Lock] {
        &self.locks
    }

    /// The lock that stops this agent now, if one does.
    pub fn lock_on(&self, agent: &Name, now: Millis) -> Option<&Lock> {
        self.locks.iter().find(|lock| lock.stops(agent, now))
    }

    /// Whether any enabled credential of the trust domain binds this host and port, on either scheme: such a target
    /// is intercepted and decided on, and never tunnelled.
    pub fn is_bound(&self, origin: &Origin) -> bool {
        self.bound.contains(&(origin.host().clone(), origin.port()))
    }

    /// Whether no workload may ask for a JWT-SVID with this audience.
    pub fn is_reserved_audience(&self, audience: &str) -> bool {
        self.reserved_audiences.contains(audience)
    }
}
