//! A process is an agent only if an agent's selectors say so, all of them.

use crate::doctor::Finding;
use crate::doctor::scene::{Answer, Identity, Issuer, Scene};
use avouch_wire::admin::Agent;

const CHECK: &str = "agent";

/// Judges.
pub fn judge(scene: &Scene) -> Finding {
    if let (true, Identity::Nobody) = (scene.inside(), &scene.identity) {
        let about = "this process has no identity, although it is inside a session";
        return Finding::wrong(CHECK, about, "See `avouch agent list` and `avouch lock list` outside the session.");
    }
    if let Identity::Known(ids) = &scene.identity {
        return Finding::ok(CHECK, format!("this process is {}", ids.join(" and ")));
    }
    match &scene.issuer {
        Answer::Said(issuer) => by_the_list(scene, issuer),
        _ => Finding::unseen(CHECK, "only an operator sees the agents"),
    }
}

fn by_the_list(scene: &Scene, issuer: &Issuer) -> Finding {
    let uid = scene.uid;
    if issuer.agents.is_empty() {
        let fix = format!("Make one: `avouch agent create NAME --owner WHO --selector unix:uid:{uid}`.");
        return Finding::note(CHECK, "no agent is registered yet", fix);
    }
    let here = scene.status().map(|status| status.node_id.as_str());
    let facts = issuer.nodes.iter().find(|node| Some(node.id.as_str()) == here).map(|node| &node.selectors);
    let on_node = |agent: &&Agent| facts.is_none_or(|facts| agent.nodes.iter().all(|wanted| facts.contains(wanted)));
    let names =
        |agents: &[&Agent]| agents.iter().take(SHOWN).map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    let of_user: Vec<_> = issuer.agents.iter().filter(|agent| is_of(agent, uid)).collect();
    let usable: Vec<_> = of_user.iter().copied().filter(on_node).collect();
    if let [first, ..] = usable[..] {
        return Finding::ok(
            CHECK,
            format!("uid {uid} may be {}: `avouch run --agent {} -- COMMAND`", names(&usable), first.name),
        );
    }
    if let [first, ..] = of_user[..] {
        let about = format!("{} may not run on this node: it wants {}", first.name, first.nodes.join(" "));
        let has = facts.map(|facts| facts.join(" ")).unwrap_or_default();
        let fix = format!(
            "Register one for this node, which is {has}: `avouch agent create NAME --owner WHO --selector unix:uid:{uid}`."
        );
        return Finding::wrong(CHECK, about, fix);
    }
    let all: Vec<_> = issuer.agents.iter().collect();
    let about = format!("no agent's selectors match uid {uid}: {} are others'", names(&all));
    Finding::wrong(
        CHECK,
        about,
        format!("Register one: `avouch agent create NAME --owner WHO --selector unix:uid:{uid}`."),
    )
}

/// No selector of the agent wants another user. What other selectors want cannot be told before the program runs.
fn is_of(agent: &Agent, uid: u32) -> bool {
    let wanted = |selector: &String| selector.strip_prefix("unix:uid:").map(|value| value == uid.to_string());
    agent.selectors.iter().filter_map(wanted).all(|same| same)
}

/// Names of agents in a sentence.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::doctor::scene::tests::{session, sound};
    use avouch_wire::admin::Node;

    fn agent(selector: &str, node: &str) -> Agent {
        Agent { name: "a".into(), selectors: vec![selector.into()], nodes: vec![node.into()], ..Default::default() }
    }

    #[test]
    fn an_agent_has_to_be_of_this_user_and_this_node() {
        for (agents, state) in [
            (vec![], State::Note),
            (vec![agent("unix:uid:1000", "node:name:n")], State::Ok),
            (vec![agent("session:agent:a", "node:name:n")], State::Ok),
            (vec![agent("unix:uid:100", "node:name:n")], State::Wrong),
            (vec![agent("unix:uid:1000", "node:name:other")], State::Wrong),
        ] {
            let mut scene = sound();
            let here = "spiffe://t.test/node/join_token/n".to_owned();
            let nodes = vec![Node { id: here, selectors: vec!["node:name:n".into()], ..Default::default() }];
            scene.issuer = Answer::Said(Issuer { agents: agents.clone(), nodes, ..Default::default() });
            let finding = judge(&scene);
            assert_eq!(finding.state, state, "{agents:?}: {}", finding.about);
        }
        assert_eq!(judge(&Scene { identity: Identity::Nobody, ..session() }).state, State::Wrong);
    }
}
