//! What a session may use up.
//!
//! A cgroup counts a session as a whole; where none is to be had, rlimits count each process, and the number of processes
//! bounds the rest. They are set in any case, inside the session's own user namespace, so that processes are counted
//! there and not among all of their user. Memory is limited as RLIMIT_DATA, which counts what a process has made
//! writable: RLIMIT_AS would count address space too, of which Node, Go and Java reserve more than any host has memory.

mod group;
#[cfg(test)]
mod tests;

pub(crate) use group::Group;

use crate::profile::Limits;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::io;

/// Sets the limits for this process and all that it starts. A lower limit that is in force already stays. Should the host
/// itself run out of memory (rlimits do not count what is shared), the session's processes are ended first.
pub(crate) fn apply(limits: &Limits) -> io::Result<()> {
    apply_to(None, limits)?;
    let now = std::fs::read_to_string(FIRST_TO_GO)?.trim().parse().unwrap_or(0);
    if now < EXPENDABLE { std::fs::write(FIRST_TO_GO, EXPENDABLE.to_string()) } else { Ok(()) }
}

fn apply_to(process: Option<Pid>, limits: &Limits) -> io::Result<()> {
    let most = [
        (Resource::Data, limits.memory.bytes()),
        (Resource::Nproc, limits.processes),
        (Resource::Nofile, limits.files),
        (Resource::Fsize, limits.file_size.bytes()),
    ];
    for (resource, most) in most {
        let now = getrlimit(resource);
        let lowered = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
        prlimit(process, resource, Rlimit { current: lowered(now.current), maximum: lowered(now.maximum) })?;
    }
    // What a core holds is for nobody. Where a program takes cores (core_pattern is a pipe) the kernel runs it as root,
    // outside, and does not look at a limit of 0; of 1 it gives none to a program, and to a file only whole pages.
    let core = Some(getrlimit(Resource::Core).maximum.map_or(NO_CORE, |limit| limit.min(NO_CORE)));
    prlimit(process, Resource::Core, Rlimit { current: core, maximum: core })?;
    Ok(())
}

/// See proc_pid_oom_score_adj(5): from -1000 to 1000, the largest first.
const FIRST_TO_GO: &str = "/proc/self/oom_score_adj";
const EXPENDABLE: i32 = 500;
/// Bytes.
const NO_CORE: u64 = 1;
