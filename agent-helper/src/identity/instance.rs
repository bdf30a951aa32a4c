//! Which instance of an agent a process belongs to: one per session, and outside sessions one per uid.

use super::IdentityKey;
use crate::ids::{self, NoRandomness};
use avouch_wire::unix::Peer;
use avouch_words::{Clock, Name, Ulid};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// What holds an instance together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Processes of one session.
    Session(Ulid),
    /// Processes of one uid outside every session.
    Uid(u32),
}

/// A process as it can be told again after a restart of this helper: no two of one start of the machine share both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its pid, as our PID namespace sees it.
    pub pid: i32,
    /// When it started, in clock ticks after boot.
    pub start_time: u64,
}

impl Process {
    /// The one on a connection.
    pub fn of(peer: &Peer) -> Self {
        Self { pid: peer.pid(), start_time: peer.start_time() }
    }

    /// Whether it lives, and runs as this user.
    pub fn lives(self, uid: u32) -> bool {
        let held = Pid::from_raw(self.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let peer = held.and_then(|pidfd| Peer::behind(pidfd).ok());
        peer.is_some_and(|peer| peer.start_time() == self.start_time && peer.uid() == uid)
    }
}

/// An instance of processes of one uid outside every session, with some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Which.
    pub whose: IdentityKey,
    /// Whose processes.
    pub uid: u32,
    /// Those that were served last, the latest at the end.
    pub processes: Vec<Process>,
}

/// The instances that run here.
pub struct Instances {
    live: Mutex<HashMap<(Name, Holder), Live>>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Live {
    instance: Ulid,
    processes: Vec<Process>,
}

impl Default for Instances {
    fn default() -> Self {
        Self { live: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Instances {
    /// The instance of this agent in this holder; begun if there is none.
    pub fn of(&self, agent: &Name, holder: Holder, clock: &dyn Clock) -> Result<IdentityKey, NoRandomness> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = match live.get(&(agent.clone(), holder)) {
            Some(live) => live.instance,
            None => {
                let instance = ids::ulid(clock)?;
                live.insert((agent.clone(), holder), Live { instance, processes: Vec::new() });
                instance
            }
        };
        Ok(IdentityKey { agent: agent.clone(), instance })
    }

    /// The instance that began last, of agents that `of` says yes to.
    pub fn newest(&self, of: impl Fn(&Name) -> bool) -> Option<IdentityKey> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = live.iter().filter(|((agent, _), _)| of(agent));
        let newest = ours.max_by_key(|(_, live)| live.instance)?;
        Some(IdentityKey { agent: newest.0.0.clone(), instance: newest.1.instance })
    }

    /// This process is served what the instance is.
    pub fn serve(&self, agent: &Name, holder: Holder, process: Process) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(live) = live.get_mut(&(agent.clone(), holder)) else { return };
        if live.processes.contains(&process) {
            return;
        }
        if live.processes.len() == MOST_PROCESSES {
            live.processes.remove(0);
        }
        live.processes.push(process);
        self.changed.send_replace(());
    }

    /// Those outside sessions.
    pub fn outside_sessions(&self) -> Vec<Running> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |((agent, holder), live): (&(Name, Holder), &Live)| match holder {
            Holder::Session(_) => None,
            Holder::Uid(uid) => {
                let whose = IdentityKey { agent: agent.clone(), instance: live.instance };
                Some(Running { whose, uid: *uid, processes: live.processes.clone() })
            }
        };
        live.iter().filter_map(running).collect()
    }

