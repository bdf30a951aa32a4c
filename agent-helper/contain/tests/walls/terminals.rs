//! Terminals of contained sessions.

use crate::place::{Caller, ORDINARY, Place, callers, is_root};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

/// The program on a terminal of its own.
fn on_terminal(place: &Place, text: &str, stdin: bool) -> (std::process::Child, std::os::fd::OwnedFd) {
    let pair = nix::pty::openpty(None, None).unwrap();
    let mut command = place.command("work", text);
    let end = || Stdio::from(pair.slave.try_clone().unwrap());
    command.stdout(end()).stderr(end());
    if stdin {
        command.stdin(end());
    }
    let child = command.spawn().unwrap();
    (child, pair.master)
}

/// What comes out of a terminal until it contains `until`.
fn shown(master: &std::os::fd::OwnedFd, until: &str) -> String {
    let mut all = Vec::new();
    let mut waits = 0;
    let text = |all: &[u8]| String::from_utf8_lossy(all).replace('\r', "");
    while !text(&all).contains(until) {
        waits += 1;
        assert!(waits < 500, "{until} never came: {}", text(&all));
        let mut fds = [nix::poll::PollFd::new(master.as_fd(), nix::poll::PollFlags::POLLIN)];
        if nix::poll::poll(&mut fds, 100_u16).unwrap() > 0 {
            let mut buffer = [0; 4096];
            match nix::unistd::read(master, &mut buffer) {
                Ok(n) if n > 0 => all.extend_from_slice(&buffer[..n]),
                _ => break,
            }
        }
    }
    text(&all)
}

pub fn the_terminal_is_the_sessions_own() {
    for caller in callers() {
        let place = Place::new(caller);
        let text = "tty; ls /dev/pts; : < /dev/tty && echo opened; echo ready; read a; echo got $a; ps -o tpgid= -p $$; echo end";
        let (mut child, master) = on_terminal(&place, text, true);
        let before = shown(&master, "ready\n");
        assert!(before.starts_with("/dev/pts/0\n0  ptmx\nopened\n"), "{before}");
        nix::unistd::write(&master, b"typed\n").unwrap();
        assert!(shown(&master, "end\n").contains("got typed"));
        assert!(child.wait().unwrap().success());
    }
}

pub fn the_program_stops_and_goes_on_with_its_job() {
    for caller in callers() {
        let place = Place::new(caller);
        let command = place.command("work", "while read x; do echo got-$x; done; echo over");
        let words: Vec<_> = command.get_args().map(|word| format!("'{}'", word.display())).collect();
        let line = format!("{} {}\n", command.get_program().display(), words.join(" "));
        // A shell with jobs, on a terminal that is its own.
        let pair = nix::pty::openpty(None, None).unwrap();
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        let mut shell = shell_of(&command, caller).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let typed = |text: &str| nix::unistd::write(&pair.master, text.as_bytes()).unwrap();
        typed(&line);
        typed("one\n");
        shown(&pair.master, "got-one\n");
        typed("\u{1a}");
        shown(&pair.master, "Stopped");
        typed("jobs | wc -l; fg\ntwo\n");
        shown(&pair.master, "got-two\n");
        typed("\u{4}");
        // What is typed before the shell has its terminal back is the session's.
        shown(&pair.master, "over\nready> ");
        typed("exit 4\n");
        assert_eq!(shell.wait().unwrap().code(), Some(4));
    }
}

/// An interactive shell with the environment and the user of `command`.
fn shell_of(command: &std::process::Command, caller: Caller) -> std::process::Command {
    let mut shell = std::process::Command::new("setsid");
    shell.args(["-c", "-w", "bash", "--norc", "--noediting", "-i"]);
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PS1", "ready> ").current_dir(command.get_current_dir().unwrap());
    if is_root() && caller == Caller::Ordinary {
        shell.uid(ORDINARY).gid(ORDINARY);
    }
    shell
}

pub fn a_terminal_only_to_write_to_gives_nothing_to_read() {
    for caller in callers() {
        let place = Place::new(caller);
        let (mut child, master) = on_terminal(&place, "echo ready; timeout 1 head -c 5 <&1; echo end", false);
        shown(&master, "ready");
        nix::unistd::write(&master, b"hunter2\n").unwrap();
        // The terminal itself echoes what is typed; the program must not have got it.
        let after = shown(&master, "end");
        assert_eq!(after.matches("hunte").count(), 1, "{after}");
        assert!(child.wait().unwrap().success());
    }
}
