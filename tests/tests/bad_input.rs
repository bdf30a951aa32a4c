//! What a person does wrong is told in a sentence that says what to do next, with an exit code, and changes nothing.

use avouch_tests::{Installation, Output, World};
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// Starts a part that has to fail, and hands out its exit code and what it said.
fn fails(made: &Installation, part: &str) -> io::Result<(i32, String)> {
    fails_in(made, part, &[])
}

/// The same with variables in its environment.
fn fails_in(made: &Installation, part: &str, environment: &[(&str, &str)]) -> io::Result<(i32, String)> {
    let mut child = made.daemon(part, environment)?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status.code().unwrap_or(-1), made.logs()));
        }
        if begun.elapsed() > Duration::from_secs(20) {
            child.kill()?;
            return Err(io::Error::other(format!("{part} went on\n{}", made.logs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn rewrite(made: &Installation, file: &str, from: &str, to: &str) {
    let path = made.path(file);
    let text = fs::read_to_string(&path).expect("settings");
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).expect("settings");
}

#[test]
fn wrong_settings_are_told_all_at_once_with_the_nearest_key() {
    let made =
        Installation::prepare_with("stalenes_bound = \"30s\"\n[svid]\nx509_tll = \"15m\"\njwt_ttl = \"soon\"\n", "")
            .expect("settings");
    let (code, said) = fails(&made, "server").expect("it fails");
    assert_eq!(code, 2, "{said}");
    for part in ["stalenes_bound", "staleness_bound", "x509_tll", "x509_ttl", "svid.jwt_ttl", "soon"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_taken_port_fails_the_start_and_names_its_owner() {
    let made = Installation::prepare().expect("settings");
    let _holder = TcpListener::bind(made.listen()).expect("the port");
    let (code, said) = fails(&made, "server").expect("it fails");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(made.listen()) && said.contains(&std::process::id().to_string()), "{said}");
}

#[test]
fn a_taken_socket_fails_the_start_and_names_its_owner() {
    let mut made = Installation::prepare().expect("settings");
    made.start_server(&[]).expect("the first");
    let pid = made.server().expect("the first").id().to_string();
    rewrite(&made, "server.toml", "/server\"", "/other\"");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string();
    rewrite(&made, "server.toml", made.listen(), &free);
    let (code, said) = fails(&made, "server").expect("it fails");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("admin.sock") && said.contains(&pid), "{said}");
}

#[test]
fn a_key_file_that_others_read_or_that_lies_in_the_state_refuses() {
    let mut made = Installation::prepare().expect("settings");
    made.start_server(&[]).expect("the first start makes the key");
    made.kill_server().expect("killed");
    let key = made.path("keys/server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("mode");
    let (_, said) = fails(&made, "server").expect("it fails");
    assert!(said.contains("server.key") && said.contains("0600"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("mode");
    fs::copy(&key, made.path("server/server.key")).expect("a copy");
    rewrite(&made, "server.toml", "/keys/server.key", "/server/server.key");
    let (code, said) = fails(&made, "server").expect("it fails");
    assert_ne!(code, 0);
    assert!(said.contains("seal_key_file"), "{said}");
}

#[test]
fn a_wrong_trust_domain_and_an_expired_or_foreign_token_each_have_their_words() {
    let mut made = Installation::prepare().expect("settings");
    made.start_server(&[]).expect("an issuer");
    let file = made.path("keys/token").display().to_string();
    made.run(&["token", "create", "--node", "n1", "--ttl", "1s", "--out", &file]).expect("a token");
    std::thread::sleep(Duration::from_millis(1_500));
    let (expired, said) = fails(&made, "helper").expect("it fails");
    assert!(said.contains("expired") && said.contains("avouch token create"), "{said}");
    assert_eq!(expired, 8, "{said}");

    made.token("n1").expect("a token");
    rewrite(&made, "helper.toml", "trust_domain = \"example.test\"", "trust_domain = \"other.test\"");
    let (domain, said) = fails(&made, "helper").expect("it fails");
    assert!(said.contains("other.test") && said.contains("example.test"), "{said}");
    assert_ne!(domain, 0);
    rewrite(&made, "helper.toml", "other.test", "example.test");

    // A token of another issuer pins another authority: nothing is sent to this one.
    let mut other = Installation::prepare().expect("settings");
    other.start_server(&[]).expect("another issuer");
    other.token("n1").expect("a token");
    fs::copy(other.path("keys/token"), made.path("keys/token")).expect("copied");
    let (pinned, said) = fails(&made, "helper").expect("it fails");
    assert!(said.contains("pin"), "{said}");
    assert_ne!(pinned, 0);

    fs::write(made.path("keys/token"), "not a token").expect("written");
    let (malformed, said) = fails(&made, "helper").expect("it fails");
    assert!(said.contains("token") && malformed != 0, "{said}");
}

#[test]
fn an_issuer_that_does_not_answer_is_named() {
    let made = Installation::prepare().expect("settings");
    let token = format!("avouch-join.{0}.{0}.example.test\n", "A".repeat(43));
    made.write_private("keys/token", token.as_bytes()).expect("a token");
    let (code, said) = fails(&made, "helper").expect("it fails");
    assert_eq!(code, 7, "{said}");
    assert!(said.contains(made.listen()), "{said}");
}

#[test]
fn verbs_refuse_what_could_never_work() {
    let world = World::start().expect("a world");
    let put = |name: &str, value: &[u8], rest: &[&str]| -> Output {
        let arguments: Vec<&str> = ["secret", "put", name, "--value-stdin"].iter().chain(rest).copied().collect();
        world.made.with_input(&arguments, value).expect("secret put")
    };
    let to = |origin: &'static str| ["--to", origin, "--method", "GET", "--path", "/x", "--as", "bearer"];
    let cases: [(&str, &[u8], Vec<&str>, &str); 6] = [
        ("short", b"1234567", to("https://api.example.test").to_vec(), "8"),
        ("plain", b"12345678", to("http://api.example.test").to_vec(), "loopback"),
        ("upper", b"12345678", to("https://API.example.test").to_vec(), "lower"),
        (
            "meta",
            b"12345678",
            [&to("https://api.example.test")[..], &["--address", "169.254.169.254"]].concat(),
            "metadata",
        ),
        ("lines", b"1234\n5678", to("https://api.example.test").to_vec(), "value"),
        (
            "slot",
            b"12345678",
            vec!["--to", "https://api.example.test", "--method", "GET", "--path", "/x", "--as", "header:host"],
            "host",
        ),
    ];
    for (name, value, rest, word) in cases {
        let said = put(name, value, &rest);
        let text = said.stderr.to_ascii_lowercase();
        assert!(said.code.is_some_and(|code| code != 0 && code != 101), "{name}: {said:?}");
        assert!(text.contains(word), "{name}: {said:?}");
        assert!(!said.stderr.contains("12345678") && !said.stderr.contains("1234567\""), "{name}: {said:?}");
    }
    let uid = "unix:uid:0";
    for (line, word) in [
        (
            vec!["agent", "create", "r2", "--owner", "me", "--node", "node:name:n1", "--selector", "unix:path:/bin/sh"],
            "path",
        ),
        (
            vec!["agent", "create", "researcher", "--owner", "me", "--node", "node:name:n1", "--selector", uid],
            "researcher",
        ),
        (vec!["grant", "create", "--agent", "nobody", "--credential", "plain"], "nobody"),
        (vec!["grant", "create", "--agent", "researcher", "--credential", "nothing"], "nothing"),
        (vec!["lock", "create", "--agent", "nobody", "--reason", "x"], "nobody"),
        (vec!["lock", "release", "01K9ZQ3M6X5T8W4V2R7N1C0BDE"], "lock"),
        (vec!["run", "--agent", "nobody", "--", "true"], "agent"),
    ] {
        let said = world.made.avouch(&line).expect("a verb");
        assert!(said.code.is_some_and(|code| code != 0 && code != 101), "{line:?}: {said:?}");
        assert!(said.stderr.to_ascii_lowercase().contains(word), "{line:?}: {said:?}");
    }
    world.made.run(&["audit", "verify"]).expect("the log still verifies");
}

#[test]
fn a_secret_in_the_environment_or_a_token_that_others_may_read_refuses_the_start() {
    let mut made = Installation::prepare().expect("settings");
    assert_eq!(fails_in(&made, "server", &[("AVOUCH_SEAL_KEY", "x")]).expect("it fails").0, 2);
    made.start_server(&[]).expect("an issuer");
    made.token("n1").expect("a token");
    let (code, said) = fails_in(&made, "helper", &[("AVOUCH_JOIN_TOKEN", "x")]).expect("it fails");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("AVOUCH_SEAL_KEY") && said.contains("AVOUCH_JOIN_TOKEN"), "{said}");
    let token = made.path("keys/token");
    assert_eq!(fs::metadata(&token).expect("the token").permissions().mode() & 0o7777, 0o600);
    fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).expect("mode");
    let (code, said) = fails(&made, "helper").expect("it fails");
    assert!(code != 0 && said.contains("its mode is 0640"), "{said}");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("mode");
    made.start_helper(&[]).expect("it was not used up");
}
