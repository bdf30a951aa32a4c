//! A node is banned: from now on it gets nothing, and what it has is withdrawn there. The answer waits a moment for the
//! node's own word that it did so.

use super::show_node;
use crate::app::{App, Committed};
use crate::caller::Operator;
use crate::error::Failure;
use avouch_audit::field::Count;
use avouch_audit::record::IssuerEvent;
use avouch_core::Node;
use avouch_core::refusal::Invalid;
use avouch_wire::admin;
use std::time::Duration;

#[tracing::instrument(name = "admin.node.ban", skip_all, fields(operator = %operator.name()))]
pub(super) async fn ban_node(
    app: &App,
    operator: Operator,
    request: admin::BanNodeRequest,
) -> Result<admin::NodeWithdrawn, Failure> {
    check_reason(&request.reason)?;
    let now = app.now();
    let mut change = app.change().await?;
    let node = show_node::named(&mut change, &request.node).await?;
    if node.banned.is_some() {
        return Err(Invalid::new("node", "it is banned already").into());
    }
    let instances = show_node::instances(&mut change, &node.name, now).await?;
    change.ban_node(&node.name, now).await?;
    let ended = change.end_instances_of(&node.name, now).await?;
    let version = Count(change.new_version().await?);
    let reason = change.commit_to(&request.reason).await?;
    let (operator, id) = (operator.record(), node.id.clone());
    change.record(IssuerEvent::NodeBanned { operator, node: id, reason, version, instances: Count(ended) }).await?;
    let committed = change.commit().await?;
    Ok(withdrawn(app, &node, committed, instances).await)
}

/// Whoever withdraws says why.
pub(super) fn check_reason(reason: &str) -> Result<(), Invalid> {
    if reason.trim().is_empty() || reason.len() > avouch_core::lock::MAX_REASON || reason.chars().any(char::is_control)
    {
        let most = avouch_core::lock::MAX_REASON;
        return Err(Invalid::new("reason", format!("say why, in at most {most} bytes on one line")));
    }
    Ok(())
}

/// Waits for the node's word that the version is in force there.
pub(super) async fn withdrawn(
    app: &App,
    node: &Node,
    committed: Committed,
    instances: Vec<admin::NodeInstance>,
) -> admin::NodeWithdrawn {
    let mut changes = app.connected.watch();
    let applied = async {
        loop {
            changes.borrow_and_update();
            let seen = app.connected.of(&node.id);
            if seen.applied >= committed.version {
                return Some(seen.applied_at.saturating_sub(committed.at));
            }
            if seen.streams == 0 || changes.changed().await.is_err() {
                return None;
            }
        }
    };
    let applied = tokio::time::timeout(PATIENCE, applied).await.ok().flatten();
    let heard = app.connected.of(&node.id).heard.filter(|_| applied.is_none());
    let closes = heard.map(|heard| heard.plus(app.config.staleness_bound)).filter(|closes| *closes > app.now());
    admin::NodeWithdrawn {
        node_id: node.id.to_string(),
        version: committed.version,
        instances,
        applied: applied.is_some(),
        after_us: applied.map_or(0, |after| u64::try_from(after.as_micros()).unwrap_or(u64::MAX)),
        fails_closed_ms: super::reply::moment(closes),
    }
}

/// How long the node is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
