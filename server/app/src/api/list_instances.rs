//! The instances of agents that live, on all nodes.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_wire::admin;
use avouch_words::{Name, SpiffeId};
use std::collections::BTreeMap;

#[tracing::instrument(name = "admin.instance.list", skip_all)]
pub(super) async fn list_instances(
    app: &App,
    _operator: Operator,
    _request: admin::ListInstancesRequest,
) -> Result<admin::ListInstancesReply, Failure> {
    let mut read = app.store.read().await?;
    let nodes: BTreeMap<Name, SpiffeId> =
        read.nodes(None).await?.into_iter().map(|node| (node.name, node.id)).collect();
    let told = |instance: avouch_core::Instance| admin::Instance {
        id: instance.id.to_string(),
        agent: instance.agent.to_string(),
        node_id: nodes.get(&instance.node).map(ToString::to_string).unwrap_or_default(),
        started_ms: instance.started.0,
    };
    Ok(admin::ListInstancesReply { instances: read.live_instances().await?.into_iter().map(told).collect() })
}
