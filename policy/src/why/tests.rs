//! That what is suggested works, and opens no more than it says.

use super::*;
use crate::binding::{BindingSpec, Plain, SlotSpec};
use crate::origin::Origin;
use crate::state::{Agent, AgentState, Credential, Lock, LockTarget};
use avouch_words::Reference;
use proptest::prelude::*;

const NOW: Millis = Millis(1_800_000_000_000);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn id(number: u8) -> Ulid {
    Ulid::new(Millis(1_700_000_000_000), [number; 10])
}

fn fact(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

fn caller(agent: &str, facts: &[&str]) -> Caller {
    let facts = Arc::new(facts.iter().map(|text| fact(text)).collect());
    Caller { agent: name(agent), instance: id(1), session: id(2), facts, contained: false }
}

fn request(method: &str, url: &str) -> CanonicalRequest {
    CanonicalRequest::from_absolute_form(method.as_bytes(), url.as_bytes(), Body::None).unwrap()
}

fn spec(to: &str, methods: &[&str], paths: &[&str], query: &[&str]) -> BindingSpec {
    let texts = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
    BindingSpec {
        to: to.to_owned(),
        methods: texts(methods),
        paths: texts(paths),
        query: texts(query),
        slot: SlotSpec::Bearer,
        plain: to.starts_with("http:").then_some(Plain::Loopback),
        address: None,
        ca: None,
        environment: None,
        requires: Vec::new(),
        placeholder_in_body: None,
        reveal: false,
        rotate: None,
    }
}

fn credential(text: &str, spec: &BindingSpec) -> Credential {
    Credential {
        name: name(text),
        source: name("sealed"),
        reference: Reference::default(),
        binding: spec.check().unwrap(),
    }
}

fn grant(number: u8, agent: &str, credential: &str) -> Grant {
    Grant { id: id(number), agent: name(agent), credential: name(credential) }
}

/// `researcher` may read issues, and `intruder` nothing; `deploy` is granted to nobody and wants a wall.
fn parts() -> StateParts {
    let deploy = BindingSpec {
        requires: vec!["session:contained:work".to_owned()],
        ..spec("https://deploy.test", &["POST"], &["/run"], &[])
    };
    StateParts {
        version: 7,
        agents: ["researcher", "intruder"].map(|agent| Agent { name: name(agent), state: AgentState::Active }).to_vec(),
        credentials: vec![
            credential("github", &spec("https://api.github.test", &["GET"], &["/repos/*/issues"], &["page"])),
            credential("deploy", &deploy),
        ],
        grants: vec![grant(10, "researcher", "github")],
        ..StateParts::default()
    }
}

/// The changes as a person would type them.
fn told(why: &Why) -> Vec<String> {
    let spell = |change: &Change| match change {
        Change::ReleaseLock(id) => format!("release {id}"),
        Change::Grant(credential) => format!("grant {credential}"),
        Change::Bind { credential, binding } => format!("bind {credential} {}", written(binding)),
        Change::Widen { credential, binding } => format!("widen {credential} {}", written(binding)),
        Change::DeleteGrant(id) => format!("delete {id}"),
        Change::Require(fact) => format!("require {fact}"),
    };
    why.changes.iter().map(spell).collect()
}

fn written(binding: &Binding) -> String {
    let spec = binding.spec();
    [vec![spec.to], spec.methods, spec.paths, spec.query].concat().join(" ")
}

#[test]
fn each_obstacle_has_its_change() {
    let table: [(&str, &str, &str, &[&str]); 9] = [
        ("researcher", "GET", "https://api.github.test/repos/x/issues?page=2", &[]),
        ("intruder", "GET", "https://api.github.test/repos/x/issues", &["grant github"]),
        (
            "researcher",
            "POST",
            "https://api.github.test/repos/x/issues",
            &["bind github-2 https://api.github.test:443 POST /repos/x/issues", "grant github-2"],
        ),
        (
            "researcher",
            "GET",
            "https://api.github.test/repos/x?page=1",
            &["bind github-2 https://api.github.test:443 GET /repos/x page", "grant github-2"],
        ),
        (
            "researcher",
            "GET",
            "https://api.github.test/repos/x/issues?page=1&state=open",
            &["widen github https://api.github.test:443 GET /repos/*/issues page state"],
        ),
        ("researcher", "POST", "https://deploy.test/run", &["grant deploy", "require session:contained:work"]),
        (
            "intruder",
            "GET",
            "https://api.gitlab.test/x",
            &["bind gitlab https://api.gitlab.test:443 GET /x", "grant gitlab"],
        ),
        ("intruder", "GET", "https://10.0.0.7/x", &["bind tool https://10.0.0.7:443 GET /x", "grant tool"]),
        ("intruder", "TUNNEL", "https://new.test/", &["bind new https://new.test:443 GET /**", "grant new"]),
    ];
    for (agent, method, url, changes) in table {
        let found = why(&parts(), &caller(agent, &[]), &request(method, url), NOW);
        assert_eq!(told(&found), changes, "{agent} {method} {url}");
        assert!(found.enough, "{agent} {method} {url}");
    }
}

#[test]
fn locks_come_first_and_all_of_them() {
    let mut parts = parts();
    let lock = |number, target, expires| Lock { id: id(number), target, expires };
    parts.locks = vec![
        lock(20, LockTarget::Agent(name("intruder")), None),
        lock(21, LockTarget::Everything, None),
        lock(22, LockTarget::Agent(name("intruder")), Some(NOW)),
        lock(23, LockTarget::Agent(name("researcher")), None),
    ];
    let asked = request("GET", "https://api.github.test/repos/x/issues");
    let found = why(&parts, &caller("intruder", &[]), &asked, NOW);
    let release = |number| format!("release {}", id(number));
    assert_eq!(told(&found), [release(20), release(21), "grant github".to_owned()]);
    // A tunnel to a bound host stands open to whoever is not locked.
    let tunnel = request("TUNNEL", "https://api.github.test/");
    assert_eq!(told(&why(&parts, &caller("intruder", &[]), &tunnel, NOW)), [release(20), release(21)]);
}

#[test]
fn of_two_for_one_place_one_grant_goes() {
    let mut parts = parts();
    parts.credentials.push(credential("wide", &spec("https://api.github.test", &["GET"], &["/**"], &[])));
    parts.grants.push(grant(11, "researcher", "wide"));
    let asked = request("GET", "https://api.github.test/repos/x/issues");
    assert_eq!(told(&why(&parts, &caller("researcher", &[]), &asked, NOW)), [format!("delete {}", id(11))]);
}

#[test]
fn where_nothing_known_would_do_nothing_is_suggested() {
    let mut halted = parts();
    halted.agents[0].state = AgentState::Suspended;
    halted.locks = vec![Lock { id: id(20), target: LockTarget::Everything, expires: None }];
    let asked = request("GET", "https://api.github.test/repos/x/issues");
    for (parts, agent, request) in [
        (parts(), "stranger", asked.clone()),
        (halted, "researcher", asked),
        (parts(), "researcher", request("GET", "http://plain.test/")),
        (parts(), "researcher", request("GET", "https://169.254.169.254/latest")),
    ] {
        let found = why(&parts, &caller(agent, &[]), &request, NOW);
        assert!(!found.enough && found.changes.is_empty(), "{found:?}");
    }
}

#[test]
fn misses_tell_granted_ones_first_and_then_the_nearest() {
    let mut parts = parts();
    for (text, methods, paths) in
        [("far", "DELETE", "/none"), ("near", "POST", "/repos/x/issues"), ("same", "GET", "/**")]
    {
        parts.credentials.push(credential(text, &spec("https://api.github.test", &[methods], &[paths], &[])));
    }
    parts.grants.push(grant(11, "researcher", "far"));
    let asked = request("GET", "https://api.github.test/repos/x/issues?q=1");
    let found = why(&parts, &caller("researcher", &[]), &asked, NOW);
    let told: Vec<_> =
        found.misses.iter().map(|miss| (miss.credential.as_str(), miss.granted, miss.mismatch)).collect();
    let expected = [
        ("github", true, Some(Mismatch::Query)),
        ("far", true, Some(Mismatch::Path)),
        ("same", false, Some(Mismatch::Query)),
        ("near", false, Some(Mismatch::Method)),
    ];
    assert_eq!(told, expected);
}

const AGENTS: [&str; 3] = ["a", "b", "c"];
const HOSTS: [&str; 3] = ["https://one.test", "https://two.test", "http://127.0.0.1:80"];
const METHODS: [&str; 2] = ["GET", "POST"];
const PATHS: [&str; 3] = ["/x", "/x/y", "/z"];
const PATTERNS: [&str; 5] = ["/x", "/x/*", "/x/**", "/**", "/z"];
const KEYS: [&str; 2] = ["k", "l"];
const FACTS: [&str; 2] = ["session:contained:open", "session:contained:work"];

fn some(all: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(all, 1..=all.len())
}

fn any_of(all: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(all, 0..=all.len())
}

prop_compose! {
    fn bindings()(
        host in proptest::sample::select(&HOSTS[..]),
        methods in some(&METHODS),
        paths in some(&PATTERNS),
        query in any_of(&KEYS),
        facts in any_of(&FACTS),
        slot in 0..2_u8,
    ) -> BindingSpec {
        let slot = match slot {
            0 => SlotSpec::Bearer,
            _ => SlotSpec::Header { name: "x-key".to_owned(), prefix: None },
        };
        let requires = facts.into_iter().map(str::to_owned).collect();
        BindingSpec { slot, requires, ..spec(host, &methods, &paths, &query) }
    }
}

prop_compose! {
    fn policies()(
        bound in proptest::collection::vec(bindings(), 0..6),
        granted in proptest::collection::btree_set((0..AGENTS.len(), 0..6_usize), 0..10),
        locked in proptest::collection::vec(0..=AGENTS.len(), 0..3),
    ) -> StateParts {
        let credentials: Vec<Credential> =
            bound.iter().enumerate().map(|(at, spec)| credential(&format!("c{at}"), spec)).collect();
        let granted = granted.into_iter().filter(|(_, to)| *to < credentials.len());
        let grants = (0..).zip(granted).map(|(n, (agent, to))| grant(n, AGENTS[agent], credentials[to].name.as_str()));
        let target = |at: usize| AGENTS.get(at).map_or(LockTarget::Everything, |agent| LockTarget::Agent(name(agent)));
        let locks = (100..).zip(locked).map(|(n, at)| Lock { id: id(n), target: target(at), expires: None });
        StateParts {
            agents: AGENTS.map(|agent| Agent { name: name(agent), state: AgentState::Active }).to_vec(),
            grants: grants.collect(),
            locks: locks.collect(),
            bound_origins: vec![Origin::parse("https://one.test").unwrap()],
            credentials,
            ..StateParts::default()
        }
    }
}

/// Every agent with every request of a small world.
fn universe() -> Vec<(&'static str, CanonicalRequest)> {
    let mut all = Vec::new();
    for agent in AGENTS {
        for host in HOSTS {
            for method in METHODS {
                for path in PATHS {
                    for query in ["", "?k=1", "?k=1&l=2"] {
                        all.push((agent, request(method, &format!("{host}{path}{query}"))));
                    }
                }
            }
        }
    }
    all
}

/// Whether a change speaks of this decision: only such ones may it turn.
fn speaks_of(change: &Change, before: &StateParts, agent: &str, of: &str, request: &CanonicalRequest) -> bool {
    let binding = |wanted: &Name| {
        let found = before.credentials.iter().find(|credential| credential.name == *wanted);
        found.map(|credential| credential.binding.clone())
    };
    match change {
        Change::ReleaseLock(id) => {
            before.locks.iter().any(|lock| lock.id == *id && (lock.target == LockTarget::Everything || agent == of))
        }
        Change::Grant(credential) => {
            agent == of && binding(credential).is_some_and(|binding| binding.admits(request).is_ok())
        }
        Change::Bind { binding, .. } => agent == of && binding.admits(request).is_ok(),
        Change::Widen { credential, binding: wider } => {
            let held = before.grants.iter().any(|grant| grant.agent == name(agent) && grant.credential == *credential);
            let held = held || agent == of;
            let newly = binding(credential).is_some_and(|narrow| narrow.admits(request).is_err());
            held && newly && wider.admits(request).is_ok()
        }
        Change::DeleteGrant(id) => {
            let gone = before.grants.iter().find(|grant| grant.id == *id);
            agent == of
                && gone.and_then(|grant| binding(&grant.credential)).is_some_and(|held| held.admits(request).is_ok())
        }
        Change::Require(_) => agent == of,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Delight 5: what is suggested turns this decision, and none that it does not speak of.
    #[test]
    fn the_suggested_change_turns_that_decision_and_no_other(
        before in policies(),
        at in any::<proptest::sample::Index>(),
        facts in any_of(&FACTS),
    ) {
        let all = universe();
        let (of, asked) = at.get(&all);
        let who = caller(of, &facts);
        let found = why(&before, &who, asked, NOW);
        let was_allowed = matches!(judge(&before, &who, asked, NOW), Now::Allowed(_));
        prop_assert_eq!(was_allowed, found.changes.is_empty());
        prop_assert!(found.enough);

        let (mut after, mut then) = (before.clone(), who.clone());
        for change in &found.changes {
            prop_assert!(!matches!(judge(&after, &then, asked, NOW), Now::Allowed(_)), "{:?} is not needed", change);
            change.apply(&mut after, &mut then, NOW);
        }
        prop_assert!(matches!(judge(&after, &then, asked, NOW), Now::Allowed(_)));
        for (agent, request) in &all {
            let (one, other) = (caller(agent, &facts), Caller { agent: name(agent), ..then.clone() });
            let other = if agent == of { other } else { one.clone() };
            let allowed = |parts: &StateParts, caller: &Caller| matches!(judge(parts, caller, request, NOW), Now::Allowed(_));
            if allowed(&before, &one) != allowed(&after, &other) {
                let spoken = found.changes.iter().any(|change| speaks_of(change, &before, agent, of, request));
                prop_assert!(spoken, "{} {:?} was turned by {:?}", agent, request, found.changes);
            }
        }
    }

    /// A new binding is for one request, and opens nothing to anyone else.
    #[test]
    fn a_suggested_binding_goes_with_one_method_and_path(before in policies(), at in any::<proptest::sample::Index>()) {
        let all = universe();
        let (of, asked) = at.get(&all);
        for change in why(&before, &caller(of, &[]), asked, NOW).changes {
            let Change::Bind { credential, binding } = change else { continue };
            prop_assert!(before.credentials.iter().all(|known| known.name != credential));
            for (_, other) in &all {
                let same = (other.origin(), other.method(), other.path()) == (asked.origin(), asked.method(), asked.path());
                prop_assert!(same || binding.admits(other).is_err());
            }
        }
    }
}
