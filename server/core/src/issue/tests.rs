use super::*;
use crate::agent::Registration;
use crate::lock::LockTarget;
use avouch_words::Name;

struct Scene {
    domain: TrustDomain,
    node: Node,
    agent: Agent,
    instance: Instance,
    locks: Vec<Lock>,
    reserved: ReservedAudiences,
}

const NOW: Millis = Millis(1_700_000_000_000);

fn registration() -> Registration {
    Registration {
        name: "researcher".into(),
        owner: "me@example.test".into(),
        nodes: vec!["node:name:laptop".into()],
        selectors: vec!["unix:uid:1".into()],
        jwt_ttl_seconds: 3600,
        ..Registration::default()
    }
}

fn scene() -> Scene {
    let domain = TrustDomain::parse("example.test").unwrap();
    let agent = registration().check(NOW).unwrap();
    let node = node::tests::node("laptop");
    Scene {
        reserved: ReservedAudiences::new(&domain, ["https://vault.test".to_owned()]),
        instance: Instance {
            id: Ulid::new(NOW, [1; 10]),
            agent: agent.name.clone(),
            node: node.name.clone(),
            started: NOW,
            ended: None,
        },
        locks: Vec::new(),
        domain,
        node,
        agent,
    }
}

impl Scene {
    fn asked(&self) -> Asked<'_> {
        Asked {
            node: &self.node,
            agent: Some(&self.agent),
            instance: self.instance.id,
            known: Some(&self.instance),
            locks: &self.locks,
            now: NOW,
        }
    }

    /// All decisions have to come out the same.
    #[track_caller]
    fn denied(&self, asked: &Asked<'_>, denial: Denial) {
        let jwt = super::jwt(&self.domain, asked, &["x".to_owned()], &self.reserved, &[]);
        assert_eq!(x509(&self.domain, asked).map(|_| ()), Err(denial));
        assert_eq!(jwt.map(|_| ()), Err(denial));
        assert_eq!(brokered(&self.domain, asked, "https://vault.test", &self.reserved).map(|_| ()), Err(denial));
        assert_eq!(brokered_x509(&self.domain, asked).map(|_| ()), Err(denial));
        assert_eq!(super::instance(asked), Err(denial));
    }
}

#[test]
fn an_agent_on_its_node_gets_its_own_identity() {
    let scene = scene();
    let permit = x509(&scene.domain, &scene.asked()).unwrap();
    assert_eq!((permit.id().as_str(), permit.rule()), ("spiffe://example.test/agent/researcher", Rule::AgentOnNode));
    let first = Asked { known: None, ..scene.asked() };
    assert!(x509(&scene.domain, &first).is_ok(), "the first request makes the instance known");
}

/// Case H01.
#[test]
fn a_node_gets_only_agents_that_may_run_on_it() {
    let scene = scene();
    let other = node::tests::node("other");
    scene.denied(&Asked { node: &other, known: None, ..scene.asked() }, Denial::NodeNotAllowed);
    scene.denied(&Asked { agent: None, ..scene.asked() }, Denial::AgentUnknown);
    let nowhere = Agent { nodes: Vec::new(), ..scene.agent.clone() };
    scene.denied(&Asked { agent: Some(&nowhere), ..scene.asked() }, Denial::NodeNotAllowed);
    let banned = Node { banned: Some(NOW), ..scene.node.clone() };
    scene.denied(&Asked { node: &banned, ..scene.asked() }, Denial::Node);
}

#[test]
fn a_locked_agent_gets_nothing_until_the_lock_ends() {
    let mut scene = scene();
    let target = LockTarget::Agent(Name::parse("researcher").unwrap());
    let id = Ulid::new(NOW, [2; 10]);
    scene.locks = vec![Lock::check(id, target, "test", "uid:0", Duration::from_secs(10), NOW).unwrap()];
    scene.denied(&scene.asked(), Denial::Locked(id));
    let later = Asked { now: NOW.plus(Duration::from_secs(10)), ..scene.asked() };
    assert!(x509(&scene.domain, &later).is_ok());
}

#[test]
fn an_instance_belongs_to_one_node_and_one_agent_and_ends_for_good() {
    let scene = scene();
    let moved = Instance { node: Name::parse("other").unwrap(), ..scene.instance.clone() };
    scene.denied(&Asked { known: Some(&moved), ..scene.asked() }, Denial::InstanceElsewhere);
    let taken = Instance { agent: Name::parse("intruder").unwrap(), ..scene.instance.clone() };
    scene.denied(&Asked { known: Some(&taken), ..scene.asked() }, Denial::InstanceElsewhere);
    let ended = Instance { ended: Some(NOW), ..scene.instance.clone() };
    scene.denied(&Asked { known: Some(&ended), ..scene.asked() }, Denial::InstanceNotLive);
}

