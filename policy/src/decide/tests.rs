//! The decision's own promises, by example and by chance.

mod placeholders;

use super::*;
use crate::binding::{BindingSpec, Mismatch, SlotSpec};
use crate::origin::Origin;
use crate::refusal::RefusalCode;
use crate::request::{Body, CanonicalRequest};
use crate::state::{Agent, Credential, Grant, Lock, LockTarget, StateParts};
use avouch_words::Reference;
use proptest::prelude::*;
use std::collections::BTreeSet;

const NOW: Millis = Millis(1_800_000_000_000);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn id(number: u8) -> Ulid {
    Ulid::new(Millis(1_700_000_000_000), [number; 10])
}

fn caller(agent: &str) -> Caller {
    Caller { agent: name(agent), instance: id(1), session: id(2), facts: Arc::default(), contained: false }
}

fn spec(slot: SlotSpec, path: &str) -> BindingSpec {
    BindingSpec {
        to: "https://api.test".to_owned(),
        methods: vec!["GET".to_owned()],
        paths: vec![path.to_owned()],
        query: vec!["page".to_owned()],
        slot,
        plain: None,
        address: None,
        ca: None,
        environment: None,
        requires: Vec::new(),
        placeholder_in_body: None,
        reveal: false,
        rotate: None,
    }
}

