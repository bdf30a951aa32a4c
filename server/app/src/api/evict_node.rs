//! A node's identity is forgotten: its SVID speaks for nobody any more, and it may join anew. That ends a ban, too.

use super::ban_node::{check_reason, withdrawn};
use super::show_node;
use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::field::Count;
use avouch_audit::record::IssuerEvent;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.node.evict", skip_all, fields(operator = %operator.name()))]
pub(super) async fn evict_node(
    app: &App,
    operator: Operator,
    request: admin::EvictNodeRequest,
) -> Result<admin::NodeWithdrawn, Failure> {
    check_reason(&request.reason)?;
    let now = app.now();
    let mut change = app.change().await?;
    let node = show_node::named(&mut change, &request.node).await?;
    let instances = show_node::instances(&mut change, &node.name, now).await?;
    change.evict_node(&node.name, now).await?;
    let ended = change.end_instances_of(&node.name, now).await?;
    let reason = change.commit_to(&request.reason).await?;
    let event = IssuerEvent::NodeEvicted {
        operator: operator.record(),
        node: node.id.clone(),
        reason,
        instances: Count(ended),
    };
    change.record(event).await?;
    let committed = change.commit().await?;
    Ok(withdrawn(app, &node, committed, instances).await)
}
