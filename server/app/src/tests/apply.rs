use super::*;
use avouch_wire::admin::resource::Kind;
use avouch_wire::admin::{ApplyReply, ApplyRequest, Resource};

fn agent(name: &str) -> admin::CreateAgentRequest {
    admin::CreateAgentRequest {
        name: name.to_owned(),
        owner: "me@example.test".to_owned(),
        nodes: vec!["node:name:laptop".to_owned()],
        selectors: vec!["unix:uid:1000".to_owned()],
        ..Default::default()
    }
}

fn credential(name: &str) -> admin::PutCredentialRequest {
    let binding = br#"{"to":"https://a.test","methods":["GET"],"paths":["/x"],"slot":"bearer"}"#;
    let binding = avouch_policy::Binding::parse(binding).unwrap().canonical_json().to_vec();
    let source = "vault".to_owned();
    admin::PutCredentialRequest { name: name.to_owned(), source, binding, ..Default::default() }
}

fn grant(agent: &str, credential: &str) -> admin::CreateGrantRequest {
    admin::CreateGrantRequest { agent: agent.to_owned(), credential: credential.to_owned() }
}

/// The grant first: it speaks of what comes later.
fn all() -> Vec<Kind> {
    vec![Kind::Grant(grant("a", "c")), Kind::Agent(agent("a")), Kind::Credential(credential("c"))]
}

impl Running {
    async fn apply(&self, kinds: Vec<Kind>, dry_run: bool) -> ApplyReply {
        let resources = kinds.into_iter().map(|kind| Resource { kind: Some(kind) }).collect();
        self.admin().await.apply(ApplyRequest { resources, dry_run }).await.unwrap().into_inner()
    }

    async fn version(&self) -> u64 {
        self.admin().await.status(admin::StatusRequest {}).await.unwrap().into_inner().state_version
    }
}

fn actions(reply: &ApplyReply) -> Vec<&str> {
    assert!(reply.faults.is_empty(), "{:?}", reply.faults);
    reply.applied.iter().map(|applied| applied.action.as_str()).collect()
}

#[tokio::test]
async fn what_is_written_is_made_once() {
    let running = Running::start().await;
    let before = running.version().await;
    assert_eq!(actions(&running.apply(all(), true).await), ["create"; 3]);
    assert_eq!(running.version().await, before, "a dry run does nothing");
    let made = running.apply(all(), false).await;
    assert_eq!((actions(&made), made.version), (vec!["create"; 3], before + 1), "one change");
    let events_before = events(&running).await.len();
    let again = running.apply(all(), false).await;
    assert_eq!((actions(&again), again.version), (vec!["unchanged"; 3], before + 1));
    assert_eq!(running.version().await, before + 1);
    // Reading the log is itself on the record.
    assert_eq!(events(&running).await.len(), events_before + 1, "no event, either");

    let mut other = all();
    other[1] = Kind::Agent(admin::CreateAgentRequest { hint: "search".to_owned(), jwt_ttl_seconds: 60, ..agent("a") });
    let changed = running.apply(other, false).await;
    assert_eq!(actions(&changed), ["unchanged", "change", "unchanged"]);
    assert_eq!(changed.applied[1].fields, ["jwt_ttl", "hint"]);
    assert_eq!(events(&running).await.iter().filter(|event| **event == "agent.updated").count(), 1);
    let listed = running.admin().await.list_agents(admin::ListAgentsRequest {}).await.unwrap().into_inner().agents;
    assert_eq!((listed[0].hint.as_str(), listed[0].jwt_ttl_seconds), ("search", 60));
}

#[tokio::test]
async fn all_that_is_wrong_is_told_and_nothing_is_made() {
    let running = Running::start().await;
    let before = running.version().await;
    let bad_agent = admin::CreateAgentRequest { owner: String::new(), selectors: Vec::new(), ..agent("b") };
    let kinds = vec![
        Kind::Agent(agent("a")),
        Kind::Agent(bad_agent),
        Kind::Credential(admin::PutCredentialRequest { name: "UPPER".to_owned(), ..credential("c") }),
        Kind::Grant(grant("nobody", "nothing")),
        Kind::Agent(agent("a")),
    ];
    let reply = running.apply(kinds, false).await;
    let found: Vec<_> = reply.faults.iter().map(|fault| (fault.resource, fault.field.as_str())).collect();
    assert_eq!(
        found,
        [(1, "owner"), (1, "selectors"), (2, "name"), (4, "name"), (3, "agent"), (3, "credential")],
        "{:?}",
        reply.faults
    );
    assert!(reply.applied.is_empty());
    assert_eq!(running.version().await, before);
    assert!(
        running.admin().await.list_agents(admin::ListAgentsRequest {}).await.unwrap().into_inner().agents.is_empty()
    );
    let too_many = vec![Resource { kind: None }; 1001];
    let request = ApplyRequest { resources: too_many, dry_run: true };
    assert_eq!(word(running.admin().await.apply(request).await), "bad_request");
    assert_eq!(running.apply(Vec::new(), false).await.version, before);
}

