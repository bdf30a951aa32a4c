//! kill -9 at named points: whatever was acknowledged is there afterwards, and every request that the tool saw has a
//! durable intent (invariant 7). `AVOUCH_CRASH_CYCLES` sets how often each point is hit; `tests/crash` says 20.

use avouch_tests::World;
use std::io;
use std::time::{Duration, Instant};

fn cycles() -> u32 {
    std::env::var("AVOUCH_CRASH_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Brokered calls until the helper dies at `point`, then a helper that goes on.
fn helper_dies_at(point: &str) {
    let mut world = World::start().expect("a world");
    for _ in 0..cycles() {
        world.made.kill_helper().expect("stopped");
        world.made.launch_helper(&[("AVOUCH_CRASH_AT", point)]).expect("a helper that will die");
        let begun = Instant::now();
        while !has_ended(world.made.helper()).expect("the helper") {
            assert!(begun.elapsed() < Duration::from_secs(20), "{point} was never reached\n{}", world.made.logs());
            world.curl("researcher", &["--max-time", "3", &world.plain("/repos/x")]).expect("curl");
        }
        world.made.kill_helper().ok();
        world.made.start_helper(&[]).expect("a helper that goes on");
        assert!(
            world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl").ends_with("200"),
            "{}",
            world.made.logs()
        );
    }
    let log = settled(&mut world);
    let intents = log.matches("\"code\":\"broker.intent\"").count();
    let outcomes = log.matches("\"code\":\"broker.outcome\"").count();
    assert!(
        world.authorized() <= intents,
        "{} requests reached the tool, {intents} intents are recorded",
        world.authorized()
    );
    assert_eq!(intents, outcomes, "every intent has an outcome, if only `unknown`");
}

/// Registrations until the issuer dies at `point`, then an issuer that goes on.
fn issuer_dies_at(point: &str) {
    let mut world = World::start().expect("a world");
    let mut acknowledged = Vec::new();
    for cycle in 0..cycles() {
        world.made.kill_server().expect("stopped");
        world.made.launch_server(&[("AVOUCH_CRASH_AT", point)]).expect("an issuer that will die");
        let begun = Instant::now();
        let mut n = 0;
        while !has_ended(world.made.server()).expect("the issuer") {
            assert!(begun.elapsed() < Duration::from_secs(20), "{point} was never reached\n{}", world.made.logs());
            let name = format!("agent-{cycle}-{n}");
            let line = [
                "agent",
                "create",
                &name,
                "--owner",
                "me@example.test",
                "--node",
                "node:name:n1",
                "--selector",
                "unix:uid:7",
            ];
            if world.made.avouch(&line).expect("agent create").code == Some(0) {
                acknowledged.push(name);
            }
            world.curl("researcher", &["--max-time", "3", &world.plain("/repos/x")]).expect("curl");
            n += 1;
        }
        world.made.kill_server().ok();
        world.made.start_server(&[]).expect("an issuer that goes on");
    }
    let agents = world.made.run(&["agent", "list", "-o", "json"]).expect("agents").stdout;
    for name in &acknowledged {
        assert!(agents.contains(name), "{name} was acknowledged, and is gone");
    }
    let begun = Instant::now();
    while !world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl").ends_with("200") {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", world.made.logs());
    }
    let log = settled(&mut world);
    for name in &acknowledged {
        assert!(log.contains(name.as_str()), "{name} is not in the log");
    }
    assert!(world.authorized() <= log.matches("\"code\":\"broker.intent\"").count());
}

/// The log once the helper has shipped all it has; it verifies.
fn settled(world: &mut World) -> String {
    let shipped = |said: &str| {
        serde_json::from_str::<serde_json::Value>(said)
            .ok()
            .and_then(|value| find(&value, "spooled").zip(find(&value, "acknowledged")))
            .is_some_and(|(spooled, acknowledged)| spooled == acknowledged)
    };
    world
        .made
        .until("the spool to be shipped", |made| {
            made.run(&["status", "-o", "json"]).is_ok_and(|said| shipped(&said.stdout))
        })
        .expect("shipped");
    world.made.run(&["audit", "verify"]).expect("the log verifies");
    world.made.run(&["audit", "export", "--out", "-"]).expect("export").stdout
}

fn find(value: &serde_json::Value, key: &str) -> Option<u64> {
    match value {
        serde_json::Value::Object(map) => {
            map.get(key).and_then(serde_json::Value::as_u64).or_else(|| map.values().find_map(|inner| find(inner, key)))
        }
        serde_json::Value::Array(list) => list.iter().find_map(|inner| find(inner, key)),
        _ => None,
    }
}

fn has_ended(child: Option<&mut std::process::Child>) -> io::Result<bool> {
    child.map_or(Ok(true), |child| child.try_wait().map(|status| status.is_some()))
}

macro_rules! points {
    ($how:ident: $($test:ident => $point:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            $how($point);
        }
    )*};
}

points! { helper_dies_at:
    the_helper_dies_before_the_intent => "before-intent",
    the_helper_dies_after_the_intent => "after-intent",
    the_helper_dies_after_the_lease => "after-lease",
    the_helper_dies_after_writing_upstream => "after-upstream-write",
    the_helper_dies_before_the_outcome => "before-outcome",
    the_helper_dies_before_it_stores_an_acknowledgement => "ship-before-ack",
}

points! { issuer_dies_at:
    the_issuer_dies_before_a_commit => "issuer-before-commit",
    the_issuer_dies_after_a_commit => "issuer-after-commit",
    the_issuer_dies_after_taking_records => "issuer-after-ship-commit",
    the_issuer_dies_before_a_checkpoint => "issuer-before-checkpoint",
}
