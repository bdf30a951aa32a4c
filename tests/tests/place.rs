//! The same wall in a container: `avouch run` where there is no network and one directory is mounted.

use avouch_tests::place::{Proc, in_place, user};
use avouch_tests::{Installation, World, needs_root};
use std::process::Output;

#[test]
fn a_place_without_a_network_and_with_one_mounted_directory_works_unchanged() {
    let world = world();
    let run = world.made.path("run").display().to_string();
    let inside = |command: &[&str]| {
        let line = [&["/avouch", "--runtime-dir", &run, "run", "--no-contain", "--agent", "boxed", "--"], command];
        in_place(&world.made, Proc::Whole, &line.concat()).expect("a place").output().expect("run")
    };
    for url in [world.tls("/repos/x"), world.plain("/repos/x")] {
        let output = inside(&["curl", "-sS", "-w", "\n%{http_code}", &url]);
        assert!(said(&output).contains("\n200"), "{}", said(&output));
    }
    assert_eq!(world.authorized(), 2);
    let output = inside(&["/avouch", "svid", "show", "-o", "json"]);
    assert!(said(&output).contains("spiffe://example.test/agent/boxed"), "{}", said(&output));
    // The issuer reads who is in a session, and may be another user than the helper.
    let output = inside(&["sh", "-c", &format!("stat -c %a {run}/roots/*")]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "644\n", "{}", said(&output));
    // Whoever goes round the proxy finds nothing: neither the tool, which is on the host's loopback, nor a network.
    let output = inside(&["curl", "-sS", "--noproxy", "*", &world.plain("/repos/x")]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let output = inside(&["cat", "/proc/net/route"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "{}", said(&output));
}

/// A world with an agent for somebody in a place. The helper has the umask that its unit gives it.
fn world() -> World {
    let mut made = Installation::prepare().expect("settings");
    made.start_server(&[]).expect("an issuer");
    made.token("n1").expect("a token");
    made.start_helper_under(&["sh", "-c", "umask 0077; exec \"$0\" \"$@\""]).expect("a helper");
    let world = World::on(made).expect("a world");
    let uid = format!("unix:uid:{}", user());
    let line = ["agent", "create", "boxed", "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &uid];
    world.made.run(&line).expect("an agent");
    for credential in ["plain", "tls"] {
        world.made.run(&["grant", "create", "--agent", "boxed", "--credential", credential]).expect("a grant");
    }
    world
}

#[test]
fn a_helper_that_is_not_in_the_same_or_an_ancestor_pid_namespace_refuses_and_says_so() {
    if !needs_root() {
        return;
    }
    let mut made = Installation::prepare().expect("settings");
    made.start_server(&[]).expect("an issuer");
    made.token("n1").expect("a token");
    let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
    let agent = ["agent", "create", "a", "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &uid];
    made.run(&agent).expect("an agent");
    let child = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"];
    made.launch_helper_under(&child).expect("a helper");
    made.until("the session socket", |made| made.path("run/session.sock").exists()).expect("a helper");
    let output = made.avouch(&["run", "--agent", "a", "--", "true"]).expect("run");
    assert_ne!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("pid_namespace"), "{output:?}\n{}", made.logs());
}

#[test]
fn containment_is_refused_with_its_reason_where_the_outer_place_forbids_a_fresh_proc() {
    let world = world();
    let run = world.made.path("run").display().to_string();
    let url = world.tls("/repos/x");
    let line = ["/avouch", "--runtime-dir", &run, "run", "--contain", "--agent", "boxed", "--", "curl", "-sSf", &url];
    let inside = |proc| in_place(&world.made, proc, &line).expect("a place").output().expect("run");
    let whole = inside(Proc::Whole);
    assert!(whole.status.success(), "{}", said(&whole));
    let covered = inside(Proc::Covered);
    assert!(!covered.status.success(), "{}", said(&covered));
    assert!(said(&covered).contains("a fresh /proc is forbidden here"), "{}", said(&covered));
    assert_eq!(world.authorized(), 1);
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
