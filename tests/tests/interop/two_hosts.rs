//! An issuer on one host; a helper, agents and a tool on another; and a wire between them that is cut, lossy or slow.

use avouch_tests::two_hosts::{TwoHosts, Wire};
use avouch_tests::{Installation, World};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// A helper that has not heard of the locks for so long injects nothing.
const BOUND: Duration = Duration::from_secs(5);

#[test]
fn a_lock_set_while_the_link_is_cut_holds_at_the_bound_and_after_it_heals() {
    let Some(mut world) = apart("staleness_bound = \"5s\"\n") else { return };
    let url = world.tls("/repos/x");
    let call = |world: &World| world.curl("researcher", &[&url]).expect("curl");
    let first = call(&world);
    assert!(first.ends_with("200"), "{first}\n{}", world.made.logs());

    let stop = world.made.path("stop");
    let identities = shown_until(&world, &stop);

    wire(&mut world, Wire::Cut);
    let cut = Instant::now();
    let locked = world.made.run(&["lock", "create", "--agent", "researcher", "--reason", "cut off", "-o", "json"]);
    let locked: Value = serde_json::from_str(&locked.expect("a lock").stdout).expect("JSON");
    assert!(locked["applied"].as_array().is_some_and(Vec::is_empty), "{locked}");
    assert!(locked["pending"].as_array().is_some_and(|pending| pending.len() == 1), "{locked}");
    // Twice the bound at most, and then for as long as it stays cut.
    while call(&world).ends_with("200") {
        assert!(cut.elapsed() < 2 * BOUND, "{}", world.made.logs());
    }
    let (refused, reached) = (call(&world), world.authorized());
    assert!(refused.contains("\"stale\""), "{refused}");
    std::fs::write(&stop, "").expect("a sign");
    assert!(whole(identities).len() == 1, "its SVID goes on being served until it really ends");

    wire(&mut world, Wire::Whole);
    let healed = Instant::now();
    let after = loop {
        let said = call(&world);
        assert!(!said.ends_with("200"), "it was locked all the while: {said}");
        if !said.contains("\"stale\"") {
            break said;
        }
        assert!(healed.elapsed() < Duration::from_secs(30), "{said}\n{}", world.made.logs());
    };
    assert_eq!(world.authorized(), reached, "{after}");
    let id = locked["id"].as_str().expect("an id").to_owned();
    world.made.run(&["lock", "release", &id]).expect("released");
    assert!(call(&world).ends_with("200"), "{}", world.made.logs());
    world.made.run(&["audit", "verify"]).expect("the log verifies");
}

#[test]
fn with_a_third_of_the_frames_lost_calls_work_and_svids_are_renewed() {
    goes_on(Wire::Lossy(0.3), Duration::from_secs(25));
}

#[test]
fn over_a_slow_link_calls_work_and_svids_are_renewed() {
    // 64 kbit/s, and 200 ms from one end to the other.
    goes_on(Wire::Slow(8_000.0, 0.2), Duration::from_secs(25));
}

/// Calls all the time while the wire is so and SVIDs live 20 s: each is right, or refused with the one reason that a bad
/// wire may give; identities are renewed; and every call that the tool saw is on record once.
fn goes_on(so: Wire, span: Duration) {
    let settings = "staleness_bound = \"1m\"\n[svid]\nx509_ttl = \"20s\"\nnode_ttl = \"40s\"\n";
    let Some(mut world) = apart(settings) else { return };
    let url = world.tls("/repos/x");
    let stop = world.made.path("stop");
    let identities = shown_until(&world, &stop);
    wire(&mut world, so);
    let begun = Instant::now();
    let (mut good, mut stale) = (0, 0);
    while begun.elapsed() < span {
        let said = world.curl("researcher", &[&url]).expect("curl");
        match said.ends_with("200") {
            true => good += 1,
            false if said.contains("\"stale\"") => stale += 1,
            false => panic!("{so:?}: {said}\n{}", world.made.logs()),
        }
        std::thread::sleep(Duration::from_millis(600));
    }
    println!("{so:?}: {good} calls, {stale} refused as the locks were not known");
    assert!(good > stale, "{good} and {stale}");
    std::fs::write(&stop, "").expect("a sign");
    let renewed = whole(identities).len();
    assert!(renewed >= 2, "{renewed} SVIDs in {span:?}\n{}", world.made.logs());
    wire(&mut world, Wire::Whole);
    let all = world.settled().expect("the spool is shipped");
    assert_eq!((world.authorized(), all.matches("\"code\":\"broker.intent\"").count()), (good, good));
}

/// A world over two hosts, with a whole wire; none where they cannot be made, which is then said.
fn apart(settings: &str) -> Option<World> {
    if !TwoHosts::can() {
        return None;
    }
    let hosts = TwoHosts::make().expect("two hosts");
    let mut made = Installation::prepare_apart(hosts, settings, "").expect("settings");
    made.start_both().expect("started");
    Some(World::on(made).expect("a world"))
}

fn wire(world: &mut World, so: Wire) {
    world.made.hosts().expect("two hosts").wire(so).expect("the wire");
}

/// A session that shows its identity again and again until it is told to stop.
fn shown_until(world: &World, stop: &Path) -> Child {
    let shown = world.made.path("shown");
    let script = "while [ ! -e \"$0\" ]; do \"$1\" svid show -o json | tr -d '\\n'; echo; : >\"$2\"; sleep 0.5; done";
    let program = avouch_tests::program();
    let [stop, program, sign] = [stop, &program, &shown].map(|path| path.display().to_string());
    let mut session = world.under_run("researcher", &["sh", "-c", script, &stop, &program, &sign]);
    let session = session.spawn().expect("a session");
    let begun = Instant::now();
    while !shown.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "no identity is shown");
        std::thread::sleep(Duration::from_millis(20));
    }
    session
}

/// The serial numbers of all SVIDs that were shown; there was never none.
fn whole(session: Child) -> BTreeSet<String> {
    let output = session.wait_with_output().expect("the session");
    let said = String::from_utf8_lossy(&output.stdout);
    let serial = |line: &str| {
        let shown: Value = serde_json::from_str(line).unwrap_or_default();
        assert!(line.contains("/agent/researcher"), "{said}{}", String::from_utf8_lossy(&output.stderr));
        shown[0]["serial"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    said.lines().map(serial).collect()
}
