use super::*;
use avouch_wire::issuer::sync_down::Kind;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// The helper's side of a sync stream.
struct Sync {
    up: mpsc::Sender<issuer::SyncUp>,
    down: tonic::Streaming<issuer::SyncDown>,
}

impl Sync {
    async fn open(running: &Running, node: &TestNode) -> Self {
        let (up, receiver) = mpsc::channel(8);
        let hello = issuer::sync_up::Kind::Hello(issuer::Hello::default());
        up.send(issuer::SyncUp { kind: Some(hello) }).await.unwrap();
        let down = running.node(node).await.sync(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { up, down }
    }

    async fn next(&mut self) -> Result<Kind, Status> {
        let next = tokio::time::timeout(Duration::from_secs(10), self.down.message()).await.expect("nothing came");
        next.map(|message| message.expect("the stream ended").kind.unwrap())
    }

    async fn state(&mut self) -> issuer::State {
        loop {
            if let Kind::State(state) = self.next().await.unwrap() {
                return state;
            }
        }
    }

    async fn applied(&self, state: &issuer::State) {
        let applied = issuer::Applied { version: state.version, epoch: state.epoch.clone() };
        let kind = issuer::sync_up::Kind::Applied(applied);
        self.up.send(issuer::SyncUp { kind: Some(kind) }).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_is_sent_its_part_at_once_and_at_each_change_and_versions_only_grow() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let mut sync = Sync::open(&running, &node).await;
    let first = sync.state().await;
    assert_eq!((first.trust_domain.as_str(), first.agents.len(), first.epoch.len()), ("example.test", 0, 16));
    assert_eq!(first.x509_authorities, node.svid.bundle);
    assert_eq!((first.jwt_authorities.len(), first.staleness_bound_ms), (1, 30_000));
    assert!(first.reserved_audiences.iter().any(|audience| audience == "https://vault.test"));

    running.agent("researcher", "laptop").await;
    running.agent("there", "other").await;
    let mut version = first.version;
    let agents = loop {
        let state = sync.state().await;
        assert!(state.version > version && state.epoch == first.epoch);
        version = state.version;
        if version >= first.version + 2 {
            break state.agents;
        }
    };
    assert_eq!(agents.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), ["researcher"]);
}

#[tokio::test]
async fn between_changes_the_age_of_the_lock_state_is_told() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let mut sync = Sync::open(&running, &node).await;
    let state = sync.state().await;
    let mut last = state.database_time_ms;
    for _ in 0..2 {
        let Kind::Heartbeat(beat) = sync.next().await.unwrap() else { panic!("the state did not change") };
        assert_eq!(
            (beat.version, &beat.epoch, beat.trust_domain.as_str()),
            (state.version, &state.epoch, "example.test")
        );
        assert!(beat.database_time_ms >= last, "the database's clock");
        last = beat.database_time_ms;
    }
}

