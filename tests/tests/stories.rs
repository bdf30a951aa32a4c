//! Stories over the real programs: an issuer, a helper, agents under `avouch run`, and a tool that demands.

#[path = "stories/contained.rs"]
mod contained;

use avouch::demo::canary;
use avouch_tests::{PLAIN, TLS, World, needs_root};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A safety bound of the design, at twice its value.
const FELT: Duration = Duration::from_secs(4);

#[test]
fn a_credential_reaches_the_tool_and_never_the_agent() {
    let world = World::start().expect("a world");
    let mut read = String::new();
    for url in [world.plain("/repos/x?mode=echo"), world.tls("/repos/x?mode=echo")] {
        let said = world.curl("researcher", &["-v", &url]).expect("curl");
        assert!(said.contains("that was all"), "{said}");
        read += &said;
    }
    assert_eq!(world.authorized(), 2);
    read += &world
        .under_run("researcher", &["sh", "-c", "cat /proc/self/environ /proc/self/cmdline; env"])
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .expect("sh");
    for verb in [
        &["credential", "list", "-o", "json"][..],
        &["audit", "list", "-o", "json"],
        &["audit", "export", "--out", "-"],
        &["status"],
    ] {
        let said = world.made.run(verb).expect("a verb");
        read += &said.stdout;
        read += &said.stderr;
    }
    for secret in [PLAIN, TLS] {
        assert_eq!(canary::find(read.as_bytes(), secret), None);
        for (path, bytes) in world.made.files().expect("files") {
            assert_eq!(canary::find(&bytes, secret), None, "{}", path.display());
        }
    }
    // The search finds what is there: the tool really does echo.
    let direct = Command::new("curl")
        .args([
            "-sS",
            "-H",
            &format!("Authorization: Bearer {}", String::from_utf8_lossy(PLAIN)),
            &world.plain("/repos/x?mode=echo"),
        ])
        .output()
        .expect("curl");
    assert!(canary::find(&direct.stdout, PLAIN).is_some());
}

#[test]
fn another_agent_path_host_or_method_is_refused_before_the_tool() {
    let world = World::start().expect("a world");
    let good = world.plain("/repos/x");
    let other_host = world.plain("/repos/x").replace("127.0.0.1", "localhost");
    let cases: [(&str, Vec<&str>); 5] = [
        ("intruder", vec![&good]),
        ("researcher", vec!["-X", "POST", "-d", "a=b", &good]),
        ("researcher", vec!["-X", "DELETE", &good]),
        ("researcher", vec![&other_host]),
        (
            "researcher",
            vec!["--path-as-is", "-H", "X-HTTP-Method-Override: DELETE", "http://127.0.0.1:1/repos/../admin"],
        ),
    ];
    for (agent, arguments) in cases {
        let said = world.curl(agent, &arguments).expect("curl");
        assert!(said.contains("\"code\"") && said.contains("\"retry\""), "{agent} {arguments:?}: {said}");
    }
    let outside = world.plain("/admin");
    assert!(world.curl("researcher", &[&outside]).expect("curl").ends_with("403"));
    assert!(world.tool.seen().is_empty(), "{:?}", world.tool.seen());
    assert!(world.curl("researcher", &[&good]).expect("curl").ends_with("200"));
}

#[test]
fn a_lock_refuses_the_next_call_and_cuts_the_open_stream_and_tunnel() {
    let world = World::start().expect("a world");
    let mut streams: Vec<_> = [world.plain("/repos/x?mode=stream"), world.tls("/repos/x?mode=stream")]
        .iter()
        .map(|url| {
            let mut child = world.under_run("researcher", &["curl", "-sS", "-N", url]).spawn().expect("run");
            let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
            lines.next().expect("a first tick").expect("text");
            (child, lines)
        })
        .collect();
    world.made.run(&["lock", "create", "--agent", "researcher", "--reason", "story"]).expect("a lock");
    let acknowledged = Instant::now();
    let said = world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl");
    assert!(!said.ends_with("200"), "{said}");
    for (child, lines) in &mut streams {
        for line in lines.by_ref() {
            if line.is_err() {
                break;
            }
        }
        assert_ne!(child.wait().expect("the agent ended").code(), Some(0));
    }
    assert!(acknowledged.elapsed() < FELT, "{:?}", acknowledged.elapsed());
    assert_eq!(world.authorized(), 2);
    // Released, it works again.
    let list: serde_json::Value =
        serde_json::from_str(&world.made.run(&["lock", "list", "-o", "json"]).expect("locks").stdout).expect("JSON");
    let id = list[0]["id"].as_str().expect("an id").to_owned();
    world.made.run(&["lock", "release", &id]).expect("released");
    let begun = Instant::now();
    while !world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl").ends_with("200") {
        assert!(begun.elapsed() < FELT);
    }
}

