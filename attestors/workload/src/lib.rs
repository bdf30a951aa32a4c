//! How a process shows what it is. Each attestor turns a process that the caller holds into selectors; what cannot be
//! read gives no selector, never a guess. Knows neither sockets nor the network.

mod session;
mod unix;

pub use session::{Membership, Session, Sessions};
pub use unix::Unix;

use avouch_words::Selector;

/// A process to attest. Its ids are those that the kernel gave when it connected.
pub struct Subject<'a> {
    /// Its pid.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Asks whether the pid still is that process, alive, with the same start time and user. What was read from
    /// `/proc` before a yes was the process's own.
    pub is_same: &'a dyn Fn() -> bool,
}

/// Why a process was not attested: it gets nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It has ended, or its pid is another's.
    #[error("the process has ended")]
    Gone,
    /// It runs as another user or group than the one that connected (U05).
    #[error("the process runs as another user or group than when it connected")]
    Changed,
    /// It says more of itself than is taken.
    #[error("the process has more than {MAX_GROUPS} groups")]
    TooMuch,
    /// What has to be readable is not.
    #[error("the process cannot be examined: {0}")]
    Unreadable(std::io::Error),
}

/// A way to find facts about a process. A call may read files: not for a thread that must not wait.
pub trait WorkloadAttestor: Send + Sync {
    /// Its name: the type of every selector it finds.
    fn name(&self) -> &'static str;

    /// What is known about the process; nothing is an answer, too.
    fn attest(&self, subject: &Subject<'_>) -> Result<Vec<Selector>, Refused>;
}

/// What all attestors find, sorted; one that refuses refuses for all.
pub fn attest(attestors: &[Box<dyn WorkloadAttestor>], subject: &Subject<'_>) -> Result<Vec<Selector>, Refused> {
    let mut found = Vec::new();
    for attestor in attestors {
        found.extend(attestor.attest(subject)?);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Supplementary groups of one process.
const MAX_GROUPS: usize = 1024;

#[cfg(test)]
mod conformance;
