//! May this be signed? Each decision makes a permit, which only this crate can make and which the authorities take
//! as an argument: signing without deciding does not type-check.

mod brokered;

pub use brokered::{
    Bearer, MAX_BROKERED_TTL, PROBE_PREFIX, PROBE_TTL, Probe, brokered, brokered_bearer, brokered_bearer_x509,
    brokered_x509,
};

use crate::agent::{Agent, SubjectNames};
use crate::instance::Instance;
use crate::lock::{self, Lock};
use crate::node::{self, Node};
use crate::refusal::Denial;
use avouch_words::{Millis, SpiffeId, TrustDomain, Ulid};
use std::time::Duration;

/// The rule by which something is signed, for the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A node that was attested.
    NodeJoin,
    /// A node that showed its SVID.
    NodeRenewal,
    /// A registered agent on a node that may run it.
    AgentOnNode,
    /// A live instance's brokered identity, for a source.
    Brokered,
    /// A node's own brokered identity, for a source.
    BrokeredNode,
    /// A brokered identity that nothing is granted to, to try a source with.
    Probe,
    /// The issuer's own TLS identity.
    IssuerItself,
}

impl Rule {
    /// A stable word for records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeJoin => "node_join",
            Self::NodeRenewal => "node_renewal",
            Self::AgentOnNode => "agent_on_node",
            Self::Brokered => "brokered",
            Self::BrokeredNode => "brokered_node",
            Self::Probe => "probe",
            Self::IssuerItself => "issuer_itself",
        }
    }
}

/// Permission to sign one X.509-SVID.
#[derive(Clone, Debug)]
pub struct X509Permit {
    id: SpiffeId,
    names: SubjectNames,
    ttl: Duration,
    rule: Rule,
}

impl X509Permit {
    pub(crate) fn new(id: SpiffeId, ttl: Duration, rule: Rule) -> Self {
        Self { id, names: SubjectNames::default(), ttl, rule }
    }

    /// What it says besides the ID.
    pub fn names(&self) -> &SubjectNames {
        &self.names
    }

    /// Whose it will be.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// How long it may live.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// By which rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }
}

/// Permission to sign one JWT-SVID.
#[derive(Clone, Debug)]
pub struct JwtPermit {
    id: SpiffeId,
    audience: Vec<String>,
    instance: Option<Ulid>,
    ttl: Duration,
    rule: Rule,
}

impl JwtPermit {
    /// Whose it will be.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Whom it is for.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// The instance it is made for; none if it is made for a node.
    pub fn instance(&self) -> Option<Ulid> {
        self.instance
    }

    /// How long it may live.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// By which rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }
}

/// What is known about a node's request when it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The node, from its connection.
    pub node: &'a Node,
    /// The agent it asks for, if one is registered by that name.
    pub agent: Option<&'a Agent>,
    /// The instance's identifier, as the helper made it.
    pub instance: Ulid,
    /// What the store knows of that instance.
    pub known: Option<&'a Instance>,
    /// Locks, at least those that are in force.
    pub locks: &'a [Lock],
    /// The time.
    pub now: Millis,
}

/// May an X.509-SVID be signed for this agent on this node?
pub fn x509(trust_domain: &TrustDomain, asked: &Asked<'_>) -> Result<X509Permit, Denial> {
    let agent = agent_on_node(asked)?;
    let permit = X509Permit::new(agent.id(trust_domain, asked.instance), agent.x509_ttl, Rule::AgentOnNode);
    Ok(X509Permit { names: agent.names.clone(), ..permit })
}

