//! An agent is registered.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::record::IssuerEvent;
use avouch_core::Registration;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.agent.create", skip_all, fields(operator = %operator.name()))]
pub(super) async fn create_agent(
    app: &App,
    operator: Operator,
    request: admin::CreateAgentRequest,
) -> Result<admin::Agent, Failure> {
    let settings = app.config.svid;
    let or = |asked: u32, default| if asked == 0 { reply::seconds(default) } else { asked };
    let registration = Registration {
        name: request.name,
        owner: request.owner,
        nodes: request.nodes,
        selectors: request.selectors,
        x509_ttl_seconds: or(request.x509_ttl_seconds, settings.x509_ttl),
        jwt_ttl_seconds: or(request.jwt_ttl_seconds, settings.jwt_ttl),
    };
    let agent = registration.check(app.now())?;
    let mut change = app.change().await?;
    change.create_agent(&agent).await.map_err(Failure::named(agent.name.as_str()))?;
    let owner = change.commit_to(&agent.owner).await?;
    let event = IssuerEvent::AgentRegistered {
        operator: operator.record(),
        agent: agent.name.clone(),
        owner,
        nodes: agent.nodes.clone(),
        selectors: agent.selectors.clone(),
    };
    change.record(event).await?;
    change.commit_and_settle().await?;
    Ok(reply::agent(&agent, app.trust_domain()))
}
