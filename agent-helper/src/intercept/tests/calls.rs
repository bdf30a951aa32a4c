//! What is permitted works, and is written down.

use super::*;

#[tokio::test]
async fn a_permitted_call_carries_the_credential_and_leaves_one_intent_and_one_outcome() {
    let tool = Tool::plain(|_| ok("hello")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let response = once(&world.session("researcher"), get(&tool, "/ok/x?q=1")).await;
    assert_eq!((response.status, response.body.as_str()), (200, "hello"));
    let sent = tool.last();
    assert!(sent.starts_with("GET /ok/x?q=1 HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains(&format!("\r\nauthorization: Bearer {SECRET}\r\n")), "{sent}");
    assert!(sent.contains("\r\naccept-encoding: identity\r\n"));
    assert!(sent.contains(&format!("\r\nhost: {}\r\n", tool.address)));
    world.open(0).await;
    assert_eq!(world.codes(), ["broker.intent", "broker.outcome"]);
}

#[tokio::test]
async fn every_slot_is_filled_as_its_binding_says() {
    let tool = Tool::plain(|_| ok("")).await;
    for (slot, line) in [
        (
            r#"{"basic":{"username":"user"}}"#,
            "authorization: Basic dXNlcjpzM2NyM3QtY2FuYXJ5LzAxMjM0NTY3ODkrYWJjZGVm".to_owned(),
        ),
        (r#"{"header":{"name":"X-Key","prefix":"Token "}}"#, format!("x-key: Token {SECRET}")),
    ] {
        let world = World::new(&[], Unbound::Deny);
        world.bind("tool", &plain_binding(&tool, slot));
        assert_eq!(once(&world.session("researcher"), get(&tool, "/ok/x")).await.status, 200);
        assert!(tool.last().contains(&format!("\r\n{line}\r\n")), "{}", tool.last());
    }
}

#[tokio::test]
async fn what_is_not_granted_is_refused_and_reaches_nobody() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let (researcher, intruder) = (world.session("researcher"), world.session("intruder"));
    let address = tool.address;
    let other = Tool::plain(|_| ok("")).await.address;
    let mut texts = Vec::new();
    for (what, agents, request) in [
        ("another agent", &intruder, get(&tool, "/ok/x")),
        ("another path", &researcher, get(&tool, "/no/x")),
        ("another method", &researcher, get(&tool, "/ok/x").replace("GET", "DELETE")),
        ("another query", &researcher, get(&tool, "/ok/x?_method=DELETE")),
    ] {
        let response = once(agents, request).await;
        assert_eq!((response.status, response.code().as_str()), (403, "denied"), "{what}");
        assert!(response.head.contains("x-should-retry: false"));
        let json: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        texts.push((json["error"]["message"].to_string(), json["error"]["action"].to_string()));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "one text for all");
    let unbound = once(&researcher, format!("GET http://{other}/ok/x HTTP/1.1\r\nHost: {other}\r\n\r\n")).await;
    assert_eq!(unbound.code(), "unbound_host");
    let secure = once(&researcher, format!("GET https://{address}/ok/x HTTP/1.1\r\nHost: {address}\r\n\r\n")).await;
    assert_eq!(secure.code(), "denied", "the binding's scheme is http");
    assert_eq!(tool.count(), 0);
    assert_eq!(world.codes(), ["broker.denied"; 6]);
}

#[tokio::test]
async fn nothing_is_injected_without_a_durable_intent_or_on_an_old_lock_state() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    world.ledger.broken.store(true, Ordering::SeqCst);
    let refused = once(&agents, get(&tool, "/ok/x")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"));
    assert!(refused.head.contains("\r\nretry-after: ") && refused.head.contains("x-should-retry: true"));
    world.ledger.broken.store(false, Ordering::SeqCst);
    world.fresh.0.store(false, Ordering::SeqCst);
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.code(), "stale");
    assert_eq!(tool.count(), 0);
    world.fresh.0.store(true, Ordering::SeqCst);
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.status, 200);
}

#[tokio::test]
async fn a_value_put_for_another_binding_is_not_used() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let changed = Binding::parse(plain_binding(&tool, r#""bearer""#).replace("/ok/**", "/**").as_bytes()).unwrap();
    world.parts.lock().unwrap().credentials[0].binding = changed;
    world.publish();
    let refused = once(&world.session("researcher"), get(&tool, "/ok/x")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "source_unavailable"));
    assert_eq!(tool.count(), 0);
    assert_eq!(world.codes(), ["broker.intent", "broker.outcome"]);
}

#[tokio::test]
async fn two_credentials_for_one_slot_are_refused() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    world.bind("second", &plain_binding(&tool, r#"{"basic":{"username":"user"}}"#));
    let refused = once(&world.session("researcher"), get(&tool, "/ok/x")).await;
    assert_eq!((refused.status, refused.code().as_str(), tool.count()), (409, "ambiguous_credential", 0));
}

#[tokio::test]
async fn a_session_keeps_its_connections_and_shares_none() {
    let tool = Tool::plain(|_| ok("x")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let (first, second) = (world.session("researcher"), world.session("researcher"));
    let mut conn = connect(first.address).await;
    for _ in 0..5 {
        assert_eq!(conn.call(get(&tool, "/ok/x")).await.status, 200);
    }
    assert_eq!(tool.connections.load(Ordering::SeqCst), 1, "kept between requests");
    assert_eq!(once(&second, get(&tool, "/ok/x")).await.status, 200);
    assert_eq!(tool.connections.load(Ordering::SeqCst), 2, "not shared between sessions");
    // Another binding of the same server.
    world.bind("other", &plain_binding(&tool, r#"{"header":{"name":"x-key"}}"#).replace("/ok/**", "/other/**"));
    assert_eq!(once(&first, get(&tool, "/other/x")).await.status, 200);
    assert_eq!(tool.connections.load(Ordering::SeqCst), 3, "not shared between bindings");
    world.open(0).await;
    assert_eq!((world.recorded("broker.intent"), world.recorded("broker.outcome"), tool.count()), (7, 7, 7));
}

#[tokio::test]
async fn a_kept_connection_that_has_gone_costs_a_second_intent_and_not_the_call() {
    let tool = Tool::plain(|_| Answer::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".to_vec())).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let mut conn = connect(agents.address).await;
    for _ in 0..20 {
        assert_eq!(conn.call(get(&tool, "/ok/x")).await.status, 200);
    }
    world.open(0).await;
    assert_eq!(tool.count(), 20);
    assert!(world.recorded("broker.intent") >= 20);
    assert_eq!(world.recorded("broker.intent"), world.recorded("broker.outcome"));
}

#[tokio::test]
async fn bodies_pass_in_both_framings_and_with_an_expectation() {
    let tool = Tool::plain(|request| ok(&request.split_once("\r\n\r\n").unwrap().1.len().to_string())).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let mut conn = connect(world.session("researcher").address).await;
    let head = |framing: &str| format!("POST http://{0}/ok/x HTTP/1.1\r\nHost: {0}\r\n{framing}\r\n\r\n", tool.address);
    let small = conn.call(head("Content-Length: 5") + "hello").await;
    assert_eq!((small.status, small.body.as_str()), (200, "5"));
    let chunked = conn.call(head("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n").await;
    assert_eq!(chunked.status, 200);
    assert!(tool.last().ends_with("\r\n5\r\nhello\r\n0\r\n\r\n"), "{}", tool.last());
    let large = "x".repeat(300_000);
    let response = conn.call(head("Content-Length: 300000") + &large).await;
    assert_eq!((response.status, response.body.as_str()), (200, "300000"));
    conn.write(head("Content-Length: 5\r\nExpect: 100-continue")).await;
    assert_eq!(conn.head().await.unwrap().0, 100);
    let after = conn.call("hello").await;
    assert_eq!((after.status, after.body.as_str()), (200, "5"));
    assert!(!tool.last().to_ascii_lowercase().contains("expect"));
    let empty = conn.call(head("X: 1")).await;
    assert_eq!(empty.body, "0");
    assert!(tool.last().contains("content-length: 0"));
}

#[tokio::test]
async fn answers_pass_in_every_framing() {
    let tool = Tool::plain(|request| {
        let bytes = |text: &str| text.as_bytes().to_vec();
        match request.split(' ').nth(1).unwrap() {
            "/ok/chunked" => Answer::Pieces(vec![
                bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                bytes("3\r\nabc\r\n"),
                bytes("0\r\n\r\n"),
            ]),
            "/ok/close" => Answer::Close(bytes("HTTP/1.1 200 OK\r\n\r\nabc")),
            "/ok/none" => Answer::Keep(bytes("HTTP/1.1 204 No Content\r\n\r\n")),
            "/ok/interim" => Answer::Pieces(vec![
                bytes("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
                bytes("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
            ]),
            "/ok/large" => ok(&"y".repeat(500_000)),
            _ => ok("abc"),
        }
    })
    .await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let mut conn = connect(agents.address).await;
    assert_eq!(conn.call(get(&tool, "/ok/chunked")).await.body, "abc");
    assert_eq!(conn.call(get(&tool, "/ok/large")).await.body.len(), 500_000);
    let head = conn.call(get(&tool, "/ok/x").replace("GET", "HEAD")).await;
    assert!(head.head.contains("content-length: 3"), "{}", head.head);
    conn.write(get(&tool, "/ok/none")).await;
    let none = conn.response(false).await.unwrap();
    assert!(none.status == 204 && !none.head.contains("content-length"), "{}", none.head);
    assert_eq!(conn.call(get(&tool, "/ok/interim")).await.status, 200, "interim responses are swallowed");
    let closed = conn.call(get(&tool, "/ok/close")).await;
    assert_eq!(closed.body, "abc");
    assert!(
        closed.head.contains("connection: close") && conn.is_closed().await,
        "not cleanly framed closes both sides"
    );
    let old = once(&agents, get(&tool, "/ok/x").replace("HTTP/1.1", "HTTP/1.0")).await;
    assert_eq!((old.status, old.body.as_str()), (200, "abc"));
}

/// Case A26.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_agents_at_once_never_carry_each_others_credentials() {
    const AGENTS: usize = 16;
    const CALLS: usize = 25;
    let tool = Tool::plain(ok).await;
    let world = World::new(&[], Unbound::Deny);
    let binding = Binding::parse(plain_binding(&tool, r#""bearer""#).as_bytes()).unwrap();
    let secret = |at: usize| format!("secret-of-agent-{at:02}-and-no-other");
    for at in 0..AGENTS {
        let (agent, credential) = (name(&format!("agent-{at}")), name(&format!("credential-{at}")));
        world.store.put(&credential, &binding.digest(), &Secret::new(secret(at).into_bytes())).unwrap();
        let mut parts = world.parts.lock().unwrap();
        parts.agents.push(Agent { name: agent.clone(), state: AgentState::Active });
        parts.grants.push(Grant { id: id(), agent, credential: credential.clone() });
        parts.credentials.push(Credential {
            name: credential,
            source: name("sealed"),
            reference: Reference::default(),
            binding: binding.clone(),
        });
    }
    world.publish();
    let mut running = tokio::task::JoinSet::new();
    for at in 0..AGENTS {
        let (agents, request) = (world.session(&format!("agent-{at}")), get(&tool, &format!("/ok/{at:02}")));
        running.spawn(async move {
            let mut conn = connect(agents.address).await;
            for _ in 0..CALLS {
                let response = conn.call(&request).await;
                assert!(response.status == 200 && !response.body.contains("secret-of-agent"), "{}", response.body);
                assert!(response.body.starts_with(&format!("GET /ok/{at:02} ")), "{}", response.body);
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    let requests = tool.requests.lock().unwrap();
    assert_eq!(requests.len(), AGENTS * CALLS);
    for request in requests.iter() {
        let at: usize = request["GET /ok/".len()..][..2].parse().unwrap();
        assert!(request.contains(&format!("authorization: Bearer {}\r\n", secret(at))), "{request}");
    }
    assert_eq!(tool.connections.load(Ordering::SeqCst), AGENTS);
}

#[tokio::test]
async fn with_the_real_spool_each_request_the_tool_saw_has_a_durable_intent() {
    let dir = tempfile::tempdir().unwrap();
    let random = ring::rand::SystemRandom::new();
    let spool = crate::spool::Spool::open(&dir.path().join("spool"), Arc::new(SystemClock), &random).unwrap();
    let seen = spool.clone();
    let durable = move || {
        let seen = seen.clone();
        async move {
            let records = seen.unshipped(0, 1 << 20).await.unwrap();
            records
                .iter()
                .filter(|record| String::from_utf8_lossy(record).contains(r#""code":"broker.intent""#))
                .count()
        }
    };
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::recording(&[], Unbound::Deny, Arc::default(), Arc::new(spool.clone()));
    world.bind_plain(&tool);
    let mut conn = connect(world.session("researcher").address).await;
    for sent in 1..=5 {
        assert_eq!(conn.call(get(&tool, "/ok/x")).await.status, 200);
        assert_eq!((tool.count(), durable().await), (sent, sent));
    }
    assert_eq!(conn.call(get(&tool, "/no/x")).await.code(), "denied");
    world.open(0).await;
    spool.close().await;
    let text = std::fs::read_dir(dir.path().join("spool")).unwrap().flatten();
    let text: String = text.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default()).collect();
    let recorded = |code: &str| text.matches(&format!(r#""code":"{code}""#)).count();
    assert_eq!((recorded("broker.intent"), recorded("broker.outcome"), recorded("broker.denied")), (5, 5, 1));
    assert!(!shows_secret(&text));
}

/// The field is of no known credential's name: only that it is this binding's slot takes the client's own away.
#[tokio::test]
async fn a_clients_own_field_of_the_slots_name_stays_behind() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind("tool", &plain_binding(&tool, r#"{"header":{"name":"x-odd-name"}}"#));
    let request = get(&tool, "/ok/x").replacen("\r\n", "\r\nX-Odd-Name: mine\r\nx-odd-name: mine too\r\n", 1);
    assert_eq!(once(&world.session("researcher"), request).await.status, 200);
    let seen = tool.last().to_ascii_lowercase();
    assert!(seen.matches("x-odd-name: ").count() == 1 && !seen.contains("mine"), "{seen}");
    assert!(shows_secret(&tool.last()), "{seen}");
}
