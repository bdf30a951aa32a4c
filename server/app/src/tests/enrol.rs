use super::*;
use std::time::Duration;

#[tokio::test]
async fn a_token_joins_one_node_once_and_the_same_key_may_ask_again() {
    let running = Running::start().await;
    let token = running.token("laptop", 0).await;
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let first = running.enrol(&token, &key).await.unwrap();
    assert_eq!(first.spiffe_id, "spiffe://example.test/node/join_token/laptop");
    assert_eq!(uri_of(&first.chain[0]).as_str(), first.spiffe_id);

    assert_eq!(word(running.enrol(&token, &other).await), "token_used");
    let again = running.enrol(&token, &key).await.unwrap();
    assert_eq!(again.spiffe_id, first.spiffe_id);
    assert_ne!(again.chain, first.chain);
    let events = events(&running).await;
    for code in ["token.created", "token.used", "node.joined", "token.replayed", "node.renewed"] {
        assert_eq!(events.iter().filter(|event| **event == code).count(), 1, "{code}: {events:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_thirty_two_at_once_one_joins() {
    let running = Running::start().await;
    let token = running.token("laptop", 0).await;
    let client = running.enrolment(&token).await;
    let racers: Vec<_> = (0..32)
        .map(|_| {
            let request = running.enrol_request(&token, &KeyPair::generate().unwrap());
            let mut client = client.clone();
            tokio::spawn(async move { client.enrol(request).await })
        })
        .collect();
    let mut joined = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(_) => joined += 1,
            Err(status) => assert_eq!(word(Err::<(), _>(status)), "token_used"),
        }
    }
    assert_eq!(joined, 1);
}

#[tokio::test]
async fn an_expired_unknown_or_foreign_token_is_refused() {
    let running = Running::start().await;
    let key = KeyPair::generate().unwrap();
    let token = running.token("laptop", 5).await;
    let mut client = running.enrolment(&token).await;

    let mut unknown = running.enrol_request(&token, &key);
    unknown.evidence = vec![9; 32];
    assert_eq!(word(client.enrol(unknown).await), "denied");
    let mut foreign = running.enrol_request(&token, &key);
    foreign.trust_domain = "other.test".to_owned();
    assert_eq!(word(client.enrol(foreign).await), "wrong_trust_domain");
    let mut attestor = running.enrol_request(&token, &key);
    attestor.attestor = "none".to_owned();
    assert_eq!(word(client.enrol(attestor).await), "bad_request");

    running.clock.advance(Duration::from_secs(6));
    assert_eq!(word(client.enrol(running.enrol_request(&token, &key)).await), "token_expired");
    let events = events(&running).await;
    assert!(events.contains(&"token.expired_use") && events.contains(&"node.enrol_refused"), "{events:?}");
}

#[tokio::test]
async fn a_clock_more_than_thirty_seconds_off_is_refused() {
    let running = Running::start().await;
    let token = running.token("laptop", 0).await;
    let key = KeyPair::generate().unwrap();
    let mut client = running.enrolment(&token).await;
    for apart in [31_500, -31_500] {
        let mut request = running.enrol_request(&token, &key);
        request.helper_time_ms += apart;
        assert_eq!(word(client.enrol(request).await), "clock_off", "{apart}");
    }
    let mut request = running.enrol_request(&token, &key);
    request.helper_time_ms += 25_000;
    client.enrol(request).await.unwrap();
}

#[tokio::test]
async fn a_node_renews_its_svid_and_a_copy_of_its_state_is_found() {
    let running = Running::start().await;
    let first = running.join("laptop").await;
    let fresh = KeyPair::generate().unwrap();
    let renew = || issuer::RenewRequest { csr: csr(&fresh) };
    let renewed = running.node(&first).await.renew(renew()).await.unwrap().into_inner();
    assert_eq!(renewed.spiffe_id, first.svid.spiffe_id);
    let second = TestNode { key: fresh, svid: renewed };
    // The new one is in use; then whoever still renews with the one before has a copy.
    let again = KeyPair::generate().unwrap();
    running.node(&second).await.renew(issuer::RenewRequest { csr: csr(&again) }).await.unwrap();
    let copied = running.node(&first).await.renew(issuer::RenewRequest { csr: csr(&again) }).await;
    assert_eq!(word(copied), "denied");
    assert!(events(&running).await.contains(&"node.renewal_refused"));
}

#[tokio::test]
async fn an_svid_that_was_renewed_away_speaks_for_nobody() {
    let running = Running::start().await;
    let first = running.join("laptop").await;
    let request = || issuer::EndInstanceRequest { instance: instance(1) };
    let mut held = vec![first];
    for _ in 0..2 {
        let key = KeyPair::generate().unwrap();
        let newest = held.last().unwrap();
        let svid =
            running.node(newest).await.renew(issuer::RenewRequest { csr: csr(&key) }).await.unwrap().into_inner();
        // The one before is good until the new one is in use everywhere.
        running.node(newest).await.end_instance(request()).await.unwrap();
        held.push(TestNode { key, svid });
        running.node(held.last().unwrap()).await.end_instance(request()).await.unwrap();
    }
    assert_eq!(word(running.node(&held[0]).await.end_instance(request()).await), "denied");
    // A new join of the node leaves none of them.
    let joined = running.join("laptop").await;
    running.node(&joined).await.end_instance(request()).await.unwrap();
    for old in &held {
        assert_eq!(word(running.node(old).await.end_instance(request()).await), "denied");
    }
}

#[tokio::test]
async fn only_a_node_gets_an_answer_from_the_node_service() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let mut nobody = running.node_as(None, &node.svid.bundle).await.unwrap();
    let request = || issuer::EndInstanceRequest { instance: instance(1) };
    assert_eq!(word(nobody.end_instance(request()).await), "not_a_node");

    // An agent's SVID is none of a node, and already TLS refuses it.
    let key = KeyPair::generate().unwrap();
    let issued = sign_one(&mut running.node(&node).await, order("researcher", 1, &key)).await.unwrap();
    let agent = running.node_as(Some((&issued.chain, &key)), &node.svid.bundle).await;
    if let Ok(mut agent) = agent {
        agent.end_instance(request()).await.unwrap_err();
    }
}
