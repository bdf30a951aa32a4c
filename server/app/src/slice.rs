//! A node's part of the state as the wire says it.

use crate::app::App;
use crate::state::State;
use avouch_core::{LockTarget, Node, OpenTarget};
use avouch_wire::issuer;
use avouch_words::{JwtAuthority, X509Authority};

/// Everything that this node may know.
pub(crate) fn of(app: &App, state: &State, node: &Node) -> issuer::State {
    let now = app.now();
    let slice = state.world.slice(node, now);
    // A lock whose time is over is in no slice, and a helper must not miss it without being told that it ended.
    let over = state.locks().iter().filter(|lock| lock.ran_out(now)).map(|lock| lock.id);
    let bundle = state.signers.bundle();
    issuer::State {
        version: state.version,
        epoch: state.epoch.to_vec(),
        trust_domain: app.trust_domain().to_string(),
        database_time_ms: state.read_at.0,
        x509_authorities: x509_authorities(&bundle.x509),
        jwt_authorities: bundle.jwt.iter().map(jwt_authority).collect(),
        agents: slice.agents.iter().map(|agent| self::agent(agent)).collect(),
        credentials: slice
            .credentials
            .iter()
            .map(|credential| issuer::Credential {
                name: credential.name.to_string(),
                source: credential.source.to_string(),
                binding: credential.binding.canonical_json().to_vec(),
                reference: credential.reference.to_string(),
            })
            .collect(),
        grants: slice
            .grants
            .iter()
            .map(|grant| issuer::Grant {
                id: grant.id.to_string(),
                agent: grant.agent.to_string(),
                credential: grant.credential.to_string(),
            })
            .collect(),
        locks: slice.locks.iter().map(|lock| self::lock(lock)).collect(),
        ended_locks: state.ended_locks.iter().copied().chain(over).map(|id| id.to_string()).collect(),
        bound_origins: slice.bound_origins,
        reserved_audiences: app.reserved.iter().map(str::to_owned).collect(),
        targets: slice.targets.iter().map(|open| target(open)).collect(),
        banned: node.banned.is_some(),
        staleness_bound_ms: u32::try_from(app.config.staleness_bound.as_millis()).unwrap_or(u32::MAX),
    }
}

/// DER of each.
pub(crate) fn x509_authorities(authorities: &[X509Authority]) -> Vec<Vec<u8>> {
    authorities.iter().map(|authority| authority.0.to_vec()).collect()
}

fn jwt_authority(authority: &JwtAuthority) -> issuer::JwtAuthority {
    issuer::JwtAuthority { kid: authority.kid.clone(), public_key: authority.public_key.clone() }
}

fn agent(agent: &avouch_core::Agent) -> issuer::Agent {
    let seconds = |ttl: std::time::Duration| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    issuer::Agent {
        name: agent.name.to_string(),
        owner: agent.owner.clone(),
        selectors: agent.selectors.iter().map(ToString::to_string).collect(),
        x509_ttl_seconds: seconds(agent.x509_ttl),
        jwt_ttl_seconds: seconds(agent.jwt_ttl),
        id_path: agent.id_path.to_string(),
        hint: agent.hint.clone(),
    }
}

fn target(open: &OpenTarget) -> issuer::Target {
    issuer::Target {
        agent: open.agent.to_string(),
        vendor: open.target.vendor().as_str().to_owned(),
        audience: open.target.audience().to_owned(),
        settings: open.target.settings().clone().into_iter().collect(),
    }
}

fn lock(lock: &avouch_core::Lock) -> issuer::Lock {
    let LockTarget::Agent(agent) = &lock.target;
    issuer::Lock {
        id: lock.id.to_string(),
        target: Some(issuer::LockTarget { kind: Some(issuer::lock_target::Kind::Agent(agent.to_string())) }),
        reason: lock.reason.clone(),
        expires_ms: lock.expires.map_or(0, |at| at.0),
    }
}
