use super::*;
use avouch_words::Millis;
use avouch_words::svid::x509::{BadX509Svid, X509Svid};
use rcgen::SanType;
use std::time::Duration;

fn bundles(node: &TestNode) -> Bundles {
    let x509 = node.svid.bundle.iter().map(|der| X509Authority(der.clone().into())).collect();
    Bundles::from(Bundle { trust_domain: trust_domain(), x509, jwt: Vec::new() })
}

fn jwt(agent: &str, n: u8, audience: &[&str]) -> issuer::SignJwtRequest {
    let audience = audience.iter().map(ToString::to_string).collect();
    issuer::SignJwtRequest { agent: agent.to_owned(), instance: instance(n), audience }
}

fn brokered(agent: &str, n: u8, audience: &str) -> issuer::SignBrokeredRequest {
    issuer::SignBrokeredRequest {
        agent: agent.to_owned(),
        instance: instance(n),
        audience: audience.to_owned(),
        probe: false,
    }
}

#[tokio::test]
async fn an_agent_on_its_node_gets_an_svid_for_its_key_and_nothing_else_of_the_request() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::default();
    greedy.subject_alt_names = vec![
        SanType::URI("spiffe://example.test/issuer".try_into().unwrap()),
        SanType::DnsName("bank.test".try_into().unwrap()),
    ];
    let mut asked = order("researcher", 1, &key);
    asked.csr = greedy.serialize_request(&key).unwrap().der().to_vec();
    let issued = sign_one(&mut running.node(&node).await, asked).await.unwrap();
    let svid = x509_names::verified(&issued.chain, &bundles(&node), running.clock.now());
    assert_eq!(svid.id().as_str(), "spiffe://example.test/agent/researcher");
    assert_eq!(uri_of(&issued.chain[0]), *svid.id());
    assert!(!issued.chain[0].windows(9).any(|bytes| bytes == b"bank.test"));
    assert!(svid.public_key().ends_with(key.public_key_raw()));
    let life = svid.not_after().since(running.clock.now());
    assert!(life > Duration::from_secs(14 * 60) && life <= Duration::from_secs(15 * 60), "{life:?}");
}

#[tokio::test]
async fn a_foreign_agent_and_an_unknown_one_are_refused_alike() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("there", "other").await;
    let mut client = running.node(&node).await;
    let key = KeyPair::generate().unwrap();
    let foreign = sign_one(&mut client, order("there", 1, &key)).await.unwrap_err();
    let unknown = sign_one(&mut client, order("nobody", 2, &key)).await.unwrap_err();
    for refusal in [&foreign, &unknown] {
        assert_eq!((refusal.code.as_str(), refusal.retry.as_str()), ("denied", "never"));
    }
    assert_eq!((&foreign.message, &foreign.action), (&unknown.message, &unknown.action));
    assert_eq!(word(client.sign_jwt(jwt("there", 1, &["a"])).await), "denied");
    assert_eq!(events(&running).await.iter().filter(|event| **event == "svid.issue_refused").count(), 3);
}

#[tokio::test]
async fn a_request_without_proof_of_possession_is_refused_and_the_rest_of_its_batch_is_not() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let key = KeyPair::generate().unwrap();
    let mut forged = order("researcher", 1, &key);
    *forged.csr.last_mut().unwrap() ^= 1;
    let orders = vec![order("researcher", 2, &key), forged, order("nobody", 3, &key), order("researcher", 4, &key)];
    let mut client = running.node(&node).await;
    let answers = client.sign_x509(issuer::SignX509Request { orders }).await.unwrap().into_inner().answers;
    let codes: Vec<String> = answers
        .into_iter()
        .map(|answer| match answer.kind.unwrap() {
            issuer::x509_answer::Kind::Issued(_) => "issued".to_owned(),
            issuer::x509_answer::Kind::Refusal(refusal) => refusal.code,
        })
        .collect();
    assert_eq!(codes, ["issued", "bad_csr", "denied", "issued"]);
}

