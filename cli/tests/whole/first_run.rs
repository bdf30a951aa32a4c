//! `run` without `--agent` beside a `dev`.

use crate::dev::Home;
use std::io::{Read as _, Write as _};

#[test]
fn run_names_the_agent_after_its_program_and_asks_once() {
    let home = Home::new();
    let dev = home.dev();
    // Nobody could answer: the line that would register it is told, and works.
    let output = home.shell("avouch run -- ./hello.sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let uid = nix::unistd::geteuid();
    let line = format!("--selector session:agent:hello --selector session:uid:{uid}");
    assert!(said.contains("nobody here who could be asked") && said.contains(&line), "{said}");
    assert!(!home.works("avouch agent list").contains("hello"), "nothing is registered unasked");

    let output = home.shell("avouch run --yes -- true");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("true is registered") && said.contains("may use nothing yet"), "{said}");
    let output = home.shell("avouch run -- true");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("registered") && !said.contains("grant"), "{said}");
    // With the question goes what is there, and nothing that comes later.
    home.works(&dev.commands()[0].replace(" tool ", " first "));
    let output = home.shell("avouch run --yes -- echo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("may use first."), "{said}");
    home.works(&dev.commands()[0].replace(" tool ", " later "));
    home.works("avouch run -- echo");
    let grants = home.works("avouch grant list");
    assert!(grants.contains("first") && !grants.contains("later") && !grants.contains("true"), "{grants}");
    let output = home.shell("avouch run -- true");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("avouch grant create --agent true --credential first"), "{said}");
    let who = home.works("avouch run --yes -- sh -c 'avouch svid show -o json'");
    let who: serde_json::Value = serde_json::from_str(&who).unwrap();
    assert_eq!(who[0]["id"], "spiffe://dev.test/agent/sh");
    assert!(["serial", "expires", "chain"].iter().all(|key| !who[0][key].is_null()), "{who}");
    dev.stop();
    let output = home.shell("avouch run -- true");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("Name the agent with --agent"), "{said}");
}

#[test]
fn dev_says_as_json_where_things_are() {
    let home = Home::new();
    std::fs::create_dir_all(home.path().join("run")).unwrap();
    let mut child = home.avouch().args(["dev", "-o", "json"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let said =
        serde_json::Deserializer::from_reader(child.stdout.take().unwrap()).into_iter::<serde_json::Value>().next();
    let said = said.unwrap().unwrap();
    assert_eq!((&said["trust_domain"], &said["commands"].as_array().unwrap().len()), (&"dev.test".into(), &4));
    let keys: Vec<&str> = said.as_object().unwrap().keys().map(String::as_str).collect();
    let known = [
        "admin_socket",
        "commands",
        "contains",
        "helper_socket",
        "node",
        "seal_keys",
        "state",
        "tool",
        "trust_domain",
        "workload_api",
    ];
    assert_eq!(keys, known);
    let socket = said["admin_socket"].as_str().unwrap();
    assert!(std::path::Path::new(socket).exists(), "{socket}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn on_a_terminal_it_asks_and_only_a_yes_registers() {
    let home = Home::new();
    let dev = home.dev();
    for (answer, code, listed) in [("n\n", 2, false), ("what\n", 2, false), ("\n", 0, true)] {
        let pair = nix::pty::openpty(None, None).unwrap();
        let mut command = home.avouch();
        command.args(["run", "--", "true"]).stdin(pair.slave.try_clone().unwrap()).stderr(pair.slave);
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut terminal = std::fs::File::from(pair.master);
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.ends_with(b"[Y/n] ") {
            assert_eq!(terminal.read(&mut byte).unwrap(), 1);
            said.push(byte[0]);
        }
        terminal.write_all(answer.as_bytes()).unwrap();
        let keep = std::thread::spawn(move || {
            let mut rest = Vec::new();
            let _ = terminal.read_to_end(&mut rest);
            String::from_utf8_lossy(&rest).into_owned()
        });
        let ended = child.wait().unwrap().code();
        let rest = keep.join().unwrap();
        assert_eq!(ended, Some(code), "{answer:?}: {rest}");
        assert_eq!(home.works("avouch agent list").contains("session:agent:true"), listed, "{answer:?}");
    }
    dev.stop();
}
