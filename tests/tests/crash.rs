//! kill -9 at named points: whatever was acknowledged is there afterwards, and every request that the tool saw has a
//! durable intent (invariant 7). `AVOUCH_CRASH_CYCLES` sets how often each point is hit; `tests/crash` says 20.

use avouch_tests::World;
use std::io;
use std::process::Stdio;
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
    let log = world.settled().expect("the log");
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
    let log = world.settled().expect("the log");
    for name in &acknowledged {
        assert!(log.contains(name.as_str()), "{name} is not in the log");
    }
    assert!(world.authorized() <= log.matches("\"code\":\"broker.intent\"").count());
}

fn has_ended(child: Option<&mut std::process::Child>) -> io::Result<bool> {
    child.map_or(Ok(true), |child| child.try_wait().map(|status| status.is_some()))
}

/// Calls and registrations without pause while the issuer is killed, and told to stop, again and again: no answer is wrong,
/// and nothing that was acknowledged is lost.
#[test]
fn an_issuer_restarted_twenty_times_under_load_loses_nothing() {
    let mut world = World::start().expect("a world");
    let url = world.plain("/repos/x");
    // One session lives through all of it, beside short ones.
    let script = "while [ ! -e \"$0\" ]; do curl -sS -o /dev/null -w '%{http_code}\\n' --max-time 20 \"$1\"; done";
    let stop = world.made.path("stop");
    let session = world.under_run("researcher", &["sh", "-c", script, &stop.to_string_lossy(), &url]);
    let session = { session }.spawn().expect("a session");
    let (mut acknowledged, mut answers) = (Vec::new(), 0);
    for restart in 0..RESTARTS {
        let begun = Instant::now();
        while begun.elapsed() < UNDER_LOAD {
            let name = format!("agent-{restart}-{}", acknowledged.len());
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
            // While a registration is under way the issuer ends, each time at another moment of it.
            let creating = world.made.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let ends = begun.elapsed() + Duration::from_millis(u64::from(restart) * 3) >= UNDER_LOAD;
            if ends {
                std::thread::sleep(Duration::from_millis(u64::from(restart)));
                end_issuer(&mut world, restart % 2 == 0);
            }
            if creating.and_then(|child| child.wait_with_output()).expect("agent create").status.success() {
                acknowledged.push(name);
            }
            let said = world.curl("researcher", &[&url]);
            // A new session needs the issuer; one that was opened has its answer whatever happens to it.
            if said.expect("curl").ends_with("200") {
                answers += 1;
            }
            if ends {
                break;
            }
        }
        end_issuer(&mut world, true);
        world.made.start_server(&[]).expect("an issuer that goes on");
    }
    std::fs::write(&stop, "").expect("the end");
    let output = session.wait_with_output().expect("the session");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.lines().count() > 0 && said.lines().all(|line| line == "200"), "{said}{}", world.made.logs());
    let agents = world.made.run(&["agent", "list", "-o", "json"]).expect("agents").stdout;
    let log = world.settled().expect("the log");
    for name in &acknowledged {
        assert!(agents.contains(name.as_str()) && log.contains(name.as_str()), "{name} was acknowledged, and is gone");
    }
    let (seen, intents) = (world.authorized(), log.matches("\"code\":\"broker.intent\"").count());
    assert_eq!((seen, intents), (said.lines().count() + answers, seen), "answers, what the tool saw, and intents");
    println!("{RESTARTS} restarts, {seen} calls, {} registrations", acknowledged.len());
}

fn end_issuer(world: &mut World, kill: bool) {
    if let (false, Some(issuer)) = (kill, world.made.server()) {
        let pid = rustix::process::Pid::from_child(issuer);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
        issuer.wait().expect("the issuer");
    }
    world.made.kill_server().ok();
}

const RESTARTS: u32 = 20;
const UNDER_LOAD: Duration = Duration::from_millis(500);

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
