//! The processes below a session's root: who belongs to it, and who has to go when it ends. `avouch run` is a child
//! subreaper, so whatever forks, daemonises or calls setsid stays below it while it lives; when it dies the kernel
//! gives its children away, so they are remembered by pidfd while it lives.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A process by pid and start time: no two processes of one boot share both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// Its pid in our namespace.
    pub pid: i32,
    /// When it was started, in clock ticks since boot.
    pub started: u64,
}

/// A session's processes.
#[derive(Debug)]
pub struct Tree {
    root: ProcessId,
    seen: HashMap<ProcessId, OwnedFd>,
}

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Killed {
    /// Processes that were sent SIGKILL.
    pub killed: u64,
    /// Processes that could not be: another user's.
    pub spared: u64,
}

impl ProcessId {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: started(&stat)? })
    }
}

impl Tree {
    /// The tree below this process. It must be held by a pidfd elsewhere, so that the pid is still its own.
    pub fn below(root: ProcessId) -> Self {
        Self { root, seen: HashMap::new() }
    }

    /// The process at the top.
    pub fn root(&self) -> ProcessId {
        self.root
    }

    /// Whether a process was seen below the root. (Whether it is below it now, its ancestors say.)
    pub fn remembers(&self, process: ProcessId) -> bool {
        self.seen.contains_key(&process)
    }

    /// Looks who is below the root now, and remembers them; forgets who has gone.
    pub fn look(&mut self) {
        self.seen.retain(|_, pidfd| is_alive(pidfd.as_fd()));
        if ProcessId::of(self.root.pid) == Some(self.root) {
            self.descend(vec![self.root.pid]);
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Kills everyone who was seen below the root and everyone below those, again until nobody new is found. The
    /// root itself is not touched: it has ended, or ends by itself.
    pub fn kill(&mut self) -> Killed {
        let mut result = Killed::default();
        let mut done: HashMap<ProcessId, bool> = HashMap::new();
        for _ in 0..KILL_PASSES {
            self.look();
            self.descend(self.seen.keys().map(|process| process.pid).collect());
            let fresh: Vec<_> = self.seen.keys().filter(|process| !done.contains_key(process)).copied().collect();
            if fresh.is_empty() {
                break;
            }
            for process in fresh {
                let sent = self.seen.get(&process).map(|pidfd| pidfd_send_signal(pidfd, Signal::KILL));
                done.insert(process, matches!(sent, Some(Ok(()) | Err(rustix::io::Errno::SRCH))));
            }
        }
        for killed in done.into_values() {
            if killed { result.killed += 1 } else { result.spared += 1 }
        }
        self.seen.clear();
        result
    }

    /// Goes down through those who are known already, too: they may have children that are new.
    fn descend(&mut self, mut above: Vec<i32>) {
        let mut visited = HashSet::new();
        while let Some(pid) = above.pop() {
            if !visited.insert(pid) {
                continue;
            }
            for child in children(pid) {
                let Some(process) = ProcessId::of(child) else { continue };
                if !self.seen.contains_key(&process) {
                    if self.seen.len() >= MOST_SEEN {
                        continue;
                    }
                    let Ok(pidfd) = hold(process) else { continue };
                    self.seen.insert(process, pidfd);
                }
                above.push(child);
            }
        }
    }
}

/// A pidfd for exactly this process.
pub fn hold(process: ProcessId) -> io::Result<OwnedFd> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let pidfd = pidfd_open(Pid::from_raw(process.pid).ok_or_else(gone)?, PidfdFlags::empty())?;
    // The pid may have passed to another process before it was opened.
    match ProcessId::of(process.pid) {
        Some(now) if now == process => Ok(pidfd),
        _ => Err(gone()),
    }
}

/// Whether the process behind a pidfd has not ended yet.
pub fn is_alive(pidfd: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    matches!(poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], PollTimeout::ZERO), Ok(0))
}

/// proc_pid_stat(5). The name in brackets is the process's own choice, brackets and spaces included (U09): what
/// counts comes after the last closing one.
fn started(stat: &str) -> Option<u64> {
    stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    children
}

/// Processes remembered for one session; each holds a descriptor.
pub const MOST_SEEN: usize = 1024;
/// How often a tree that goes on forking is gone through.
const KILL_PASSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn pid(child: &Child) -> i32 {
        i32::try_from(child.id()).unwrap()
    }

    fn wait_for(mut what: impl FnMut() -> bool) {
        for _ in 0..200 {
            if what() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("did not happen within 2 s");
    }

    #[test]
    fn a_name_with_brackets_hides_nothing() {
        let text = "77 (a) S 1 (x) R 42 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 998877 0 0";
        assert_eq!(started(text), Some(998_877));
        for bad in ["", "77 (a", "77 (a) S", "77 (a) S x y"] {
            assert!(started(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn descendants_are_remembered_and_others_are_not() {
        let mut root = shell("sleep 100 & sleep 100; true");
        let mut stranger = shell("exec sleep 100");
        let mut tree = Tree::below(ProcessId::of(pid(&root)).unwrap());
        wait_for(|| {
            tree.look();
            tree.len() == 2
        });
        for child in children(pid(&root)) {
            assert!(tree.remembers(ProcessId::of(child).unwrap()));
        }
        assert!(!tree.remembers(ProcessId::of(pid(&stranger)).unwrap()));
        tree.kill();
        let _ = (root.kill(), root.wait(), stranger.kill(), stranger.wait());
    }

    #[test]
    fn a_pid_that_has_passed_to_another_process_is_not_it() {
        let mut root = shell("exec sleep 100");
        let real = ProcessId::of(pid(&root)).unwrap();
        let earlier = ProcessId { started: real.started - 1, ..real };
        let mut tree = Tree::below(earlier);
        tree.look();
        assert!(tree.is_empty());
        assert!(hold(earlier).is_err());
        let _ = (root.kill(), root.wait());
    }

    #[test]
    fn whoever_was_seen_is_killed_after_the_root_is_gone_and_so_is_whoever_they_started() {
        let mut root = shell("(sleep 1; sleep 97.0417 & sleep 97.0417) & sleep 97.0417; true");
        let mut tree = Tree::below(ProcessId::of(pid(&root)).unwrap());
        wait_for(|| {
            tree.look();
            tree.len() == 3
        });
        let _ = (root.kill(), root.wait());
        // What is started from now on is below nobody's root and was never looked at.
        wait_for(|| sleepers() == 3);
        let killed = tree.kill();
        assert!(killed.killed >= 3 && killed.spared == 0, "{killed:?}");
        wait_for(|| sleepers() == 0);
    }

    fn sleepers() -> usize {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        lines.filter(|line| line == b"sleep\x0097.0417\0").count()
    }
}
