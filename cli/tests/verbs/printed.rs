//! As a table and as JSON.

use crate::fake::Daemons;
use serde_json::{Value, json};

/// Words of the first data line, and the talk, of a verb.
fn table(daemons: &Daemons, line: &str) -> (Vec<String>, String) {
    let output = daemons.run(line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let data = String::from_utf8(output.stdout).unwrap();
    assert!(!data.contains('\u{1b}'), "no colours into a pipe: {data:?}");
    (data.lines().map(ToOwned::to_owned).collect(), String::from_utf8(output.stderr).unwrap())
}

fn json(daemons: &Daemons, line: &str) -> Value {
    let output = daemons.run(&format!("{line} -o json"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn lists_are_tables_for_people_and_arrays_for_scripts() {
    let daemons = Daemons::start();
    let (lines, _) = table(&daemons, "node list");
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>().join(" "),
        "ID CONNECTED JOINED SVID EXPIRES VERSION BANNED SELECTORS"
    );
    assert!(lines[1].starts_with("spiffe://t.test/node/join_token/here  yes        "), "{}", lines[1]);
    assert_eq!(json(&daemons, "node list")[0]["selectors"], json!(["node:attestor:join_token", "node:name:here"]));
    for (line, key) in [
        ("agent list", "spiffe://t.test/agent/researcher"),
        ("credential list", "https://api.example.test:443"),
        ("grant list", "01K9ZQ3M6X5T8W4V2R7N1C0BDE"),
        ("lock list", "odd calls"),
    ] {
        let (lines, _) = table(&daemons, line);
        assert!(lines[1].contains(key), "{line}: {lines:?}");
        let list = json(&daemons, line);
        assert!(list.as_array().is_some_and(|all| all.len() == 1), "{line}: {list}");
        assert!(list.to_string().contains(key), "{line}: {list}");
    }
    assert_eq!(json(&daemons, "grant list")[0]["created"], "2023-11-14T22:13:20Z");
    assert_eq!(json(&daemons, "credential list")[0]["binding"]["paths"], json!(["/repos/**"]));
}

#[test]
fn every_success_names_the_next_command_filled_in() {
    let daemons = Daemons::start();
    for (line, next) in [
        ("agent create a --owner me --selector unix:uid:7", "next: avouch grant create --agent a --credential NAME"),
        ("grant create --agent a --credential c", "next: avouch run --agent a -- COMMAND"),
        ("grant delete 01K9ZQ3M6X5T8W4V2R7N1C0BDE", "next: avouch grant list"),
        ("lock create --agent a --reason r", "next: avouch lock release 01K9ZQ3M6X5T8W4V2R7N1C0BDE"),
        ("lock list", "next: avouch lock release 01K9ZQ3M6X5T8W4V2R7N1C0BDE"),
        ("lock release 01K9ZQ3M6X5T8W4V2R7N1C0BDE", "next: avouch run --agent researcher -- COMMAND"),
    ] {
        let (_, talk) = table(&daemons, line);
        assert!(talk.contains(next), "{line}: {talk}");
    }
}

#[test]
fn without_node_an_agent_may_run_on_the_node_that_is_here() {
    let daemons = Daemons::start();
    let made = json(&daemons, "agent create a --owner me --selector unix:uid:7");
    assert_eq!(made["nodes"], json!(["node:name:here"]));
    let made = json(&daemons, "agent create a --owner me --selector unix:uid:7 --node node:name:b --node k8s:ns:c");
    assert_eq!(made["nodes"], json!(["node:name:b", "k8s:ns:c"]));
    let output = daemons.run("agent create a --owner me --selector unix:path:/bin/sh");
    assert_eq!(output.status.code(), Some(2), "a path is never the only selector");
}

#[test]
fn a_lock_tells_who_has_it_and_who_has_not() {
    let daemons = Daemons::start();
    let (lines, _) = table(&daemons, "lock create --agent a --reason r");
    assert!(lines[0].contains("state version 9") && lines[0].contains("2023-11-14T22:28:20Z"), "{lines:?}");
    assert_eq!(lines[1], "applied by spiffe://t.test/node/join_token/here after 1.5 ms");
    assert!(lines[2].starts_with("not yet applied by spiffe://t.test/node/join_token/there, which stops injecting"));
    let heard = json(&daemons, "lock create --agent a --reason r");
    assert_eq!(heard["applied"][0]["after_us"], 1500);
    assert_eq!(heard["pending"][0]["fails_closed"], "2023-11-14T22:13:50Z");
}

#[test]
fn a_token_goes_to_a_file_of_its_own_or_to_stdout() {
    let daemons = Daemons::start();
    let file = daemons.dir().join("join.token");
    let line = format!("token create --node b --out {}", file.display());
    let (lines, talk) = table(&daemons, &line);
    assert!(!lines.concat().contains("avouch-join.") && !talk.contains("avouch-join."), "the token is nowhere else");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "avouch-join.secret.pin.t.test\n");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap()) & 0o777, 0o600);
    assert_eq!(daemons.run(&line).status.code(), Some(2), "nothing is overwritten");
    assert_eq!(table(&daemons, "token create --node b --out -").0, ["avouch-join.secret.pin.t.test"]);
}

