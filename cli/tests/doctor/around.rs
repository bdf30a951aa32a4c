//! Faults of the machine around: nothing runs, who may connect, which agents there are, where a variable leads.

use crate::home::{AVOUCH, Home, Said};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_sound_machine_has_nothing_wrong() {
    let home = Home::new();
    let _dev = home.dev();
    let said = home.doctor();
    assert!(said.well && said.first == "Nothing is wrong here.", "{}", said.all);
    home.works(&["agent", "create", "a", "--owner", "me", "--selector", &format!("unix:uid:{}", uid())]);
    assert!(home.doctor().well);
    let output = home.avouch(&["doctor", "-o", "json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], true);
    assert!(json["checks"].as_array().unwrap().len() >= 14, "{json}");
}

#[test]
fn no_helper_at_all_or_one_that_was_killed() {
    let home = Home::new();
    home.doctor().names("No helper runs here", "`avouch dev`");
    let mut dev = home.dev();
    dev.kill();
    home.doctor().names("has ended", "`avouch dev`");
}

#[test]
fn a_socket_that_this_user_may_not_use() {
    let home = Home::new();
    let _dev = home.dev();
    let helper = home.path().join("run/avouch/helper");
    chmod(home.path(), 0o755);
    // Root passes every door, so somebody else tries.
    let doctor = || {
        let mut command = home.avouch(&["doctor"]);
        if uid() == 0 {
            let program = home.path().join("avouch");
            std::fs::copy(AVOUCH, &program).unwrap();
            command = home.command(program.to_str().unwrap());
            command.arg("doctor").uid(65534).gid(65534);
        }
        Said::of(&command.output().unwrap())
    };
    // One's own directory is closed to oneself by all its bits, and above the one that the helper writes to.
    let (closed, mode) = if uid() == 0 { (helper.clone(), 0o700) } else { (home.path().join("run/avouch"), 0) };
    chmod(&closed, mode);
    doctor().names("may not connect", &format!("`chmod a+x {}`", closed.display()));
    chmod(&closed, 0o755);
    chmod(&helper.join("session.sock"), if uid() == 0 { 0o600 } else { 0 });
    doctor().names("may not connect", &format!("`chmod a+rw {}", helper.join("session.sock").display()));
    chmod(&helper.join("session.sock"), 0o666);
    chmod(&helper, 0o777);
    doctor().names("Others can put a socket of their own", &format!("`chmod go-w {}`", helper.display()));
}

#[test]
fn no_agent_matches_this_user() {
    let home = Home::new();
    let _dev = home.dev();
    home.works(&["agent", "create", "a", "--owner", "me", "--selector", &format!("unix:uid:{}", uid() + 1)]);
    let fix = format!("`avouch agent create NAME --owner WHO --selector unix:uid:{}`", uid());
    home.doctor().names(&format!("match uid {}", uid()), &fix);
}

#[test]
fn a_variable_that_leads_to_another_workload_api() {
    let home = Home::new();
    let _dev = home.dev();
    let output = home.avouch(&["doctor"]).env("SPIFFE_ENDPOINT_SOCKET", "unix:///tmp/other.sock").output().unwrap();
    let ours = home.path().join("run/avouch/helper/workload.sock");
    let fix = format!("`export SPIFFE_ENDPOINT_SOCKET=unix://{}`", ours.display());
    Said::of(&output).names("leads to /tmp/other.sock", &fix);
}

#[test]
fn a_helper_in_a_pid_namespace_below_this_one() {
    if uid() != 0 {
        // The owner of /tmp would be nobody there, and avouch puts no socket where nobody's word is law.
        println!("not run: needs root");
        return;
    }
    let home = Home::new();
    let mut unshare = home.command("/usr/bin/unshare");
    unshare.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc", AVOUCH]);
    // As root there, its places would be the system's.
    unshare.args(["--runtime-dir", home.path().join("run/avouch").to_str().unwrap(), "doctor"]);
    if !unshare.output().is_ok_and(|output| !output.stdout.is_empty()) {
        // Said aloud, and counted.
        println!("not run: this host gives no user namespaces with a pid namespace");
        return;
    }
    let mut unshare = home.command("/usr/bin/unshare");
    unshare.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc", AVOUCH, "dev"]);
    let _dev = home.dev_by(unshare);
    home.doctor().names("cannot attest this process", "`--pid=host`");
}

#[test]
fn a_disk_that_is_full_or_cannot_be_written() {
    let home = Home::new();
    let dev = home.dev();
    drop(dev);
    let state = home.path().join("data/avouch/helper");
    if uid() != 0 {
        chmod(&state, 0o500);
        home.doctor().names("cannot be written", &format!("`chmod u+rwx {}`", state.display()));
        chmod(&state, 0o700);
    }
    // A state directory on a disk of 256 KiB, in a mount namespace of its own.
    let script = format!(
        "mount -t tmpfs -o size=256k,mode=700 none {state} && (head -c 300000 /dev/zero > {state}/x; {AVOUCH} doctor)",
        state = state.display()
    );
    let mut unshare = home.command("/usr/bin/unshare");
    unshare.args(["--user", "--map-current-user", "--mount", "/bin/sh", "-c", &script]).env("PATH", "/usr/bin:/bin");
    let output = unshare.output().unwrap();
    if output.stdout.is_empty() {
        println!(
            "not run: this host gives no user namespaces with mounts: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    Said::of(&output).names("is full", "`df -h");
}
