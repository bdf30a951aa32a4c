//! Registered agents: who they are, who answers for them, where they may run.

use crate::issue::PROBE_PREFIX;
use crate::refusal::Invalid;
use avouch_words::{Millis, Name, Selector};
use std::time::Duration;

/// A registered AI workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name, which is its SPIFFE ID's last segment.
    pub name: Name,
    /// The accountable owner.
    pub owner: String,
    /// Selectors of the nodes it may run on; all must hold. Never empty.
    pub nodes: Vec<Selector>,
    /// Workload selectors; all must hold. At least one is neither a path nor a hash.
    pub selectors: Vec<Selector>,
    /// Life of its X.509-SVIDs.
    pub x509_ttl: Duration,
    /// Life of its JWT-SVIDs.
    pub jwt_ttl: Duration,
    /// When it was registered.
    pub created: Millis,
}

/// What an operator writes to register an agent; not yet checked.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// Name.
    pub name: String,
    /// Owner.
    pub owner: String,
    /// Node selectors.
    pub nodes: Vec<String>,
    /// Workload selectors.
    pub selectors: Vec<String>,
    /// Seconds; 0 for the default.
    pub x509_ttl_seconds: u32,
    /// Seconds; 0 for the default.
    pub jwt_ttl_seconds: u32,
}

impl Registration {
    /// The agent, if everything about it holds; else the first field that does not.
    pub fn check(&self, now: Millis) -> Result<Agent, Invalid> {
        let name = Name::parse(&self.name).map_err(|fault| Invalid::new("name", fault))?;
        if name.as_str().starts_with(PROBE_PREFIX) {
            return Err(Invalid::new(
                "name",
                format!("names that begin {PROBE_PREFIX} are what sources are tried with"),
            ));
        }
        check_owner(&self.owner)?;
        let nodes = selectors("nodes", &self.nodes)?;
        if nodes.iter().any(|selector| selector.kind() != NODE_SELECTOR) {
            return Err(Invalid::new("nodes", "a selector of a node begins with node:"));
        }
        let selectors = selectors("selectors", &self.selectors)?;
        if selectors.iter().any(|selector| selector.kind() == NODE_SELECTOR) {
            return Err(Invalid::new("selectors", "a selector of a node belongs in nodes"));
        }
        if selectors.iter().all(Selector::is_path_or_hash) {
            return Err(Invalid::new(
                "selectors",
                "at least one must be neither a path nor a hash, as any process of the uid can run that file",
            ));
        }
        Ok(Agent {
            name,
            owner: self.owner.clone(),
            nodes,
            selectors,
            x509_ttl: ttl("x509_ttl_seconds", self.x509_ttl_seconds, DEFAULT_X509_TTL, MAX_X509_TTL)?,
            jwt_ttl: ttl("jwt_ttl_seconds", self.jwt_ttl_seconds, DEFAULT_JWT_TTL, MAX_JWT_TTL)?,
            created: now,
        })
    }
}

/// An owner is a mail address or another handle of somebody who answers: printable ASCII without spaces.
fn check_owner(owner: &str) -> Result<(), Invalid> {
    if owner.is_empty() {
        return Err(Invalid::new("owner", "every agent has an owner who answers for it"));
    }
    if owner.len() > MAX_OWNER || !owner.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Invalid::new(
            "owner",
            format!("an owner is at most {MAX_OWNER} printable ASCII bytes without spaces"),
        ));
    }
    Ok(())
}

/// Sorted and without doubles, so that two writings of one registration are equal.
fn selectors(field: &'static str, texts: &[String]) -> Result<Vec<Selector>, Invalid> {
    if texts.is_empty() {
        return Err(Invalid::new(field, "at least one selector is needed"));
    }
    if texts.len() > MAX_SELECTORS {
        return Err(Invalid::new(field, format!("at most {MAX_SELECTORS} selectors")));
    }
    let mut parsed = texts
        .iter()
        .map(|text| Selector::parse(text).map_err(|fault| Invalid::new(field, fault)))
        .collect::<Result<Vec<_>, _>>()?;
    parsed.sort();
    parsed.dedup();
    Ok(parsed)
}

