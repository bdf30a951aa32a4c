//! An agent is registered.

use super::reply;
use crate::app::{App, Change};
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::field::Outside;
use avouch_audit::record::IssuerEvent;
use avouch_core::{Agent, Registration};
use avouch_wire::admin;
use avouch_words::IdPath;

#[tracing::instrument(name = "admin.agent.create", skip_all, fields(operator = %operator.name()))]
pub(super) async fn create_agent(
    app: &App,
    operator: Operator,
    request: admin::CreateAgentRequest,
) -> Result<admin::Agent, Failure> {
    let agent = registration(app, request).check(app.now())?;
    let mut change = app.change().await?;
    create(&mut change, &operator, &agent).await?;
    change.commit_and_settle().await?;
    Ok(reply::agent(&agent, app.trust_domain()))
}

/// What an operator wrote, with the defaults of the settings.
pub(super) fn registration(app: &App, request: admin::CreateAgentRequest) -> Registration {
    let settings = app.config.svid;
    let or = |asked: u32, default| if asked == 0 { reply::seconds(default) } else { asked };
    Registration {
        name: request.name,
        owner: request.owner,
        nodes: request.nodes,
        selectors: request.selectors,
        x509_ttl_seconds: or(request.x509_ttl_seconds, settings.x509_ttl),
        jwt_ttl_seconds: or(request.jwt_ttl_seconds, settings.jwt_ttl),
        id_path: request.id_path,
        hint: request.hint,
        common_name: request.common_name,
        dns_names: request.dns_names,
    }
}

/// Registers it, on the record.
pub(super) async fn create(change: &mut Change<'_>, operator: &Operator, agent: &Agent) -> Result<(), Failure> {
    change.create_agent(agent).await.map_err(Failure::named(agent.name.as_str()))?;
    let owner = change.commit_to(&agent.owner).await?;
    let event = IssuerEvent::AgentRegistered {
        operator: operator.record(),
        agent: agent.name.clone(),
        owner,
        nodes: agent.nodes.clone(),
        selectors: agent.selectors.clone(),
        id_path: (agent.id_path != IdPath::default()).then(|| Outside::of(agent.id_path.as_str())),
    };
    Ok(change.record(event).await?)
}

/// Replaces the registration of one that is there, on the record.
pub(super) async fn update(change: &mut Change<'_>, operator: &Operator, agent: &Agent) -> Result<(), Failure> {
    change.update_agent(agent).await.map_err(Failure::named(agent.name.as_str()))?;
    let owner = change.commit_to(&agent.owner).await?;
    let event = IssuerEvent::AgentUpdated {
        operator: operator.record(),
        agent: agent.name.clone(),
        owner,
        nodes: agent.nodes.clone(),
        selectors: agent.selectors.clone(),
        id_path: Outside::of(agent.id_path.as_str()),
    };
    Ok(change.record(event).await?)
}
