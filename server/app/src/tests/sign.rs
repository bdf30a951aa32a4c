use super::*;
use avouch_words::Millis;
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
    issuer::SignBrokeredRequest { agent: agent.to_owned(), instance: instance(n), audience: audience.to_owned() }
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
