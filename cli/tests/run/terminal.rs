//! With a terminal: a pty that the test holds the other end of.

use crate::fake::Helper;
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// `avouch run` on a terminal of its own.
struct Session {
    child: Child,
    keyboard: File,
    slave: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<String>>,
}

impl Session {
    fn start(helper: &Helper, command: &[&str]) -> Self {
        let size = Winsize { ws_row: 31, ws_col: 91, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let before = tcgetattr(&pair.slave).unwrap();
        let mut run = helper.command(command);
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        run.stdin(end()).stdout(end()).stderr(end());
        let child = run.spawn().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let (shown, mut from) = (Arc::clone(&screen), File::from(pair.master.try_clone().unwrap()));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { child, keyboard: File::from(pair.master), slave: pair.slave, before, screen }
    }

    /// Waits until the screen shows this.
    fn sees(&self, wanted: &str) {
        for _ in 0..1000 {
            if self.screen.lock().unwrap().contains(wanted) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no {wanted:?} on the screen: {:?}", self.screen.lock().unwrap());
    }

    fn types(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    fn is_as_before(&self) -> bool {
        let now = tcgetattr(&self.slave).unwrap();
        now.local_flags == self.before.local_flags
            && now.input_flags == self.before.input_flags
            && now.output_flags == self.before.output_flags
    }

    fn ends(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn the_program_has_a_terminal_of_its_own_and_ours_is_raw_meanwhile() {
    let helper = Helper::start();
    let script = "tty; stty size; ps -o tty= -p $$; echo ready; read line; echo got:$line; exit 5";
    let mut session = Session::start(&helper, &["sh", "-c", script]);
    session.sees("ready");
    session.sees("31 91");
    assert!(session.is_raw());
    let outer = nix::unistd::ttyname(&session.slave).unwrap();
    let screen = session.screen.lock().unwrap().clone();
    let inner = screen.lines().next().unwrap().trim().to_owned();
    assert!(inner.starts_with("/dev/pts/") && inner != outer.to_string_lossy(), "{inner} {outer:?}");
    assert!(screen.contains(inner.trim_start_matches("/dev/")), "it controls the program: {screen}");
    session.types(b"hello\r");
    session.sees("got:hello");
    assert_eq!(session.ends(), Some(5));
    assert!(session.is_as_before());
}

#[test]
fn keys_that_signal_reach_the_program() {
    let helper = Helper::start();
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let mut session = Session::start(&helper, &["sh", "-c", script]);
    session.sees("ready");
    session.types(&[3]);
    session.sees("interrupted");
    assert_eq!(session.ends(), Some(9));
    assert!(session.is_as_before());
}

#[test]
fn the_window_size_is_followed() {
    let helper = Helper::start();
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut session = Session::start(&helper, &["sh", "-c", script]);
    session.sees("ready");
    let size = rustix::termios::Winsize { ws_row: 17, ws_col: 43, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&session.slave, size).unwrap();
    // The terminal is not run's controlling one here, so the kernel does not tell it.
    nix::sys::signal::kill(pid(&session.child), nix::sys::signal::Signal::SIGWINCH).unwrap();
    session.sees("17 43");
    assert_eq!(session.ends(), Some(0));
}

#[test]
fn the_terminal_is_put_right_when_signals_end_the_program() {
    let helper = Helper::start();
    for (signal, code) in [
        (nix::sys::signal::Signal::SIGTERM, 143),
        (nix::sys::signal::Signal::SIGHUP, 129),
        (nix::sys::signal::Signal::SIGINT, 130),
        (nix::sys::signal::Signal::SIGALRM, 142),
    ] {
        let mut session = Session::start(&helper, &["sh", "-c", "echo ready; exec sleep 60"]);
        session.sees("ready");
        assert!(session.is_raw());
        nix::sys::signal::kill(pid(&session.child), signal).unwrap();
        assert_eq!(session.ends(), Some(code), "{signal}");
        assert!(session.is_as_before(), "{signal}");
    }
}

#[test]
fn a_program_that_cannot_be_started_leaves_the_terminal_as_it_was() {
    let helper = Helper::start();
    let mut session = Session::start(&helper, &["no-such-program-anywhere"]);
    assert_eq!(session.ends(), Some(127));
    session.sees("cannot run no-such-program-anywhere");
    assert!(session.is_as_before());
}

#[test]
fn a_stopped_program_gives_the_terminal_back_and_goes_on_where_it_was() {
    let helper = Helper::start();
    // The outer shell has job control on the test's terminal; `run` is its job.
    let run = helper.command(&["sh", "-c", "echo ready; read line; echo got:$line"]);
    let words: Vec<_> = [run.get_program()].into_iter().chain(run.get_args()).map(|w| w.to_str().unwrap()).collect();
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let script =
        format!("set -m; {}; echo stopped:$?; stty -a | grep -o ' icanon'; fg; echo ended:$?", quoted.join(" "));
    // A terminal that controls the shell: given by the same stage that `run` uses.
    let outer = Helper::start();
    let mut session = Session::start(&outer, &["bash", "-c", &script]);
    session.sees("ready");
    session.types(&[26]);
    session.sees("stopped:1");
    session.sees(" icanon");
    session.types(b"on\r");
    session.sees("got:on");
    session.sees("ended:0");
    assert_eq!(session.ends(), Some(0));
}

#[test]
fn redirected_output_is_not_taken_through_the_terminal() {
    let helper = Helper::start();
    let pair = openpty(None, None).unwrap();
    let mut run = helper.command(&["sh", "-c", "test -t 0 && echo typed; test -t 1 || echo redirected"]);
    run.stdin(Stdio::from(pair.slave));
    let output = run.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "typed\nredirected\n");
    drop(pair.master);
}

fn pid(child: &Child) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap())
}
