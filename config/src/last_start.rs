//! Why a part did not start the last time, for whoever looks for it afterwards: a file in its runtime directory, gone
//! when a start succeeds. It holds what the failed start has said, and no more.

use crate::start_error::StartError;
use nix::libc::O_NOFOLLOW;
use nix::unistd::geteuid;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What a start that failed has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFault {
    /// The stable word for it.
    pub code: String,
    /// What went wrong.
    pub sentence: String,
    /// What to do.
    pub action: String,
}

impl From<&StartError> for LastFault {
    fn from(error: &StartError) -> Self {
        Self { code: error.code().to_owned(), sentence: error.to_string(), action: error.action() }
    }
}

impl LastFault {
    /// Notes how a start went. That it cannot be noted changes nothing about the start.
    pub fn note(runtime_dir: &Path, error: Option<&StartError>) {
        let path = runtime_dir.join(FILE);
        let Some(error) = error else {
            let _ = std::fs::remove_file(path);
            return;
        };
        let fault = Self::from(error);
        let lines = [fault.code, fault.sentence, fault.action].map(|line| line.replace(char::is_control, " "));
        let opened =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).custom_flags(O_NOFOLLOW).open(path);
        let _ = opened.and_then(|mut file| file.write_all(lines.join("\n").as_bytes()));
    }

    /// What was noted last, if that was a failure, and by root or this user: others' words are not passed on.
    pub fn read(runtime_dir: &Path) -> Option<Self> {
        let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(runtime_dir.join(FILE)).ok()?;
        let about = file.metadata().ok()?;
        if !about.is_file() || ![0, geteuid().as_raw()].contains(&about.uid()) {
            return None;
        }
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        let mut lines = text.lines().map(ToOwned::to_owned);
        Some(Self { code: lines.next()?, sentence: lines.next()?, action: lines.next()? })
    }
}

const FILE: &str = "last-start";
/// Bytes of the file that are read.
const LONGEST: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fault_is_kept_until_a_start_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(LastFault::read(dir.path()), None);
        LastFault::note(dir.path(), Some(&StartError::TokenMalformed("two\nlines".to_owned())));
        let fault = LastFault::read(dir.path()).unwrap();
        assert_eq!(
            (fault.code.as_str(), fault.action.as_str()),
            ("token_malformed", "Copy the whole token, on one line.")
        );
        assert!(fault.sentence.contains("two lines"), "{}", fault.sentence);
        LastFault::note(dir.path(), Some(&StartError::NotJoined));
        assert_eq!(LastFault::read(dir.path()).unwrap().code, "not_joined");
        LastFault::note(dir.path(), None);
        assert_eq!(LastFault::read(dir.path()), None);
    }

    #[test]
    fn neither_a_link_nor_a_place_that_is_not_there_is_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, dir.path().join(FILE)).unwrap();
        LastFault::note(dir.path(), Some(&StartError::NotJoined));
        assert!(!elsewhere.exists());
        assert_eq!(LastFault::read(dir.path()), None);
        LastFault::note(Path::new("/nonexistent"), Some(&StartError::NotJoined));
    }
}
