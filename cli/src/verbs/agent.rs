//! `agent create`, `agent list` and `agent delete`.

use super::{Context, node, withdraw};
use crate::args::{AgentCreate, AgentVerb, Withdrawal};
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Output, Table, next, rfc3339, talk};
use crate::progress::{self, SETTLING};
use crate::replies;
use avouch_wire::admin::{Agent, CreateAgentRequest, DeleteAgentReply, DeleteAgentRequest, ListAgentsRequest};
use avouch_wire::local;
use avouch_words::{Millis, Name, Selector};
use serde_json::json;
use std::time::Duration;

/// Registers, lists or takes back.
pub async fn run(context: &Context, verb: AgentVerb) -> Result<(), Failure> {
    match verb {
        AgentVerb::Create(create) => register(context, create).await,
        AgentVerb::List => list(context).await,
        AgentVerb::Delete { name, withdrawal } => delete(context, &name, withdrawal).await,
    }
}

async fn register(context: &Context, create: AgentCreate) -> Result<(), Failure> {
    if create.selector.iter().all(Selector::is_path_or_hash) {
        let sentence = "a path or a hash alone does not tell an agent: whoever may run the program would be it";
        return Err(Failure::new(Exit::Usage, sentence).then("Add a selector as --selector unix:uid:1001."));
    }
    let nodes = match create.node.is_empty() {
        false => create.node.iter().map(ToString::to_string).collect(),
        true => vec![this_node(context).await?],
    };
    let seconds = |ttl: Option<Duration>| ttl.map_or(0, |ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX));
    let request = CreateAgentRequest {
        name: create.name.to_string(),
        owner: create.owner,
        nodes,
        selectors: create.selector.iter().map(ToString::to_string).collect(),
        x509_ttl_seconds: seconds(create.x509_ttl),
        jwt_ttl_seconds: seconds(create.jwt_ttl),
        id_path: create.id_path.to_string(),
        hint: create.hint,
        common_name: create.common_name,
        dns_names: create.dns_name,
    };
    let mut admin = context.admin().await?;
    let reply =
        progress::during(SETTLING, admin.create_agent(request)).await.map_err(|status| replies::failure(&status))?;
    context.output.one(&table(&[reply.into_inner()], context.output))?;
    next(format!("avouch grant create --agent {} --credential NAME", create.name));
    Ok(())
}

/// The node whose helper runs here beside the issuer, as under `avouch dev`.
pub async fn this_node(context: &Context) -> Result<String, Failure> {
    let mut helper = context.helper().await.map_err(|_| {
        Failure::new(Exit::Usage, "--node is missing, and no helper runs here whose node could be meant")
            .then("Name the nodes it may run on, as --node node:name:web-1; `avouch node list` shows their selectors.")
    })?;
    let status = helper.status(local::StatusRequest {}).await.map_err(|status| replies::failure(&status))?;
    let own = status.into_inner().node_id;
    let nodes = node::all(context).await?;
    let found = nodes.iter().find(|node| node.id == own).and_then(node::own_selector);
    found.cloned().ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("the issuer does not know the node of the helper here ({own})"))
            .then("Name the nodes it may run on with --node; `avouch node list` shows their selectors.")
    })
}

async fn delete(context: &Context, name: &Name, withdrawal: Withdrawal) -> Result<(), Failure> {
    withdraw::confirm(&withdrawal, &format!("this takes the registration of {name} and its grants back"))?;
    let request = DeleteAgentRequest { name: name.to_string(), reason: withdrawal.reason };
    let mut admin = context.admin().await?;
    let reply = progress::during(SETTLING, admin.delete_agent(request)).await;
    let DeleteAgentReply { grants, svids_valid_until_ms } =
        reply.map_err(|status| replies::failure(&status))?.into_inner();
    let until = (svids_valid_until_ms > 0).then(|| rfc3339(Millis(svids_valid_until_ms)));
    talk(format!("The agent {name} is gone, and {grants} grants with it."));
    if let Some(until) = &until {
        talk(format!("Verifiers that ask no one accept SVIDs already issued until {until}."));
    }
    let json = || json!({"name": name.as_str(), "deleted": true, "grants": grants, "svids_valid_until": until});
    context.output.script(json)?;
    next("avouch agent list");
    Ok(())
}

async fn list(context: &Context) -> Result<(), Failure> {
    let reply = context.admin().await?.list_agents(ListAgentsRequest {}).await;
    let agents = reply.map_err(|status| replies::failure(&status))?.into_inner().agents;
    context.output.list(&table(&agents, context.output))?;
    if agents.is_empty() {
        talk("No agent is registered yet.");
        next("avouch agent create NAME --owner WHO --selector unix:uid:$(id -u)");
    }
    Ok(())
}

fn table(agents: &[Agent], output: Output) -> Table {
    let mut table = Table::new(&[
        "name",
        "owner",
        "nodes",
        "selectors",
        "x509 ttl",
        "jwt ttl",
        "created",
        "id",
        "hint",
        "common name",
        "dns names",
    ]);
    let seconds = |ttl: u32| {
        let text = crate::output::span(Duration::from_secs(u64::from(ttl)));
        Cell::both(text, serde_json::Value::from(ttl))
    };
    for agent in agents {
        table.row(vec![
            Cell::text(&agent.name),
            Cell::text(&agent.owner),
            Cell::list(&agent.nodes),
            Cell::list(&agent.selectors),
            seconds(agent.x509_ttl_seconds),
            seconds(agent.jwt_ttl_seconds),
            Cell::moment(Millis(agent.created_ms), output.now()),
            Cell::text(&agent.spiffe_id),
            Cell::text(&agent.hint),
            Cell::text(&agent.common_name),
            Cell::list(&agent.dns_names),
        ]);
    }
    table
}
