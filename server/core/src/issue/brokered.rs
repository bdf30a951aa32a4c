//! May a brokered identity be signed? It is what a helper's broker shows to a source, and nobody as a peer.

use super::{Asked, JwtPermit, ReservedAudiences, Rule, X509Permit, agent_on_node};
use crate::agent::Agent;
use crate::authority::AuthorityError;
use crate::node::{self, Node};
use crate::refusal::Denial;
use avouch_words::{Name, TrustDomain};
use ring::rand::SecureRandom;
use std::time::Duration;

/// Who of a node enters a source when it is no agent's instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// The node itself, to give back what is owed.
    Node,
    /// An agent that is none, to see whether a source lets in whoever has an identity.
    Probe(Probe),
}

/// The name of an agent that is none. Only this makes one, and none can be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe(Name);

impl Probe {
    /// One that nobody ever had.
    pub fn new(rng: &dyn SecureRandom) -> Result<Self, AuthorityError> {
        let mut random = [0; PROBE_RANDOM];
        rng.fill(&mut random).map_err(|_| AuthorityError::Random)?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Name::parse(&format!("{PROBE_PREFIX}{random}")).map(Self).map_err(|_| AuthorityError::Build)
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.0
    }
}

/// May a brokered JWT-SVID be signed? Only for an instance that already lives on this node, and for exactly one
/// source's audience (DESIGN §6).
pub fn brokered(
    trust_domain: &TrustDomain,
    asked: &Asked<'_>,
    audience: &str,
    reserved: &ReservedAudiences,
) -> Result<JwtPermit, Denial> {
    let agent = live_agent_on_node(asked)?;
    Ok(JwtPermit {
        id: trust_domain.brokered_agent(&agent.name),
        audience: vec![of_a_source(audience, reserved)?],
        instance: Some(asked.instance),
        ttl: agent.jwt_ttl.min(MAX_BROKERED_TTL),
        rule: Rule::Brokered,
    })
}

/// May a brokered X.509-SVID be signed? By the same rules, but that it is for no one source.
pub fn brokered_x509(trust_domain: &TrustDomain, asked: &Asked<'_>) -> Result<X509Permit, Denial> {
    let agent = live_agent_on_node(asked)?;
    let ttl = agent.x509_ttl.min(MAX_BROKERED_TTL);
    Ok(X509Permit::new(trust_domain.brokered_agent(&agent.name), ttl, Rule::Brokered))
}

/// May a brokered JWT-SVID be signed that is no agent's? For a node that is admitted, and one source's audience.
pub fn brokered_bearer(
    trust_domain: &TrustDomain,
    node: &Node,
    bearer: &Bearer,
    audience: &str,
    reserved: &ReservedAudiences,
) -> Result<JwtPermit, Denial> {
    let X509Permit { id, ttl, rule, .. } = brokered_bearer_x509(trust_domain, node, bearer)?;
    Ok(JwtPermit { id, audience: vec![of_a_source(audience, reserved)?], instance: None, ttl, rule })
}

/// May a brokered X.509-SVID be signed that is no agent's? For a node that is admitted.
pub fn brokered_bearer_x509(trust_domain: &TrustDomain, node: &Node, bearer: &Bearer) -> Result<X509Permit, Denial> {
    node::admit(node)?;
    Ok(match bearer {
        Bearer::Node => X509Permit::new(trust_domain.brokered_node(&node.name), MAX_BROKERED_TTL, Rule::BrokeredNode),
        Bearer::Probe(probe) => X509Permit::new(trust_domain.brokered_agent(&probe.0), PROBE_TTL, Rule::Probe),
    })
}

fn of_a_source(audience: &str, reserved: &ReservedAudiences) -> Result<String, Denial> {
    if reserved.is_a_source(audience) { Ok(audience.to_owned()) } else { Err(Denial::AudienceNotASource) }
}

fn live_agent_on_node<'a>(asked: &Asked<'a>) -> Result<&'a Agent, Denial> {
    let agent = agent_on_node(asked)?;
    if asked.known.is_none() { Err(Denial::InstanceNotLive) } else { Ok(agent) }
}

/// The longest life of a brokered SVID.
pub const MAX_BROKERED_TTL: Duration = Duration::from_secs(5 * 60);
/// How long what a source is tried with lives.
pub const PROBE_TTL: Duration = Duration::from_secs(60);
/// How the names begin that no agent can be registered by, as sources are tried with them.
pub const PROBE_PREFIX: &str = "avouch-probe-";
const PROBE_RANDOM: usize = 16;