/// May a JWT-SVID be signed for this agent on this node? A list that holds one reserved audience is refused whole
/// (rules S13, WAJ-07), but for a source's that an operator `opened` to this very agent: its subject is not the one that
/// opens the source (invariant 10). Where a vendor is opened to it, its ID is one that every vendor takes whole.
pub fn jwt(
    trust_domain: &TrustDomain,
    asked: &Asked<'_>,
    audience: &[String],
    reserved: &ReservedAudiences,
    opened: &[&str],
) -> Result<JwtPermit, Denial> {
    let agent = agent_on_node(asked)?;
    check_audience(audience)?;
    let is_open = |value: &String| reserved.is_a_source(value) && opened.contains(&value.as_str());
    if audience.iter().any(|value| reserved.contains(value) && !is_open(value)) {
        return Err(Denial::AudienceReserved);
    }
    Ok(JwtPermit {
        id: agent.id(trust_domain, asked.instance),
        audience: audience.to_vec(),
        instance: Some(asked.instance),
        ttl: agent.jwt_ttl,
        rule: Rule::AgentOnNode,
    })
}

/// May an instance of this agent live on this node? By the rule by which it would be signed a document.
pub fn instance(asked: &Asked<'_>) -> Result<(), Denial> {
    agent_on_node(asked).map(|_| ())
}

/// The issuer's own TLS identity.
pub fn issuer_itself(trust_domain: &TrustDomain, ttl: Duration) -> X509Permit {
    X509Permit::new(trust_domain.issuer(), ttl, Rule::IssuerItself)
}

/// What every request of a node for an agent has to pass.
fn agent_on_node<'a>(asked: &Asked<'a>) -> Result<&'a Agent, Denial> {
    node::admit(asked.node)?;
    let agent = asked.agent.ok_or(Denial::AgentUnknown)?;
    if !node::matches(asked.node, &agent.nodes) {
        return Err(Denial::NodeNotAllowed);
    }
    if let Some(lock) = lock::on_agent(asked.locks, &agent.name, asked.now) {
        return Err(Denial::Locked(lock.id));
    }
    if let Some(known) = asked.known {
        if known.id != asked.instance || known.agent != agent.name || known.node != asked.node.name {
            return Err(Denial::InstanceElsewhere);
        }
        if known.ended.is_some() {
            return Err(Denial::InstanceNotLive);
        }
    }
    Ok(agent)
}

fn check_audience(audience: &[String]) -> Result<(), Denial> {
    let fits =
        |value: &String| !value.is_empty() && value.len() <= MAX_AUDIENCE && !value.chars().any(char::is_control);
    if audience.is_empty() || audience.len() > MAX_AUDIENCES || !audience.iter().all(fits) {
        return Err(Denial::AudienceInvalid);
    }
    Ok(())
}

/// Audiences that no workload may ask a token for: the issuer's own, and those of sources (invariant 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedAudiences {
    own: Vec<String>,
    sources: Vec<String>,
}

impl ReservedAudiences {
    /// The issuer's own audiences and those of the configured sources.
    pub fn new(trust_domain: &TrustDomain, sources: impl IntoIterator<Item = String>) -> Self {
        let own = vec![trust_domain.issuer().to_string(), trust_domain.id().to_string(), OWN_AUDIENCE.to_owned()];
        let mut sources: Vec<String> = sources.into_iter().filter(|source| !own.contains(source)).collect();
        sources.sort();
        sources.dedup();
        Self { own, sources }
    }

    /// Whether no workload may ask for it; compared as exact bytes.
    pub fn contains(&self, audience: &str) -> bool {
        self.iter().any(|reserved| reserved == audience)
    }

    /// Whether it is a source's, so that the broker may ask for it.
    pub fn is_a_source(&self, audience: &str) -> bool {
        self.sources.iter().any(|source| source == audience)
    }

    /// All of them, for the helpers.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.own.iter().chain(&self.sources).map(String::as_str)
    }
}

/// The audience that means avouch itself, in any trust domain.
pub const OWN_AUDIENCE: &str = "avouch";
/// The most audiences of one token.
pub const MAX_AUDIENCES: usize = 16;
/// The longest audience, in bytes.
pub const MAX_AUDIENCE: usize = 512;

#[cfg(test)]
mod tests;
