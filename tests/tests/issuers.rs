//! Two issuers on one real Postgres, and a helper that knows both: whichever of them is killed, cut off or stopped,
//! nothing that was acknowledged is lost, and nothing is allowed that was forbidden.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use avouch_tests::servers::Mode;
use avouch_tests::{Installation, Several, World};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::Child;
use std::time::{Duration, Instant};

/// Helpers move over within 5 s; the tests allow twice that.
const MOVED: Duration = Duration::from_secs(10);

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Whether the helper is in sync with this issuer.
fn is_at(made: &Installation, issuer: &str) -> bool {
    let said = made.avouch(&["status", "-o", "json"]).unwrap().stdout;
    let helper = &json(&said)["helper"];
    helper["issuer"] == issuer && helper["contact_fault"].is_null() && helper["state"] == "injecting"
}

fn until(what: &str, patience: Duration, made: &Installation, so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < patience, "{what}\n{}", made.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    begun.elapsed()
}

fn send(child: Option<&mut Child>, signal: Signal) {
    kill_process(Pid::from_child(child.unwrap()), signal).unwrap();
}

/// Invariant 7 and case F01 with two: either is killed, again and again, while an agent works.
#[test]
fn either_issuer_is_killed_and_nothing_acknowledged_is_lost() {
    let rounds = std::env::var("AVOUCH_FAILOVER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4);
    let (mut several, mut made) = Several::start("").unwrap();
    made.start_helper(&[]).unwrap();
    let mut world = World::on(made).unwrap();
    let (first, second) = (world.made.listen().to_owned(), several.listen().to_owned());
    std::thread::scope(|scope| {
        let url = world.plain("/repos/x");
        let loop_of_calls = format!(
            "while [ ! -e '{}' ]; do curl -sS -o /dev/null --max-time 20 -w '%{{http_code}}\\n' '{url}'; sleep 0.05; done",
            world.made.path("over").display()
        );
        let command = world.under_run("researcher", &["sh", "-c", &loop_of_calls]);
        let calls = scope.spawn(move || {
            let mut command = command;
            command.output().unwrap()
        });
        for round in 0..rounds {
            let at_first = is_at(&world.made, &first);
            if at_first {
                world.made.kill_server().unwrap();
            } else {
                several.kill_second().unwrap();
            }
            let other = if at_first { &second } else { &first };
            until("the helper moves over", MOVED, &world.made, || is_at(&world.made, other));
            // An operator's word counts at once at the one that is left.
            let agent = format!("round-{round}");
            let line = [
                "agent",
                "create",
                &agent,
                "--owner",
                "me@example.test",
                "--node",
                "node:name:n1",
                "--selector",
                "unix:uid:1",
            ];
            if at_first {
                several.run(&line).unwrap()
            } else {
                world.made.run(&line).unwrap()
            };
            if at_first {
                world.made.start_server(&[]).unwrap();
            } else {
                several.start_second().unwrap();
            }
            let listed = [world.made.run(&["agent", "list"]).unwrap(), several.run(&["agent", "list"]).unwrap()];
            assert!(listed.iter().all(|said| said.stdout.contains(&agent)), "both know it");
        }
        std::fs::write(world.made.path("over"), "").unwrap();
        let said = String::from_utf8_lossy(&calls.join().unwrap().stdout).into_owned();
        let codes: Vec<&str> = said.lines().filter(|line| line.len() == 3).collect();
        assert!(codes.len() > rounds, "the agent went on calling: {said}");
        assert!(codes.iter().all(|code| *code == "200"), "no call fails: {said}");
    });
    let log = world.settled().unwrap();
    let intents = log.matches("\"code\":\"broker.intent\"").count();
    assert_eq!(intents, world.authorized(), "each request that reached the tool has its one record");
    several.run(&["audit", "verify"]).unwrap();
    // One authority of each kind, whoever led: what was made at the first start.
    let active = several.cluster.sql("avouch", "SELECT count(*) FROM avouch.authorities").unwrap();
    assert_eq!(active, "3");
}

/// An issuer that hangs, as a machine that is paused, is left as one that died.
#[test]
fn an_issuer_that_hangs_is_left_and_leads_no_more() {
    let (mut several, mut made) = Several::start("").unwrap();
    made.start_helper(&[]).unwrap();
    let (first, second) = (made.listen().to_owned(), several.listen().to_owned());
    let at_first = is_at(&made, &first);
    let child = if at_first { made.server() } else { several.second() };
    send(child, Signal::STOP);
    let other = if at_first { &second } else { &first };
    until("the helper moves over", MOVED, &made, || is_at(&made, other));
    // Whoever led, the lead is at the one that is left by the end of the lease; what the former wakes up with is refused.
    let lead = |several: &Several| several.cluster.sql("avouch", "SELECT holder FROM avouch.leaders").unwrap();
    let led = lead(&several);
    std::thread::sleep(Duration::from_secs(10));
    let leads = lead(&several);
    let log = if at_first { several.log() } else { made.logs() };
    assert!(leads != led || log.contains("leads=true"), "the one that is left leads");
    send(if at_first { made.server() } else { several.second() }, Signal::CONT);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(lead(&several), leads, "a leader that wakes up does not take the lead back");
    several.run(&["audit", "verify"]).unwrap();
    made.run(&["audit", "verify"]).unwrap();
}

/// A lock that is set at one issuer is waited for at the helper of the other.
#[test]
fn a_lock_at_one_issuer_is_acknowledged_by_the_helper_of_the_other() {
    let (several, mut made) = Several::start("").unwrap();
    several.only(&made, made.listen()).unwrap();
    made.start_helper(&[]).unwrap();
    let world = World::on(made).unwrap();
    assert!(world.curl("researcher", &[&world.plain("/repos/x")]).unwrap().ends_with("200"));
    let line = ["lock", "create", "--agent", "researcher", "--reason", "test", "-o", "json"];
    let begun = Instant::now();
    let said = json(&several.run(&line).unwrap().stdout);
    assert!(begun.elapsed() < Duration::from_secs(4), "the bound of a lock, twice: {:?}", begun.elapsed());
    assert_eq!(said["applied"][0]["node"], "spiffe://example.test/node/join_token/n1", "{said}");
    assert_eq!(said["pending"].as_array().map(Vec::len), Some(0), "{said}");
    assert!(!world.curl("researcher", &[&world.plain("/repos/x")]).unwrap().ends_with("200"));
    let listed = json(&several.run(&["node", "list", "-o", "json"]).unwrap().stdout);
    assert!(listed.to_string().contains("true"), "connected, though not here: {listed}");
}

/// The attack: an issuer whose way to the database is cut goes on talking to its helper, while an operator locks through
/// the other issuer.
#[test]
fn an_issuer_cut_from_its_database_does_not_look_fresh() {
    let (several, mut made) = Several::start("staleness_bound = \"5s\"").unwrap();
    several.only(&made, made.listen()).unwrap();
    made.start_helper(&[]).unwrap();
    let world = World::on(made).unwrap();
    let works = || world.curl("researcher", &[&world.plain("/repos/x")]).unwrap().ends_with("200");
    assert!(works());
    several.proxy.set(Mode::Hang);
    let line = ["lock", "create", "--agent", "researcher", "--reason", "test", "-o", "json"];
    // What hangs may be a transaction that others wait for: they are told to ask again until its time is over.
    let begun = Instant::now();
    let said = loop {
        match several.run(&line) {
            Ok(said) => break json(&said.stdout),
            Err(refused) => assert!(begun.elapsed() < Duration::from_secs(20), "{refused}"),
        }
    };
    let set = Instant::now();
    assert_eq!(said["applied"].as_array().map(Vec::len), Some(0), "it is at an issuer that learns nothing: {said}");
    while works() {
        assert!(set.elapsed() < Duration::from_secs(10), "the bound, twice\n{}", world.made.logs());
    }
    several.run(&["lock", "release", said["id"].as_str().unwrap()]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!works(), "nothing is known of it there yet");
    several.proxy.set(Mode::Pass);
    let healed = Instant::now();
    while !works() {
        assert!(healed.elapsed() < Duration::from_secs(20), "{}", world.made.logs());
    }
}

/// Two that seal with different keys would lock each other out of the authorities.
#[test]
fn another_seal_key_or_a_wrong_password_refuses_the_start() {
    let (mut several, made) = Several::start("").unwrap();
    several.kill_second().unwrap();
    let settings = std::fs::read_to_string(made.path("second.toml")).unwrap();
    let refused = |settings: String, several: &mut Several| {
        std::fs::write(made.path("second.toml"), settings).unwrap();
        let logged = several.log().len();
        several.launch_second().unwrap();
        let status = several.second().unwrap().wait().unwrap();
        assert!(!status.success());
        several.log()[logged..].to_owned()
    };
    let other = made.write_private("keys/other.key", &[7; 32]).unwrap();
    let wrong = settings.replace(&*made.path("keys/server.key").to_string_lossy(), &other.to_string_lossy());
    let said = refused(wrong, &mut several);
    assert!(
        said.contains("all issuers of one database need the same key file") || said.contains("other.key"),
        "{said}"
    );
    let absent = settings.replace("keys/server.key", "keys/none.key");
    let said = refused(absent, &mut several);
    assert!(said.contains("none.key"), "{said}");
    assert!(!made.path("keys/none.key").exists(), "no second key is made");
    made.write_private("keys/database", b"guessed").unwrap();
    let said = refused(settings, &mut several);
    assert!(said.contains("password authentication failed") && !said.contains("guessed"), "{said}");
}

/// A node joins at one issuer with a token of the other.
#[test]
fn a_token_of_one_issuer_is_good_at_the_other() {
    let (several, mut made) = Several::start("").unwrap();
    made.kill_server().unwrap();
    made.launch_helper(&[]).unwrap();
    let second = several.listen().to_owned();
    until("the helper joins at the issuer that is left", Duration::from_secs(20), &made, || is_at(&made, &second));
}
