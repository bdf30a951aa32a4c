//! The nodes that joined, and how far each is.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use avouch_wire::admin;

#[tracing::instrument(name = "admin.node.list", skip_all)]
pub(super) async fn list_nodes(
    app: &App,
    _operator: Operator,
    _request: admin::ListNodesRequest,
) -> Result<admin::ListNodesReply, Failure> {
    let nodes = app.store.read().await?.nodes(None).await?;
    let said = |node: &avouch_core::Node| {
        let seen = app.connected.of(&node.id);
        admin::Node {
            id: node.id.to_string(),
            selectors: node.selectors.iter().map(ToString::to_string).collect(),
            joined_ms: node.joined.0,
            svid_expires_ms: node.svid_expires.0,
            connected: seen.streams > 0,
            applied_version: seen.applied,
        }
    };
    Ok(admin::ListNodesReply { nodes: nodes.iter().map(said).collect() })
}
