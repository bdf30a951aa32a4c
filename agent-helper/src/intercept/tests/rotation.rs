//! A credential changes while it is used: the agent notices nothing, and nothing is sent twice that could do harm twice.

use super::*;
use avouch_audit::record::Outcome;
use std::sync::OnceLock;

/// A tool that takes one value at a time, and another one from the moment it is told.
#[derive(Clone, Default)]
struct Demand(Arc<Mutex<String>>);

impl Demand {
    fn rotate(&self, value: &str) {
        *self.0.lock().unwrap() = value.to_owned();
    }

    fn answer(&self, request: &str) -> Answer {
        let wanted = format!("authorization: Bearer {}\r\n", self.0.lock().unwrap());
        match request.contains(&wanted) {
            true => ok("hello"),
            false => answer("401 Unauthorized", "no"),
        }
    }
}

fn answer(status: &str, body: &str) -> Answer {
    Answer::Keep(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

async fn demanding() -> (Tool, World, Demand) {
    let demand = Demand::default();
    let judge = demand.clone();
    let tool = Tool::plain(move |request| judge.answer(request)).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    demand.rotate(SECRET);
    (tool, world, demand)
}

impl World {
    /// Puts another value where the source has it; what the broker keeps is as it was.
    fn put_behind(&self, tool: &Tool, value: &str) {
        let text = plain_binding(tool, "\"bearer\"");
        let binding = Binding::parse(text.as_bytes()).unwrap();
        self.store.put(&name("tool"), &binding.digest(), &Secret::new(value.as_bytes().to_vec())).unwrap();
    }
}

#[tokio::test]
async fn a_value_that_the_tool_refuses_is_read_again_once_and_the_call_is_made_again() {
    let (tool, world, demand) = demanding().await;
    let agents = world.session("researcher");
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.status, 200);
    world.put_behind(&tool, "the-next-value-of-it");
    demand.rotate("the-next-value-of-it");
    let response = once(&agents, get(&tool, "/ok/x")).await;
    assert_eq!((response.status, response.body.as_str()), (200, "hello"), "the agent notices nothing");
    assert_eq!(tool.count(), 3);
    world.open(0).await;
    let codes = ["broker.intent", "broker.outcome"].repeat(3);
    assert_eq!(world.codes(), codes, "each request that was sent has a decision and an intent of its own");
    let outdated = world.ledger.events.lock().unwrap().iter().any(|event| {
        matches!(event, HelperEvent::Outcome { outcome: Outcome::Error { kind, status: Some(401) }, .. }
            if kind.as_str() == "credential_outdated")
    });
    assert!(outdated, "and it is on record why there were two");
}

#[tokio::test]
async fn what_could_do_harm_twice_is_not_made_again() {
    let (tool, world, demand) = demanding().await;
    let agents = world.session("researcher");
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.status, 200);
    world.put_behind(&tool, "the-next-value-of-it");
    demand.rotate("the-next-value-of-it");
    let address = tool.address;
    for body in ["content-length: 0\r\n\r\n", "content-length: 2\r\n\r\nab"] {
        let post = format!("POST http://{address}/ok/x HTTP/1.1\r\nhost: {address}\r\n{body}");
        assert_eq!(once(&agents, post).await.status, 401);
    }
    let get = format!("GET http://{address}/ok/x HTTP/1.1\r\nhost: {address}\r\ncontent-length: 2\r\n\r\nab");
    assert_eq!(once(&agents, get).await.status, 401, "nor what has a body");
    assert_eq!(tool.count(), 4);
}

#[tokio::test]
async fn a_tool_that_refuses_everything_is_asked_at_most_twice() {
    let world: Arc<OnceLock<(World, Tool)>> = Arc::default();
    let (behind, turn) = (world.clone(), AtomicUsize::new(0));
    // Each time it refuses there is another value: a source that lies, or one that is rotated all the time.
    let tool = Tool::plain(move |_| {
        if let Some((world, tool)) = behind.get() {
            world.put_behind(tool, &format!("another-value-{}", turn.fetch_add(1, Ordering::SeqCst)));
        }
        answer("401 Unauthorized", "no")
    })
    .await;
    let made = World::new(&[], Unbound::Deny);
    made.bind_plain(&tool);
    let agents = made.session("researcher");
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.status, 401);
    assert_eq!(tool.count(), 1, "the same value is not sent again");
    assert!(world.set((made, tool.clone())).is_ok());
    let (made, _) = world.get().unwrap();
    made.broker.forget_values();
    let before = tool.count();
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.status, 401);
    assert_eq!(tool.count() - before, 2, "never a third time");
}

/// `AVOUCH_ROTATIONS` sets how often the value changes: `tests/rotation` says 100, for 10,000 calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_over_rotations_and_none_fails() {
    const CALLS: usize = 100;
    let rotations = std::env::var("AVOUCH_ROTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let (tool, world, demand) = demanding().await;
    let agents = world.session("researcher");
    let mut failed = 0;
    for rotation in 0..rotations {
        for _ in 0..CALLS {
            let response = once(&agents, get(&tool, "/ok/x")).await;
            failed += usize::from((response.status, response.body.as_str()) != (200, "hello"));
        }
        let next = format!("value-number-{rotation}");
        world.put_behind(&tool, &next);
        demand.rotate(&next);
    }
    assert_eq!(failed, 0, "of {}", rotations * CALLS);
    assert_eq!(tool.count(), rotations * CALLS + rotations - 1, "one more for each rotation that a call met");
}
