//! The agents that are registered.

use super::reply;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.agent.list", skip_all)]
pub(super) async fn list_agents(
    app: &App,
    _operator: Operator,
    _request: admin::ListAgentsRequest,
) -> Result<admin::ListAgentsReply, Failure> {
    let agents = app.store.read().await?.agents(None).await?;
    Ok(admin::ListAgentsReply { agents: agents.iter().map(|agent| reply::agent(agent, app.trust_domain())).collect() })
}
