//! Foreign SPIFFE clients against the Workload API. All meet once, for somewhat more than a minute in which SVIDs live
//! ten seconds and authorities one minute; each test looks at what one of them saw. `tests/run` installs them and names
//! their folder in `AVOUCH_INTEROP`. `tests/rotation` does the same for longer. The two hosts are here as well, as all of
//! these mostly wait, and may do so at once.

#[path = "interop/two_hosts.rs"]
mod two_hosts;

use avouch_tests::meeting::{BRISK, Said, clients, installed, meet};
use avouch_tests::{Installation, World};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// How long they meet: beyond the life of the first authority. `tests/rotation` sets it, and longer lives.
const SECONDS: u32 = 64;

static MEETING: LazyLock<Result<BTreeMap<&'static str, Said>, String>> = LazyLock::new(|| {
    let told = |name: &str| std::env::var(name).ok();
    let seconds = told("AVOUCH_ROTATION_SECONDS").and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let settings = told("AVOUCH_ROTATION_SETTINGS").unwrap_or_else(|| BRISK.to_owned());
    let mut made = Installation::prepare_with(&settings, "").map_err(|error| error.to_string())?;
    made.start_both().map_err(|error| error.to_string())?;
    meet(&made, &clients(&installed()), seconds).map_err(|error| error.to_string())
});

fn met() -> &'static BTreeMap<&'static str, Said> {
    MEETING.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// It fetched, saw SVIDs and the authority under them rotate, and had tokens of either authority validated.
fn watched_a_rotation(name: &str) {
    let said = &met()[name];
    let number = |word: &str| said[word].parse::<u32>().unwrap_or_else(|_| panic!("{word}: {said:?}"));
    let id = format!("spiffe://example.test/agent/{name}");
    assert_eq!((&said["id"], &said["jwt"], &said["jwt-later"]), (&id, &id, &id));
    assert_eq!(said["foreign-audience"], "refused");
    assert!(number("serials") >= 3, "{said:?}");
    assert!(number("authorities") >= 2 && number("signers") >= 2, "{said:?}");
}

#[test]
fn py_spiffe_fetches_watches_and_validates() {
    watched_a_rotation("python");
}

#[test]
fn go_spiffe_fetches_watches_and_validates() {
    watched_a_rotation("go");
}

#[test]
fn rust_spiffe_fetches_watches_and_validates() {
    watched_a_rotation("rust");
}

#[test]
fn a_node_client_fetches_watches_and_validates() {
    watched_a_rotation("node");
}

#[test]
fn java_spiffe_fetches_watches_and_validates() {
    if met().contains_key("java") {
        watched_a_rotation("java");
    } else {
        println!("not run: needs a JDK and Maven");
    }
}

#[test]
fn no_handshake_between_foreign_clients_fails_through_rotations() {
    let mut all = 0;
    for (name, said) in met() {
        let number = |word: &str| said[word].parse::<u32>().unwrap_or_else(|_| panic!("{name}: {word}: {said:?}"));
        assert_eq!((number("failed"), number("held-failed")), (0, 0), "{name}: {said:?}");
        assert!(number("handshakes") > 0 && number("held") > 0, "{name}: {said:?}");
        all += number("handshakes");
    }
    println!("{} clients, {all} handshakes, none failed", met().len());
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