    /// One that ran before this helper was started again.
    pub fn restore(&self, running: Running) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let Running { whose, uid, processes } = running;
        live.insert((whose.agent, Holder::Uid(uid)), Live { instance: whose.instance, processes });
    }

    /// Wakes when another process was served, or an instance has ended.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The session has ended: so have these.
    pub fn end_session(&self, session: Ulid) -> Vec<IdentityKey> {
        self.end_where(|_, holder, _| holder == Holder::Session(session))
    }

    /// Agents that may not run here any more: so have these.
    pub fn end_others(&self, entitled: impl Fn(&Name) -> bool) -> Vec<IdentityKey> {
        self.end_where(|agent, _, _| !entitled(agent))
    }

    /// This one instance fell out of use. One of a session goes on with its session: that its programs asked for no
    /// identity for a while does not end their calls. Whether it has ended now.
    pub fn fell_out_of_use(&self, whose: &IdentityKey) -> bool {
        self.end_where(|_, holder, instance| instance == whose.instance && matches!(holder, Holder::Uid(_)));
        !self.is_live(whose.instance)
    }

    /// Whether this instance runs.
    pub fn is_live(&self, instance: Ulid) -> bool {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).values().any(|live| live.instance == instance)
    }

    fn end_where(&self, ended: impl Fn(&Name, Holder, Ulid) -> bool) -> Vec<IdentityKey> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        live.retain(|(agent, holder), Live { instance, .. }| {
            let ends = ended(agent, *holder, *instance);
            if ends {
                gone.push(IdentityKey { agent: agent.clone(), instance: *instance });
            }
            !ends
        });
        if !gone.is_empty() {
            self.changed.send_replace(());
        }
        gone
    }
}

/// Processes of one instance that are remembered: if one of them lives after a restart, the instance does.
const MOST_PROCESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_words::SystemClock;

    #[test]
    fn a_process_is_known_again_by_pid_start_time_and_user() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let us = Process::of(&Peer::of(&ours).unwrap());
        let uid = rustix::process::geteuid().as_raw();
        assert!(us.lives(uid));
        assert!(!us.lives(uid + 1), "another user has the pid now");
        assert!(!Process { start_time: us.start_time + 1, ..us }.lives(uid), "a later process has the pid now");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = i32::try_from(child.id()).unwrap();
        child.wait().unwrap();
        assert!(!Process { pid: gone, ..us }.lives(uid));
        assert!(!Process { pid: 0, ..us }.lives(uid));
    }

    #[test]
    fn the_latest_processes_of_an_instance_outside_sessions_are_remembered() {
        let (instances, clock) = (Instances::default(), SystemClock);
        let agent = Name::parse("researcher").unwrap();
        let session = Holder::Session(ids::ulid(&clock).unwrap());
        let process = |pid| Process { pid, start_time: 7 };
        for holder in [Holder::Uid(1000), session] {
            instances.of(&agent, holder, &clock).unwrap();
            (1..=20).for_each(|pid| instances.serve(&agent, holder, process(pid)));
        }
        let [running] = instances.outside_sessions().try_into().unwrap();
        assert_eq!((running.uid, running.processes.len()), (1000, MOST_PROCESSES));
        assert_eq!(running.processes.last(), Some(&process(20)));
        let after = Instances::default();
        after.restore(running.clone());
        assert_eq!(after.of(&agent, Holder::Uid(1000), &clock).unwrap(), running.whose);
    }

    #[test]
    fn an_instance_is_one_per_agent_and_session_and_ends_with_it() {
        let (instances, clock) = (Instances::default(), SystemClock);
        let agent = Name::parse("researcher").unwrap();
        let session = ids::ulid(&clock).unwrap();
        let inside = instances.of(&agent, Holder::Session(session), &clock).unwrap();
        let outside = instances.of(&agent, Holder::Uid(1000), &clock).unwrap();
        assert_eq!(instances.of(&agent, Holder::Session(session), &clock).unwrap(), inside);
        assert_ne!(inside, outside);
        assert_ne!(instances.of(&agent, Holder::Uid(1001), &clock).unwrap(), outside);

        assert!(instances.fell_out_of_use(&instances.of(&agent, Holder::Uid(1002), &clock).unwrap()));
        assert!(!instances.fell_out_of_use(&inside), "its session goes on, and calls by the proxy with it");
        assert!(instances.is_live(inside.instance));
        let ended = instances.changed();
        assert_eq!(instances.end_session(session), std::slice::from_ref(&inside));
        assert!(ended.has_changed().unwrap() && !instances.is_live(inside.instance));
        assert_ne!(instances.of(&agent, Holder::Session(session), &clock).unwrap(), inside);
        assert_eq!(instances.end_others(|_| false).len(), 3);
    }
}
