//! Issuer and helpers apart: what goes on while one of them is away, and what does not.

use avouch_tests::{Installation, World};
use avouch_wire::tonic::{Request, metadata::MetadataValue};
use avouch_wire::workload::X509svidRequest;
use avouch_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use std::io;
use std::time::{Duration, Instant};

/// This process's X.509-SVIDs, as any Workload API client gets them: ID, certificate and hint.
fn fetch(made: &Installation) -> io::Result<Vec<(String, Vec<u8>, String)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let channel = avouch_wire::unix::dial(&made.path("run/workload.sock")).await.map_err(io::Error::other)?;
        let mut request = Request::new(X509svidRequest {});
        request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
        let mut client = SpiffeWorkloadApiClient::new(channel);
        let mut stream = client.fetch_x509svid(request).await.map_err(io::Error::other)?.into_inner();
        let message = stream.message().await.map_err(io::Error::other)?.unwrap_or_default();
        Ok(message.svids.into_iter().map(|svid| (svid.spiffe_id, svid.x509_svid, svid.hint)).collect())
    })
}

/// Waits for an answer of the Workload API.
fn fetch_soon(made: &Installation) -> Vec<(String, Vec<u8>, String)> {
    let begun = Instant::now();
    loop {
        match fetch(made) {
            Ok(svids) => return svids,
            Err(error) if begun.elapsed() > Duration::from_secs(20) => panic!("{error}\n{}", made.logs()),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// An agent that is any process of this user.
fn register(made: &Installation, agent: &str, more: &[&str]) {
    let selector = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
    let line =
        ["agent", "create", agent, "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &selector];
    made.run(&[&line, more].concat()).expect("an agent");
}

#[test]
fn a_helper_that_starts_again_without_its_issuer_serves_what_it_held_and_injects_nothing() {
    let mut world = World::start().expect("a world");
    register(&world.made, "daemon", &[]);
    let held = fetch_soon(&world.made);
    assert_eq!(held.len(), 1, "{held:?}");
    let kept = |made: &Installation| made.path("run/cache/identities").metadata().is_ok_and(|file| file.len() > 300);
    world.made.until("the identity to be kept", kept).expect("kept");

    world.made.kill_server().expect("the issuer goes");
    world.made.kill_helper().expect("and the helper");
    world.made.launch_helper(&[]).expect("a helper");
    assert_eq!(fetch_soon(&world.made), held, "the very same SVID, without the issuer");
    let said = world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl");
    assert!(said.contains("\"code\"") && !said.ends_with("200"), "{said}");
    assert_eq!(world.authorized(), 0, "nothing is injected by what was known before the restart");

    world.made.start_server(&[]).expect("the issuer is back");
    let begun = Instant::now();
    while !world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl").ends_with("200") {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", world.made.logs());
    }
    assert_eq!(fetch_soon(&world.made)[0].0, "spiffe://example.test/agent/daemon");
}

/// The lock was acknowledged, so it is in force after a restart as well, issuer or not.
#[test]
fn a_lock_that_was_in_force_is_in_force_after_a_restart_without_the_issuer() {
    let mut world = World::start().expect("a world");
    register(&world.made, "daemon", &[]);
    fetch_soon(&world.made);
    world.made.run(&["lock", "create", "--agent", "daemon", "--reason", "test"]).expect("a lock");
    world.made.kill_server().expect("the issuer goes");
    world.made.kill_helper().expect("and the helper");
    world.made.launch_helper(&[]).expect("a helper");
    let begun = Instant::now();
    loop {
        let refused = fetch(&world.made).expect_err("no SVID for who is locked").to_string();
        if refused.contains("ermission") {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{refused}\n{}", world.made.logs());
        std::thread::sleep(Duration::from_millis(10));
    }
}
