//! The ten steps, and that nothing is left of them.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A uid and gid that no account has; nobody's would not be given a contained session.
const ORDINARY: u32 = 54_321;

fn demo(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_avouch"));
    command.arg("demo").env("TMPDIR", temporary).env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// Processes whose arguments name this directory.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let commands = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    commands.filter(|line| line.contains(&dir)).collect()
}

/// A directory of an ordinary user's with the program in it; none if this user cannot have one.
fn ordinary_home() -> Option<(tempfile::TempDir, PathBuf)> {
    if !rustix::process::geteuid().is_root() {
        println!("not run: needs root");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("avouch");
    std::fs::copy(env!("CARGO_BIN_EXE_avouch"), &program).unwrap();
    std::fs::create_dir(dir.path().join("tmp")).unwrap();
    for path in [dir.path(), &dir.path().join("tmp")] {
        std::os::unix::fs::chown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
    }
    Some((dir, program))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}");
}

#[test]
fn the_ten_steps_hold_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for number in 1..=10 {
        assert_eq!(said.lines().filter(|line| line.starts_with(&format!("{number}. "))).count(), 1, "{number}: {said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(processes_of(dir.path()), [""; 0]);
}

#[test]
fn a_host_that_cannot_contain_is_told_why_and_shown_the_rest() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_avouch");
    let none = "echo 0 > /proc/sys/user/max_user_namespaces";
    let script = format!("{none} && exec setpriv --inh-caps=-all --ambient-caps=-all {program} demo");
    let mut demo = Command::new("unshare");
    demo.args(["--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "sh", "-c", &script]);
    demo.env("TMPDIR", dir.path()).stdin(Stdio::null());
    let output = demo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for number in 1..=10 {
        assert_eq!(said.lines().filter(|line| line.starts_with(&format!("{number}. "))).count(), 1, "{number}: {said}");
    }
    assert_eq!(
        said.matches("This host cannot contain a session: this host gives no user namespaces").count(),
        1,
        "{said}"
    );
    assert!(said.contains("All steps hold but the ninth"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(processes_of(dir.path()), [""; 0]);
}

#[test]
fn an_ordinary_user_sees_the_same_ten_steps() {
    let Some((dir, program)) = ordinary_home() else { return };
    let temporary = dir.path().join("tmp");
    let mut demo = Command::new(program);
    demo.args(["demo", "-o", "json"]).env_clear().env("TMPDIR", &temporary);
    demo.stdin(Stdio::null()).uid(ORDINARY).gid(ORDINARY);
    let output = demo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last, serde_json::json!({"held": true, "contained": true}), "{said}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    assert_eq!(processes_of(dir.path()), [""; 0]);
}

#[test]
fn the_helper_cannot_be_read_by_others_of_its_uid() {
    let Some((dir, program)) = ordinary_home() else { return };
    let mut demo = Command::new(program);
    demo.arg("demo").env_clear().env("TMPDIR", dir.path().join("tmp")).uid(ORDINARY).gid(ORDINARY);
    let mut child = demo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let helper = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let is_helper = |path: &PathBuf| {
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&dir.path().display().to_string()) && line.contains("avouch helper --config")
        };
        all.filter(is_helper).find_map(|path| path.join("mem").metadata().ok())
    };
    // The files of an undumpable process belong to root.
    until("the helper can be read", || helper().is_some_and(|mem| mem.uid() == 0));
    child.kill().unwrap();
    child.wait().unwrap();
    until("a process outlived the demo", || processes_of(dir.path()).is_empty());
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_either() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = demo(dir.path());
    demo.env("AVOUCH_OUTPUT", "json").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = demo.spawn().unwrap();
    until("the helper did not start", || processes_of(dir.path()).iter().any(|line| line.contains(" helper ")));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    // In JSON each step is a line of its own, and so is what came of it.
    let first = output.stdout.split(|byte| *byte == b'\n').next().unwrap();
    let first: serde_json::Value = serde_json::from_slice(first).unwrap();
    assert_eq!((&first["step"], &first["name"]), (&1.into(), &"issuer".into()));
    let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap().to_owned();
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["error"]["exit"], &last["error"]["message"]), (&1.into(), &"the demo was interrupted".into()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(processes_of(dir.path()), [""; 0]);
}

#[test]
fn when_the_demo_is_killed_its_processes_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("no agent was started", || processes_of(dir.path()).iter().any(|line| line.contains(" run ")));
    child.kill().unwrap();
    child.wait().unwrap();
    until("a process outlived the demo", || processes_of(dir.path()).is_empty());
}
