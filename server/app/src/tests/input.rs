//! Every call with each field empty, foreign and huge: refused as the caller's fault, and the issuer goes on.

use super::*;

const HUGE: usize = 300 * 1024;

fn texts() -> Vec<String> {
    vec![String::new(), "\0".to_owned(), "é/../".to_owned(), "x".repeat(HUGE)]
}

fn bytes() -> Vec<Vec<u8>> {
    vec![Vec::new(), vec![0; 15], vec![0xff; 17], vec![0x30; HUGE]]
}

/// The caller's fault by its status: refused, malformed or too large, never broken or unavailable.
#[track_caller]
fn refused<T: std::fmt::Debug>(what: &str, reply: Result<T, Status>) {
    let status = reply.expect_err(what);
    if let Ok(refusal) = issuer::Refusal::decode(status.details())
        && !refusal.code.is_empty()
    {
        assert!(!["internal", "unavailable", "busy"].contains(&refusal.code.as_str()), "{what}: {status:?}");
    } else {
        // Above the limit of a message: tonic's own words.
        assert!(status.message().contains("too large"), "{what}: {status:?}");
    }
}

#[tokio::test]
async fn no_field_of_an_enrolment_breaks_the_issuer() {
    let running = Running::start().await;
    let token = running.token("laptop", 0).await;
    let key = KeyPair::generate().unwrap();
    let mut client = running.enrolment(&token).await;
    let good = running.enrol_request(&token, &key);
    for text in texts() {
        refused("attestor", client.enrol(issuer::EnrolRequest { attestor: text.clone(), ..good.clone() }).await);
        refused("trust_domain", client.enrol(issuer::EnrolRequest { trust_domain: text, ..good.clone() }).await);
    }
    for bytes in bytes() {
        refused("evidence", client.enrol(issuer::EnrolRequest { evidence: bytes.clone(), ..good.clone() }).await);
        refused("csr", client.enrol(issuer::EnrolRequest { csr: bytes, ..good.clone() }).await);
    }
    for time in [0, i64::MIN, i64::MAX] {
        refused("time", client.enrol(issuer::EnrolRequest { helper_time_ms: time, ..good.clone() }).await);
    }
    client.enrol(good).await.unwrap();
}

#[tokio::test]
async fn no_field_of_a_nodes_call_breaks_the_issuer() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let mut client = running.node(&node).await;
    refused("no orders", client.sign_x509(issuer::SignX509Request::default()).await);
    for text in texts() {
        let jwt = |agent: &str, instance: &str| issuer::SignJwtRequest {
            agent: agent.to_owned(),
            instance: instance.to_owned(),
            audience: vec![text.clone()],
        };
        refused("agent", client.sign_jwt(jwt(&text, &instance(1))).await);
        refused("instance", client.sign_jwt(jwt("a", &text)).await);
        refused("audience", client.sign_jwt(jwt("a", &instance(1))).await);
        let brokered = |agent: &str, instance: &str| issuer::SignBrokeredRequest {
            agent: agent.to_owned(),
            instance: instance.to_owned(),
            audience: text.clone(),
            ..Default::default()
        };
        refused("agent", client.sign_brokered(brokered(&text, &instance(1))).await);
        refused("instance", client.sign_brokered(brokered("a", &text)).await);
        refused("instance", client.end_instance(issuer::EndInstanceRequest { instance: text.clone() }).await);
        let order = issuer::X509Order { agent: text.clone(), instance: text.clone(), csr: Vec::new() };
        let answers = client.sign_x509(issuer::SignX509Request { orders: vec![order] }).await.unwrap().into_inner();
        assert!(matches!(answers.answers[0].kind, Some(issuer::x509_answer::Kind::Refusal(_))));
    }
    for bytes in bytes() {
        refused("csr", client.renew(issuer::RenewRequest { csr: bytes.clone() }).await);
        let open = issuer::OpenSpoolRequest { spool: bytes.clone(), ..Default::default() };
        refused("spool", client.open_spool(open).await);
        let ship = issuer::ShipAuditRequest { spool: bytes.clone(), records: vec![bytes] };
        refused("records", client.ship_audit(ship).await);
    }
    let many = issuer::ShipAuditRequest { spool: vec![0; 16], records: vec![Vec::new(); 1025] };
    refused("records", client.ship_audit(many).await);
    let stuffed = issuer::SignX509Request { orders: vec![order("a", 1, &node.key); 4000] };
    refused("orders", client.sign_x509(stuffed).await);
}

#[tokio::test]
async fn no_field_of_an_operators_call_breaks_the_issuer() {
    let running = Running::start().await;
    running.agent("researcher", "laptop").await;
    let mut client = running.admin().await;
    let good = admin::CreateAgentRequest {
        name: "other".into(),
        owner: "me@example.test".into(),
        nodes: vec!["node:name:laptop".into()],
        selectors: vec!["unix:uid:1".into()],
        ..Default::default()
    };
    for text in texts() {
        let agent = |change: &dyn Fn(&mut admin::CreateAgentRequest)| {
            let mut request = good.clone();
            change(&mut request);
            request
        };
        refused("name", client.create_agent(agent(&|r| r.name = text.clone())).await);
        refused("owner", client.create_agent(agent(&|r| r.owner = text.clone())).await);
        refused("nodes", client.create_agent(agent(&|r| r.nodes = vec![text.clone()])).await);
        refused("selectors", client.create_agent(agent(&|r| r.selectors = vec![text.clone()])).await);
        let token = admin::CreateTokenRequest { node: text.clone(), ttl_seconds: 0 };
        refused("node", client.create_token(token).await);
        let put = admin::PutCredentialRequest {
            name: text.clone(),
            source: text.clone(),
            binding: text.clone().into_bytes(),
            reference: text.clone(),
            only_new: false,
        };
        refused("credential", client.put_credential(put).await);
        let grant = admin::CreateGrantRequest { agent: text.clone(), credential: text.clone() };
        refused("grant", client.create_grant(grant).await);
        refused("grant", client.delete_grant(admin::DeleteGrantRequest { id: text.clone() }).await);
        let lock = admin::CreateLockRequest { agent: "researcher".into(), reason: text.clone(), ttl_seconds: 0 };
        // A reason is words: only what is no line of text is refused.
        if text.contains('é') {
            client.create_lock(lock).await.unwrap();
        } else {
            refused("reason", client.create_lock(lock).await);
        }
        let lock = admin::CreateLockRequest { agent: text.clone(), reason: "test".into(), ttl_seconds: 0 };
        refused("agent", client.create_lock(lock).await);
        refused("decision", client.why(admin::WhyRequest { decision: text.clone() }).await);
        refused("lock", client.release_lock(admin::ReleaseLockRequest { id: text }).await);
    }
    refused("ttl", client.create_agent(admin::CreateAgentRequest { x509_ttl_seconds: u32::MAX, ..good.clone() }).await);
    let token = admin::CreateTokenRequest { node: "laptop".into(), ttl_seconds: u32::MAX };
    refused("ttl", client.create_token(token).await);
    client.create_agent(good).await.unwrap();
}
