//! `node list|show|ban|evict|token`.

use super::{Context, token, withdraw};
use crate::args::{NodeVerb, Withdrawal};
use crate::failure::Failure;
use crate::output::{Cell, Table, next, relative, rfc3339, talk};
use crate::progress::{self, SETTLING};
use crate::replies;
use avouch_wire::admin::{
    BanNodeRequest, EvictNodeRequest, ListNodesRequest, Node, NodeDetails, NodeInstance, NodeWithdrawn, ShowNodeRequest,
};
use avouch_words::{Millis, Name};
use serde_json::{Value, json};

/// Lists, shows, withdraws or lets join.
pub async fn run(context: &Context, verb: NodeVerb) -> Result<(), Failure> {
    match verb {
        NodeVerb::List => list(context).await,
        NodeVerb::Show { name } => show(context, &name).await,
        NodeVerb::Ban { name, withdrawal } => ban(context, &name, withdrawal).await,
        NodeVerb::Evict { name, withdrawal } => evict(context, &name, withdrawal).await,
        NodeVerb::Token { name, order } => token::make(context, &name, &order).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let nodes = all(context).await?;
    let mut table = Table::new(&["id", "connected", "joined", "svid expires", "version", "banned", "selectors"]);
    let now = context.output.now();
    for node in &nodes {
        table.row(vec![
            Cell::text(&node.id),
            Cell::flag(node.connected),
            Cell::moment(Millis(node.joined_ms), now),
            Cell::moment(Millis(node.svid_expires_ms), now),
            Cell::number(node.applied_version),
            Cell::moment(Millis(node.banned_ms), now),
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

async fn show(context: &Context, name: &Name) -> Result<(), Failure> {
    let reply = context.admin().await?.show_node(ShowNodeRequest { node: name.to_string() }).await;
    let details = reply.map_err(|status| replies::failure(&status))?.into_inner();
    let now = context.output.now();
    context.output.tell(|| page(&details, now), || shown(&details))?;
    if details.node.is_some_and(|node| node.banned_ms > 0) {
        next(format!("avouch node evict {name} --reason WHY"));
    }
    Ok(())
}

/// What a person reads of one node.
fn page(details: &NodeDetails, now: Millis) -> String {
    let node = details.node.clone().unwrap_or_default();
    let moment = |at: i64| format!("{} ({})", rfc3339(Millis(at)), relative(Millis(at), now));
    let mut lines = vec![
        format!("{} ({})", details.name, node.id),
        format!("  joined       {}", moment(node.joined_ms)),
        format!("  svid until   {}, serial {}", moment(node.svid_expires_ms), details.serial),
        format!("  selectors    {}", node.selectors.join(" ")),
    ];
    lines.push(match (node.banned_ms, node.connected) {
        (0, true) => format!("  connected    yes, version {} is in force there", node.applied_version),
        (0, false) => "  connected    no".to_owned(),
        (banned, _) => format!("  BANNED       {}", moment(banned)),
    });
    if !details.agents.is_empty() {
        lines.push(format!("  may run      {}", details.agents.join(" ")));
    }
    lines.extend(details.instances.iter().map(|instance| format!("  instance     {}", told(instance, now))));
    lines.join("\n") + "\n"
}

fn told(instance: &NodeInstance, now: Millis) -> String {
    let until = match instance.svids_valid_until_ms {
        0 => "none of its SVIDs is alive".to_owned(),
        until => format!("SVIDs still accepted until {} ({})", rfc3339(Millis(until)), relative(Millis(until), now)),
    };
    format!("{} of {}; {until}", instance.id, instance.agent)
}

fn shown(details: &NodeDetails) -> Value {
    let node = details.node.clone().unwrap_or_default();
    json!({
        "name": details.name,
        "id": node.id,
        "attestor": details.attestor,
        "selectors": node.selectors,
        "joined": moment(node.joined_ms),
        "svid_expires": moment(node.svid_expires_ms),
        "serial": details.serial,
        "connected": node.connected,
        "version": node.applied_version,
        "banned": moment(node.banned_ms),
        "agents": details.agents,
        "instances": instances(&details.instances),
    })
}

fn moment(at: i64) -> Option<String> {
    (at > 0).then(|| rfc3339(Millis(at)))
}

fn instances(all: &[NodeInstance]) -> Vec<Value> {
    let one = |instance: &NodeInstance| {
        json!({
            "id": instance.id,
            "agent": instance.agent,
            "started": moment(instance.started_ms),
            "svids_valid_until": moment(instance.svids_valid_until_ms),
        })
    };
    all.iter().map(one).collect()
}

async fn ban(context: &Context, name: &Name, withdrawal: Withdrawal) -> Result<(), Failure> {
    withdraw::confirm(&withdrawal, &format!("this ends everything on the node {name}, and it joins nowhere any more"))?;
    let request = BanNodeRequest { node: name.to_string(), reason: withdrawal.reason };
    let mut admin = context.admin().await?;
    let reply = progress::during(SETTLING, admin.ban_node(request)).await;
    tell(context, name, "banned", &reply.map_err(|status| replies::failure(&status))?.into_inner())?;
    next(format!("avouch node show {name}"));
    Ok(())
}

async fn evict(context: &Context, name: &Name, withdrawal: Withdrawal) -> Result<(), Failure> {
    withdraw::confirm(&withdrawal, &format!("this forgets the node {name}, which then has to join anew"))?;
    let request = EvictNodeRequest { node: name.to_string(), reason: withdrawal.reason };
    let mut admin = context.admin().await?;
    let reply = progress::during(SETTLING, admin.evict_node(request)).await;
    tell(context, name, "evicted", &reply.map_err(|status| replies::failure(&status))?.into_inner())?;
    next(format!("avouch node token {name} --out join.token"));
    Ok(())
}

fn tell(context: &Context, name: &Name, how: &str, done: &NodeWithdrawn) -> Result<(), Failure> {
    let now = context.output.now();
    let closes = moment(done.fails_closed_ms);
    let text = || {
        let mut lines = vec![format!("{name} is {how} (state version {})", done.version)];
        lines.push(match (done.applied, &closes) {
            (true, _) => format!("withdrawn there after {}.{} ms", done.after_us / 1_000, done.after_us % 1_000 / 100),
            (false, Some(closes)) => format!("not yet withdrawn there: it stops injecting by itself by {closes}"),
            (false, None) => "it is not connected, and what it knew is too old to inject by".to_owned(),
        });
        lines.extend(done.instances.iter().map(|instance| format!("ended {}", told(instance, now))));
        lines.join("\n") + "\n"
    };
    let json = || {
        json!({
            "name": name.as_str(),
            "id": done.node_id,
            "withdrawn": how,
            "version": done.version,
            "applied": done.applied,
            "after_us": done.applied.then_some(done.after_us),
            "fails_closed": closes,
            "instances": instances(&done.instances),
        })
    };
    context.output.tell(text, json)
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
