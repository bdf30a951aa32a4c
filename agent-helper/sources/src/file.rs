//! A file with one value, that something else on the node keeps up to date: an agent of another store, systemd's
//! credentials, a mounted Secret. It is a secret's file: plain, its owner root or the helper's own user, readable by
//! nobody else. It is read anew when it is another file or was written to.

mod private;

use std::path::Path;

use avouch_words::{Name, Reference};

pub(crate) use private::PrivateFile;

use crate::value::lease_of_line;
use crate::{About, Doing, Lease, Obligations, Shown, Source, SourceFault, Wanted};

/// How often a file is read that is written to while it is read.
pub const MAX_READS: usize = 3;

/// Where a service manager puts the credentials of a service (systemd.exec(5)).
pub const CREDENTIALS_DIRECTORY: &str = "$CREDENTIALS_DIRECTORY/";

/// A file as a source. It has one value, so references to it are empty.
#[derive(Debug)]
pub struct FileSource {
    name: Name,
    file: PrivateFile,
}

impl FileSource {
    /// The file at this path, which begins with `/` or with [`CREDENTIALS_DIRECTORY`], for which `credentials` is put
    /// if the helper was given such a directory. None if the path is neither.
    pub fn new(name: Name, path: &str, credentials: Option<&Path>) -> Option<Self> {
        Some(Self { name, file: PrivateFile::new(path, credentials)? })
    }
}

impl Source for FileSource {
    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "file"
    }

    fn about(&self) -> About {
        About { place: self.file.to_string(), login: "none", shown: Shown::Nothing }
    }

    fn check_reference(&self, reference: &Reference) -> Result<(), String> {
        match reference.as_str() {
            "" => Ok(()),
            _ => Err("a file has one value: leave the reference out".to_owned()),
        }
    }

    fn read<'a>(&'a self, wanted: &'a Wanted, _owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        Box::pin(async move {
            self.check_reference(&wanted.reference).map_err(|_| SourceFault::Reference)?;
            // A few hundred bytes of a local file: less work than handing it to another thread.
            let held = self.file.read(&self.name)?;
            let mut lease = lease_of_line(&held.bytes)?;
            lease.version = Some(held.version);
            Ok(lease)
        })
    }

    fn is_current(&self, _reference: &Reference, version: &str) -> bool {
        self.file.version().is_some_and(|now| now == version)
    }
}

#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;