/// Case S13: alone or beside others, as exact bytes.
#[test]
fn reserved_audiences_are_refused_to_workloads() {
    let scene = scene();
    let ask = |audience: &[&str]| {
        let audience: Vec<String> = audience.iter().map(ToString::to_string).collect();
        jwt(&scene.domain, &scene.asked(), &audience, &scene.reserved, &[]).map(|_| ())
    };
    for reserved in ["avouch", "spiffe://example.test/issuer", "spiffe://example.test", "https://vault.test"] {
        assert_eq!(ask(&[reserved]), Err(Denial::AudienceReserved), "{reserved}");
        assert_eq!(ask(&["x", reserved]), Err(Denial::AudienceReserved), "{reserved}");
    }
    assert_eq!(ask(&["https://vault.test/", "Avouch"]), Ok(()));
    for invalid in [&[][..], &[""], &["a\n"], &["x"; MAX_AUDIENCES + 1], &[&"x".repeat(MAX_AUDIENCE + 1)]] {
        assert_eq!(ask(invalid), Err(Denial::AudienceInvalid));
    }
}

/// Invariant 10: an operator may open a source's audience to an agent, and the subject is still the agent's own.
#[test]
fn a_sources_audience_that_was_opened_is_signed_for_the_agents_own_id_and_avouchs_own_never() {
    let scene = scene();
    let opened = ["https://vault.test", "avouch"];
    let ask = |audience: &str| jwt(&scene.domain, &scene.asked(), &[audience.to_owned()], &scene.reserved, &opened);
    assert_eq!(ask("https://vault.test").unwrap().id().as_str(), "spiffe://example.test/agent/researcher");
    assert_eq!(ask("avouch").map(|_| ()), Err(Denial::AudienceReserved));
    let other = jwt(&scene.domain, &scene.asked(), &["https://vault.test".to_owned()], &scene.reserved, &["other"]);
    assert_eq!(other.map(|_| ()), Err(Denial::AudienceReserved));
}

#[test]
fn a_brokered_identity_is_for_one_source_and_a_live_instance_and_is_short() {
    let scene = scene();
    let permit = brokered(&scene.domain, &scene.asked(), "https://vault.test", &scene.reserved).unwrap();
    assert_eq!(permit.id().as_str(), "spiffe://example.test/brokered/agent/researcher");
    assert_eq!(permit.ttl(), MAX_BROKERED_TTL, "the agent's own tokens live an hour");
    for audience in ["avouch", "spiffe://example.test/issuer", "anything", ""] {
        let denied = brokered(&scene.domain, &scene.asked(), audience, &scene.reserved).map(|_| ());
        assert_eq!(denied, Err(Denial::AudienceNotASource), "{audience}");
    }
    let unseen = Asked { known: None, ..scene.asked() };
    let denied = brokered(&scene.domain, &unseen, "https://vault.test", &scene.reserved).map(|_| ());
    assert_eq!(denied, Err(Denial::InstanceNotLive));
    assert_eq!(brokered_x509(&scene.domain, &unseen).map(|_| ()), Err(Denial::InstanceNotLive));
    let permit = brokered_x509(&scene.domain, &scene.asked()).unwrap();
    assert_eq!(
        (permit.id().as_str(), permit.ttl()),
        ("spiffe://example.test/brokered/agent/researcher", MAX_BROKERED_TTL)
    );
}

#[test]
fn a_node_enters_sources_as_itself_or_as_an_agent_that_is_none() {
    let scene = scene();
    let permit = |bearer: &Bearer| {
        brokered_bearer(&scene.domain, &scene.node, bearer, "https://vault.test", &scene.reserved).unwrap()
    };
    let node = permit(&Bearer::Node);
    assert_eq!(node.id().as_str(), "spiffe://example.test/brokered/node/laptop");
    assert_eq!((node.instance(), node.ttl()), (None, MAX_BROKERED_TTL));
    let rng = ring::rand::SystemRandom::new();
    let (one, other) = (Probe::new(&rng).unwrap(), Probe::new(&rng).unwrap());
    assert_ne!(one, other);
    let probe = permit(&Bearer::Probe(one.clone()));
    assert_eq!(probe.id(), &scene.domain.brokered_agent(one.name()));
    assert_eq!((probe.instance(), probe.ttl()), (None, PROBE_TTL));
    let banned = Node { banned: Some(NOW), ..scene.node.clone() };
    for bearer in [Bearer::Node, Bearer::Probe(one.clone())] {
        let ask = |node: &Node, audience: &str| {
            brokered_bearer(&scene.domain, node, &bearer, audience, &scene.reserved).map(|_| ())
        };
        for audience in ["avouch", "spiffe://example.test/issuer", "anything", ""] {
            assert_eq!(ask(&scene.node, audience), Err(Denial::AudienceNotASource), "{audience}");
        }
        assert_eq!(ask(&banned, "https://vault.test"), Err(Denial::Node));
        assert_eq!(brokered_bearer_x509(&scene.domain, &banned, &bearer).map(|_| ()), Err(Denial::Node));
    }
    let registered = Registration { name: one.name().to_string(), ..registration() };
    assert_eq!(registered.check(NOW).map_err(|invalid| invalid.field), Err("name"), "no agent can have that name");
}
