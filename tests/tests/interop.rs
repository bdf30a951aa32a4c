//! Foreign SPIFFE clients against the Workload API: each fetches, watches through a rotation, and validates a
//! JWT-SVID. `tests/run` installs them and names their folder in `AVOUCH_INTEROP`.

use avouch_tests::{Installation, World};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[test]
fn py_spiffe_fetches_watches_and_validates() {
    let folder = interop();
    let python = folder.join("venv/bin/python").display().to_string();
    watches_a_rotation(&[&python, concat!(env!("CARGO_MANIFEST_DIR"), "/interop/python/client.py"), "60"]);
}

#[test]
fn go_spiffe_fetches_watches_and_validates() {
    let client = interop().join("go-client").display().to_string();
    watches_a_rotation(&[&client, "60"]);
}

fn interop() -> PathBuf {
    PathBuf::from(std::env::var_os("AVOUCH_INTEROP").expect("AVOUCH_INTEROP: run this by tests/run"))
}

fn watches_a_rotation(client: &[&str]) {
    let mut made = Installation::prepare().expect("settings");
    made.start_both().expect("started");
    let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
    let line = [
        "agent",
        "create",
        "watcher",
        "--owner",
        "me@example.test",
        "--node",
        "node:name:n1",
        "--selector",
        &uid,
        "--x509-ttl",
        "10s",
    ];
    made.run(&line).expect("an agent");
    let output = made.command(&["run", "--agent", "watcher", "--"]).args(client).output().expect("the client");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}{}", String::from_utf8_lossy(&output.stderr), made.logs());
    let words: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(words["id"], "spiffe://example.test/agent/watcher");
    assert_eq!(words["jwt"], "spiffe://example.test/agent/watcher");
    assert_ne!(words["first"], words["second"]);
    assert_eq!(words["foreign-audience"], "refused");
}

#[test]
fn an_svid_is_shown_by_our_own_client() {
    let world = World::start().expect("a world");
    let mut program = std::env::current_exe().expect("this test");
    program.pop();
    program.pop();
    let program = program.join("avouch").display().to_string();
    let output = world.under_run("researcher", &[&program, "svid", "show", "-o", "json"]).output().expect("svid show");
    assert!(String::from_utf8_lossy(&output.stdout).contains("spiffe://example.test/agent/researcher"), "{output:?}");
}
