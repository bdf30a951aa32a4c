//! What a node may know: the part of the issuer's state that concerns the agents it may run, and nothing else.

use crate::agent::Agent;
use crate::credential::{Credential, Grant};
use crate::lock::Lock;
use crate::node::{self, Node};
use crate::target::OpenTarget;
use avouch_words::{Millis, Name};
use std::collections::BTreeSet;

/// Everything that slices are cut from, as of one version.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// All registered agents.
    pub agents: Vec<Agent>,
    /// All credentials.
    pub credentials: Vec<Credential>,
    /// All grants.
    pub grants: Vec<Grant>,
    /// All locks whose end is not recorded.
    pub locks: Vec<Lock>,
    /// All vendors that agents may go to.
    pub targets: Vec<OpenTarget>,
}

/// One node's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<'a> {
    /// Agents that may run on the node.
    pub agents: Vec<&'a Agent>,
    /// Credentials granted to one of them.
    pub credentials: Vec<&'a Credential>,
    /// The grants themselves.
    pub grants: Vec<&'a Grant>,
    /// Locks in force on one of them.
    pub locks: Vec<&'a Lock>,
    /// Vendors that one of them may go to.
    pub targets: Vec<&'a OpenTarget>,
    /// Origins that any credential binds, whoever may use it, in order and without names: what is bound is
    /// intercepted and refused, never tunnelled (DESIGN §9).
    pub bound_origins: Vec<String>,
}

impl World {
    /// Audiences of vendors that an operator opened to this agent.
    pub fn opened(&self, agent: &Name) -> Vec<&str> {
        self.targets.iter().filter(|open| &open.agent == agent).map(|open| open.target.audience()).collect()
    }

    /// What this node may know now. A banned node may know nothing, not even which origins are bound.
    pub fn slice(&self, node: &Node, now: Millis) -> Slice<'_> {
        let allowed = node::admit(node).is_ok();
        let agents: Vec<&Agent> =
            self.agents.iter().filter(|agent| allowed && node::matches(node, &agent.nodes)).collect();
        let names: BTreeSet<&Name> = agents.iter().map(|agent| &agent.name).collect();
        let grants: Vec<&Grant> = self.grants.iter().filter(|grant| names.contains(&grant.agent)).collect();
        let granted: BTreeSet<&Name> = grants.iter().map(|grant| &grant.credential).collect();
        let credentials = self.credentials.iter().filter(|credential| granted.contains(&credential.name)).collect();
        let concerns =
            |lock: &&Lock| lock.in_force(now) && agents.iter().any(|agent| lock.target.covers_agent(&agent.name));
        let locks = self.locks.iter().filter(concerns).collect();
        let targets = self.targets.iter().filter(|open| names.contains(&open.agent)).collect();
        let origins: BTreeSet<String> = self
            .credentials
            .iter()
            .filter(|_| allowed)
            .map(|credential| credential.binding.origin().to_string())
            .collect();
        Slice { agents, credentials, grants, locks, targets, bound_origins: origins.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Registration;
    use crate::lock::LockTarget;
    use avouch_words::Ulid;
    use avouch_words::target::{Target, Vendor};
    use std::time::Duration;

    const NOW: Millis = Millis(1000);

    fn agent(name: &str, node: &str) -> Agent {
        let registration = Registration {
            name: name.into(),
            owner: "me@example.test".into(),
            nodes: vec![format!("node:name:{node}")],
            selectors: vec!["unix:uid:1".into()],
            ..Registration::default()
        };
        registration.check(NOW).unwrap()
    }

    fn credential(name: &str) -> Credential {
        let binding = format!(r#"{{"to":"https://{name}.test:443","methods":["GET"],"paths":["/x"],"slot":"bearer"}}"#);
        Credential::check(name, "sealed", "", binding.as_bytes(), NOW).unwrap()
    }

    fn world() -> World {
        let name = |text: &str| Name::parse(text).unwrap();
        let id = |n| Ulid::new(NOW, [n; 10]);
        let grant =
            |n, agent, credential| Grant { id: id(n), agent: name(agent), credential: name(credential), created: NOW };
        let lock = |n, agent| {
            Lock::check(id(n), LockTarget::Agent(name(agent)), "test", "uid:0", Duration::ZERO, NOW).unwrap()
        };
        let target = |agent| {
            let settings = [("role_arn".to_owned(), "arn:aws:iam::1:role/a".to_owned())].into();
            let target = Target::new(Vendor::Aws, None, settings).unwrap();
            OpenTarget { agent: name(agent), target, created: NOW }
        };
        World {
            agents: vec![agent("here", "laptop"), agent("there", "other")],
            credentials: vec![credential("github"), credential("mail"), credential("unused")],
            grants: vec![grant(1, "here", "github"), grant(2, "there", "mail")],
            locks: vec![lock(3, "here"), lock(4, "there")],
            targets: vec![target("here"), target("there")],
        }
    }

    #[test]
    fn a_node_knows_its_own_agents_grants_credentials_and_locks_only() {
        let world = world();
        let slice = world.slice(&node::tests::node("laptop"), NOW);
        assert_eq!(slice.agents.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["here"]);
        assert_eq!(slice.credentials.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["github"]);
        assert_eq!((slice.grants.len(), slice.locks.len()), (1, 1));
        assert_eq!(slice.targets.iter().map(|open| open.agent.as_str()).collect::<Vec<_>>(), ["here"]);
        assert_eq!(slice.locks[0].target, LockTarget::Agent(Name::parse("here").unwrap()));
    }

    #[test]
    fn bound_origins_are_those_of_all_credentials_without_names() {
        let world = world();
        let slice = world.slice(&node::tests::node("laptop"), NOW);
        assert_eq!(slice.bound_origins.len(), 3);
        assert!(slice.bound_origins.iter().any(|origin| origin.contains("unused.test")));
    }

    #[test]
    fn a_banned_node_knows_nothing() {
        let world = world();
        let banned = Node { banned: Some(NOW), ..node::tests::node("laptop") };
        let slice = world.slice(&banned, NOW);
        assert!(slice.agents.is_empty() && slice.grants.is_empty() && slice.bound_origins.is_empty());
    }
}
