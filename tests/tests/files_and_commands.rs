//! A file and a command as sources, in the whole system.

use avouch::demo::canary;
use avouch_tests::{Installation, PLAIN, TLS, World};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Puts a file over another, as whoever rotates a value does.
fn put(path: &Path, bytes: &[u8]) {
    let next = path.with_extension("next");
    fs::write(&next, bytes).expect("a file");
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).expect("its mode");
    fs::rename(next, path).expect("put over");
}

#[test]
fn a_file_and_a_command_are_injected_scrubbed_audited_and_followed_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, printed) = (folder.path().join("token"), folder.path().join("printed"));
    put(&file, PLAIN);
    put(&printed, &[TLS, b"\n"].concat());
    let helper = format!(
        "[[source]]\nname = \"file\"\nkind = \"file\"\npath = {file:?}\n\
         [[source]]\nname = \"command\"\nkind = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"echo $NOISE >&2; cat {0}\"]\n\
         environment = [\"PATH=/usr/bin:/bin\", \"NOISE=noise-of-the-command\"]\n",
        printed.display()
    );
    let mut made = Installation::prepare_with("", &helper).expect("settings");
    made.start_both().expect("started");
    let world = World::on(made).expect("a world");
    let narrow = ["--method", "GET", "--path", "/repos/**", "--query", "mode", "--as", "bearer"];
    let (plain, tls, ca) = (world.plain(""), world.tls(""), world.made.path("tool-ca.pem").display().to_string());
    for (name, source, route) in [
        ("plain", "file", vec!["--to", &plain, "--plain", "loopback"]),
        ("tls", "command", vec!["--to", &tls, "--address", "127.0.0.1", "--ca", &ca]),
    ] {
        let create = ["credential", "create", name, "--replace", "--source", source];
        world.made.run(&[&create[..], &route, &narrow].concat()).expect("a credential");
    }

    let mut read = String::new();
    for url in [world.plain("/repos/x?mode=echo"), world.tls("/repos/x?mode=echo")] {
        let said = world.curl("researcher", &["-v", &url]).expect("curl");
        assert!(said.contains("that was all") && said.ends_with("200"), "{said}{}", world.made.logs());
        read += &said;
    }
    assert_eq!(world.authorized(), 2);
    for verb in [&["credential", "list", "-o", "json"][..], &["audit", "list", "-o", "json"]] {
        let said = world.made.run(verb).expect("a verb").stdout;
        assert!(said.contains("plain") && said.contains("tls"), "{said}");
        read += &said;
    }
    read += &world.made.logs();
    assert!(!read.contains("noise-of-the-command"));
    for secret in [PLAIN, TLS] {
        assert_eq!(canary::find(read.as_bytes(), secret), None);
        for (path, bytes) in world.made.files().expect("files") {
            assert_eq!(canary::find(&bytes, secret), None, "{}", path.display());
        }
    }

    // The tool wants the first value, so what it says shows which one was sent: no later than with the next call.
    let status = || world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl");
    put(&file, b"another-value-that-the-tool-does-not-want");
    assert!(status().ends_with("401"), "{}", world.made.logs());
    put(&file, PLAIN);
    assert!(status().ends_with("200"), "{}", world.made.logs());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
    let refused = status();
    assert!(refused.contains("\"code\"") && !refused.ends_with("200"), "{refused}");
    assert!(world.made.logs().contains("so others than its owner can use it"), "{}", world.made.logs());
    assert!(!world.curl("intruder", &[&world.tls("/repos/x")]).expect("curl").ends_with("200"));
    assert_eq!(world.authorized(), 3);
}
