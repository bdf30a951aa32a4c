//! One version of what the issuer lets this node know, read whole or not at all, and whether it may follow the one
//! held before.

use crate::freshness::Doubt;
use crate::identity::IdentityKey;
use avouch_policy as policy;
use avouch_wire::issuer as wire;
use avouch_words::target::{Target, Vendor};
use avouch_words::{
    Bundle, IdPath, JwtAuthority, Millis, Name, Reference, Selector, SpiffeId, TrustDomain, Ulid, X509Authority,
};
use rustls_pki_types::CertificateDer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The state of one version. It exists only whole and readable.
#[derive(Debug)]
pub struct NodeState {
    /// Counts up with every change, within an epoch.
    pub version: u64,
    /// Random, made with the database.
    pub epoch: Vec<u8>,
    /// The trust domain's authorities.
    pub bundle: Arc<Bundle>,
    /// The agents that this node may run, by name.
    pub agents: BTreeMap<Name, Agent>,
    /// What decisions read.
    pub policy: Arc<policy::PolicyState>,
    /// Vendors that agents may go to with tokens of their own.
    targets: Vec<(Name, Target)>,
    /// Identifiers of the locks in it.
    pub locks: BTreeSet<String>,
    /// Locks that have ended since the version the helper said hello with.
    pub ended_locks: BTreeSet<String>,
    /// How old it may get.
    pub staleness_bound: Duration,
    /// The database's clock when it was read.
    pub database_time: Millis,
    /// The node is banned: nothing is allowed here.
    pub banned: bool,
}

/// A registered agent, as this node needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Workload selectors, all of which must hold.
    pub selectors: BTreeSet<Selector>,
    /// The path of its SPIFFE IDs.
    pub id_path: IdPath,
    /// What the Workload API calls it; empty for nothing.
    pub hint: String,
}

impl Agent {
    /// Whether a process with these facts is this agent: every selector must hold, and at least one of them has to
    /// say more than which file runs (U03). No selectors match nobody.
    pub fn matches(&self, facts: &BTreeSet<Selector>) -> bool {
        let says_more = self.selectors.iter().any(|selector| !selector.is_path_or_hash());
        says_more && self.selectors.is_subset(facts)
    }
}

impl NodeState {
    /// Reads it whole. Anything unreadable in it makes it unreadable, except a lock target that this reader does not
    /// know, which locks everything.
    pub fn read(state: wire::State) -> Result<Self, Doubt> {
        let trust_domain = TrustDomain::parse(&state.trust_domain).map_err(|_| Doubt::Unreadable)?;
        if state.x509_authorities.is_empty() || state.version == 0 || state.epoch.is_empty() {
            return Err(Doubt::Unreadable);
        }
        let bundle = Bundle {
            trust_domain,
            x509: state.x509_authorities.into_iter().map(|der| X509Authority(CertificateDer::from(der))).collect(),
            jwt: state
                .jwt_authorities
                .into_iter()
                .map(|a| JwtAuthority { kid: a.kid, public_key: a.public_key })
                .collect(),
        };
        let mut agents = BTreeMap::new();
        for agent in state.agents {
            let selectors = agent.selectors.iter().map(|text| Selector::parse(text)).collect::<Result<_, _>>();
            let selectors = selectors.map_err(|_| Doubt::Unreadable)?;
            let id_path = match agent.id_path.as_str() {
                "" => IdPath::default(),
                text => IdPath::parse(text).map_err(|_| Doubt::Unreadable)?,
            };
            agents.insert(name(&agent.name)?, Agent { selectors, id_path, hint: agent.hint });
        }
        let locks = state.locks.iter().map(|lock| lock.id.clone()).collect();
        let policy = policy::PolicyState::new(policy::StateParts {
            version: state.version,
            epoch: state.epoch.clone(),
            agents: agents.keys().map(|name| active(name.clone())).collect(),
            credentials: state.credentials.into_iter().map(credential).collect::<Result<_, _>>()?,
            grants: state.grants.into_iter().map(grant).collect::<Result<_, _>>()?,
            locks: state.locks.into_iter().map(lock).collect::<Result<_, _>>()?,
            bound_origins: state.bound_origins.iter().map(|text| origin(text)).collect::<Result<_, _>>()?,
            reserved_audiences: state.reserved_audiences,
        });
        // One of a kind that this helper does not know is open to nobody here.
        let targets = state.targets.into_iter().filter_map(target).collect();
        Ok(Self {
            targets,
            version: state.version,
            epoch: state.epoch,
            bundle: Arc::new(bundle),
            agents,
            policy: Arc::new(policy),
            locks,
            ended_locks: state.ended_locks.into_iter().collect(),
            staleness_bound: Duration::from_millis(u64::from(state.staleness_bound_ms)),
            database_time: Millis(state.database_time_ms),
            banned: state.banned,
        })
    }