#[tokio::test]
async fn what_is_deleted_goes_with_its_grants_and_a_lock_outlives_its_agent() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.apply(all(), false).await;
    let admin::lock_progress::Kind::Committed(locked) = running.lock("a").await.remove(0) else { panic!("no lock") };
    let reason = "test".to_owned();
    let request = admin::DeleteAgentRequest { name: "a".to_owned(), reason: reason.clone() };
    assert_eq!(running.admin().await.delete_agent(request.clone()).await.unwrap().into_inner().grants, 1);
    assert_eq!(word(running.admin().await.delete_agent(request).await), "not_found");
    assert!(
        running.admin().await.list_agents(admin::ListAgentsRequest {}).await.unwrap().into_inner().agents.is_empty()
    );
    assert_eq!(word(running.admin().await.create_grant(grant("a", "c")).await), "not_found");
    assert_eq!(actions(&running.apply(all(), false).await), ["create", "create", "unchanged"]);
    let key = KeyPair::generate().unwrap();
    let refused = sign_one(&mut running.node(&node).await, order("a", 1, &key)).await.unwrap_err();
    assert_eq!(refused.code, "denied", "made anew, and still locked");
    let release = admin::ReleaseLockRequest { id: locked.lock.unwrap().id };
    running.admin().await.release_lock(release).await.unwrap();
    sign_one(&mut running.node(&node).await, order("a", 1, &key)).await.unwrap();
    let request = admin::DeleteCredentialRequest { name: "c".to_owned(), reason };
    assert_eq!(running.admin().await.delete_credential(request.clone()).await.unwrap().into_inner().grants, 1);
    assert_eq!(word(running.admin().await.delete_credential(request).await), "not_found");
    let seen = events(&running).await;
    for event in ["agent.deleted", "credential.deleted"] {
        assert!(seen.contains(&event), "{event}");
    }
    assert_eq!(seen.iter().filter(|event| **event == "grant.deleted").count(), 2);
}

/// S15, WAC-16; and the names of a certificate are exactly those of the registration.
#[tokio::test]
async fn an_svid_says_what_the_registration_says() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let full = admin::CreateAgentRequest {
        id_path: "/team/{agent}/{instance}".to_owned(),
        common_name: "app_reader".to_owned(),
        dns_names: vec!["a.example.test".to_owned()],
        ..agent("a")
    };
    running.apply(vec![Kind::Agent(full.clone())], false).await;
    let key = KeyPair::generate().unwrap();
    let issued = sign_one(&mut running.node(&node).await, order("a", 1, &key)).await.unwrap();
    let id = format!("spiffe://example.test/team/a/{}", instance(1));
    assert_eq!((issued.spiffe_id.as_str(), uri_of(&issued.chain[0]).as_str()), (id.as_str(), id.as_str()));
    for name in ["app_reader", "a.example.test"] {
        assert!(issued.chain[0].windows(name.len()).any(|bytes| bytes == name.as_bytes()), "{name}");
    }
    let request =
        issuer::SignJwtRequest { agent: "a".to_owned(), instance: instance(1), audience: vec!["x".to_owned()] };
    let token = running.node(&node).await.sign_jwt(request).await.unwrap().into_inner();
    assert_eq!(token.spiffe_id, id);
    for path in ["/node/{agent}", "/brokered/agent/{agent}", "/issuer/{agent}", "/avouch/x/{agent}", "/{agent}"] {
        let bad = admin::CreateAgentRequest { id_path: path.to_owned(), ..full.clone() };
        assert_eq!(running.apply(vec![Kind::Agent(bad)], false).await.faults[0].field, "id_path", "{path}");
    }
}
