//! `node list`.

use super::Context;
use crate::args::NodeVerb;
use crate::failure::Failure;
use crate::output::{Cell, Table, next, talk};
use crate::replies;
use avouch_wire::admin::{ListNodesRequest, Node};
use avouch_words::Millis;

/// Lists the nodes.
pub async fn run(context: &Context, verb: NodeVerb) -> Result<(), Failure> {
    let NodeVerb::List = verb;
    let nodes = all(context).await?;
    let mut table = Table::new(&["id", "connected", "joined", "svid expires", "version", "selectors"]);
    let now = context.output.now();
    for node in &nodes {
        table.row(vec![
            Cell::text(&node.id),
            Cell::flag(node.connected),
            Cell::moment(Millis(node.joined_ms), now),
            Cell::moment(Millis(node.svid_expires_ms), now),
            Cell::number(node.applied_version),
            Cell::list(&node.selectors),
        ]);
    }
    context.output.list(&table)?;
    if nodes.is_empty() {
        talk("No node has enrolled yet.");
        next("avouch token create --node NAME --out join.token");
    }
    Ok(())
}

/// All nodes the issuer knows.
pub async fn all(context: &Context) -> Result<Vec<Node>, Failure> {
    let reply = context.admin().await?.list_nodes(ListNodesRequest {}).await;
    Ok(reply.map_err(|status| replies::failure(&status))?.into_inner().nodes)
}

/// The selector that names this node alone.
pub fn own_selector(node: &Node) -> Option<&String> {
    node.selectors.iter().find(|selector| selector.starts_with("node:name:"))
}
