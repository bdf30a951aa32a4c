//! An instance of an agent has begun: it lives from now on, whether or not it ever asks for a document of its own.

use super::order::{Ground, Latest, Order};
use super::sign_jwt::refused;
use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use avouch_audit::record::IssuerEvent;
use avouch_core::issue;
use avouch_wire::issuer;

#[tracing::instrument(name = "issuer.instance.begin", skip_all, fields(node = %caller.node.name))]
pub(super) async fn begin_instance(
    app: &App,
    caller: NodeCaller,
    request: issuer::BeginInstanceRequest,
) -> Result<issuer::BeginInstanceReply, Failure> {
    let order = Order::parse(&request.agent, &request.instance)?;
    match begin(app, &caller, &order).await {
        Ok(()) => Ok(issuer::BeginInstanceReply {}),
        Err(failure) => Err(refused(app, &caller, order.agent.as_str(), "instance", failure).await),
    }
}

/// By the rule by which it would be signed a document.
async fn begin(app: &App, caller: &NodeCaller, order: &Order) -> Result<(), Failure> {
    let now = app.now();
    let state = app.state();
    let known = app.store.read().await?.instances(&[order.instance]).await?;
    let ground = Ground { node: &caller.node, state: &state, agents: None, known: &known, locks: state.locks(), now };
    issue::instance(&ground.asked(order))?;
    if !known.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    let latest = Latest::read(&mut tx, &state, &caller.node.name, &[order]).await?;
    issue::instance(&latest.ground(&state, now).asked(order))?;
    tx.put_instances(&[order.live(&caller.node, now)]).await?;
    let event = IssuerEvent::InstanceBegan {
        agent: order.agent.clone(),
        instance: order.instance,
        node: caller.node.id.clone(),
    };
    app.record(&mut tx, event).await?;
    Ok(app.commit(tx).await?)
}
