//! The closing line of `tests/run` counts what the runner said, and CI fails if a test was not run.

use std::io::Write;
use std::process::Command;

#[test]
fn ci_fails_if_a_test_was_not_run_or_failed() {
    let sound = "test result: ok. 3 passed; 0 failed; 0 ignored\ntest result: ok. 4 passed; 0 failed; 0 ignored\n";
    let skipped = format!("{sound}not run: needs root\n");
    let failed = format!("{sound}test result: FAILED. 1 passed; 2 failed; 0 ignored\n");
    assert_eq!(tally(sound, "true"), (true, "7 passed, 0 failed, 0 skipped\n".to_owned()));
    assert_eq!(tally(&skipped, "false"), (true, "7 passed, 0 failed, 1 skipped\n".to_owned()));
    assert_eq!(tally(&skipped, "true"), (false, "7 passed, 1 failed, 1 skipped\n".to_owned()));
    assert_eq!(tally(&failed, "false"), (false, "8 passed, 2 failed, 0 skipped\n".to_owned()));
}

fn tally(log: &str, ci: &str) -> (bool, String) {
    let mut file = tempfile::NamedTempFile::new().expect("a log");
    file.write_all(log.as_bytes()).expect("written");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tally");
    let output = Command::new(script).arg(file.path()).env("CI", ci).output().expect("the script");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}