#[test]
fn nothing_is_injected_once_the_issuer_is_silent_for_the_bound_and_svids_go_on() {
    let mut made = avouch_tests::Installation::prepare_with("staleness_bound = \"5s\"\n", "").expect("settings");
    made.start_both().expect("started");
    let mut world = World::on(made).expect("a world");
    assert!(world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl").ends_with("200"));
    // A session that has its identity before the issuer goes.
    let (held, gone) = (world.made.path("held"), world.made.path("gone"));
    let wait = format!(": >{}; until [ -e {} ]; do sleep 0.1; done", held.display(), gone.display());
    let script = format!("{0} svid show; {wait}; {0} svid show", program());
    let holder = world.under_run("researcher", &["sh", "-c", &script]).spawn().expect("a session");
    world.made.until("the first SVID", |_| held.exists()).expect("shown");
    let mut warm =
        world.under_run("researcher", &["sh", "-c", &calls(&world.plain("/repos/x"))]).spawn().expect("a session");
    let mut calls = BufReader::new(warm.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    assert_eq!(calls.next().as_deref(), Some("200"));
    world.made.kill_server().expect("killed");
    let silent = Instant::now();
    while calls.next().is_some_and(|code| code == "200") {
        assert!(
            silent.elapsed() < Duration::from_secs(10),
            "still injecting {:?} after the last word",
            silent.elapsed()
        );
    }
    warm.kill().expect("ended");
    warm.wait().expect("ended");
    let refused = world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl");
    assert!(refused.contains("\"stale\"") && refused.to_ascii_lowercase().contains("retry-after"), "{refused}");
    std::fs::write(&gone, "").expect("a sign");
    let shown = holder.wait_with_output().expect("svid show");
    let shown = String::from_utf8_lossy(&shown.stdout).matches("/agent/researcher").count();
    assert_eq!(shown, 2, "the SVID is served before and after");
    world.made.start_server(&[]).expect("started again");
    world.made.until("injection", |_| true).expect("up");
    let begun = Instant::now();
    while !world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl").ends_with("200") {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", world.made.logs());
    }
}

#[test]
fn nobody_administers_or_opens_a_session_from_inside_a_session() {
    let world = World::start().expect("a world");
    let run = world.made.path("run").display().to_string();
    let avouch = program();
    for escape in ["", "setsid ", "nohup ", "setsid sh -c '(sleep 0; \"$@\") & wait' sh "] {
        for verb in [
            "agent list",
            "token create --node n9 --out -",
            "lock list",
            "run --agent intruder -- true",
            "grant create --agent intruder --credential plain",
        ] {
            let line = format!("{escape}{avouch} --runtime-dir {run} {verb} 2>&1");
            let output = world.under_run("researcher", &["sh", "-c", &line]).output().expect("run");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("inside_session"), "{escape}{verb}: {said}");
            assert!(!said.contains("me@example.test") && !said.contains("avouch-join."), "{escape}{verb}: {said}");
        }
    }
    // The same verbs from outside work.
    world.made.run(&["agent", "list"]).expect("outside");
    let events = world.made.run(&["audit", "list", "-o", "json"]).expect("audit").stdout;
    assert!(events.contains("refused"), "the refusals are recorded");
}

