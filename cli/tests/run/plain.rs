//! Without a terminal.

use crate::fake::Helper;
use avouch_wire::local::{AmbiguousVariable, EnvironmentVariable, SessionOpened};
use std::io::{BufReader, Read as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Started with its stdout read line by line.
fn start(helper: &Helper, command: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut run = helper.command(command);
    run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = run.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

fn line(lines: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn exit_codes_are_passed_on_as_shells_do() {
    let helper = Helper::start();
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 255"], 255),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["/nonexistent/program"], 127),
        (&["no-such-program-anywhere"], 127),
        (&["/etc/passwd"], 126),
        (&["/"], 126),
    ] {
        let output = helper.output(command);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", text(&output.stderr));
    }
    let output = helper.output(&["no-such-program-anywhere"]);
    assert!(text(&output.stderr).contains("cannot run no-such-program-anywhere"), "{}", text(&output.stderr));
}

#[test]
fn arguments_and_environment_arrive_as_they_are() {
    let helper = Helper::start();
    let script = "printf '%s|' \"$@\"; env";
    let mut command = helper.command(&["sh", "-c", script, "x", "a b", "", "--help", "-o"]);
    command.env("AVOUCH_OUTPUT", "json").env("KEPT", "yes").env("HTTP_PROXY", "http://elsewhere:1");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let opening = helper.opening();
    assert_eq!(opening.agent, "researcher");
    let said = text(&output.stdout);
    assert!(said.starts_with("a b||--help|-o|"), "{said}");
    let port = opening.listener.local_addr().unwrap().port();
    for wanted in [
        format!("HTTP_PROXY=http://127.0.0.1:{port}"),
        format!("https_proxy=http://127.0.0.1:{port}"),
        "SPIFFE_ENDPOINT_SOCKET=unix:///run/x/workload.sock".into(),
        "SSL_CERT_FILE=/run/x/bundle.pem".into(),
        "NODE_EXTRA_CA_CERTS=/run/x/extra.pem".into(),
        "NODE_USE_ENV_PROXY=1".into(),
        "NO_PROXY=".into(),
        "KEPT=yes".into(),
    ] {
        assert!(said.lines().any(|line| line.ends_with(&wanted)), "{wanted} in {said}");
    }
    assert!(!said.contains("AVOUCH_") && !said.contains("elsewhere"), "{said}");
}

#[test]
fn placeholders_stand_where_keys_stood_and_ambiguous_ones_nowhere() {
    let set = EnvironmentVariable { name: "GITHUB_TOKEN".into(), value: "avouch:github".into() };
    let credentials = vec!["one".to_owned(), "two".to_owned()];
    let ambiguous = AmbiguousVariable { name: "SHARED_KEY".into(), credentials };
    let opened = SessionOpened { environment: vec![set], ambiguous: vec![ambiguous], ..SessionOpened::default() };
    let helper = Helper::telling(opened);
    let mut command = helper.command(&["env"]);
    command.env("GITHUB_TOKEN", "a-key-of-ones-own").env("SHARED_KEY", "another-key");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = text(&output.stdout);
    assert!(said.lines().any(|line| line == "GITHUB_TOKEN=avouch:github"), "{said}");
    assert!(!said.contains("-key") && !said.contains("SHARED_KEY"), "{said}");
    let told = text(&output.stderr);
    assert!(told.contains("SHARED_KEY is not set") && told.contains("(one, two)"), "{told}");
}

#[test]
fn the_listener_is_loopback_and_no_copy_of_it_stays_in_run_or_its_program() {
    let helper = Helper::start();
    let (mut child, mut lines) = start(&helper, &["sh", "-c", "echo up; sleep 60"]);
    let opening = helper.opening();
    assert_eq!(line(&mut lines), "up");
    let address = opening.listener.local_addr().unwrap();
    assert!(address.ip().is_loopback());
    assert!(TcpStream::connect(address).is_ok());
    drop(opening.listener);
    assert!(TcpStream::connect(address).is_err(), "nobody listens once the helper has closed its own");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn signals_reach_the_program() {
    let helper = Helper::start();
    for (name, code) in [("INT", 10), ("TERM", 11), ("HUP", 12), ("QUIT", 13), ("USR1", 14), ("USR2", 15)] {
        let script = format!("trap 'exit {code}' {name}; echo up; while :; do sleep 0.05; done");
        let (mut child, mut lines) = start(&helper, &["sh", "-c", &script]);
        assert_eq!(line(&mut lines), "up");
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
    }
}

#[test]
fn the_program_has_a_process_group_of_its_own_and_stops_and_goes_on_with_run() {
    let helper = Helper::start();
    let mut run = helper.command(&["sh", "-c", "echo $$; ps -o pgid= -p $$; while read l; do echo $l; done"]);
    run.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = run.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let pid = line(&mut lines);
    assert_eq!(line(&mut lines).trim(), pid);
    signal(&child, "TSTP");
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    for _ in 0..200 {
        if state().contains(") T ") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(state().contains(") T "), "the program is stopped: {}", state());
    signal(&child, "CONT");
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"on\n").unwrap();
    assert_eq!(line(&mut lines), "on");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn nothing_that_the_session_started_goes_on_after_it() {
    let helper = Helper::start();
    // A daemon: its own session, its parent gone, its output elsewhere, deaf to TERM.
    let daemon = "trap '' TERM HUP; echo $$ >&3; exec >/dev/null; sleep 300 & wait; sleep 300";
    let script = format!("exec 3>&1; setsid sh -c '{}' & sleep 0.3; exit 3", daemon.replace('\'', "'\\''"));
    let output = helper.output(&["sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let pid = text(&output.stdout).trim().to_owned();
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    assert!(!is_alive(&pid), "the daemon {pid} is still there");
}

#[test]
fn when_run_is_killed_its_program_is_killed() {
    let helper = Helper::start();
    let (mut child, mut lines) = start(&helper, &["sh", "-c", "echo $$; exec sleep 300"]);
    let pid = line(&mut lines);
    child.kill().unwrap();
    child.wait().unwrap();
    for _ in 0..500 {
        if !is_alive(&pid) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{pid} outlived run");
}

#[test]
fn run_protects_itself_and_not_its_program() {
    let helper = Helper::start();
    let mut run = helper.ordinary(&["sh", "-c", "ulimit -S -c 7; ulimit -c; echo $$; sleep 60"]);
    let mut child = run.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line(&mut lines), "7");
    let program = line(&mut lines);
    let owner = |pid: &str| std::fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();
    // The files of an undumpable process belong to root.
    assert_eq!(owner(&child.id().to_string()), 0);
    assert_ne!(owner(&program), 0);
    if rustix::process::geteuid().is_root() {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }
    signal(&child, "TERM");
    child.wait().unwrap();
}

#[test]
fn a_helper_that_goes_away_is_told_once_and_the_program_goes_on() {
    let helper = Helper::start();
    let (mut child, mut lines) = start(&helper, &["sh", "-c", "echo up; sleep 0.5; exit 4"]);
    let opening = helper.opening();
    assert_eq!(line(&mut lines), "up");
    drop(opening.connection);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("the helper has ended this session").count(), 1, "{said}");
}

#[test]
fn refusals_are_told_with_their_code_and_nothing_is_started() {
    for (code, exit) in [("denied", 4), ("inside_session", 4), ("not_ready", 7), ("bad_request", 1)] {
        let output = Helper::refusing(code).output(&["sh", "-c", "echo started"]);
        assert_eq!(output.status.code(), Some(exit), "{code}");
        assert_eq!(text(&output.stderr), format!("avouch: No session. ({code})\n  Ask.\n"));
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn without_a_helper_run_says_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_avouch"));
    run.arg("--runtime-dir").arg(dir.path()).args(["run", "--agent", "r", "--", "true"]);
    let output = run.output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let said = text(&output.stderr);
    assert!(said.contains("no helper runs here") && said.contains("avouch dev"), "{said}");
}