#[test]
fn a_secret_is_sealed_first_and_then_bound_and_never_printed() {
    let daemons = Daemons::start();
    let line = "secret put c --value-stdin --to https://api.example.test --method GET --path /repos/** --as bearer";
    let output = daemons.run_with(line, b"hunter2-hunter2\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains("hunter2"));
    assert_eq!(daemons.heard(), ["sealed c hunter2-hunter2", "bound c"]);
    for (line, value, sentence) in [
        (line, &b"short\n"[..], "too short to be scrubbed"),
        (
            "secret put c --value-stdin --to http://api.example.test --method GET --path / --as bearer",
            b"",
            "this binding cannot be",
        ),
    ] {
        let output = daemons.run_with(line, value);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(sentence));
    }
    assert_eq!(daemons.heard().len(), 2, "nothing was sent");
}

#[test]
fn a_credential_that_lies_elsewhere_is_bound_and_no_value_is_asked_for() {
    let daemons = Daemons::start();
    let made = json(&daemons, "credential create c --source vault --ref kv2:secret/ci#token --preset github");
    assert_eq!((&made["source"], &made["reference"]), (&json!("vault"), &json!("kv2:secret/ci#token")));
    assert_eq!(daemons.heard(), ["bound c to kv2:secret/ci#token of vault"]);
    let long = format!("credential create c --source vault --ref {} --preset github", "x".repeat(513));
    for (line, sentence) in [
        ("credential create c --source sealed --preset github", "avouch secret put c"),
        (long.as_str(), "at most 512"),
        ("credential create c --ref x --preset github", "--source"),
        ("credential create c --source vault --ref x", "--to"),
    ] {
        let output = daemons.run(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(sentence), "{line}");
    }
    assert_eq!(daemons.heard().len(), 1, "nothing was sent");
}

#[test]
fn a_source_that_lets_others_in_fails_its_test_and_says_what_to_bind() {
    let daemons = Daemons::start();
    let (lines, _) = table(&daemons, "source list");
    assert!(lines[1].starts_with("vault  openbao  https://vault.t.test:8200  jwt  "), "{lines:?}");
    let (lines, _) = table(&daemons, "source test vault --agent researcher");
    let told = lines.join("\n");
    for said in [
        "as researcher",
        "let in with ci",
        "github kv2:secret/ci#token: 40 bytes, version 3",
        "as a probe       refused",
    ] {
        assert!(told.contains(said), "{told}");
    }
    let output = daemons.run("source test vault --agent intruder");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("bound to no subject") && said.contains("bound_subject=X"), "{said}");
    assert_eq!(daemons.run("source test other").status.code(), Some(3));
}

#[test]
fn a_value_that_is_typed_is_not_shown_and_the_terminal_is_put_right() {
    let daemons = Daemons::start();
    let line = "secret put c --value-stdin --to https://api.example.test --method GET --path / --as bearer";
    for (keys, code) in [(&b"hunterX\x7f2-hunter2\r"[..], 0), (b"hunter2-\x03", 2)] {
        let pair = nix::pty::openpty(None, None).unwrap();
        let before = nix::sys::termios::tcgetattr(&pair.slave).unwrap();
        let mut command = daemons.command(line);
        command.stdin(std::process::Stdio::from(pair.slave.try_clone().unwrap()));
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut talk = child.stderr.take().unwrap();
        let mut asked = [0; 12];
        std::io::Read::read_exact(&mut talk, &mut asked).unwrap();
        assert_eq!(&asked, b"Value of c: ");
        // What is typed before the terminal is quiet is thrown away.
        while nix::sys::termios::tcgetattr(&pair.slave).unwrap() == before {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        nix::unistd::write(&pair.master, keys).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let after = nix::sys::termios::tcgetattr(&pair.slave).unwrap();
        assert_eq!(after.local_flags, before.local_flags);
        let mut echoed = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&pair.master), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut echoed, 50_u8).unwrap(), 0, "something was echoed");
    }
    assert_eq!(daemons.heard(), ["sealed c hunter2-hunter2", "bound c"]);
}

#[test]
fn status_shows_both_parts() {
    let daemons = Daemons::start();
    let status = json(&daemons, "status");
    let (issuer, helper) = (&status["issuer"], &status["helper"]);
    assert_eq!((&issuer["state"], &helper["state"]), (&json!("running"), &json!("not injecting (stale)")));
    assert_eq!((&issuer["trust_domain"], &helper["held_by"]), (&json!("t.test"), &json!("stale")));
    assert_eq!(status["agents"][0]["may_use"], json!(["github"]));
}

#[test]
fn refusals_have_their_sentence_and_exit_code() {
    let daemons = Daemons::start();
    let output = daemons.run("grant create --agent nobody --credential c");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "avouch: there is no agent \"nobody\"\n");
    let empty = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_avouch"))
        .arg("--runtime-dir")
        .arg(empty.path())
        .args(["agent", "list"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no issuer runs here"));
}

#[test]
fn the_environment_may_choose_the_format_and_only_a_known_one() {
    let daemons = Daemons::start();
    let with = |format: &str| daemons.command("grant list").env("AVOUCH_OUTPUT", format).output().unwrap();
    assert!(serde_json::from_slice::<Value>(&with("json").stdout).is_ok());
    let wrong = with("xml");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("table or json"));
}

#[test]
fn a_doctor_finds_a_helper_of_another_version() {
    let daemons = Daemons::start();
    let output = daemons.run("doctor");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("The helper that runs is avouch 0.0.1, and this program is avouch "), "{said}");
    assert!(first.contains("`systemctl restart avouch-helper`"), "{said}");
}
