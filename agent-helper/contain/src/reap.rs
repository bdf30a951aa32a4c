//! The end of a session: nothing that it started goes on.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::thread::sleep;
use std::time::Duration;

/// Makes this process a child subreaper: processes below it whose parent ends stay below it.
pub fn adopt_orphans() -> std::io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Ends every process below this one: asked first, killed after [`GRACE`]. This process must be a child
/// subreaper, and nobody else in it may wait for children. Says how many could not be ended (another uid's, or stuck in the kernel).
///
/// Only its own children are killed, which no one else can reap, so that no number can have passed to a stranger;
/// theirs become its own by that.
pub fn end_descendants() -> usize {
    for child in below(std::process::id()) {
        let _ = kill(child, Signal::SIGTERM);
    }
    let step = Duration::from_millis(STEP_MS);
    for _ in 0..GRACE.as_millis() / step.as_millis() {
        if reap() {
            return 0;
        }
        sleep(step);
    }
    for _ in 0..KILL_WITHIN.as_millis() / step.as_millis() {
        for child in children(std::process::id()) {
            let _ = kill(child, Signal::SIGKILL);
        }
        sleep(step);
        if reap() {
            return 0;
        }
    }
    below(std::process::id()).len()
}

/// Takes in every child that has ended; true if none is left.
fn reap() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(nix::sys::wait::WaitStatus::StillAlive) => return false,
            Err(Errno::ECHILD) => return true,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Every living process below `root`.
fn below(root: u32) -> Vec<Pid> {
    let all = parents();
    let mut known = HashSet::from([i64::from(root)]);
    let mut found = Vec::new();
    loop {
        let before = found.len();
        for (pid, parent) in &all {
            if known.contains(parent) && known.insert(*pid) {
                found.extend(i32::try_from(*pid).map(Pid::from_raw));
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn children(of: u32) -> Vec<Pid> {
    let mine = |(pid, parent): (i64, i64)| {
        (parent == i64::from(of)).then(|| i32::try_from(pid).ok().map(Pid::from_raw)).flatten()
    };
    parents().into_iter().filter_map(mine).collect()
}

/// Every process with its parent.
fn parents() -> Vec<(i64, i64)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parent_of = |entry: std::fs::DirEntry| {
        let pid: i64 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name between parentheses may hold anything, parentheses too.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    };
    entries.filter_map(|entry| parent_of(entry.ok()?)).collect()
}

/// How long a process has after it was asked to end.
const GRACE: Duration = Duration::from_millis(250);
/// How long killing may take.
const KILL_WITHIN: Duration = Duration::from_secs(2);
const STEP_MS: u64 = 10;
