//! `import`, against an issuer and a helper that write down what they hear.

use crate::fake::Daemons;
use std::path::PathBuf;

const GITHUB: &str = "ghp_c4n4ry0000000000000000000000000001aB";
const SLACK: &str = "xoxb-c4n4ry-000000000000000000000002aB";
const STRIPE: &str = "sk_live_c4n4ry000000000000000003aB";

fn env_file(daemons: &Daemons, content: &str) -> PathBuf {
    let path = daemons.dir().join(".env");
    std::fs::write(&path, content).unwrap();
    path
}

fn sample() -> String {
    format!(
        "# what we need\n\nexport GITHUB_TOKEN=\"{GITHUB}\"   # the bot's\nPORT=3000\n\
         SLACK_BOT_TOKEN = '{SLACK}'\r\nINTERNAL_API_KEY=0123456789abcdef0123c4n4ry\nbroken line c4n4ry\n\
         STRIPE_SECRET_KEY={STRIPE}"
    )
}

#[test]
fn secrets_are_sealed_and_placeholders_stand_where_they_stood() {
    let daemons = Daemons::start();
    let path = env_file(&daemons, &sample());
    let output = daemons.run(&format!("import {} --yes", path.display()));
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    let expected = "# what we need\n\nexport GITHUB_TOKEN=\"avouch:github_token\"   # the bot's\nPORT=3000\n\
                    SLACK_BOT_TOKEN = 'xoxb-avouch:slack'\r\nINTERNAL_API_KEY=0123456789abcdef0123c4n4ry\n\
                    broken line c4n4ry\nSTRIPE_SECRET_KEY=avouch:stripe";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "github is taken by another credential");
    let heard = daemons.heard();
    let sealed = format!("sealed github_token {GITHUB}");
    assert!(heard.contains(&sealed) && heard.contains(&"bound stripe".to_owned()), "{heard:?}");
    let (sealed, bound): (Vec<_>, Vec<_>) = heard.iter().partition(|one| one.starts_with("sealed"));
    assert_eq!((sealed.len(), bound.len()), (3, 3), "{heard:?}");
    assert!(!said.contains("c4n4ry"), "no value is ever printed: {said}");
    for line in ["avouch secret put internal_api_key --value-stdin", "is no NAME=VALUE", "version control"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let again = daemons.run(&format!("import {} --yes", path.display()));
    assert!(again.status.success());
    assert_eq!(daemons.heard().len(), 6, "what is a placeholder is left alone");
}

#[test]
fn a_dry_run_shows_all_and_changes_nothing_and_needs_nobody() {
    let daemons = Daemons::start();
    let path = env_file(&daemons, &sample());
    for dir in [daemons.dir().to_owned(), daemons.dir().join("nobody")] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_avouch"));
        command.arg("--runtime-dir").arg(dir).args(["import", "--dry-run", "-o", "json"]).arg(&path);
        let output = command.env_remove("AVOUCH_OUTPUT").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).contains("c4n4ry"));
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let states: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect();
        let keys: Vec<_> = rows[0].as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 5, "{keys:?}");
        for key in ["line", "name", "state", "credential", "about"] {
            assert!(rows[0].get(key).is_some(), "{key}: {rows}");
        }
        assert_eq!(states, ["would be sealed", "plain", "would be sealed", "kept", "not read", "would be sealed"]);
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), sample());
    assert!(daemons.heard().is_empty());
}

#[test]
fn without_a_terminal_nothing_is_done_unasked() {
    let daemons = Daemons::start();
    let path = env_file(&daemons, &sample());
    let output = daemons.run(&format!("import {}", path.display()));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--yes"));
    assert!(daemons.heard().is_empty() && std::fs::read_to_string(&path).unwrap() == sample());
}

#[test]
fn what_cannot_be_sealed_stays_in_the_file_and_the_rest_is_done() {
    let daemons = Daemons::start();
    let refused = "ghp_refuse-me0000000000000000000000001aB";
    let path = env_file(&daemons, &format!("GITHUB_TOKEN={refused}\nSTRIPE_SECRET_KEY={STRIPE}\n"));
    let output = daemons.run(&format!("import {} --yes", path.display()));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains("1 values could not be sealed") && !said.contains("refuse-me"), "{said}");
    let expected = format!("GITHUB_TOKEN={refused}\nSTRIPE_SECRET_KEY=avouch:stripe\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn a_person_is_asked_for_each_and_may_say_no() {
    let daemons = Daemons::start();
    let path = env_file(&daemons, &format!("GITHUB_TOKEN={GITHUB}\nSTRIPE_SECRET_KEY={STRIPE}\nGH_TOKEN={GITHUB}\n"));
    let pair = nix::pty::openpty(None, None).unwrap();
    let mut command = daemons.command(&format!("import {}", path.display()));
    command.stdin(std::process::Stdio::from(pair.slave.try_clone().unwrap()));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    nix::unistd::write(&pair.master, b"n\ny\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("GITHUB_TOKEN: seal it as github_token, for GitHub") && said.contains("you said no"),
        "{said}"
    );
    let expected = format!("GITHUB_TOKEN={GITHUB}\nSTRIPE_SECRET_KEY=avouch:stripe\nGH_TOKEN={GITHUB}\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "the same value is asked for once");
}

#[test]
fn a_file_that_was_changed_meanwhile_keeps_everything_and_says_what_is_sealed() {
    let daemons = Daemons::start();
    let path = env_file(&daemons, &format!("STRIPE_SECRET_KEY={STRIPE}\n"));
    let pair = nix::pty::openpty(None, None).unwrap();
    let mut command = daemons.command(&format!("import {}", path.display()));
    command.stdin(std::process::Stdio::from(pair.slave.try_clone().unwrap()));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    // What it asks about it has read.
    let mut question = Vec::new();
    let mut stderr = child.stderr.take().unwrap();
    while !question.ends_with(b"[Y/n] ") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut stderr, &mut byte).unwrap();
        question.push(byte[0]);
    }
    let changed = format!("STRIPE_SECRET_KEY={STRIPE}\nNEW=line\n");
    std::fs::write(&path, &changed).unwrap();
    nix::unistd::write(&pair.master, b"y\n").unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("sealed as stripe") && said.contains("--replace"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), changed, "nothing is lost");
    assert!(daemons.heard().contains(&format!("sealed stripe {STRIPE}")));
    let again = daemons.run(&format!("import {} --yes --replace", path.display()));
    assert!(again.status.success());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "STRIPE_SECRET_KEY=avouch:stripe\nNEW=line\n");
}