    /// Whether it may take the place of what is held. Versions never go back, and a lock goes only by having ended;
    /// a new database epoch begins anew.
    pub fn may_follow(&self, held: Option<&Self>, trust_domain: &TrustDomain) -> Result<(), Doubt> {
        if &self.bundle.trust_domain != trust_domain {
            return Err(Doubt::OtherTrustDomain);
        }
        let Some(held) = held.filter(|held| held.epoch == self.epoch) else { return Ok(()) };
        if self.version < held.version {
            return Err(Doubt::VersionWentBack);
        }
        // A lock on an agent that may not run here any more has nothing to deny here, and is not sent.
        let concerns = |lock: &policy::Lock| match &lock.target {
            policy::LockTarget::Agent(agent) => self.agents.contains_key(agent),
            policy::LockTarget::Everything => true,
        };
        let lost = |lock: &policy::Lock| {
            let id = lock.id.to_string();
            !self.locks.contains(&id) && !self.ended_locks.contains(&id)
        };
        let vanished = held.policy.locks().iter().any(|lock| concerns(lock) && lost(lock));
        if vanished { Err(Doubt::LocksVanished) } else { Ok(()) }
    }

    /// Vendors that an operator opened to this agent.
    pub fn targets_of<'a>(&'a self, agent: &'a Name) -> impl Iterator<Item = &'a Target> {
        self.targets.iter().filter(move |(whose, _)| whose == agent).map(|(_, target)| target)
    }

    /// Whether this agent may not have a token for this audience: it is reserved, and was not opened to it.
    pub fn is_closed_audience(&self, agent: &Name, audience: &str) -> bool {
        self.policy.is_reserved_audience(audience)
            && !self.targets_of(agent).any(|target| target.audience() == audience)
    }

    /// The agents that may be served an identity, and by which path: registered for this node and not locked. A lock
    /// counts until the issuer says that it has ended, whatever our clock says.
    pub fn entitled(&self) -> BTreeMap<Name, IdPath> {
        let entitled = self.agents.iter().filter(|(name, _)| self.is_entitled(name));
        entitled.map(|(name, agent)| (name.clone(), agent.id_path.clone())).collect()
    }

    /// The SPIFFE ID of an instance, if its agent may run here.
    pub fn id_of(&self, whose: &IdentityKey) -> Option<SpiffeId> {
        let agent = self.agents.get(&whose.agent)?;
        Some(agent.id_path.id(&self.bundle.trust_domain, &whose.agent, whose.instance))
    }

    /// Whether an agent is told by a program's hash.
    pub fn wants_digests(&self) -> bool {
        let mut selectors = self.agents.values().flat_map(|agent| &agent.selectors);
        selectors.any(|selector| selector.as_str().starts_with("unix:sha256:"))
    }

    /// Whether this agent may be served an identity.
    pub fn is_entitled(&self, agent: &Name) -> bool {
        self.agents.contains_key(agent) && self.policy.lock_on(agent, Millis(i64::MIN)).is_none()
    }
}

/// The issuer sends only agents that may act; one that may not is not in the state at all.
fn active(name: Name) -> policy::Agent {
    policy::Agent { name, state: policy::AgentState::Active }
}

fn credential(credential: wire::Credential) -> Result<policy::Credential, Doubt> {
    Ok(policy::Credential {
        name: name(&credential.name)?,
        source: name(&credential.source)?,
        reference: Reference::parse(&credential.reference).map_err(|_| Doubt::Unreadable)?,
        binding: policy::Binding::parse(&credential.binding).map_err(|_| Doubt::Unreadable)?,
    })
}

