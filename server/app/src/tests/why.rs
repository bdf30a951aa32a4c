use super::audit::Spool;
use super::*;
use avouch_audit::entry::Entry;
use avouch_audit::field::{Code, Count, Outside};
use avouch_audit::record::{Caller, HelperEvent, Mode, Outcome, Request};
use avouch_words::{Millis, Name};

fn decision(n: u8) -> Ulid {
    Ulid::new(Millis(1_700_000_000_000), [n; 10])
}

fn caller() -> Caller {
    Caller { agent: Name::parse("researcher").unwrap(), instance: decision(90), session: Some(decision(91)) }
}

fn call(method: &str, path: &str, keys: &str) -> Request {
    Request {
        scheme: Code::of("https"),
        host: Outside::of("api.test"),
        port: 443,
        method: Outside::of(method),
        path: Outside::of(path),
        query_keys: Outside::of(keys),
    }
}

fn denied(n: u8, request: Request) -> HelperEvent {
    HelperEvent::Denied {
        decision: decision(n),
        caller: caller(),
        refusal: Code::of("denied"),
        reason: Code::of("not_granted"),
        mismatch: None,
        lock: None,
        credentials: Vec::new(),
        request: Some(request),
        policy_version: Count(1),
    }
}

fn intent(n: u8) -> HelperEvent {
    HelperEvent::Intent {
        decision: decision(n),
        caller: caller(),
        request: call("GET", "/x", ""),
        uses: Vec::new(),
        policy_version: Count(1),
        mode: Mode::Each,
    }
}

fn failed(n: u8) -> HelperEvent {
    HelperEvent::Outcome {
        decision: decision(n),
        agent: Name::parse("researcher").unwrap(),
        outcome: Outcome::Error { kind: Code::of("source_unavailable"), status: None },
        reflected: false,
        stripped: false,
        bytes: Count(0),
        duration_us: Count(1),
    }
}

/// A node with one agent, a credential for `GET /x?page`, and these records in the log.
async fn with(records: impl IntoIterator<Item = HelperEvent>) -> (Running, TestNode) {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let binding =
        br#"{"to":"https://api.test:443","methods":["GET"],"paths":["/x"],"query":["page"],"slot":"bearer"}"#.to_vec();
    let put =
        admin::PutCredentialRequest { name: "github".into(), source: "sealed".into(), binding, ..Default::default() };
    running.admin().await.put_credential(put).await.unwrap();
    let mut spool = Spool::open(&running, &node, 1, None).await;
    let records = records.into_iter().map(|event| spool.seal(event)).collect();
    spool.ship(records).await.unwrap();
    (running, node)
}

async fn why(running: &Running, n: u8) -> Result<admin::WhyReply, Status> {
    let request = admin::WhyRequest { decision: decision(n).to_string() };
    running.admin().await.why(request).await.map(tonic::Response::into_inner)
}

fn changes(reply: &admin::WhyReply) -> Vec<admin::change::Kind> {
    reply.now.as_ref().unwrap().changes.iter().map(|change| change.kind.clone().unwrap()).collect()
}

