use super::*;
use crate::profile::Size;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

fn limits() -> Limits {
    Limits {
        memory: Size::Bytes(64 << 20),
        scratch: Size::Bytes(1 << 20),
        processes: 100,
        files: 32,
        file_size: Size::Bytes(1 << 20),
        wall_time: None,
    }
}

/// A shell that waits for a line before it begins.
fn shell(text: &str) -> Child {
    let text = format!("read go; {text}");
    let mut command = Command::new("sh");
    command.args(["-c", &text]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("shell")
}

fn go(mut child: Child) -> (std::process::ExitStatus, String) {
    child.stdin.take().expect("stdin").write_all(b"go\n").expect("line");
    let output = child.wait_with_output().expect("end");
    (output.status, String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn limited(text: &str) -> (std::process::ExitStatus, String) {
    let child = shell(text);
    let process = Pid::from_raw(i32::try_from(child.id()).expect("pid"));
    apply_to(process, &limits()).expect("limits");
    go(child)
}

#[test]
fn memory_files_and_their_size_end_at_their_limits() {
    // tail keeps a line without an end in memory.
    let memory = "head -c 200000000 /dev/zero | tail -n 1 | wc -c";
    assert_eq!(go(shell(memory)).1, "200000000", "the control");
    assert_eq!(limited(memory).1, "0");

    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("file");
    let write = format!("exec head -c 3000000 /dev/zero > {}", file.display());
    assert!(go(shell(&write)).0.success(), "the control");
    assert_eq!(limited(&write).0.signal(), Some(nix::libc::SIGXFSZ));
    assert_eq!(std::fs::metadata(&file).expect("file").len(), 1 << 20);

    let all = limited("cat /proc/$$/limits").1;
    let line = |name: &str| {
        let line = all.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("Max processes"), ["100", "100"]);
    assert_eq!(line("Max open files"), ["32", "32"]);
    assert_eq!(line("Max core file size"), ["1", "1"], "of 0 a core goes to a program that takes them");
    assert_eq!(line("Max address space")[0], "unlimited", "Node, Go and Java reserve what they never use");
}

#[test]
fn a_limit_that_is_lower_already_stays() {
    let mut generous = limits();
    generous.files = u64::MAX / 2;
    let before = getrlimit(Resource::Nofile);
    let child = shell("grep 'open files' /proc/$$/limits");
    let process = Pid::from_raw(i32::try_from(child.id()).expect("pid"));
    apply_to(process, &generous).expect("limits");
    let line = go(child).1;
    assert!(line.contains(&before.maximum.map_or("unlimited".to_owned(), |most| most.to_string())), "{line}");
}
