//! Registered agents: who they are, who answers for them, where they may run.

use crate::issue::PROBE_PREFIX;
use crate::refusal::Invalid;
use avouch_words::{Digest, IdPath, Millis, Name, Selector, SpiffeId, TrustDomain, Ulid};
use std::time::Duration;

/// A registered AI workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name, a segment of its SPIFFE ID.
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
    /// The path of its SPIFFE IDs.
    pub id_path: IdPath,
    /// What the Workload API calls it, for a program that is several agents; empty for nothing.
    pub hint: String,
    /// What its X.509-SVIDs say besides the ID.
    pub names: SubjectNames,
    /// When it was registered.
    pub created: Millis,
}

/// Names in an X.509-SVID for those who do not read SPIFFE IDs: databases and old servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectNames {
    /// The subject's common name; empty for no subject.
    pub common: String,
    /// DNS names.
    pub dns: Vec<String>,
}

impl Agent {
    /// The SPIFFE ID of one of its instances.
    pub fn id(&self, trust_domain: &TrustDomain, instance: Ulid) -> SpiffeId {
        self.id_path.id(trust_domain, &self.name, instance)
    }

    /// Whether both are registered the same, whenever that was.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let undated = |agent: &Self| Self { created: Millis(0), ..agent.clone() };
        undated(self) == undated(other)
    }
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
    /// The path of its IDs; empty for the default.
    pub id_path: String,
    /// What the Workload API calls it.
    pub hint: String,
    /// The common name in its X.509-SVIDs.
    pub common_name: String,
    /// The DNS names in them.
    pub dns_names: Vec<String>,
}

impl Registration {
    /// The agent, if everything about it holds; else the first field that does not.
    pub fn check(&self, now: Millis) -> Result<Agent, Invalid> {
        self.check_all(now).map_err(|mut faults| faults.swap_remove(0))
    }

    /// The agent, if everything about it holds; else all that does not, and there is something.
    pub fn check_all(&self, now: Millis) -> Result<Agent, Vec<Invalid>> {
        let mut faults = Vec::new();
        let name = keep(&mut faults, agent_name(&self.name));
        let owner = keep(&mut faults, check_owner(&self.owner));
        let nodes = keep(&mut faults, node_selectors(&self.nodes));
        let selectors = keep(&mut faults, workload_selectors(&self.selectors));
        let x509_ttl = ttl("x509_ttl_seconds", self.x509_ttl_seconds, DEFAULT_X509_TTL, MAX_X509_TTL);
        let x509_ttl = keep(&mut faults, x509_ttl);
        let jwt_ttl = keep(&mut faults, ttl("jwt_ttl_seconds", self.jwt_ttl_seconds, DEFAULT_JWT_TTL, MAX_JWT_TTL));
        let id_path = keep(&mut faults, id_path(&self.id_path));
        let hint = keep(&mut faults, check_hint(&self.hint));
        let common = keep(&mut faults, common_name(&self.common_name));
        let dns = keep(&mut faults, dns_names(&self.dns_names));
        let agent = || {
            Some(Agent {
                name: name?,
                owner: owner?,
                nodes: nodes?,
                selectors: selectors?,
                x509_ttl: x509_ttl?,
                jwt_ttl: jwt_ttl?,
                id_path: id_path?,
                hint: hint?,
                names: SubjectNames { common: common?, dns: dns? },
                created: now,
            })
        };
        agent().ok_or(faults)
    }
}

/// What is good of a field; what is wrong with it goes to the others.
fn keep<T>(faults: &mut Vec<Invalid>, field: Result<T, Invalid>) -> Option<T> {
    field.map_err(|fault| faults.push(fault)).ok()
}

fn agent_name(text: &str) -> Result<Name, Invalid> {
    let name = Name::parse(text).map_err(|fault| Invalid::new("name", fault))?;
    if name.as_str().starts_with(PROBE_PREFIX) {
        let fault = format!("names that begin {PROBE_PREFIX} are what sources are tried with");
        return Err(Invalid::new("name", fault));
    }
    Ok(name)
}

fn node_selectors(texts: &[String]) -> Result<Vec<Selector>, Invalid> {
    let nodes = selectors("nodes", texts)?;
    if nodes.iter().any(|selector| selector.kind() != NODE_SELECTOR) {
        return Err(Invalid::new("nodes", "a selector of a node begins with node:"));
    }
    Ok(nodes)
}

fn workload_selectors(texts: &[String]) -> Result<Vec<Selector>, Invalid> {
    let selectors = selectors("selectors", texts)?;
    if selectors.iter().any(|selector| selector.kind() == NODE_SELECTOR) {
        return Err(Invalid::new("selectors", "a selector of a node belongs in nodes"));
    }
    if selectors.iter().all(Selector::is_path_or_hash) {
        let fault = "at least one must be neither a path nor a hash, as any process of the uid can run that file";
        return Err(Invalid::new("selectors", fault));
    }
    Ok(selectors)
}

