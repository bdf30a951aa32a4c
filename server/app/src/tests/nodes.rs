use super::*;
use avouch_wire::issuer::sync_down::Kind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

fn ban(node: &str, reason: &str) -> admin::BanNodeRequest {
    admin::BanNodeRequest { node: node.to_owned(), reason: reason.to_owned() }
}

fn evict(node: &str) -> admin::EvictNodeRequest {
    admin::EvictNodeRequest { node: node.to_owned(), reason: "test".to_owned() }
}

async fn states(
    running: &Running,
    node: &TestNode,
) -> (mpsc::Sender<issuer::SyncUp>, tonic::Streaming<issuer::SyncDown>) {
    let (up, receiver) = mpsc::channel(8);
    let hello = issuer::sync_up::Kind::Hello(issuer::Hello::default());
    up.send(issuer::SyncUp { kind: Some(hello) }).await.unwrap();
    let down = running.node(node).await.sync(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    (up, down)
}

/// The next state, and then it is said to be applied.
async fn next_state(
    (up, down): &mut (mpsc::Sender<issuer::SyncUp>, tonic::Streaming<issuer::SyncDown>),
) -> Result<issuer::State, Status> {
    loop {
        if let Some(Kind::State(state)) = down.message().await?.and_then(|message| message.kind) {
            let applied = issuer::Applied { version: state.version, epoch: state.epoch.clone() };
            up.send(issuer::SyncUp { kind: Some(issuer::sync_up::Kind::Applied(applied)) }).await.unwrap();
            return Ok(state);
        }
    }
}

#[tokio::test]
async fn a_banned_node_hears_it_and_gets_nothing_any_more() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let key = KeyPair::generate().unwrap();
    sign_one(&mut running.node(&node).await, order("researcher", 1, &key)).await.unwrap();
    let mut sync = states(&running, &node).await;
    assert_eq!(next_state(&mut sync).await.unwrap().agents.len(), 1);
    let listening = tokio::spawn(async move {
        let state = next_state(&mut sync).await.unwrap();
        let end = next_state(&mut sync).await.unwrap_err();
        (state, end)
    });

    let done = running.admin().await.ban_node(ban("laptop", "stolen")).await.unwrap().into_inner();
    assert!(done.applied && done.after_us < 2_000_000, "{done:?}");
    assert_eq!((done.instances.len(), done.instances[0].agent.as_str()), (1, "researcher"));
    assert!(done.instances[0].svids_valid_until_ms > running.clock.now().0, "until then others accept its SVID");
    let (state, end) = listening.await.unwrap();
    assert!(state.banned && state.agents.is_empty() && state.bound_origins.is_empty());
    assert_eq!(word::<()>(Err(end)), "denied");

    let mut client = running.node(&node).await;
    assert_eq!(word(client.renew(issuer::RenewRequest { csr: csr(&node.key) }).await), "denied");
    let orders = issuer::SignX509Request { orders: vec![order("researcher", 1, &key)] };
    assert_eq!(word(client.sign_x509(orders).await), "denied");
    let mut late = states(&running, &node).await;
    assert!(next_state(&mut late).await.unwrap().banned, "one that was away hears it when it comes back");
    assert!(next_state(&mut late).await.is_err());
    let listed = running.admin().await.list_nodes(admin::ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert!(listed[0].banned_ms > 0);
    let shown = admin::ShowNodeRequest { node: "laptop".to_owned() };
    let shown = running.admin().await.show_node(shown).await.unwrap().into_inner();
    assert!(shown.agents.is_empty() && shown.instances[0].svids_valid_until_ms > 0, "{shown:?}");
    assert!(events(&running).await.contains(&"node.banned"));
    assert_eq!(word(running.admin().await.ban_node(ban("laptop", "again")).await), "bad_request");
}

/// With a token from before, or with a new one.
#[tokio::test]
async fn a_banned_node_joins_nowhere_until_it_is_evicted() {
    let running = Running::start().await;
    running.join("laptop").await;
    let before = running.token("laptop", 0).await;
    running.admin().await.ban_node(ban("laptop", "stolen")).await.unwrap();
    let key = KeyPair::generate().unwrap();
    assert_eq!(word(running.enrol(&before, &key).await), "denied");
    let request = admin::CreateTokenRequest { node: "laptop".to_owned(), ttl_seconds: 0 };
    assert_eq!(word(running.admin().await.create_token(request).await), "bad_request");
    running.admin().await.evict_node(evict("laptop")).await.unwrap();
    running.join("laptop").await;
    let seen = events(&running).await;
    assert!(seen.contains(&"node.evicted") && seen.iter().filter(|event| **event == "node.joined").count() == 2);
}

#[tokio::test]
async fn an_evicted_node_is_nobody_and_may_join_anew() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    running.admin().await.evict_node(evict("laptop")).await.unwrap();
    let mut client = running.node(&node).await;
    assert_eq!(word(client.renew(issuer::RenewRequest { csr: csr(&node.key) }).await), "denied");
    assert!(running.admin().await.list_nodes(admin::ListNodesRequest {}).await.unwrap().into_inner().nodes.is_empty());
    assert_eq!(word(running.admin().await.evict_node(evict("laptop")).await), "not_found");
    let again = running.join("laptop").await;
    let mut sync = states(&running, &again).await;
    assert_eq!(next_state(&mut sync).await.unwrap().agents.len(), 1);
    assert_eq!(word(client.renew(issuer::RenewRequest { csr: csr(&node.key) }).await), "denied", "the old SVID");
}

#[tokio::test]
async fn whoever_withdraws_says_why() {
    let running = Running::start().await;
    running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    for reason in ["", " ", "two\nlines", &"x".repeat(257)] {
        assert_eq!(word(running.admin().await.ban_node(ban("laptop", reason)).await), "bad_request", "{reason:?}");
        let request = admin::DeleteAgentRequest { name: "researcher".to_owned(), reason: reason.to_owned() };
        assert_eq!(word(running.admin().await.delete_agent(request).await), "bad_request");
    }
    assert_eq!(word(running.admin().await.ban_node(ban("nobody", "test")).await), "not_found");
}
