//! One `avouch dev` for one state: the second is told who holds it.

use crate::failure::{Exit, Failure};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The state is ours until this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

impl Hold {
    /// Takes it, or says which process has it.
    pub fn take(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::new(Exit::Failure, format!("cannot use {}: {error}", path.display()));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
        let mut file = File::from(opened);
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let sentence = format!("another `avouch dev` (pid {}) holds the state in {}", pid.trim(), path.display());
            return Err(Failure::new(Exit::Failure, sentence).then("Use that one, or end it with Ctrl-C first."));
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_holds_it_and_the_next_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev.lock");
        let first = Hold::take(&path).unwrap();
        let failure = Hold::take(&path).unwrap_err();
        let pid = format!("pid {}", std::process::id());
        assert!(failure.to_string().contains(&pid), "{failure}");
        drop(first);
        assert!(Hold::take(&path).is_ok());
    }
}
