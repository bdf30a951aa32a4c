//! Stories of decisions: an operator asks why, types what is suggested, and the same call goes through.

use avouch_tests::{Installation, PLAIN, World};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Answers of verbs as JSON.
fn json(world: &World, line: &[&str]) -> Value {
    let said = world.made.run(&[line, &["-o", "json"]].concat()).expect("a verb");
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{line:?}: {error}: {}", said.stdout))
}

/// The decision that a refused agent was shown.
fn refused(world: &World, agent: &str, arguments: &[&str]) -> String {
    let said = world.curl(agent, arguments).expect("curl");
    let (_, rest) = said.split_once("\"decision\":\"").unwrap_or_else(|| panic!("{agent} {arguments:?}: {said}"));
    rest[..26].to_owned()
}

/// Types a suggested command as it is, with the tool's secret on its standard input.
fn typed(world: &World, line: &str) {
    let program = world.made.command(&[]);
    let mut words = vec![program.get_program().to_string_lossy().into_owned()];
    words.extend(program.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line = line.replacen("avouch", &words.join(" "), 1);
    let mut shell = Command::new("sh").arg("-c").arg(&line).stdin(Stdio::piped()).spawn().expect("sh");
    std::io::Write::write_all(&mut shell.stdin.take().expect("stdin"), PLAIN).ok();
    assert!(shell.wait().expect("sh").success(), "{line}");
}

fn works(world: &World, agent: &str, arguments: &[&str]) {
    let begun = Instant::now();
    loop {
        let said = world.curl(agent, arguments).expect("curl");
        if said.ends_with("200") {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "{agent} {arguments:?}: {said}");
    }
}

#[test]
fn what_why_suggests_lets_the_same_call_through() {
    let world = World::start().expect("a world");
    let good = world.plain("/repos/x");
    let other = world.plain("/orgs/x?mode=echo");
    let key = world.plain("/repos/x?page=2");
    let cases: [(&str, &[&str], &str); 4] = [
        ("researcher", &[&other], "avouch secret put plain-2 "),
        ("researcher", &["-X", "POST", "-d", "a=b", &good], "avouch secret put plain-"),
        ("researcher", &[&key], "avouch secret put plain "),
        ("intruder", &[&good], "avouch grant create --agent intruder "),
    ];
    for (agent, arguments, first) in cases {
        let decision = refused(&world, agent, arguments);
        let why = json(&world, &["why", &decision]);
        assert_eq!((&why["verdict"], &why["agent"]), (&"refused".into(), &agent.into()), "{why}");
        let commands: Vec<&str> =
            why["commands"].as_array().expect("commands").iter().filter_map(Value::as_str).collect();
        assert!(commands[0].starts_with(first), "{agent} {arguments:?}: {commands:?}");
        for command in &commands {
            typed(&world, command);
        }
        works(&world, agent, arguments);
        let again = json(&world, &["why", &decision]);
        assert_eq!(
            (&again["now"]["verdict"], &again["commands"]),
            (&"allowed".into(), &Value::from([""; 0])),
            "{again}"
        );
    }
    // A session that was open before the lock is refused by it.
    let script = format!("read line; exec curl -sS '{good}'");
    let mut run = world.under_run("researcher", &["sh", "-c", &script]);
    let mut waiting = run.stdin(Stdio::piped()).spawn().expect("run");
    let open = |world: &World| json(world, &["status"])["sessions"].as_array().is_some_and(|all| !all.is_empty());
    while !open(&world) {}
    world.made.run(&["lock", "create", "--agent", "researcher", "--reason", "odd calls"]).expect("a lock");
    std::io::Write::write_all(&mut waiting.stdin.take().expect("stdin"), b"\n").expect("a line");
    let said = waiting.wait_with_output().expect("the agent ended").stdout;
    let said = String::from_utf8_lossy(&said);
    let decision = said.split_once("\"decision\":\"").unwrap_or_else(|| panic!("{said}")).1[..26].to_owned();
    let why = json(&world, &["why", &decision]);
    assert_eq!((&why["rule"], &why["lock"]["reason"]), (&"locked".into(), &"odd calls".into()), "{why}");
    typed(&world, why["commands"][0].as_str().expect("a command"));
    works(&world, "researcher", &[&good]);
    // The log has what was let through, too.
    let log = world.made.run(&["audit", "list", "-o", "json"]).expect("the log").stdout;
    let intent = log.split("\"code\": \"broker.intent\"").nth(1).and_then(|rest| rest.split("\"decision\": \"").nth(1));
    let decision = &intent.expect("an intent")[..26];
    let why = json(&world, &["why", decision]);
    assert_eq!((&why["verdict"], &why["outcome"]["status"]), (&"allowed".into(), &200.into()), "{why}");
    assert!(why["uses"][0]["grants"][0].is_string(), "{why}");
}

#[test]
fn status_is_one_screen_with_sessions_refusals_and_locks_and_is_not_for_agents() {
    let world = World::start().expect("a world");
    let decision = refused(&world, "intruder", &[&world.plain("/repos/x")]);
    let mut sleeper = world.under_run("researcher", &["sleep", "60"]).spawn().expect("run");
    world.made.run(&["lock", "create", "--agent", "intruder", "--reason", "odd", "--ttl", "1h"]).expect("a lock");
    let begun = Instant::now();
    let status = loop {
        let status = json(&world, &["status"]);
        let told = status["sessions"].as_array().is_some_and(|all| all.len() == 1)
            && status["refused"].as_array().is_some_and(|all| !all.is_empty());
        if told || begun.elapsed() > Duration::from_secs(10) {
            break status;
        }
    };
    assert_eq!(
        (&status["sessions"][0]["agent"], &status["sessions"][0]["pid"]),
        (&"researcher".into(), &sleeper.id().into()),
        "{status}"
    );
    assert_eq!(status["refused"][0]["decision"], decision.as_str(), "{status}");
    let agents = status["agents"].as_array().expect("agents");
    let of = |name: &str| agents.iter().find(|agent| agent["name"] == name).expect("an agent");
    assert_eq!(of("researcher")["may_use"], serde_json::json!(["plain", "tls"]));
    assert!(of("intruder")["lock"].is_string() && status["ending"][0]["what"].as_str().unwrap().contains("intruder"));
    let screen = world.made.run(&["status"]).expect("status").stdout;
    assert!(screen.contains(&format!("avouch why {decision}")) && screen.contains("researcher"), "{screen}");
    for verb in [&["why", &decision][..], &["status"]] {
        let inside: Vec<&str> = ["sh", "-c", "exec \"$0\" \"$@\""].into_iter().collect();
        let command = world.made.command(verb);
        let program = command.get_program().to_string_lossy().into_owned();
        let arguments: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let line: Vec<&str> =
            inside.into_iter().chain([program.as_str()]).chain(arguments.iter().map(String::as_str)).collect();
        let output = world.under_run("researcher", &line).output().expect("run");
        assert_eq!(output.status.code(), Some(4), "{verb:?}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains(&decision), "{verb:?}: {output:?}");
    }
    sleeper.kill().expect("killed");
    sleeper.wait().expect("ended");
}

#[test]
fn daemons_say_as_json_where_they_are_reached() {
    let mut made = Installation::prepare().expect("settings");
    made.start_server(&[("AVOUCH_OUTPUT", "json")]).expect("the issuer");
    made.token("n1").expect("a token");
    made.start_helper(&[("AVOUCH_OUTPUT", "json")]).expect("the helper");
    for (log, key, begins) in [("server.log", "admin_socket", "/"), ("helper.log", "workload_api", "unix:///")] {
        let said = std::fs::read_to_string(made.path(log)).expect("what it said");
        let from = said.find("{\n").unwrap_or_else(|| panic!("{said}"));
        let object = serde_json::Deserializer::from_str(&said[from..]).into_iter::<Value>().next();
        let object = object.expect("an object").expect("JSON");
        assert!(object[key].as_str().is_some_and(|text| text.starts_with(begins)), "{object}");
    }
    let verified = made.run(&["audit", "verify", "-o", "json"]).expect("verified").stdout;
    let verified: Value = serde_json::from_str(&verified).expect("JSON");
    for key in ["size", "root", "key", "checkpoints", "writers", "without_outcome", "alarms"] {
        assert!(!verified[key].is_null(), "{key}: {verified}");
    }
}
