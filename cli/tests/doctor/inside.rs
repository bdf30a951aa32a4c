//! Faults of a session's environment: what its programs see is what counts.

use crate::home::{AVOUCH, Home, Said};

/// A home with an agent of this user.
fn furnished() -> (Home, crate::home::Dev) {
    let home = Home::new();
    let dev = home.dev();
    let uid = format!("session:uid:{}", rustix::process::geteuid().as_raw());
    home.works(&["agent", "create", "a", "--owner", "me", "--selector", &uid]);
    (home, dev)
}

/// A doctor in a contained session, with its environment changed as `env` does.
fn inside(home: &Home, change: &[&str]) -> Said {
    // What a session is to see has to lie in its directory.
    let work = home.path().join("work");
    if !work.exists() {
        std::fs::create_dir(&work).unwrap();
        std::fs::copy(AVOUCH, work.join("avouch")).unwrap();
    }
    let run = [&["run", "--agent", "a", "--", "/usr/bin/env"], change, &["./avouch", "doctor"]].concat();
    Said::of(&home.avouch(&run).current_dir(work).output().unwrap())
}

#[test]
fn a_sound_session_has_nothing_wrong() {
    let (home, _dev) = furnished();
    let said = inside(&home, &[]);
    assert!(said.well && said.first.starts_with("Nothing is wrong with this session"), "{}", said.all);
    assert!(said.all.contains("/agent/a"), "{}", said.all);
}

#[test]
fn a_certificate_bundle_that_was_replaced() {
    let (home, _dev) = furnished();
    let said = inside(&home, &["SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"]);
    said.names("SSL_CERT_FILE was replaced", "`export SSL_CERT_FILE=/");
    inside(&home, &["-u", "NODE_EXTRA_CA_CERTS"])
        .names("NODE_EXTRA_CA_CERTS was unset", "`export NODE_EXTRA_CA_CERTS=/");
}

#[test]
fn hosts_that_pass_the_proxy_by() {
    let (home, _dev) = furnished();
    inside(&home, &["NO_PROXY=localhost,127.0.0.1"])
        .names("NO_PROXY lets localhost,127.0.0.1", "`export NO_PROXY= no_proxy=`");
    let said = inside(&home, &["HTTPS_PROXY=http://proxy.test:3128"]);
    said.names("HTTPS_PROXY was replaced", "`export HTTPS_PROXY=http://127.0.0.1:");
}

#[test]
fn a_node_that_is_too_old_or_not_told_of_the_proxy() {
    let (home, _dev) = furnished();
    home.program("node", "#!/bin/sh\necho v20.20.2\n");
    inside(&home, &[]).names("Node 20.20.2 cannot use the proxy", "Use Node 22.21");
    let said = home.doctor();
    assert!(said.well && said.all.contains("Node 20.20.2"), "outside it is only said: {}", said.all);
    home.program("node", "#!/bin/sh\necho v22.21.0\n");
    assert!(inside(&home, &[]).well);
    inside(&home, &["-u", "NODE_USE_ENV_PROXY"]).names("NODE_USE_ENV_PROXY", "`export NODE_USE_ENV_PROXY=1`");
}

#[test]
fn it_sees_a_contained_session_from_inside() {
    let (home, _dev) = furnished();
    let work = home.path().join("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::copy(AVOUCH, work.join("avouch")).unwrap();
    let contained = |change: &[&str]| {
        let line =
            [&["run", "--agent", "a", "--contain", "--", "/usr/bin/env"], change, &["./avouch", "doctor"]].concat();
        home.avouch(&line).current_dir(&work).output().unwrap()
    };
    let output = contained(&[]);
    if output.stdout.is_empty() {
        println!("not run: this host cannot contain: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let said = Said::of(&output);
    assert!(said.well && said.first.starts_with("Nothing is wrong with this session"), "{}", said.all);
    assert!(said.all.contains("/agent/a"), "{}", said.all);
    Said::of(&contained(&["NO_PROXY=localhost"])).names("NO_PROXY lets localhost", "`export NO_PROXY= no_proxy=`");
    Said::of(&contained(&["-u", "SSL_CERT_FILE"]))
        .names("SSL_CERT_FILE was unset", "`export SSL_CERT_FILE=/run/avouch/");
}