fn header(header: &str) -> SlotSpec {
    SlotSpec::Header { name: header.to_owned(), prefix: None }
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

/// `researcher` may use `github` (bearer) and `extra` (x-extra) on `/repos/**`; `intruder` may use nothing.
fn parts() -> StateParts {
    StateParts {
        version: 7,
        agents: ["researcher", "intruder"].map(|agent| Agent { name: name(agent), state: AgentState::Active }).to_vec(),
        credentials: vec![
            credential("github", &spec(SlotSpec::Bearer, "/repos/**")),
            credential("extra", &spec(header("x-extra"), "/repos/**")),
        ],
        grants: vec![grant(10, "researcher", "github"), grant(11, "researcher", "extra")],
        bound_origins: vec![Origin::parse("https://other.test").unwrap()],
        ..StateParts::default()
    }
}

fn ask(parts: StateParts, agent: &str, method: &str, url: &str) -> Verdict {
    let request = CanonicalRequest::from_absolute_form(method.as_bytes(), url.as_bytes(), Body::None).unwrap();
    decide(&PolicyState::new(parts), &caller(agent), request, NOW, id(99))
}

fn denied(verdict: Verdict) -> Denial {
    match verdict {
        Verdict::Deny(denial) => denial,
        other => panic!("{other:?}"),
    }
}

fn allowed(verdict: Verdict) -> Permit {
    match verdict {
        Verdict::Allow(permit) => permit,
        other => panic!("{other:?}"),
    }
}

const URL: &str = "https://api.test/repos/x?page=2";

#[test]
fn all_slots_are_filled_and_the_permit_holds_what_was_judged() {
    let permit = allowed(ask(parts(), "researcher", "GET", URL));
    let fills: Vec<_> =
        permit.fills().iter().map(|fill| (fill.credential().as_str(), fill.slot().header(), fill.grants())).collect();
    assert_eq!(fills, [("extra", "x-extra", &[id(11)][..]), ("github", "authorization", &[id(10)][..])]);
    assert_eq!((permit.decision(), permit.policy_version(), permit.caller()), (id(99), 7, &caller("researcher")));
    assert_eq!(permit.request().target(), "/repos/x?page=2");
    assert_eq!(permit.fills()[1].source(), &name("sealed"));
    assert_eq!(permit.fills()[1].binding(), parts().credentials[0].binding.digest());
    let host = permit.request().origin().host().clone();
    assert_eq!(permit.dial(), &Dial::Resolve { host, port: 443, plain_loopback: false });
}

#[test]
fn another_path_method_query_or_agent_is_refused_with_one_text() {
    let miss = |credential: &str, mismatch| Some(Miss { credential: name(credential), mismatch });
    let table = [
        ("researcher", "GET", "https://api.test/admin", miss("extra", Mismatch::Path)),
        ("researcher", "DELETE", URL, miss("extra", Mismatch::Method)),
        ("researcher", "GET", "https://api.test/repos/x?_method=DELETE", miss("extra", Mismatch::Query)),
        ("researcher", "GET", "http://api.test:443/repos/x", miss("extra", Mismatch::Origin)),
        ("researcher", "GET", "https://other.test/repos/x", miss("extra", Mismatch::Origin)),
        ("intruder", "GET", URL, None),
    ];
    for (agent, method, url, nearest) in table {
        let denial = denied(ask(parts(), agent, method, url));
        assert_eq!(denial.reason(), &Reason::NotGranted { nearest }, "{agent} {method} {url}");
        assert_eq!((denial.refusal(), denial.decision()), (RefusalCode::Denied, id(99)));
    }
    let stranger = denied(ask(parts(), "stranger", "GET", URL));
    assert_eq!((stranger.reason(), stranger.refusal()), (&Reason::UnknownAgent, RefusalCode::Denied));
}

#[test]
fn the_nearest_miss_is_the_nearest() {
    let mut parts = parts();
    parts.credentials.push(credential("wide", &spec(header("x-wide"), "/**")));
    parts.grants.push(grant(12, "researcher", "wide"));
    let denial = denied(ask(parts, "researcher", "GET", "https://api.test/admin?x=1"));
    assert_eq!(
        denial.reason(),
        &Reason::NotGranted { nearest: Some(Miss { credential: name("wide"), mismatch: Mismatch::Query }) }
    );
    assert!(denial.reason().to_string().contains("wide"));
}

#[test]
fn a_session_without_a_required_fact_is_refused_with_the_one_text() {
    let mut parts = parts();
    let contained = BindingSpec { requires: vec!["session:contained:work".to_owned()], ..spec(SlotSpec::Bearer, "/w") };
    parts.credentials.push(credential("walled", &contained));
    parts.grants.push(grant(12, "researcher", "walled"));
    let state = PolicyState::new(parts);
    let ask = |facts: &[&str]| {
        let facts = Arc::new(facts.iter().map(|fact| Selector::parse(fact).unwrap()).collect());
        let request = CanonicalRequest::from_absolute_form(b"GET", b"https://api.test/w", Body::None).unwrap();
        decide(&state, &Caller { facts, ..caller("researcher") }, request, NOW, id(99))
    };
    for facts in [&[][..], &["session:contained:open"], &["session:agent:researcher"]] {
        let denial = denied(ask(facts));
        let nearest = Some(Miss { credential: name("walled"), mismatch: Mismatch::Requires });
        assert_eq!((denial.reason(), denial.refusal()), (&Reason::NotGranted { nearest }, RefusalCode::Denied));
    }
    let permit = allowed(ask(&["session:contained:open", "session:contained:work"]));
    assert_eq!(permit.fills()[0].credential(), &name("walled"));
}

#[test]
fn only_an_active_agent_is_permitted_anything() {
    for state in [AgentState::Registered, AgentState::Suspended, AgentState::Quarantined, AgentState::Retired] {
        let mut parts = parts();
        parts.agents[0].state = state;
        for url in [URL, "http://unbound.test/"] {
            let denial = denied(ask(parts.clone(), "researcher", "GET", url));
            assert_eq!((denial.reason(), denial.refusal()), (&Reason::NotActive { state }, RefusalCode::Denied));
        }
    }
}

#[test]
fn two_credentials_for_one_header_are_ambiguous() {
    for slot in [SlotSpec::Basic { username: "x".to_owned() }, header("Authorization"), SlotSpec::Bearer] {
        let mut parts = parts();
        parts.credentials.push(credential("second", &spec(slot, "/repos/x")));
        parts.grants.push(grant(12, "researcher", "second"));
        let denial = denied(ask(parts.clone(), "researcher", "GET", URL));
        let credentials = vec![name("github"), name("second")];
        assert_eq!(denial.reason(), &Reason::AmbiguousSlot { header: "authorization".to_owned(), credentials });
        assert_eq!(denial.refusal(), RefusalCode::AmbiguousCredential);
        // Where only one of them goes, there is no question.
        assert_eq!(allowed(ask(parts, "researcher", "GET", "https://api.test/repos/y")).fills().len(), 2);
    }
}

#[test]
fn two_grants_of_one_credential_are_one_fill() {
    let mut parts = parts();
    parts.grants.push(grant(9, "researcher", "github"));
    assert_eq!(allowed(ask(parts, "researcher", "GET", URL)).fills()[1].grants(), [id(9), id(10)]);
}

#[test]
fn credentials_filled_together_go_one_way() {
    let address = |text: &str| BindingSpec { address: Some(text.to_owned()), ..spec(header("x-extra"), "/repos/**") };
    let mut parts = parts();
    parts.credentials[1] = credential("extra", &address("10.0.0.1:8443"));
    let denial = denied(ask(parts.clone(), "researcher", "GET", URL));
    assert_eq!(denial.reason(), &Reason::AmbiguousRoute { credentials: vec![name("extra"), name("github")] });
    parts.grants.remove(0);
    let permit = allowed(ask(parts, "researcher", "GET", URL));
    assert_eq!(permit.dial(), &Dial::Address("10.0.0.1:8443".parse().unwrap()));
}

#[test]
fn a_literal_host_is_dialled_as_it_is() {
    let plain = Some(crate::binding::Plain::Loopback);
    let spec = BindingSpec { to: "http://127.0.0.1:8080".to_owned(), plain, ..spec(SlotSpec::Bearer, "/repos/**") };
    let mut parts = parts();
    parts.credentials = vec![credential("github", &spec)];
    let permit = allowed(ask(parts, "researcher", "GET", "http://127.0.0.1:8080/repos/x"));
    assert_eq!(permit.dial(), &Dial::Address("127.0.0.1:8080".parse().unwrap()));
}

#[test]
fn what_no_credential_of_the_domain_binds_is_unbound() {
    let Verdict::Unbound(passage) = ask(parts(), "intruder", "GET", "http://unbound.test/x") else {
        panic!("bound");
    };
    assert_eq!((passage.request().target(), passage.decision(), passage.policy_version()), ("/x", id(99), 7));
    assert_eq!(passage.caller(), &caller("intruder"));
    // Bound by someone else's credential, whose name this node does not know: never let through.
    assert_eq!(denied(ask(parts(), "intruder", "GET", "http://other.test:443/x")).refusal(), RefusalCode::Denied);
}

#[test]
fn a_lock_stops_its_agent_until_it_runs_out() {
    let locked = |target, expires| {
        let mut parts = parts();
        parts.locks = vec![Lock { id: id(50), target, expires }];
        parts
    };
    let researcher = || LockTarget::Agent(name("researcher"));
    for url in [URL, "http://unbound.test/"] {
        for expires in [None, Some(NOW.plus(std::time::Duration::from_millis(1)))] {
            for target in [researcher(), LockTarget::Everything] {
                let denial = denied(ask(locked(target, expires), "researcher", "GET", url));
                assert_eq!(
                    (denial.reason(), denial.refusal()),
                    (&Reason::Locked { lock: id(50) }, RefusalCode::Denied)
                );
            }
        }
    }
    allowed(ask(locked(researcher(), Some(NOW)), "researcher", "GET", URL));
    allowed(ask(locked(LockTarget::Agent(name("intruder")), None), "researcher", "GET", URL));
}

#[test]
fn the_pool_key_tells_bindings_and_credentials_apart() {
    let key = |change: &dyn Fn(&mut StateParts)| {
        let mut parts = parts();
        change(&mut parts);
        allowed(ask(parts, "researcher", "GET", URL)).pool_key()
    };
    let same = key(&|_| {});
    assert_eq!(same, key(&|parts| parts.grants.reverse()));
    assert_ne!(same, key(&|parts| parts.grants.truncate(1)));
    assert_ne!(same, key(&|parts| parts.credentials[0] = credential("github", &spec(SlotSpec::Bearer, "/repos/x"))));
    let renamed = |parts: &mut StateParts| {
        parts.credentials[0].name = name("github2");
        parts.grants[0].credential = name("github2");
    };
    assert_ne!(same, key(&renamed));
}

const PATHS: [&str; 4] = ["/**", "/repos/**", "/repos/*", "/admin"];
const URLS: [&str; 6] = [
    "https://api.test/repos/x",
    "https://api.test/repos/x?page=1",
    "https://api.test/repos/x?other=1",
    "https://api.test/admin",
    "https://other.test/x",
    "https://unbound.test/x",
];

prop_compose! {
    fn any_parts()(
        credentials in prop::collection::vec((0usize..4, 0usize..4), 0..6),
        grants in prop::collection::vec((any::<bool>(), 0usize..6), 0..8),
        locks in prop::collection::vec((0usize..3, prop::option::of(-1i64..2)), 0..3),
    ) -> StateParts {
        let slots = [SlotSpec::Bearer, SlotSpec::Basic { username: "u".to_owned() }, header("x-a"), header("x-b")];
        StateParts {
            credentials: credentials.iter().enumerate()
                .map(|(at, (slot, path))| credential(&format!("c{at}"), &spec(slots[*slot].clone(), PATHS[*path]))).collect(),
            grants: grants.iter().enumerate()
                .map(|(at, (one, which))| grant(at as u8, if *one { "researcher" } else { "intruder" }, &format!("c{which}"))).collect(),
            locks: locks.iter().map(|(target, expires)| Lock {
                id: id(50 + *target as u8),
                target: [LockTarget::Agent(name("researcher")), LockTarget::Agent(name("intruder")), LockTarget::Everything][*target].clone(),
                expires: expires.map(|offset| Millis(NOW.0 + offset)),
            }).collect(),
            ..parts()
        }
    }
}

/// Everything about a verdict that anyone could see.
fn seen(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow(permit) => format!("{permit:?}"),
        Verdict::Deny(denial) => format!("{denial:?}"),
        Verdict::Unbound(passage) => format!("{passage:?}"),
    }
}