#[tokio::test]
async fn why_tells_the_record_and_what_would_change_it_as_things_are_now() {
    use admin::change::Kind;
    let (running, _node) = with([denied(1, call("GET", "/x", "page")), denied(2, call("GET", "/x", "page&q"))]).await;
    let reply = why(&running, 1).await.unwrap();
    let entry = Entry::decode(&reply.entries[0]).unwrap();
    assert_eq!((reply.entries.len(), entry.body.code()), (1, "broker.denied"));
    let now = reply.now.as_ref().unwrap();
    assert_eq!((now.verdict.as_str(), now.rule.as_str(), now.enough), ("denied", "not_granted", true));
    assert_eq!(changes(&reply), [Kind::Grant("github".into())]);
    assert_eq!((now.misses[0].credential.as_str(), now.misses[0].granted), ("github", false));

    let grant = admin::CreateGrantRequest { agent: "researcher".into(), credential: "github".into() };
    running.admin().await.create_grant(grant).await.unwrap();
    running.lock("researcher").await;
    let [Kind::ReleaseLock(lock)] = &changes(&why(&running, 1).await.unwrap())[..] else { panic!("one lock") };
    running.admin().await.release_lock(admin::ReleaseLockRequest { id: lock.clone() }).await.unwrap();
    let reply = why(&running, 1).await.unwrap();
    assert_eq!((reply.now.as_ref().unwrap().verdict.as_str(), changes(&reply).len()), ("allowed", 0));
    // The keys of the query are on record, and the binding lacks one.
    let [Kind::Bind(bind)] = &changes(&why(&running, 2).await.unwrap())[..] else { panic!("one binding") };
    assert!(bind.replaces && String::from_utf8_lossy(&bind.binding).contains(r#""query":["page","q"]"#));
}

fn opened(n: u8, contained: Option<&str>, within: Option<u8>) -> HelperEvent {
    HelperEvent::SessionOpened {
        agent: Name::parse("researcher").unwrap(),
        session: decision(n),
        root_pid: 7,
        uid: 1000,
        listener_alone: false,
        contained: contained.map(|profile| Name::parse(profile).unwrap()),
        within: within.map(decision),
    }
}

/// The caller's session is 91; the profile of one around it narrows what it counts as.
#[tokio::test]
async fn why_knows_the_walls_that_the_session_was_verified_to_have() {
    use admin::change::Kind;
    for (records, profile, needs) in [
        (vec![], "", true),
        (vec![opened(91, None, None)], "", true),
        (vec![opened(91, Some("open"), None)], "open", true),
        (vec![opened(91, Some("strict"), None)], "strict", false),
        (vec![opened(92, Some("open"), None), opened(91, Some("work"), Some(92))], "work", true),
        (vec![opened(92, Some("work"), None), opened(91, Some("strict"), Some(92))], "strict", false),
    ] {
        let last = denied(1, call("GET", "/walled", ""));
        let (running, _node) = with(records.into_iter().chain([last])).await;
        let binding = br#"{"to":"https://api.test:443","methods":["GET"],"paths":["/walled"],"requires":["session:contained:work","session:agent:researcher"],"slot":"bearer"}"#;
        let put = admin::PutCredentialRequest {
            name: "walled".into(),
            source: "sealed".into(),
            binding: binding.to_vec(),
            ..Default::default()
        };
        running.admin().await.put_credential(put).await.unwrap();
        let reply = why(&running, 1).await.unwrap();
        let walls = Kind::Require("session:contained:work".into());
        assert_eq!(reply.contained, profile);
        assert_eq!(changes(&reply)[0], Kind::Grant("walled".into()));
        assert_eq!(changes(&reply).contains(&walls), needs, "{profile}: {:?}", changes(&reply));
    }
}

#[tokio::test]
async fn a_decision_that_is_not_on_record_is_not_found_and_a_wrong_id_is_said_to_be_one() {
    let (running, _node) = with([]).await;
    assert_eq!(word(why(&running, 1).await), "not_found");
    let request = admin::WhyRequest { decision: "denied".into() };
    assert_eq!(word(running.admin().await.why(request).await), "bad_request");
}

#[tokio::test]
async fn a_request_that_was_too_long_for_the_record_is_told_and_not_judged_again() {
    let long = format!("/{}", "a".repeat(4_000));
    let (running, _node) = with([denied(1, call("GET", &long, ""))]).await;
    let reply = why(&running, 1).await.unwrap();
    assert!(reply.now.is_none() && reply.entries.len() == 1);
}

#[tokio::test]
async fn refusals_are_told_newest_first_whether_before_or_after_the_intent() {
    let events = [denied(1, call("POST", "/x", "")), intent(2), failed(2), denied(3, call("GET", "/y", ""))];
    let (running, node) = with(events).await;
    let list = async |limit| {
        let request = admin::ListRefusalsRequest { limit };
        running.admin().await.list_refusals(request).await.unwrap().into_inner().refusals
    };
    let all = list(0).await;
    let told: Vec<_> = all.iter().map(|one| (one.decision.clone(), one.code.as_str(), one.path.as_str())).collect();
    let id = |n| decision(n).to_string();
    assert_eq!(told, [(id(3), "denied", "/y"), (id(2), "source_unavailable", "/x"), (id(1), "denied", "/x")]);
    assert_eq!((all[2].method.as_str(), all[2].origin.as_str()), ("POST", "https://api.test:443"));
    assert!(all.iter().all(|one| one.agent == "researcher" && one.node_id == node.svid.spiffe_id));
    assert_eq!(list(1).await, all[..1]);
}

#[tokio::test]
async fn status_names_the_operator_and_the_keys_and_instances_are_those_that_live() {
    let (running, node) = with([]).await;
    let status = running.admin().await.status(admin::StatusRequest {}).await.unwrap().into_inner();
    assert!(!status.operator.is_empty());
    let purposes: Vec<&str> = status.authorities.iter().map(|key| key.purpose.as_str()).collect();
    assert!(["x509", "jwt", "log"].iter().all(|purpose| purposes.contains(purpose)), "{purposes:?}");
    let key = KeyPair::generate().unwrap();
    let mut client = running.node(&node).await;
    for n in [1, 2] {
        sign_one(&mut client, order("researcher", n, &key)).await.unwrap();
    }
    client.end_instance(issuer::EndInstanceRequest { instance: instance(1) }).await.unwrap();
    let live = running.admin().await.list_instances(admin::ListInstancesRequest {}).await.unwrap().into_inner();
    assert_eq!(live.instances.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), [instance(2)]);
    assert_eq!((live.instances[0].agent.as_str(), &live.instances[0].node_id), ("researcher", &node.svid.spiffe_id));
}
