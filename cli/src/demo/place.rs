//! The demo's own directory, and nothing outside it.

use crate::failure::{Exit, Failure};
use avouch_config::Paths;
use std::path::{Path, PathBuf};

/// A directory of this user's alone, removed at the end.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
}

impl Place {
    /// Makes it, where the system keeps temporary files.
    pub fn make() -> Result<Self, Failure> {
        // A socket's path has room for 107 bytes.
        let base = [std::env::temp_dir(), PathBuf::from("/tmp")];
        let base = base.iter().find(|dir| dir.is_absolute() && dir.as_os_str().len() <= LONGEST_BASE);
        let template = base.map_or(Path::new("/tmp"), PathBuf::as_path).join("avouch-demo-XXXXXX");
        let dir = nix::unistd::mkdtemp(&template).map_err(|error| {
            let sentence = format!("cannot make a directory like {}: {error}", template.display());
            Failure::new(Exit::Failure, sentence).then("Set TMPDIR to a directory that this user may write to.")
        })?;
        Ok(Self { dir })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the parts keep their files.
    pub fn paths(&self) -> Paths {
        Paths::below(&self.dir)
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What the helper said last.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.file("helper.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Removes it with all that is in it.
    pub fn remove(self) -> Result<(), Failure> {
        std::fs::remove_dir_all(&self.dir)
            .map_err(|error| Failure::new(Exit::Failure, format!("cannot remove {}: {error}", self.dir.display())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The longest directory that leaves room for the names of sockets.
const LONGEST_BASE: usize = 60;
/// Lines of the helper's log that a failure shows.
const LOG_LINES: usize = 12;