fn filled(verdict: &Verdict) -> BTreeSet<String> {
    match verdict {
        Verdict::Allow(permit) => permit.fills().iter().map(|fill| fill.credential().to_string()).collect(),
        Verdict::Deny(_) | Verdict::Unbound(_) => BTreeSet::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_injected_was_granted_and_admitted_on_the_same_object(parts in any_parts(), url in 0usize..6) {
        let request = CanonicalRequest::from_absolute_form(b"GET", URLS[url].as_bytes(), Body::None).unwrap();
        if let Verdict::Allow(permit) = ask(parts.clone(), "researcher", "GET", URLS[url]) {
            prop_assert_eq!(permit.request(), &request);
            let mut headers = BTreeSet::new();
            for fill in permit.fills() {
                let credential = parts.credentials.iter().find(|held| &held.name == fill.credential()).unwrap();
                prop_assert_eq!(credential.binding.admits(permit.request()), Ok(()));
                prop_assert_eq!(credential.binding.digest(), fill.binding());
                prop_assert!(headers.insert(fill.slot().header().to_owned()));
                prop_assert!(!fill.grants().is_empty());
                for rule in fill.grants() {
                    let grant = parts.grants.iter().find(|grant| grant.id == *rule).unwrap();
                    prop_assert_eq!((&grant.agent, &grant.credential), (&name("researcher"), fill.credential()));
                }
            }
            prop_assert!(!permit.fills().is_empty());
        }
    }

    #[test]
    fn a_lock_always_denies(mut parts in any_parts(), url in 0usize..6, everything in any::<bool>()) {
        let target = if everything { LockTarget::Everything } else { LockTarget::Agent(name("researcher")) };
        parts.locks.push(Lock { id: id(51), target, expires: None });
        let denial = denied(ask(parts, "researcher", "GET", URLS[url]));
        prop_assert_eq!(denial.reason().rule(), "locked");
    }

    #[test]
    fn removing_a_grant_never_widens(parts in any_parts(), url in 0usize..6, which in any::<prop::sample::Index>()) {
        prop_assume!(!parts.grants.is_empty());
        let before = ask(parts.clone(), "researcher", "GET", URLS[url]);
        let mut fewer = parts.clone();
        fewer.grants.remove(which.index(parts.grants.len()));
        let after = ask(fewer, "researcher", "GET", URLS[url]);
        match &before {
            Verdict::Allow(_) => prop_assert!(filled(&after).is_subset(&filled(&before))),
            // Ambiguity may end, and what is then filled was granted and admitted before.
            Verdict::Deny(denial) if denial.refusal() == RefusalCode::AmbiguousCredential => {}
            Verdict::Deny(_) => prop_assert!(matches!(after, Verdict::Deny(_))),
            Verdict::Unbound(_) => prop_assert!(matches!(after, Verdict::Unbound(_))),
        }
    }

    #[test]
    fn order_never_shows(parts in any_parts(), url in 0usize..6, seed in any::<u64>()) {
        let mut shuffled = parts.clone();
        let turn = |len: usize| if len == 0 { 0 } else { (seed % len as u64) as usize };
        let turns = (turn(parts.credentials.len()), turn(parts.grants.len()));
        shuffled.credentials.rotate_left(turns.0);
        shuffled.grants.rotate_left(turns.1);
        shuffled.agents.reverse();
        shuffled.locks.reverse();
        if seed % 2 == 0 {
            shuffled.credentials.reverse();
            shuffled.grants.reverse();
        }
        let (one, other) = (ask(parts, "researcher", "GET", URLS[url]), ask(shuffled, "researcher", "GET", URLS[url]));
        prop_assert_eq!(seen(&one), seen(&other));
    }
}
