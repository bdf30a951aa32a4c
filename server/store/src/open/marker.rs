//! A file of the issuer's own that says which database it has made or seen: without it, one that was lost could not be
//! told from one that never was.

use crate::error::OpenError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) struct Marker(PathBuf);

impl Marker {
    /// The one of this database file.
    pub(super) fn beside(path: &Path) -> Self {
        Self(beside(path, MARKER))
    }

    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// What it says, if it is there.
    pub(super) fn read(&self) -> Result<Option<String>, OpenError> {
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::File { path: self.0.clone(), error }),
        }
    }

    pub(super) fn write(&self, epoch: &[u8; 16]) -> Result<(), OpenError> {
        let failed = |error| OpenError::File { path: self.0.clone(), error };
        let fresh = self.0.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(failed)?;
        file.write_all(Self::text(epoch).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&fresh, &self.0).map_err(failed)?;
        let directory = self.0.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    pub(super) fn text(epoch: &[u8; 16]) -> String {
        format!("{:032x}\n", u128::from_be_bytes(*epoch))
    }
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Says that a database was made here, and which.
pub(super) const MARKER: &str = ".made";