fn grant(grant: wire::Grant) -> Result<policy::Grant, Doubt> {
    Ok(policy::Grant { id: ulid(&grant.id)?, agent: name(&grant.agent)?, credential: name(&grant.credential)? })
}

fn target(target: wire::Target) -> Option<(Name, Target)> {
    let settings = target.settings.into_iter().collect();
    let read = Target::new(Vendor::parse(&target.vendor)?, Some(&target.audience), settings).ok()?;
    Some((Name::parse(&target.agent).ok()?, read))
}

fn lock(lock: wire::Lock) -> Result<policy::Lock, Doubt> {
    let target = match lock.target.and_then(|target| target.kind) {
        Some(wire::lock_target::Kind::Agent(agent)) => {
            Name::parse(&agent).map_or(policy::LockTarget::Everything, policy::LockTarget::Agent)
        }
        None => policy::LockTarget::Everything,
    };
    let expires = (lock.expires_ms != 0).then_some(Millis(lock.expires_ms));
    Ok(policy::Lock { id: ulid(&lock.id)?, target, expires })
}

fn origin(text: &str) -> Result<policy::Origin, Doubt> {
    policy::Origin::parse(text).map_err(|_| Doubt::Unreadable)
}

fn name(text: &str) -> Result<Name, Doubt> {
    Name::parse(text).map_err(|_| Doubt::Unreadable)
}

