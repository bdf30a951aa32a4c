//! Values of the core as messages say them.

use crate::app::App;
use avouch_core::{Agent, Credential, Grant, Lock, LockTarget, OpenTarget};
use avouch_wire::admin;
use avouch_words::{Millis, TrustDomain};
use std::time::Duration;

pub(super) fn agent(agent: &Agent, trust_domain: &TrustDomain) -> admin::Agent {
    admin::Agent {
        name: agent.name.to_string(),
        spiffe_id: agent.id_path.shown(trust_domain, &agent.name),
        owner: agent.owner.clone(),
        nodes: agent.nodes.iter().map(ToString::to_string).collect(),
        selectors: agent.selectors.iter().map(ToString::to_string).collect(),
        x509_ttl_seconds: seconds(agent.x509_ttl),
        jwt_ttl_seconds: seconds(agent.jwt_ttl),
        created_ms: agent.created.0,
        id_path: agent.id_path.to_string(),
        hint: agent.hint.clone(),
        common_name: agent.names.common.clone(),
        dns_names: agent.names.dns.clone(),
    }
}

pub(super) fn credential(credential: &Credential) -> admin::Credential {
    admin::Credential {
        name: credential.name.to_string(),
        source: credential.source.to_string(),
        binding: credential.binding.canonical_json().to_vec(),
        created_ms: credential.created.0,
        reference: credential.reference.to_string(),
    }
}

pub(super) fn grant(grant: &Grant) -> admin::Grant {
    admin::Grant {
        id: grant.id.to_string(),
        agent: grant.agent.to_string(),
        credential: grant.credential.to_string(),
        created_ms: grant.created.0,
    }
}

pub(super) fn lock(lock: &Lock) -> admin::Lock {
    let LockTarget::Agent(agent) = &lock.target;
    admin::Lock {
        id: lock.id.to_string(),
        agent: agent.to_string(),
        reason: lock.reason.clone(),
        author: lock.author.clone(),
        created_ms: lock.created.0,
        expires_ms: moment(lock.expires),
        ended_ms: moment(lock.ended),
    }
}

/// 0 stands for none.
pub(super) fn moment(moment: Option<Millis>) -> i64 {
    moment.map_or(0, |at| at.0)
}

pub(super) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

pub(super) fn target(app: &App, open: &OpenTarget) -> admin::Target {
    let audience = open.target.audience();
    admin::Target {
        agent: open.agent.to_string(),
        vendor: open.target.vendor().as_str().to_owned(),
        audience: audience.to_owned(),
        settings: open.target.settings().clone().into_iter().collect(),
        subject: app.trust_domain().agent(&open.agent).to_string(),
        algorithm: if app.tokens.is_rs256(audience) { "RS256" } else { "ES256" }.to_owned(),
        created_ms: open.created.0,
    }
}
