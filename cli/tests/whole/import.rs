//! `import` with the real parts: afterwards no byte of any value is anywhere that can be read, and all of it comes back
//! only when it is asked for, into the file and nowhere else.

use crate::dev::Home;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

const GITHUB: &str = "ghp_c4n4ry0000000000000000000000000001aB";
const STRIPE: &str = "sk_live_c4n4ry000000000000000003aB";

fn content() -> String {
    format!("# ours\nGITHUB_TOKEN={GITHUB}\nPORT=3000\nexport STRIPE_SECRET_KEY='{STRIPE}'\n")
}

/// Files below a directory that hold these bytes.
fn holding(dir: &Path, bytes: &[u8], into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            holding(&path, bytes, into);
        } else if kind.is_file() && std::fs::read(&path).unwrap().windows(bytes.len()).any(|part| part == bytes) {
            into.push(path);
        }
    }
}

fn nowhere(home: &Home, said: &str) {
    // Four bytes of any value would be found, in whatever order files are written.
    let mut found = Vec::new();
    holding(home.path(), b"c4n4ry", &mut found);
    assert!(found.is_empty() && !said.contains("c4n4ry"), "{found:?}: {said}");
}

#[test]
fn after_an_import_no_byte_of_a_value_is_anywhere_and_a_backup_comes_back_only_into_the_file() {
    let home = Home::new();
    let log = home.path().join("dev.log");
    let dev = home.dev_with_log(&log);
    let env = home.path().join(".env");
    std::fs::write(&env, content()).unwrap();
    let run = |line: &str| {
        let output = home.shell(line);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = run("avouch import ~/.env --yes --backup");
    assert_eq!(code, Some(0), "{said}");
    let rewritten = std::fs::read_to_string(&env).unwrap();
    assert_eq!(rewritten, "# ours\nGITHUB_TOKEN=avouch:github\nPORT=3000\nexport STRIPE_SECRET_KEY='avouch:stripe'\n");
    nowhere(&home, &said);
    let (code, said) = run("avouch credential list -o json");
    assert!(code == Some(0) && said.contains("https://api.stripe.com"), "{said}");
    // Neither from inside a session, nor for another file, nor as a name that is none.
    for line in ["avouch import ~/other --restore --yes", "avouch import ~/.env --restore=../x --yes"] {
        let (code, said) = run(line);
        assert_eq!(code, Some(3), "{line}: {said}");
        nowhere(&home, &said);
    }
    assert_eq!(std::fs::read_to_string(&env).unwrap(), rewritten);
    let (code, said) = run("avouch import ~/.env --restore --yes");
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("c4n4ry"), "{said}");
    assert_eq!(std::fs::read_to_string(&env).unwrap(), content());
    assert_eq!(std::fs::metadata(&env).unwrap().mode() & 0o7777, 0o600);
    let mut found = Vec::new();
    holding(home.path(), b"c4n4ry", &mut found);
    assert_eq!(found, std::slice::from_ref(&env), "into the file and nowhere else");
    let (code, _) = run("avouch import ~/.env --restore --yes");
    assert_eq!(code, Some(3), "it is taken out of the store");
    let (_, listed) = run("avouch audit list");
    for event in ["secret.put", "backup.sealed", "backup.restored"] {
        assert!(listed.contains(event), "{event}: {listed}");
    }
    dev.stop();
}