fn ulid(text: &str) -> Result<Ulid, Doubt> {
    Ulid::parse(text).map_err(|_| Doubt::Unreadable)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const LOCK: &str = "01HF7YAT00ZZZZZZZZZZZZZZZZ";

    /// A readable state of one agent `researcher` for any process of uid 1000.
    pub(crate) fn plain(version: u64) -> wire::State {
        wire::State {
            version,
            epoch: b"epoch-1".to_vec(),
            trust_domain: "example.test".to_owned(),
            x509_authorities: vec![b"authority".to_vec()],
            agents: vec![wire::Agent {
                name: "researcher".to_owned(),
                owner: "me@example.test".to_owned(),
                selectors: vec!["unix:uid:1000".to_owned()],
                id_path: "/agent/{agent}".to_owned(),
                ..Default::default()
            }],
            staleness_bound_ms: 30_000,
            ..Default::default()
        }
    }

    pub(crate) fn locked(version: u64) -> wire::State {
        let kind = Some(wire::lock_target::Kind::Agent("researcher".to_owned()));
        let target = Some(wire::LockTarget { kind });
        let lock = wire::Lock { id: LOCK.to_owned(), target, ..Default::default() };
        wire::State { locks: vec![lock], ..plain(version) }
    }

    fn follows(next: wire::State, held: wire::State) -> Result<(), Doubt> {
        let domain = TrustDomain::parse("example.test").unwrap();
        NodeState::read(next).unwrap().may_follow(Some(&NodeState::read(held).unwrap()), &domain)
    }

    #[test]
    fn versions_never_go_back_and_locks_go_only_by_ending() {
        assert_eq!(follows(plain(5), plain(5)), Ok(()));
        assert_eq!(follows(plain(4), plain(5)), Err(Doubt::VersionWentBack));
        assert_eq!(follows(plain(6), locked(5)), Err(Doubt::LocksVanished));
        let ended = wire::State { ended_locks: vec![LOCK.to_owned()], ..plain(6) };
        assert_eq!(follows(ended, locked(5)), Ok(()));
        let foreign = wire::State { trust_domain: "other.test".to_owned(), ..plain(6) };
        assert_eq!(follows(foreign, plain(5)), Err(Doubt::OtherTrustDomain));
        let restored = wire::State { epoch: b"epoch-2".to_vec(), ..plain(1) };
        assert_eq!(follows(restored, locked(5)), Ok(()), "a new epoch begins anew");
    }

    /// Otherwise a node would stand still for good as soon as a locked agent is deleted or moved to another.
    #[test]
    fn a_lock_goes_with_its_agent_and_with_nothing_else() {
        let without = |version| wire::State { agents: Vec::new(), ..plain(version) };
        assert_eq!(follows(without(6), locked(5)), Ok(()));
        assert_eq!(follows(wire::State { banned: true, ..without(6) }, locked(5)), Ok(()));
        let lock = wire::Lock { target: None, ..locked(5).locks[0].clone() };
        let everything = wire::State { locks: vec![lock], ..plain(5) };
        assert_eq!(follows(without(6), everything), Err(Doubt::LocksVanished));
    }

    #[test]
    fn a_lock_target_nobody_knows_locks_everything() {
        let agent = Name::parse("researcher").unwrap();
        assert!(NodeState::read(plain(1)).unwrap().is_entitled(&agent));
        assert!(!NodeState::read(locked(1)).unwrap().is_entitled(&agent));
        for target in [None, Some(wire::LockTarget { kind: None })] {
            let lock = wire::Lock { id: LOCK.to_owned(), target, ..Default::default() };
            let state = NodeState::read(wire::State { locks: vec![lock], ..plain(1) }).unwrap();
            assert!(state.entitled().is_empty());
        }
    }

    #[test]
    fn a_reserved_audience_is_open_to_the_agent_it_was_opened_to_and_to_nobody_else() {
        let (researcher, other) = (Name::parse("researcher").unwrap(), Name::parse("other").unwrap());
        let settings = [("role_arn".to_owned(), "arn:aws:iam::1:role/a".to_owned())];
        let opened = |vendor: &str| wire::Target {
            agent: "researcher".to_owned(),
            vendor: vendor.to_owned(),
            audience: "sts.amazonaws.com".to_owned(),
            settings: settings.clone().into(),
        };
        let reserved_audiences = vec!["sts.amazonaws.com".to_owned(), "avouch".to_owned()];
        let targets = vec![opened("aws"), opened("sap")];
        let state = NodeState::read(wire::State { reserved_audiences, targets, ..plain(1) }).unwrap();
        assert_eq!(state.targets_of(&researcher).count(), 1, "an unknown vendor is open to nobody");
        assert!(!state.is_closed_audience(&researcher, "sts.amazonaws.com"));
        assert!(state.is_closed_audience(&other, "sts.amazonaws.com"));
        assert!(state.is_closed_audience(&researcher, "avouch"));
    }

    #[test]
    fn what_cannot_be_read_is_refused_whole() {
        let spoil: [fn(&mut wire::State); 9] = [
            |s| s.trust_domain = "Example".to_owned(),
            |s| s.x509_authorities.clear(),
            |s| s.version = 0,
            |s| s.epoch.clear(),
            |s| s.agents[0].name = "UPPER".to_owned(),
            |s| s.agents[0].selectors = vec!["nonsense".to_owned()],
            |s| s.agents[0].id_path = "/node/{agent}".to_owned(),
            |s| s.grants = vec![wire::Grant { id: "x".to_owned(), ..Default::default() }],
            |s| s.credentials = vec![wire::Credential { binding: b"{}".to_vec(), ..Default::default() }],
        ];
        for (at, spoil) in spoil.into_iter().enumerate() {
            let mut state = plain(1);
            spoil(&mut state);
            assert_eq!(NodeState::read(state).err(), Some(Doubt::Unreadable), "{at}");
        }
    }

    #[test]
    fn all_selectors_must_hold_and_no_selectors_hold_for_nobody() {
        let set = |texts: &[&str]| texts.iter().map(|t| Selector::parse(t).unwrap()).collect::<BTreeSet<_>>();
        let facts = set(&["unix:uid:1000", "unix:gid:1000", "unix:path:/bin/sh"]);
        let agent = |texts: &[&str]| Agent { selectors: set(texts), id_path: IdPath::default(), hint: String::new() };
        let matches = |texts: &[&str]| agent(texts).matches(&facts);
        assert!(matches(&["unix:uid:1000"]));
        assert!(matches(&["unix:uid:1000", "unix:path:/bin/sh"]));
        assert!(!matches(&["unix:uid:1000", "session:agent:researcher"]));
        assert!(!matches(&[]));
        assert!(!matches(&["unix:path:/bin/sh"]), "a path alone is never enough");
    }
}
