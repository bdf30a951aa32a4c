use super::*;
use crate::conformance::{self, subject};
use executable::MAX_EXECUTABLE;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// A `/proc` of one process, 7, that is this user.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("7")).unwrap();
        let fake = Self(place);
        fake.status("1 2");
        fake
    }

    fn status(&self, groups: &str) {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let text = format!("Name:\tx\nUid:\t9 {uid} 9 9\nGid:\t9 {gid} 9 9\nGroups:\t{groups}\n");
        fs::write(self.0.path().join("7/status"), text).unwrap();
    }

    fn exe(&self, target: &Path) {
        let exe = self.0.path().join("7/exe");
        let _ = fs::remove_file(&exe);
        symlink(target, exe).unwrap();
    }

    fn program(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn found(attestor: &Unix, pid: i32) -> Vec<String> {
    attestor.attest(&subject(pid, &|| true)).unwrap().iter().map(ToString::to_string).collect()
}

fn with(facts: &[String], prefix: &str) -> Option<String> {
    facts.iter().find_map(|fact| fact.strip_prefix(prefix)).map(str::to_owned)
}

#[test]
fn it_conforms() {
    let us = subject(0, &|| true);
    let path = fs::read_link("/proc/self/exe").unwrap();
    let digest = avouch_words::Digest::of(&[&fs::read(&path).unwrap()]);
    let facts = [
        format!("unix:uid:{}", us.uid),
        format!("unix:gid:{}", us.gid),
        format!("unix:path:{}", path.display()),
        format!("unix:sha256:{digest}"),
    ];
    conformance::suite(&Unix::new("/proc"), &facts.each_ref().map(String::as_str));
}

#[test]
fn another_user_or_group_than_the_one_that_connected_is_refused() {
    let attestor = Unix::new("/proc");
    let us = subject(std::process::id() as i32, &|| true);
    let (uid, gid) = (us.uid, us.gid);
    assert!(attestor.attest(&us).is_ok());
    for (uid, gid) in [(uid + 1, gid), (uid, gid + 1)] {
        let refused = attestor.attest(&Subject { uid, gid, ..subject(us.pid, &|| true) });
        assert!(matches!(refused, Err(Refused::Changed)), "{refused:?}");
    }
}

#[test]
fn groups_are_found_and_have_a_limit() {
    let fake = Fake::new();
    let attestor = Unix::new(fake.0.path());
    assert_eq!(with(&found(&attestor, 7), "unix:supplementary_gid:").as_deref(), Some("1"));
    fake.status(&"5 ".repeat(MAX_GROUPS));
    assert!(attestor.attest(&subject(7, &|| true)).is_ok());
    fake.status(&"5 ".repeat(MAX_GROUPS + 1));
    assert!(matches!(attestor.attest(&subject(7, &|| true)), Err(Refused::TooMuch)));
    fake.status("1 x");
    assert!(matches!(attestor.attest(&subject(7, &|| true)), Err(Refused::Unreadable(_))));
    fs::write(fake.0.path().join("7/status"), "").unwrap();
    assert!(matches!(attestor.attest(&subject(7, &|| true)), Err(Refused::Unreadable(_))));
}

#[test]
fn an_unreadable_program_gives_no_selector() {
    let fake = Fake::new();
    let attestor = Unix::new(fake.0.path());
    let facts = found(&attestor, 7);
    assert!(with(&facts, "unix:uid:").is_some());
    assert_eq!((with(&facts, "unix:path:"), with(&facts, "unix:sha256:")), (None, None));
}

#[test]
fn a_sparse_giant_is_not_hashed() {
    let fake = Fake::new();
    let attestor = Unix::new(fake.0.path());
    let path = fake.program("giant", b"");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    fake.exe(&path);
    file.set_len(MAX_EXECUTABLE + 1).unwrap();
    let facts = found(&attestor, 7);
    assert!(with(&facts, "unix:path:").is_some(), "{facts:?}");
    assert_eq!(with(&facts, "unix:sha256:"), None);
    file.set_len(1024).unwrap();
    assert!(with(&found(&attestor, 7), "unix:sha256:").is_some());
}

#[test]
fn a_program_is_hashed_once_and_again_when_it_changed() {
    let fake = Fake::new();
    let attestor = Unix::new(fake.0.path());
    let path = fake.program("p", b"one");
    fake.exe(&path);
    let first = with(&found(&attestor, 7), "unix:sha256:").unwrap();
    assert_eq!(with(&found(&attestor, 7), "unix:sha256:").unwrap(), first);
    assert_eq!(attestor.executables.known(), 1);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, b"two").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    let second = with(&found(&attestor, 7), "unix:sha256:").unwrap();
    assert_eq!(second, avouch_words::Digest::of(&[b"two"]).to_string());
    assert_ne!(first, second);
}

#[test]
fn a_path_that_fits_no_selector_is_absent() {
    let fake = Fake::new();
    let attestor = Unix::new(fake.0.path());
    let path = fake.program("caf\u{e9}\n", b"x");
    fake.exe(&path);
    let facts = found(&attestor, 7);
    assert_eq!(with(&facts, "unix:path:"), None);
    assert!(with(&facts, "unix:sha256:").is_some());
}

/// U08: what the process runs was deleted and another file put in its place: the path is the other's now.
#[test]
fn a_replaced_program_has_a_hash_and_no_path() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("program");
    // Copied by another process: a descriptor to write with, inherited by a neighbour test's child, would keep it busy.
    assert!(Command::new("cp").arg("/bin/sleep").arg(&path).status().unwrap().success());
    let mut child = Command::new(&path).arg("60").spawn().unwrap();
    let attestor = Unix::new("/proc");
    let original = found(&attestor, child.id() as i32);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"trusted").unwrap();
    // What the kernel calls a deleted program: somebody may have a file of that name.
    fs::write(place.path().join("program (deleted)"), b"trusted").unwrap();
    let replaced = found(&attestor, child.id() as i32);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(with(&original, "unix:path:").as_deref(), path.to_str());
    assert_eq!(with(&replaced, "unix:path:"), None);
    let sleep = avouch_words::Digest::of(&[&fs::read("/bin/sleep").unwrap()]).to_string();
    assert_eq!(with(&replaced, "unix:sha256:"), Some(sleep));
}
