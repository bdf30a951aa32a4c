//! `unix:uid`, `unix:gid`, `unix:supplementary_gid`, `unix:path` and `unix:sha256`. The last two need the right to open
//! the process's `/proc/PID/exe`; without it they are absent.

mod executable;

use crate::{MAX_GROUPS, Refused, Subject, WorkloadAttestor};
use avouch_words::Selector;
use executable::Executables;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Attests by user, groups and program file.
pub struct Unix {
    proc: PathBuf,
    executables: Executables,
}

impl Unix {
    /// Reads processes in `proc`, which is `/proc` but in tests.
    pub fn new(proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), executables: Executables::default() }
    }

    fn status(&self, pid: i32) -> Result<String, Refused> {
        let mut text = String::new();
        let read = File::open(self.proc.join(pid.to_string()).join("status"))
            .and_then(|file| file.take(MAX_STATUS).read_to_string(&mut text));
        match read {
            Ok(_) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Refused::Gone),
            // What `/proc` says once the process is reaped.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Err(Refused::Gone),
            Err(error) => Err(Refused::Unreadable(error)),
        }
    }

    /// What is known about the process; the hash of its program only if it is wanted, as a large one takes its time.
    pub fn facts(&self, subject: &Subject<'_>, digest: bool) -> Result<Vec<Selector>, Refused> {
        let status = self.status(subject.pid)?;
        let ids = |name: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace().map(|id| id.parse().ok()).collect()
        };
        let malformed = || Refused::Unreadable(io::ErrorKind::InvalidData.into());
        // Real, effective, saved, file system.
        let effective = |name| ids(name).and_then(|ids| ids.get(1).copied()).ok_or_else(malformed);
        if (effective("Uid:")?, effective("Gid:")?) != (subject.uid, subject.gid) {
            return Err(Refused::Changed);
        }
        let groups = ids("Groups:").ok_or_else(malformed)?;
        if groups.len() > MAX_GROUPS {
            return Err(Refused::TooMuch);
        }
        let mut facts = vec![format!("unix:uid:{}", subject.uid), format!("unix:gid:{}", subject.gid)];
        facts.extend(groups.iter().map(|group| format!("unix:supplementary_gid:{group}")));
        let program = self.executables.of(&self.proc.join(subject.pid.to_string()).join("exe"), digest);
        facts.extend(program.path.iter().map(|path| format!("unix:path:{path}")));
        facts.extend(program.digest.iter().map(|digest| format!("unix:sha256:{digest}")));
        if !(subject.is_same)() {
            return Err(Refused::Gone);
        }
        // A path that fits no selector is one more that is absent.
        Ok(facts.iter().filter_map(|fact| Selector::parse(fact).ok()).collect())
    }
}

impl WorkloadAttestor for Unix {
    fn name(&self) -> &'static str {
        "unix"
    }

    fn attest(&self, subject: &Subject<'_>) -> Result<Vec<Selector>, Refused> {
        self.facts(subject, true)
    }
}

/// 65,536 groups, the kernel's limit, and the other lines.
const MAX_STATUS: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;