#[test]
fn the_end_of_run_ends_its_listener_its_connections_and_its_processes() {
    let world = World::start().expect("a world");
    let script = format!(
        "echo $HTTP_PROXY; (curl -sS -N '{}' >/dev/null; echo stream ended) & sleep 600",
        world.plain("/repos/x?mode=stream")
    );
    let mut child = world.under_run("researcher", &["sh", "-c", &script]).spawn().expect("run");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let proxy = lines.next().expect("a line").expect("text");
    let begun = Instant::now();
    while world.authorized() == 0 {
        assert!(begun.elapsed() < FELT, "the stream never reached the tool");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("kill -9 of run");
    child.wait().expect("dead");
    let dead = Instant::now();
    let address = proxy.trim_start_matches("http://").trim_end_matches('/').to_owned();
    while std::net::TcpStream::connect(&address).is_ok() {
        assert!(dead.elapsed() < FELT, "the listener outlives run");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Every process below held the pipe: it ends when the last of them is dead.
    let mut rest = String::new();
    let mut reader = lines.map_while(Result::ok);
    if let Some(line) = reader.next() {
        rest = line;
    }
    assert!(dead.elapsed() < FELT, "processes of the session outlive run: {rest}");
}

#[test]
fn another_uid_neither_administers_nor_uses_the_session() {
    if !needs_root() {
        return;
    }
    let world = World::start().expect("a world");
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("avouch");
    std::fs::copy(program(), &copy).expect("a copy");
    for path in [folder.path().to_owned(), copy.clone(), world.made.path(""), world.made.path("run")] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("open to all");
    }
    for socket in ["admin.sock", "helper.sock", "session.sock"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(world.made.path("run").join(socket), std::fs::Permissions::from_mode(0o666))
            .expect("666");
    }
    for verb in [&["agent", "list"][..], &["lock", "list"], &["run", "--agent", "researcher", "--", "true"]] {
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&copy)
            .arg("--runtime-dir")
            .arg(world.made.path("run"))
            .args(verb)
            .stdin(Stdio::null())
            .output()
            .expect("setpriv");
        assert_ne!(output.status.code(), Some(0), "{verb:?}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("researcher"), "{verb:?}");
    }
}

#[test]
fn a_token_is_used_once_and_the_log_verifies_offline() {
    let world = World::start().expect("a world");
    let token = std::fs::read(world.made.path("keys/token")).expect("the used token");
    let second = avouch_tests::Installation::prepare().expect("a second place");
    let settings = std::fs::read_to_string(second.path("helper.toml")).expect("settings");
    std::fs::write(second.path("helper.toml"), settings.replace(second.listen(), world.made.listen()))
        .expect("settings");
    second.write_private("keys/token", &token).expect("the token");
    let mut refused = second.daemon("helper", &[]).expect("a second helper");
    assert_ne!(refused.wait().expect("ended").code(), Some(0));
    assert!(second.logs().contains("token"), "{}", second.logs());

    world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl");
    world.made.run(&["audit", "verify"]).expect("the log verifies");
    let export = world.made.path("export.jsonl");
    world.made.run(&["audit", "export", "--out", &export.to_string_lossy()]).expect("export");
    world.made.run(&["audit", "verify", &export.to_string_lossy()]).expect("verifies offline");
    let mut bytes = Vec::new();
    std::fs::File::open(&export).and_then(|mut file| file.read_to_end(&mut bytes)).expect("read");
    let at = bytes.windows(10).position(|window| window == b"researcher").expect("a name in the log");
    bytes[at] = b's';
    std::fs::write(&export, bytes).expect("changed");
    let said = world.made.avouch(&["audit", "verify", &export.to_string_lossy()]).expect("verify");
    assert_ne!(said.code, Some(0));
    assert!(said.stderr.chars().any(|c| c.is_ascii_digit()), "{said:?}");
}

/// The SVID that the helper joined with ends after 20 s: what answers after that is a renewed one.
#[test]
fn a_nodes_svid_is_renewed_over_and_over_and_the_helper_goes_on() {
    let mut made = avouch_tests::Installation::prepare_with("[svid]\nnode_ttl = \"20s\"\n", "").expect("settings");
    let begun = Instant::now();
    made.start_both().expect("started");
    let world = World::on(made).expect("a world");
    let renewals = || world.made.run(&["audit", "export", "--out", "-"]).expect("export").stdout;
    while renewals().matches("\"code\":\"node.renewed\"").count() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", world.made.logs());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(begun.elapsed() > Duration::from_secs(20), "the first SVID has ended");
    assert!(world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl").ends_with("200"));
}

/// A loop of calls, each printed as its status.
fn calls(url: &str) -> String {
    format!("while :; do curl -s -o /dev/null --max-time 5 -w '%{{http_code}}\\n' '{url}'; sleep 0.1; done")
}

fn program() -> String {
    let mut at = std::env::current_exe().expect("this test");
    at.pop();
    at.pop();
    at.join("avouch").to_string_lossy().into_owned()
}
