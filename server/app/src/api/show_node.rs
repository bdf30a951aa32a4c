//! One node, with the instances that live there.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_core::refusal::Invalid;
use avouch_core::{Node, Refusal, node};
use avouch_store::{Read, StoreError};
use avouch_wire::admin;
use avouch_words::{Millis, Name};

#[tracing::instrument(name = "admin.node.show", skip_all)]
pub(super) async fn show_node(
    app: &App,
    _operator: Operator,
    request: admin::ShowNodeRequest,
) -> Result<admin::NodeDetails, Failure> {
    let mut read = app.store.read().await?;
    let node = named(&mut read, &request.node).await?;
    let instances = instances(&mut read, &node.name, app.now()).await?;
    let may_run = |agent: &&avouch_core::Agent| node::admit(&node).is_ok() && node::matches(&node, &agent.nodes);
    let state = app.state();
    Ok(admin::NodeDetails {
        name: node.name.to_string(),
        attestor: node.attestor.to_string(),
        serial: node.serial.to_string(),
        instances,
        agents: state.world.agents.iter().filter(may_run).map(|agent| agent.name.to_string()).collect(),
        node: Some(said(app, &node)),
    })
}

/// The node of this name.
pub(super) async fn named(read: &mut Read, name: &str) -> Result<Node, Failure> {
    let parsed = Name::parse(name).map_err(|fault| Invalid::new("node", fault))?;
    let found = read.node(&parsed).await?;
    found.ok_or_else(|| Refusal::NotFound { kind: "node", name: name.to_owned() }.into())
}

/// A node as messages say it.
pub(super) fn said(app: &App, node: &Node) -> admin::Node {
    let seen = app.connected.of(&node.id);
    admin::Node {
        id: node.id.to_string(),
        selectors: node.selectors.iter().map(ToString::to_string).collect(),
        joined_ms: node.joined.0,
        svid_expires_ms: node.svid_expires.0,
        connected: seen.streams > 0,
        applied_version: seen.applied,
        banned_ms: super::reply::moment(node.banned),
    }
}

/// The instances that live on a node, and until when their SVIDs are accepted by those who ask no one; also those that
/// have ended and whose SVIDs still are.
pub(super) async fn instances(
    read: &mut Read,
    node: &Name,
    now: Millis,
) -> Result<Vec<admin::NodeInstance>, StoreError> {
    let mut valid = read.svids_valid_on(node, now).await?;
    let mut told: Vec<_> = read
        .live_instances_on(node)
        .await?
        .into_iter()
        .map(|instance| admin::NodeInstance {
            id: instance.id.to_string(),
            agent: instance.agent.to_string(),
            started_ms: instance.started.0,
            svids_valid_until_ms: valid.remove(&instance.id).map_or(0, |(_, until)| until.0),
        })
        .collect();
    told.extend(valid.into_iter().map(|(instance, (agent, until))| admin::NodeInstance {
        id: instance.to_string(),
        agent: agent.to_string(),
        started_ms: instance.moment().0,
        svids_valid_until_ms: until.0,
    }));
    Ok(told)
}
