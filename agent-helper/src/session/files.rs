//! What a session's programs read: the system's roots with the session's anchor, and the anchor alone. Public
//! certificates, so readable by all; in a directory that only we write to.

use avouch_words::Ulid;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The files of one session; gone when dropped.
#[derive(Debug)]
pub struct SessionFiles {
    directory: PathBuf,
}

impl SessionFiles {
    /// Writes them below `sessions`.
    pub fn write(sessions: &Path, session: Ulid, system_roots: &str, anchor: &str) -> io::Result<Self> {
        let directory = sessions.join(session.to_string());
        make_readable(&directory)?;
        let files = Self { directory };
        put(&files.bundle(), &[system_roots, anchor])?;
        put(&files.extra(), &[anchor])?;
        Ok(files)
    }

    /// System roots and anchor.
    pub fn bundle(&self) -> PathBuf {
        self.directory.join("bundle.pem")
    }

    /// The anchor alone.
    pub fn extra(&self) -> PathBuf {
        self.directory.join("extra.pem")
    }

    /// Makes the directory for all sessions, and removes what sessions of an earlier run have left.
    pub fn prepare(sessions: &Path) -> io::Result<()> {
        match fs::remove_dir_all(sessions) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        make_readable(sessions)
    }
}

impl Drop for SessionFiles {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::warn!(%error, "a session's files could not be removed");
        }
    }
}

/// A new directory that all may read, whatever the umask.
fn make_readable(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o755))
}

fn put(path: &Path, parts: &[&str]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    for part in parts {
        file.write_all(part.as_bytes())?;
        if !part.ends_with('\n') {
            file.write_all(b"\n")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_there_while_the_session_lives() {
        let parent = tempfile::tempdir().unwrap();
        let sessions = parent.path().join("sessions");
        SessionFiles::prepare(&sessions).unwrap();
        let session = Ulid::parse("01HF7YAT00ZZZZZZZZZZZZZZZZ").unwrap();
        let files = SessionFiles::write(&sessions, session, "SYSTEM", "ANCHOR\n").unwrap();
        assert_eq!(fs::read_to_string(files.bundle()).unwrap(), "SYSTEM\nANCHOR\n");
        assert_eq!(fs::read_to_string(files.extra()).unwrap(), "ANCHOR\n");
        assert!(SessionFiles::write(&sessions, session, "", "").is_err(), "never over another session's");
        let extra = files.extra();
        drop(files);
        assert!(!extra.exists());
        SessionFiles::prepare(&sessions).unwrap();
        assert_eq!(fs::read_dir(&sessions).unwrap().count(), 0);
    }
}