#[tokio::test]
async fn a_lock_tells_where_it_is_in_force_and_where_not_yet() {
    let running = Running::start().await;
    let (near, far) = (running.join("near").await, running.join("far").await);
    let request = admin::CreateAgentRequest {
        name: "researcher".into(),
        owner: "me@example.test".into(),
        nodes: vec!["node:attestor:join_token".into()],
        selectors: vec!["unix:uid:1000".into()],
        ..Default::default()
    };
    running.admin().await.create_agent(request).await.unwrap();
    let mut sync = Sync::open(&running, &near).await;
    sync.state().await;
    let (told, state) = tokio::join!(running.lock("researcher"), async {
        let state = sync.state().await;
        sync.applied(&state).await;
        state
    });
    assert_eq!(state.locks.len(), 1);
    let [
        admin::lock_progress::Kind::Committed(committed),
        admin::lock_progress::Kind::Applied(applied),
        admin::lock_progress::Kind::Pending(pending),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((committed.version, applied.node_id.as_str()), (state.version, near.svid.spiffe_id.as_str()));
    assert!(applied.after_us > 0 && applied.after_us < 2_000_000, "{applied:?}");
    assert_eq!(pending.node_id, far.svid.spiffe_id);
    assert!(pending.fails_closed_ms <= running.clock.now().0 + 30_000);
    assert!(events(&running).await.contains(&"lock.applied"));

    // A released lock is named among the ended ones, so that the helper does not take its absence for an attack.
    let id = committed.lock.clone().unwrap().id;
    running.admin().await.release_lock(admin::ReleaseLockRequest { id: id.clone() }).await.unwrap();
    let state = sync.state().await;
    assert!(state.locks.is_empty() && state.ended_locks.contains(&id));
}

#[tokio::test]
async fn what_was_never_sent_cannot_be_said_to_be_applied() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let mut sync = Sync::open(&running, &node).await;
    let state = sync.state().await;
    sync.applied(&issuer::State { version: u64::MAX, ..state.clone() }).await;
    sync.applied(&issuer::State { epoch: vec![0; 16], ..state }).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let nodes = running.admin().await.list_nodes(admin::ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!((nodes[0].connected, nodes[0].applied_version), (true, 0));
}

#[tokio::test]
async fn a_stream_ends_with_the_svid_that_opened_it() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let mut sync = Sync::open(&running, &node).await;
    sync.state().await;
    running.clock.advance(Duration::from_secs(60 * 60 + 1));
    let refused = loop {
        match sync.next().await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(word(Err::<(), _>(refused)), "not_a_node");
}

#[tokio::test]
async fn an_authority_is_in_every_bundle_before_it_signs() {
    let running = Running::start_with(|config| {
        config.svid.x509_ttl = Duration::from_secs(10);
        config.svid.node_ttl = Duration::from_secs(240);
        config.authority.x509_ttl = Duration::from_secs(1440);
    })
    .await;
    running.agent("researcher", "laptop").await;
    let key = KeyPair::generate().unwrap();
    let under = |chain: &[Vec<u8>], authority: &[u8]| {
        let x509 = vec![X509Authority(authority.to_vec().into())];
        let bundle = Bundle { trust_domain: trust_domain(), x509, jwt: Vec::new() };
        let chain: Vec<_> = chain.iter().map(|der| der.as_slice().into()).collect();
        let now = running.clock.now();
        avouch_words::svid::x509::X509Svid::verify(&chain, &Bundles::from(bundle), now).is_ok()
    };
    let node = running.join("laptop").await;
    let first = node.svid.bundle[0].clone();
    assert_eq!(node.svid.bundle.len(), 1);

    // At half of its life the next is prepared: in the bundle, signing nothing.
    running.clock.advance(Duration::from_secs(740));
    wait_for(&running, "authority.created", 4).await;
    let node = running.join("laptop").await;
    assert_eq!((node.svid.bundle.len(), &node.svid.bundle[0]), (2, &first));
    let issued = sign_one(&mut running.node(&node).await, order("researcher", 1, &key)).await.unwrap();
    assert!(under(&issued.chain, &first));

    // When a third is left it signs, and the one before is still in the bundle.
    running.clock.advance(Duration::from_secs(222));
    wait_for(&running, "authority.activated", 4).await;
    let node = running.join("laptop").await;
    assert_eq!((node.svid.bundle.len(), &node.svid.bundle[0]), (2, &first));
    let issued = sign_one(&mut running.node(&node).await, order("researcher", 2, &key)).await.unwrap();
    assert!(!under(&issued.chain, &first) && under(&issued.chain, &node.svid.bundle[1]));

    // When nothing that it signed is valid any more it goes.
    running.clock.advance(Duration::from_secs(480));
    wait_for(&running, "authority.removed", 1).await;
    assert!(!running.join("laptop").await.svid.bundle.contains(&first));
}

async fn wait_for(running: &Running, code: &str, times: usize) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while events(running).await.iter().filter(|event| **event == code).count() < times {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{code} did not come {times} times"));
}

fn elsewhere(binding: &[u8]) -> admin::PutCredentialRequest {
    admin::PutCredentialRequest {
        name: "ci".into(),
        source: "vault".into(),
        reference: "kv2:secret/ci#token".into(),
        binding: binding.to_vec(),
        only_new: false,
    }
}

#[tokio::test]
async fn where_a_credential_lies_is_kept_recorded_and_told_to_the_nodes_that_may_use_it() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let mut admin = running.admin().await;
    let binding = br#"{"to":"https://api.test:443","methods":["GET"],"paths":["/x"],"slot":"bearer"}"#;
    for (source, reference) in [("vault", "a b"), ("vault", "a\nb"), ("vault", &"x".repeat(513)), ("sealed", "x")] {
        let put =
            admin::PutCredentialRequest { source: source.into(), reference: reference.into(), ..elsewhere(binding) };
        assert_eq!(word(admin.put_credential(put).await), "bad_request", "{source} {reference:?}");
    }
    for reference in ["kv2:secret/ci#old", "kv2:secret/ci#token"] {
        let put = admin::PutCredentialRequest { reference: reference.into(), ..elsewhere(binding) };
        assert_eq!(admin.put_credential(put).await.unwrap().into_inner().reference, reference);
    }
    let grant = admin::CreateGrantRequest { agent: "researcher".into(), credential: "ci".into() };
    admin.create_grant(grant).await.unwrap();
    let mut sync = Sync::open(&running, &node).await;
    let state = sync.state().await;
    let told: Vec<_> = state.credentials.iter().map(|one| (one.source.as_str(), one.reference.as_str())).collect();
    assert_eq!(told, [("vault", "kv2:secret/ci#token")]);
    let log = super::audit::export(&running).await;
    let entries = log.into_iter().filter(|part| super::audit::code(part) == Some("credential.put"));
    let recorded: Vec<_> = entries
        .filter_map(|part| match part {
            avouch_audit::export::Part::Entry(entry) => String::from_utf8(entry).ok(),
            _ => None,
        })
        .collect();
    assert!(recorded[1].contains(r#""reference":"kv2:secret/ci#token""#), "{recorded:?}");
}
