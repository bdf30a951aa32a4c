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

#[test]
fn a_banned_node_serves_and_injects_nothing_and_says_so() {
    let mut world = World::start().expect("a world");
    register(&world.made, "daemon", &[]);
    assert_eq!(fetch_soon(&world.made).len(), 1);
    assert!(world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl").ends_with("200"));
    let before = world.authorized();
    let begun = Instant::now();
    let line = ["node", "ban", "n1", "--reason", "stolen", "--yes", "-o", "json"];
    let said = world.made.run(&line).expect("a ban").stdout;
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["applied"], true, "{said}");
    assert!(said["instances"].as_array().is_some_and(|all| !all.is_empty()), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(4), "felt within 2 s, doubled");
    assert!(fetch(&world.made).is_err(), "no SVID any more");
    let refused = world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl");
    assert!(!refused.ends_with("200"), "{refused}");
    assert_eq!(world.authorized(), before);
    let told = |made: &Installation| made.avouch(&["doctor"]).is_ok_and(|said| said.stdout.contains("banned"));
    world.made.until("the doctor to say so", told).expect("told");

    // Evicted, and a new token put where the first one was: the helper that runs takes it.
    world.made.run(&["node", "evict", "n1", "--reason", "found again", "--yes"]).expect("evicted");
    world.made.token("n1").expect("a token");
    let begun = Instant::now();
    while fetch(&world.made).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", world.made.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl").ends_with("200"));
}

/// The helper runs all the time, and so does one that is started only then.
#[test]
fn a_node_that_was_away_takes_a_new_token_without_a_restart() {
    let mut made = Installation::prepare_with("[svid]\nnode_ttl = \"10s\"\n", "").expect("settings");
    made.start_both().expect("started");
    made.kill_server().expect("the issuer goes");
    let expired = |made: &Installation| {
        made.avouch(&["status", "-o", "json"]).is_ok_and(|said| said.stdout.contains("node_expired"))
    };
    made.until("the node's SVID to run out", expired).expect("said so");
    made.kill_helper().expect("stopped");
    made.launch_helper(&[]).expect("started with an SVID that ran out");
    made.start_server(&[]).expect("the issuer is back");
    made.token("n1").expect("a token");
    made.until("the helper to join anew", |made| {
        made.avouch(&["status", "-o", "json"]).is_ok_and(|said| said.stdout.contains("\"state\": \"injecting\""))
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_directory_of_registrations_is_applied_once() {
    let mut made = Installation::prepare().expect("settings");
    made.start_server(&[]).expect("an issuer");
    std::fs::create_dir(made.path("files")).expect("a folder");
    std::fs::copy("../config/resources.yaml", made.path("files/a.yaml")).expect("the sample");
    let folder = made.path("files").display().to_string();
    let line = ["apply", "-f", &folder, "-o", "json"];
    let actions = |made: &Installation| -> Vec<String> {
        let said: serde_json::Value = serde_json::from_str(&made.run(&line).expect("apply").stdout).expect("JSON");
        let all = said.as_array().expect("a list").iter();
        all.map(|one| one["action"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(actions(&made), ["create"; 4]);
    let version = |made: &Installation| {
        made.run(&["status", "-o", "json"]).map(|said| {
            serde_json::from_str::<serde_json::Value>(&said.stdout).unwrap_or_default()["issuer"]["state_version"]
                .clone()
        })
    };
    let before = version(&made).expect("status");
    assert_eq!(actions(&made), ["unchanged"; 4]);
    assert_eq!(version(&made).expect("status"), before);
    std::fs::write(
        made.path("files/b.yaml"),
        "apiVersion: avouch/v1\nkind: Grant\nspec: {agent: nobody, credential: github}\n",
    )
    .expect("a file");
    let refused = made.avouch(&line).expect("apply");
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("b.yaml:3") && refused.stderr.contains("nobody"), "{refused:?}");
}