fn id_path(text: &str) -> Result<IdPath, Invalid> {
    if text.is_empty() {
        Ok(IdPath::default())
    } else {
        IdPath::parse(text).map_err(|fault| Invalid::new("id_path", fault))
    }
}

/// An owner is a mail address or another handle of somebody who answers: printable ASCII without spaces.
fn check_owner(owner: &str) -> Result<String, Invalid> {
    if owner.is_empty() {
        return Err(Invalid::new("owner", "every agent has an owner who answers for it"));
    }
    if owner.len() > MAX_OWNER || !owner.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Invalid::new(
            "owner",
            format!("an owner is at most {MAX_OWNER} printable ASCII bytes without spaces"),
        ));
    }
    Ok(owner.to_owned())
}

/// WAC-16.
fn check_hint(hint: &str) -> Result<String, Invalid> {
    if hint.len() > MAX_HINT || hint.chars().any(char::is_control) {
        return Err(Invalid::new("hint", format!("a hint is at most {MAX_HINT} bytes without control characters")));
    }
    Ok(hint.to_owned())
}

fn common_name(name: &str) -> Result<String, Invalid> {
    // A brokered certificate's is the path of its ID or the digest of that: an agent's own shall not pass for one.
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    if name.len() > MAX_COMMON_NAME || !name.bytes().all(fits) || Digest::parse(name).is_some() {
        let fault =
            format!("at most {MAX_COMMON_NAME} printable ASCII bytes without spaces and slashes, and no digest");
        return Err(Invalid::new("common_name", fault));
    }
    Ok(name.to_owned())
}

/// Names of hosts in lower case: no wildcards, no addresses (RFC 5280 §4.2.1.6, RFC 1123 §2.1).
fn dns_names(names: &[String]) -> Result<Vec<String>, Invalid> {
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let fits = |name: &String| {
        let top = name.rsplit('.').next().unwrap_or_default();
        name.len() <= 253 && name.split('.').all(label) && top.bytes().any(|byte| byte.is_ascii_lowercase())
    };
    if names.len() > MAX_DNS_NAMES || !names.iter().all(fits) {
        let fault = format!("at most {MAX_DNS_NAMES} host names in lower case, without wildcards and addresses");
        return Err(Invalid::new("dns_names", fault));
    }
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    Ok(names)
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
/// The longest hint, in bytes (WAC-16).
pub const MAX_HINT: usize = 1024;
/// The longest common name, in bytes (RFC 5280, ub-common-name).
pub const MAX_COMMON_NAME: usize = 64;
/// The most DNS names of one agent.
pub const MAX_DNS_NAMES: usize = 8;
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
    fn all_faults_are_found_at_once() {
        let bad = Registration { jwt_ttl_seconds: 1, hint: "\n".into(), ..Registration::default() };
        let fields: Vec<_> = bad.check_all(Millis(0)).unwrap_err().into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["name", "owner", "nodes", "selectors", "jwt_ttl_seconds", "hint"]);
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

    #[test]
    fn further_names_are_narrow() {
        refused("id_path", |r| r.id_path = "/agent/other".into());
        refused("id_path", |r| r.id_path = "/node/{agent}".into());
        refused("hint", |r| r.hint = "x".repeat(MAX_HINT + 1));
        refused("hint", |r| r.hint = "a\nb".into());
        refused("common_name", |r| r.common_name = "x".repeat(MAX_COMMON_NAME + 1));
        refused("common_name", |r| r.common_name = "a b".into());
        refused("common_name", |r| r.common_name = "agent/other".into());
        refused("common_name", |r| r.common_name = Digest::of(&[b"agent/of-a-long-name"]).to_string());
        refused("dns_names", |r| r.dns_names = vec!["a.test".into(); MAX_DNS_NAMES + 1]);
        for bad in ["", "*.example.test", "A.test", "10.0.0.1", "-a.test", "a..test", "a_b.test", "a.test."] {
            refused("dns_names", |r| r.dns_names = vec![bad.into()]);
        }
        let mut full = good();
        full.id_path = "/team/{agent}/{instance}".into();
        full.hint = "search".into();
        full.common_name = "app_reader".into();
        full.dns_names = vec!["b.example.test".into(), "a.example.test".into(), "b.example.test".into()];
        let (full, plain) = (full.check(Millis(1)).unwrap(), good().check(Millis(1)).unwrap());
        assert_eq!(full.names.dns, ["a.example.test", "b.example.test"]);
        assert!(full.says_the_same(&Agent { created: Millis(2), ..full.clone() }) && !full.says_the_same(&plain));
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
