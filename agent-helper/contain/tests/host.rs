//! What a host is said to give is what it gives: a contained session is built for it. The stages of a session are taken by the
//! program's own file, so this test has a `main` of its own.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a test that prints what it found")]

use avouch_contain::{Ability, Found, Host, STAGE, stage};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut line = std::env::args_os().skip(1).peekable();
    if line.next_if(|first| first == STAGE).is_some() {
        return ExitCode::from(stage(line));
    }
    what_a_host_gives_is_found_by_trying_it();
    ExitCode::SUCCESS
}

fn what_a_host_gives_is_found_by_trying_it() {
    let host = Host::look();
    for Ability { name, found, why, fix, .. } in host.abilities() {
        println!("{name}: {found:?} ({why}) {fix:?}");
        assert_eq!(
            matches!(found, Found::No(_)),
            fix.is_some(),
            "{name}: what is missing has a sentence, and nothing else"
        );
    }
    let is = |name: &str| {
        let ability = host.abilities().iter().find(|ability| ability.name == name).expect(name);
        matches!(ability.found, Found::Yes(_))
    };
    // The kernel's own word for the same, by other ways.
    let unshare = |flags: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command
            .args(flags)
            .arg("true")
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !host.contains() {
        assert!(!unshare(&[
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--net",
            "--ipc",
            "--uts",
            "--mount-proc"
        ]));
        return;
    }
    for name in ["user namespaces", "namespaces", "mounts", "fresh /proc", "loopback", "network cookie", "seccomp"] {
        assert!(is(name), "{name} is needed, and there are sessions here");
    }
    assert!(
        !std::env::temp_dir().join(format!("avouch-look-{}", std::process::id())).exists(),
        "nothing is left behind"
    );
    let children =
        std::fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).unwrap_or_default();
    assert_eq!(children.trim(), "", "nobody is left behind");
}