#[tokio::test]
async fn a_locked_agent_gets_nothing_signed_from_the_moment_of_the_lock() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let mut client = running.node(&node).await;
    let key = KeyPair::generate().unwrap();
    sign_one(&mut client, order("researcher", 1, &key)).await.unwrap();
    let told = running.lock("researcher").await;
    let admin::lock_progress::Kind::Committed(committed) = &told[0] else { panic!("{told:?}") };
    let lock = committed.lock.clone().unwrap();
    assert!(committed.svids_valid_until_ms > running.clock.now().0);

    assert_eq!(sign_one(&mut client, order("researcher", 1, &key)).await.unwrap_err().code, "denied");
    assert_eq!(word(client.sign_jwt(jwt("researcher", 1, &["a"])).await), "denied");
    assert_eq!(word(client.sign_brokered(brokered("researcher", 1, "https://vault.test")).await), "denied");

    let mut admin = running.admin().await;
    admin.release_lock(admin::ReleaseLockRequest { id: lock.id.clone() }).await.unwrap();
    sign_one(&mut client, order("researcher", 1, &key)).await.unwrap();
    assert_eq!(word(admin.release_lock(admin::ReleaseLockRequest { id: lock.id }).await), "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_before_a_lock_does_not_leave_after_it() {
    let running = Arc::new(Running::start().await);
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let key = KeyPair::generate().unwrap();
    let client = running.node(&node).await;
    // So many at once that some have decided and wait for the database when the lock is committed.
    let callers: Vec<_> = (0..16)
        .map(|n| {
            let (mut client, order) = (client.clone(), order("researcher", n, &key));
            tokio::spawn(async move {
                loop {
                    let issued = if n % 2 == 0 {
                        sign_one(&mut client, order.clone()).await.is_ok()
                    } else {
                        client.sign_jwt(jwt("researcher", n, &["tool"])).await.is_ok()
                    };
                    if !issued {
                        return;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.lock("researcher").await;
    for caller in callers {
        caller.await.unwrap();
    }
    let events = events(&running).await;
    let locked = events.iter().position(|event| *event == "lock.created").unwrap();
    let issued = |events: &[&str]| events.iter().filter(|event| event.ends_with("_issued")).count();
    assert!(issued(&events[..locked]) > 16, "nothing was signed before");
    assert_eq!(issued(&events[locked..]), 0);
}

#[tokio::test]
async fn a_lock_with_an_end_is_ended_and_recorded() {
    let running = Running::start().await;
    running.agent("researcher", "laptop").await;
    let mut admin = running.admin().await;
    let request = admin::CreateLockRequest { agent: "researcher".into(), reason: "test".into(), ttl_seconds: 60 };
    admin.create_lock(request).await.unwrap();
    assert_eq!(admin.list_locks(admin::ListLocksRequest { all: false }).await.unwrap().into_inner().locks.len(), 1);
    running.clock.advance(Duration::from_secs(61));
    assert_eq!(admin.list_locks(admin::ListLocksRequest { all: false }).await.unwrap().into_inner().locks.len(), 0);
    tokio::time::timeout(Duration::from_secs(10), async {
        while !events(&running).await.contains(&"lock.expired") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn reserved_audiences_are_for_the_broker_of_a_live_instance_alone() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let mut client = running.node(&node).await;
    for reserved in ["https://vault.test", "avouch", "spiffe://example.test", "spiffe://example.test/issuer"] {
        assert_eq!(word(client.sign_jwt(jwt("researcher", 1, &["a", reserved])).await), "denied", "{reserved}");
    }
    let vault = brokered("researcher", 1, "https://vault.test");
    assert_eq!(word(client.sign_brokered(vault.clone()).await), "denied", "no instance lives yet");

    let token = client.sign_jwt(jwt("researcher", 1, &["tool"])).await.unwrap().into_inner();
    assert_eq!(token.spiffe_id, "spiffe://example.test/agent/researcher");
    let token = client.sign_brokered(vault.clone()).await.unwrap().into_inner();
    assert_eq!(token.spiffe_id, "spiffe://example.test/brokered/agent/researcher");
    for own in ["avouch", "spiffe://example.test/issuer", "tool", ""] {
        assert_eq!(word(client.sign_brokered(brokered("researcher", 1, own)).await), "denied", "{own}");
    }

    client.end_instance(issuer::EndInstanceRequest { instance: instance(1) }).await.unwrap();
    assert_eq!(word(client.sign_brokered(vault).await), "denied", "the instance ended");
    assert_eq!(
        word(client.sign_jwt(jwt("researcher", 1, &["tool"])).await),
        "denied",
        "an ended one never lives again"
    );
    let events = events(&running).await;
    assert_eq!(events.iter().filter(|event| **event == "svid.reserved_audience_refused").count(), 4);
    assert!(events.contains(&"svid.brokered_issued") && events.contains(&"instance.ended"));
}

#[tokio::test]
async fn an_instance_belongs_to_one_node_and_one_agent() {
    let running = Running::start().await;
    let (here, there) = (running.join("here").await, running.join("there").await);
    running.agent("a", "here").await;
    running.agent("b", "here").await;
    running.agent("c", "there").await;
    let key = KeyPair::generate().unwrap();
    let (mut here, mut there) = (running.node(&here).await, running.node(&there).await);
    sign_one(&mut here, order("a", 1, &key)).await.unwrap();
    assert_eq!(sign_one(&mut here, order("b", 1, &key)).await.unwrap_err().code, "denied");
    assert_eq!(sign_one(&mut there, order("c", 1, &key)).await.unwrap_err().code, "denied");
    // Nor within one batch.
    let orders = vec![order("a", 2, &key), order("b", 2, &key)];
    let answers = here.sign_x509(issuer::SignX509Request { orders }).await.unwrap().into_inner().answers;
    let issued = answers.iter().filter(|a| matches!(a.kind, Some(issuer::x509_answer::Kind::Issued(_)))).count();
    assert_eq!(issued, 1);
    // Another node cannot end it.
    there.end_instance(issuer::EndInstanceRequest { instance: instance(1) }).await.unwrap();
    sign_one(&mut here, order("a", 1, &key)).await.unwrap();
}

#[tokio::test]
async fn a_batch_of_the_largest_size_is_signed_whole() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let key = KeyPair::generate().unwrap();
    let one = order("researcher", 1, &key);
    let mut client = running.node(&node).await;
    let orders = |n| issuer::SignX509Request { orders: vec![one.clone(); n] };
    let answers = client.sign_x509(orders(512)).await.unwrap().into_inner().answers;
    let mut serials: Vec<Vec<u8>> = answers
        .into_iter()
        .map(|answer| match answer.kind.unwrap() {
            issuer::x509_answer::Kind::Issued(issued) => {
                x509_names::verified(&issued.chain, &bundles(&node), Millis(running.clock.now().0)).serial().to_vec()
            }
            issuer::x509_answer::Kind::Refusal(refusal) => panic!("{refusal:?}"),
        })
        .collect();
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), 512);
    assert_eq!(word(client.sign_x509(orders(513)).await), "bad_request");
}

fn brokered_x509(agent: &str, n: u8, key: &KeyPair) -> issuer::SignBrokeredX509Request {
    issuer::SignBrokeredX509Request { agent: agent.to_owned(), instance: instance(n), csr: csr(key), probe: false }
}

/// The identity of a chain that is for sources alone.
#[track_caller]
fn for_sources(issued: &issuer::IssuedX509, running: &Running, node: &TestNode) -> X509Svid {
    let chain: Vec<_> = issued.chain.iter().map(|der| der.as_slice().into()).collect();
    let (bundles, now) = (bundles(node), running.clock.now());
    assert_eq!(X509Svid::verify(&chain, &bundles, now), Err(BadX509Svid::Brokered), "nobody as a peer");
    let svid = X509Svid::verify_brokered(&chain, &bundles, now).unwrap();
    assert_eq!(svid.id().as_str(), issued.spiffe_id);
    assert!(svid.not_after().since(now) <= Duration::from_secs(5 * 60));
    svid
}

#[tokio::test]
async fn a_brokered_certificate_is_for_a_live_instance_on_its_node_and_nobody_as_a_peer() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let there = running.join("other").await;
    running.agent("researcher", "laptop").await;
    let (mut client, mut elsewhere) = (running.node(&node).await, running.node(&there).await);
    let key = KeyPair::generate().unwrap();
    let ask = brokered_x509("researcher", 1, &key);
    assert_eq!(word(client.sign_brokered_x509(ask.clone()).await), "denied", "no instance lives yet");
    sign_one(&mut client, order("researcher", 1, &key)).await.unwrap();
    let issued = client.sign_brokered_x509(ask.clone()).await.unwrap().into_inner();
    let svid = for_sources(&issued, &running, &node);
    assert_eq!(svid.id().as_str(), "spiffe://example.test/brokered/agent/researcher");
    assert!(svid.public_key().ends_with(key.public_key_raw()));
    assert_eq!(word(elsewhere.sign_brokered_x509(ask.clone()).await), "denied", "on another node");
    for (agent, n) in [("nobody", 1), ("researcher", 2), ("", 1)] {
        let refused = word(client.sign_brokered_x509(brokered_x509(agent, n, &key)).await);
        assert_eq!(refused, if agent.is_empty() { "bad_request" } else { "denied" }, "{agent} {n}");
    }
    let mut forged = ask.clone();
    *forged.csr.last_mut().unwrap() ^= 1;
    assert_eq!(word(client.sign_brokered_x509(forged).await), "bad_csr");
    for csr in [Vec::new(), vec![0; 100_000]] {
        let request = issuer::SignBrokeredX509Request { csr, ..ask.clone() };
        assert_eq!(word(client.sign_brokered_x509(request).await), "bad_request");
    }
    // As a node it is nobody, though a node holds it.
    let shown = running.node_as(Some((&issued.chain, &key)), &node.svid.bundle).await;
    if let Ok(mut client) = shown {
        assert!(client.sign_jwt(jwt("researcher", 1, &["tool"])).await.is_err());
    }
    running.lock("researcher").await;
    assert_eq!(word(client.sign_brokered_x509(ask).await), "denied");
    assert_eq!(events(&running).await.iter().filter(|event| **event == "svid.brokered_x509_issued").count(), 1);
}

#[tokio::test]
async fn a_node_and_a_probe_are_no_agent_and_are_on_record() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let mut client = running.node(&node).await;
    let jwt = |audience: &str, probe| issuer::SignBrokeredRequest {
        audience: audience.to_owned(),
        probe,
        ..Default::default()
    };
    let key = KeyPair::generate().unwrap();
    let x509 = |probe| issuer::SignBrokeredX509Request { csr: csr(&key), probe, ..Default::default() };
    let own = "spiffe://example.test/brokered/node/laptop";
    assert_eq!(client.sign_brokered(jwt("https://vault.test", false)).await.unwrap().into_inner().spiffe_id, own);
    let issued = client.sign_brokered_x509(x509(false)).await.unwrap().into_inner();
    assert_eq!(for_sources(&issued, &running, &node).id().as_str(), own);
    for probe in [false, true] {
        for audience in ["avouch", "spiffe://example.test/issuer", "tool", ""] {
            assert_eq!(word(client.sign_brokered(jwt(audience, probe)).await), "denied", "{audience}");
        }
    }
    let mut probes = Vec::new();
    for _ in 0..2 {
        probes.push(client.sign_brokered(jwt("https://vault.test", true)).await.unwrap().into_inner().spiffe_id);
    }
    let issued = client.sign_brokered_x509(x509(true)).await.unwrap().into_inner();
    probes.push(for_sources(&issued, &running, &node).id().to_string());
    assert!(probes.iter().all(|id| id.starts_with("spiffe://example.test/brokered/agent/avouch-probe-")), "{probes:?}");
    probes.dedup();
    assert_eq!(probes.len(), 3, "a probe is a new name each time");
    let named = issuer::SignBrokeredRequest { agent: "researcher".into(), ..jwt("https://vault.test", true) };
    assert_eq!(word(client.sign_brokered(named).await), "bad_request", "nobody says what a probe is called");
    let events = events(&running).await;
    let count = |event: &str| events.iter().filter(|one| **one == event).count();
    assert_eq!((count("svid.brokered_node_issued"), count("svid.probe_issued")), (2, 3));
}

#[tokio::test]
async fn an_instance_that_never_asked_for_a_document_can_enter_sources_once_it_began() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let there = running.join("other").await;
    running.agent("researcher", "laptop").await;
    let (mut client, mut elsewhere) = (running.node(&node).await, running.node(&there).await);
    let begin = |agent: &str, n| issuer::BeginInstanceRequest { agent: agent.to_owned(), instance: instance(n) };
    let vault = brokered("researcher", 1, "https://vault.test");
    assert_eq!(word(client.sign_brokered(vault.clone()).await), "denied", "it has not begun");
    assert_eq!(word(elsewhere.begin_instance(begin("researcher", 1)).await), "denied", "not on that node");
    assert_eq!(word(client.begin_instance(begin("nobody", 1)).await), "denied");
    for _ in 0..2 {
        client.begin_instance(begin("researcher", 1)).await.unwrap();
    }
    client.sign_brokered(vault.clone()).await.unwrap();
    assert_eq!(word(elsewhere.begin_instance(begin("researcher", 1)).await), "denied");
    client.end_instance(issuer::EndInstanceRequest { instance: instance(1) }).await.unwrap();
    assert_eq!(word(client.begin_instance(begin("researcher", 1)).await), "denied", "an ended one never lives again");
    assert_eq!(word(client.sign_brokered(vault).await), "denied");
    running.lock("researcher").await;
    assert_eq!(word(client.begin_instance(begin("researcher", 2)).await), "denied");
    assert_eq!(events(&running).await.iter().filter(|event| **event == "instance.began").count(), 1);
}
