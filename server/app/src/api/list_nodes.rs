//! The nodes that joined, and how far each is.

use super::show_node;
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
    Ok(admin::ListNodesReply { nodes: nodes.iter().map(|node| show_node::said(app, node)).collect() })
}