fn ttl(field: &'static str, seconds: u32, default: Duration, max: Duration) -> Result<Duration, Invalid> {
    let ttl = if seconds == 0 { default } else { Duration::from_secs(seconds.into()) };
    if ttl < MIN_TTL || ttl > max {
        return Err(Invalid::new(field, format!("between {} and {} seconds", MIN_TTL.as_secs(), max.as_secs())));
    }
    Ok(ttl)
}

/// Life of an agent's X.509-SVID if the registration does not say.
pub const DEFAULT_X509_TTL: Duration = Duration::from_secs(15 * 60);
/// Life of a JWT-SVID if the registration does not say.
pub const DEFAULT_JWT_TTL: Duration = Duration::from_secs(5 * 60);
/// The shortest life of an SVID.
pub const MIN_TTL: Duration = Duration::from_secs(5);
/// The longest life of an agent's X.509-SVID.
pub const MAX_X509_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest life of a JWT-SVID.
pub const MAX_JWT_TTL: Duration = Duration::from_secs(60 * 60);
/// The most selectors in one list.
pub const MAX_SELECTORS: usize = 16;
/// The longest owner, in bytes.
pub const MAX_OWNER: usize = 254;
/// The type of the selectors that are facts about a node.
pub const NODE_SELECTOR: &str = "node";

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Registration {
        Registration {
            name: "researcher".into(),
            owner: "me@example.test".into(),
            nodes: vec!["node:name:laptop".into()],
            selectors: vec!["unix:uid:1000".into()],
            ..Registration::default()
        }
    }

    #[track_caller]
    fn refused(field: &str, change: impl FnOnce(&mut Registration)) {
        let mut registration = good();
        change(&mut registration);
        assert_eq!(registration.check(Millis(0)).map_err(|invalid| invalid.field), Err(field));
    }

    #[test]
    fn a_registration_gets_the_default_lives() {
        let agent = good().check(Millis(7)).unwrap();
        assert_eq!((agent.x509_ttl, agent.jwt_ttl, agent.created), (DEFAULT_X509_TTL, DEFAULT_JWT_TTL, Millis(7)));
    }

    #[test]
    fn owner_and_nodes_are_mandatory() {
        refused("owner", |r| r.owner.clear());
        refused("owner", |r| r.owner = "a b".into());
        refused("owner", |r| r.owner = "x".repeat(MAX_OWNER + 1));
        refused("nodes", |r| r.nodes.clear());
        refused("nodes", |r| r.nodes = vec!["unix:uid:0".into()]);
        refused("nodes", |r| r.nodes = vec!["node:name:a".into(); MAX_SELECTORS + 1]);
    }

    #[test]
    fn path_and_hash_are_never_the_only_selectors() {
        refused("selectors", |r| r.selectors.clear());
        refused("selectors", |r| r.selectors = vec!["unix:path:/usr/bin/python3".into()]);
        refused("selectors", |r| r.selectors = vec!["unix:path:/bin/a".into(), "unix:sha256:00".into()]);
        refused("selectors", |r| r.selectors.push("node:name:laptop".into()));
        let mut with_uid = good();
        with_uid.selectors.push("unix:path:/usr/bin/python3".into());
        assert!(with_uid.check(Millis(0)).is_ok());
    }

    #[test]
    fn lives_have_bounds() {
        refused("x509_ttl_seconds", |r| r.x509_ttl_seconds = 4);
        refused("x509_ttl_seconds", |r| r.x509_ttl_seconds = 24 * 60 * 60 + 1);
        refused("jwt_ttl_seconds", |r| r.jwt_ttl_seconds = 60 * 60 + 1);
    }

    /// Case S15: nothing that is reserved can be said in a name.
    #[test]
    fn no_name_leads_to_a_reserved_path() {
        let domain = avouch_words::TrustDomain::parse("example.test").unwrap();
        for name in ["../node/x", "brokered/agent/x", "a/../../node", "/node"] {
            refused("name", |r| r.name = name.into());
        }
        for name in ["node", "brokered", "issuer", "avouch"] {
            assert!(!domain.agent(&Name::parse(name).unwrap()).is_reserved(), "{name}");
        }
    }
}
