//! Case A29: what is open is judged again at every change, and cut.

use super::*;

fn stream() -> Answer {
    Answer::Hang(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec())
}

/// An open streaming answer.
async fn streaming(world: &World, agents: &Agents, tool: &Tool) -> Conn<TcpStream> {
    let mut conn = connect(agents.address).await;
    conn.write(get(tool, "/ok/stream")).await;
    assert_eq!(conn.head().await.unwrap().0, 200);
    while !conn.held.ends_with(b"5\r\nhello\r\n") {
        assert_ne!(conn.more().await, 0);
    }
    world.open(1).await;
    conn
}

async fn ended(tool: &Tool, connections: usize) {
    let wait = async {
        while tool.ended.load(Ordering::SeqCst) < connections {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("the server's side stays open");
}

#[tokio::test]
async fn a_lock_cuts_an_open_stream_in_both_directions_and_refuses_the_next_call() {
    let tool = Tool::plain(|_| stream()).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let mut conn = streaming(&world, &agents, &tool).await;
    world.lock("intruder");
    world.open(1).await;
    let began = tokio::time::Instant::now();
    world.lock("researcher");
    assert!(conn.is_closed().await);
    ended(&tool, 1).await;
    assert!(began.elapsed() < Duration::from_secs(4), "twice the bound of 2 s");
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.code(), "denied");
    assert_eq!(tool.count(), 1);
    world.open(0).await;
    assert_eq!(world.codes(), ["broker.intent", "broker.outcome", "broker.denied"]);
    let cut = |event: &HelperEvent| {
        matches!(event, HelperEvent::Outcome { outcome: avouch_audit::record::Outcome::Cut { status: Some(200) }, .. })
    };
    assert!(world.ledger.events.lock().unwrap().iter().any(cut));
}

#[tokio::test]
async fn a_taken_grant_or_a_changed_binding_cuts_too() {
    for change in [0, 1] {
        let tool = Tool::plain(|_| stream()).await;
        let world = World::new(&[], Unbound::Deny);
        world.bind_plain(&tool);
        let agents = world.session("researcher");
        let mut conn = streaming(&world, &agents, &tool).await;
        world.publish();
        assert_eq!(world.broker.open_calls(None), 1, "a change that keeps it permitted cuts nothing");
        match change {
            0 => world.parts.lock().unwrap().grants.clear(),
            _ => {
                let other = plain_binding(&tool, r#""bearer""#).replace(r#""q""#, r#""q","r""#);
                world.parts.lock().unwrap().credentials[0].binding = Binding::parse(other.as_bytes()).unwrap();
            }
        }
        world.publish();
        assert!(conn.is_closed().await, "{change}");
    }
}

#[tokio::test]
async fn the_end_of_a_session_cuts_its_connections_and_its_listener() {
    let tool = Tool::plain(|_| stream()).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let mut conn = streaming(&world, &agents, &tool).await;
    let mut idle = connect(agents.address).await;
    let mut other = streaming_in_another(&world, &tool).await;
    agents.ended.cancel();
    assert!(conn.is_closed().await && idle.is_closed().await);
    ended(&tool, 1).await;
    world.open(1).await;
    tokio::time::timeout(SOON, async {
        while TcpStream::connect(agents.address).await.is_ok() {
            tokio::task::yield_now().await
        }
    })
    .await
    .expect("the listener is closed");
    world.lock("researcher");
    assert!(other.is_closed().await);
}

async fn streaming_in_another(world: &World, tool: &Tool) -> Conn<TcpStream> {
    let agents = world.session("researcher");
    let mut conn = connect(agents.address).await;
    conn.write(get(tool, "/ok/stream")).await;
    assert_eq!(conn.head().await.unwrap().0, 200);
    world.open(2).await;
    conn
}

#[tokio::test]
async fn a_lock_drops_the_values_kept_for_the_agent() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.status, 200);
    world.store.remove(&name("tool")).unwrap();
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.status, 200, "kept for a moment");
    world.lock("researcher");
    world.parts.lock().unwrap().locks.clear();
    // The lock has to be seen before it is released.
    tokio::time::timeout(SOON, async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if once(&agents, get(&tool, "/ok/x")).await.code() == "denied" {
                break;
            }
        }
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.publish();
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.code(), "source_unavailable");
}

#[tokio::test]
async fn the_state_going_away_cuts_everything() {
    let tool = Tool::plain(|_| stream()).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let mut conn = streaming(&world, &agents, &tool).await;
    let World { state, broker: _broker, .. } = world;
    drop(state);
    assert!(conn.is_closed().await);
}

/// What a client leaves behind must not hold a place, a connection upstream and a value for as long as a server likes
/// to think.
#[tokio::test]
async fn a_client_that_goes_away_ends_its_call_however_silent_the_server_is() {
    let late = |head: &str| {
        Tool::plain({
            let head = head.as_bytes().to_vec();
            move |_| Answer::Hang(head.clone())
        })
    };
    let silent = late("").await;
    let half_said = late("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
    let streamed = late("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    for (which, tool) in [silent, half_said, streamed].into_iter().enumerate() {
        for last in ["", "x"] {
            let world = World::new(&[], Unbound::Deny);
            world.bind_plain(&tool);
            let agents = world.session("researcher");
            let mut conn = connect(agents.address).await;
            conn.write(get(&tool, "/ok/slow")).await;
            world.open(1).await;
            conn.write(last).await;
            drop(conn);
            world.open(0).await;
            assert!(tool.count() > 0, "{which}");
        }
    }
}

/// More than was asked is not kept for it either.
#[tokio::test]
async fn a_client_that_goes_on_sending_while_it_waits_is_cut() {
    let tool = Tool::plain(|_| Answer::Hang(Vec::new())).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let mut conn = connect(agents.address).await;
    conn.write(get(&tool, "/ok/slow")).await;
    world.open(1).await;
    conn.write(vec![b'x'; 256 * 1024]).await;
    world.open(0).await;
}
