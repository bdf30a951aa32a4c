//! What a host is said to give is what it gives, and a session ends at its limits. The stages of a session are taken by the
//! program's own file, so this test has a `main` of its own.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a test that prints what it found")]

use avouch_contain::{
    Ability, Contain, Found, Hardened, Host, Launch, Profile, STAGE, SessionFiles, TIMED_OUT, harden, prepare, stage,
};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let mut line = std::env::args_os().skip(1).peekable();
    if line.next_if(|first| first == STAGE).is_some() {
        return ExitCode::from(stage(line));
    }
    if what_a_host_gives_is_found_by_trying_it() {
        let hardened = harden().expect("hardened");
        a_session_forks_to_its_limit_and_no_further(&hardened);
        a_session_ends_when_its_time_is_over(&hardened);
        a_session_knows_who_commits_and_nothing_else_of_gits_settings(&hardened);
    }
    ExitCode::SUCCESS
}

/// Whether it gives enough for a session.
fn what_a_host_gives_is_found_by_trying_it() -> bool {
    let host = Host::look();
    for Ability { name, found, why, fix, .. } in host.abilities() {
        println!("{name}: {found:?} ({why}) {fix:?}");
        assert_eq!(
            matches!(found, Found::No(_)),
            fix.is_some(),
            "{name}: what is missing has a sentence, nothing else"
        );
    }
    let is = |name: &str| {
        let ability = host.abilities().iter().find(|ability| ability.name == name).expect(name);
        matches!(ability.found, Found::Yes(_))
    };
    if !host.contains() {
        // The kernel's own word for the same, by another way.
        let flags = [
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--net",
            "--ipc",
            "--uts",
            "--mount-proc",
            "true",
        ];
        let unshared = Command::new("unshare").args(flags).stderr(Stdio::null()).status();
        let root = rustix::process::geteuid().is_root();
        assert!(root || !unshared.is_ok_and(|status| status.success()), "this host does contain");
        println!("this host contains nothing: no limits to show");
        return false;
    }
    for name in ["user namespaces", "namespaces", "mounts", "fresh /proc", "loopback", "network cookie", "seccomp"] {
        assert!(is(name), "{name} is needed, and there are sessions here");
    }
    let place = std::env::temp_dir().join(format!("avouch-look-{}", std::process::id()));
    assert!(!place.exists(), "files are left behind");
    let children = format!("/proc/self/task/{}/children", std::process::id());
    assert_eq!(std::fs::read_to_string(children).unwrap_or_default().trim(), "", "a process is left behind");
    true
}

fn a_session_forks_to_its_limit_and_no_further(hardened: &Hardened) {
    let fork = "i=0; while [ $i -lt 100 ]; do sleep 60 & i=$((i+1)); echo $i > count; done";
    let (_, many) = run(hardened, "[limits]\nprocesses = 1000", fork);
    assert_eq!(many, "100", "the control");
    let (_, first_to_go) = run(hardened, "[limits]\nprocesses = 1000", "cat /proc/self/oom_score_adj > count");
    assert!(first_to_go.parse().is_ok_and(|score: i32| score >= 500), "{first_to_go}");
    let (code, few) = run(hardened, "[limits]\nprocesses = 20", fork);
    let few: u32 = few.parse().expect("a number");
    assert!(code != 0 && (10..20).contains(&few), "{few} processes, and then {code}");
}

fn a_session_ends_when_its_time_is_over(hardened: &Hardened) {
    assert_eq!(run(hardened, "[limits]\nwall_time = \"1h\"", "echo in time > count").0, 0, "the control");
    let (code, text) = run(hardened, "[limits]\nwall_time = \"1s\"", "echo begun > count; sleep 60; echo done > count");
    assert_eq!((code, text.as_str()), (TIMED_OUT, "begun"));
}

fn a_session_knows_who_commits_and_nothing_else_of_gits_settings(hardened: &Hardened) {
    // Home is made for each session; this one has both files.
    for (profile, seen) in
        [("", "Ann ann@example.test"), ("[home]\nread = [\".gitconfig\"]", "Ann ann@example.test token")]
    {
        let show = "echo $(grep -o 'Ann\\|ann@example.test\\|token' ~/.gitconfig) > count; echo x >> ~/.gitconfig";
        assert_eq!(run(hardened, profile, show).1, seen, "{profile}");
    }
}

/// Runs a shell in a session of `work` with this added to its profile: its code, and what it wrote to `count`.
fn run(hardened: &Hardened, own: &str, script: &str) -> (u8, String) {
    let root = tempfile::tempdir().expect("folder");
    let at = |below: &str| root.path().join(below);
    let private = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
    };
    std::fs::create_dir(at("work")).expect("folder");
    std::fs::create_dir(at("home")).expect("folder");
    let settings = "[user]\nname = Ann\nemail = ann@example.test\n[http]\nextraHeader = token\n";
    std::fs::write(at("home/.gitconfig"), settings).expect("settings");
    std::fs::write(at("limited.toml"), format!("from = \"work\"\n{own}")).expect("profile");
    private(&at("limited.toml"), 0o600);
    // So that also an id that root gives passes.
    private(root.path(), 0o755);
    let _listening = UnixListener::bind(at("workload.sock")).expect("socket");
    let contain = Contain {
        profile: Profile::find("limited", &[root.path().to_owned()]).expect("profile"),
        workload_socket: at("workload.sock"),
        tokens_directory: None,
        work_dir: at("work").canonicalize().expect("work"),
        home: Some(at("home")),
        runtime_dir: None,
        hide: Vec::new(),
        uid: None,
    };
    let launch = Launch {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        environment: vec![("PATH".into(), "/usr/bin:/bin".into()), ("HOME".into(), at("home").into())],
        watch: None,
    };
    let prepared = prepare(hardened, contain).expect("a session");
    let code = prepared.launch(launch, SessionFiles::default()).expect("an end");
    (code, std::fs::read_to_string(at("work/count")).unwrap_or_default().trim().to_owned())
}
