//! Which variables a session finds placeholders in.

use crate::state::PolicyState;
use avouch_words::Name;
use std::collections::{BTreeMap, BTreeSet};

/// The variables of one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// By name, each with its placeholder.
    pub set: BTreeMap<String, String>,
    /// Names that more than one granted credential would have, with those credentials: left unset, as nobody could say
    /// which of them a tool means.
    pub ambiguous: BTreeMap<String, Vec<Name>>,
}

/// The variables of the credentials that this agent has grants of. What a session lacks to use one changes nothing: the
/// refusal that it gets then has an id by which an operator sees what is missing.
pub fn variables(state: &PolicyState, agent: &Name) -> Variables {
    let mut holders: BTreeMap<&str, BTreeSet<&Name>> = BTreeMap::new();
    let mut set = BTreeMap::new();
    for grant in state.grants(agent) {
        let Some(credential) = state.credential(&grant.credential) else { continue };
        let Some(environment) = credential.binding.environment() else { continue };
        holders.entry(environment.name()).or_default().insert(&credential.name);
        set.insert(environment.name().to_owned(), environment.value(&credential.name));
    }
    let ambiguous: BTreeMap<_, _> = holders
        .into_iter()
        .filter(|(_, credentials)| credentials.len() > 1)
        .map(|(name, credentials)| (name.to_owned(), credentials.into_iter().cloned().collect()))
        .collect();
    set.retain(|name, _| !ambiguous.contains_key(name));
    Variables { set, ambiguous }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::Binding;
    use crate::state::{Credential, Grant, StateParts};
    use avouch_words::{Millis, Reference, Ulid};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn credential(text: &str, environment: &str) -> Credential {
        let json =
            format!(r#"{{"to":"https://{text}.test","methods":["GET"],"paths":["/**"],"slot":"bearer"{environment}}}"#);
        Credential {
            name: name(text),
            source: name("sealed"),
            reference: Reference::default(),
            binding: Binding::parse(json.as_bytes()).unwrap(),
        }
    }

    #[test]
    fn granted_credentials_are_set_and_ambiguous_ones_are_left_out() {
        let grant = |number: u8, agent: &str, credential: &str| Grant {
            id: Ulid::new(Millis(0), [number; 10]),
            agent: name(agent),
            credential: name(credential),
        };
        let state = PolicyState::new(StateParts {
            credentials: vec![
                credential("one", r#","environment":{"name":"ONE_TOKEN","prefix":"x-"}"#),
                credential("two", r#","environment":{"name":"SHARED"}"#),
                credential("three", r#","environment":{"name":"SHARED"}"#),
                credential("none", ""),
                credential("others", r#","environment":{"name":"OTHER"}"#),
            ],
            grants: vec![
                grant(1, "researcher", "one"),
                grant(2, "researcher", "one"),
                grant(3, "researcher", "two"),
                grant(4, "researcher", "three"),
                grant(5, "researcher", "none"),
                grant(6, "researcher", "gone"),
                grant(7, "intruder", "others"),
                grant(8, "intruder", "two"),
            ],
            ..StateParts::default()
        });
        let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let found = variables(&state, &name("researcher"));
        assert_eq!(found.set, set(&[("ONE_TOKEN", "x-avouch:one")]));
        assert_eq!(found.ambiguous, BTreeMap::from([("SHARED".to_owned(), vec![name("three"), name("two")])]));
        let found = variables(&state, &name("intruder"));
        assert_eq!(found.set, set(&[("OTHER", "avouch:others"), ("SHARED", "avouch:two")]));
        assert_eq!(variables(&state, &name("nobody")), Variables::default());
    }
}
