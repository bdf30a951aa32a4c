//! What a helper that starts again goes on with while the issuer is away (DESIGN §12): the identities of processes
//! that still live, the state applied last, and its age. It lies in the runtime directory, which is memory, sealed
//! with a key that survives a restart and no reboot.
//!
//! Nothing of it is trusted for being there. A file is taken only if it is the newest that was written (`place` keeps
//! their marks), was written since the machine was started, and can be opened; an identity only if its process still
//! lives and its certificate still verifies; the age only as a reason to inject less.

mod codec;
mod keeper;
mod place;
mod restore;

pub use codec::KeptAge;
pub use keeper::Keeper;
pub use place::NoPlace;
pub use restore::Restored;

use self::place::{MARK, Marks, Place};
use crate::ids;
use avouch_words::{Secret, SpiffeId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The sealed files. Without a place for the key there is none, and nothing is kept.
pub struct Cache(Option<Mutex<Files>>);

/// What is kept, each in a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The state applied last, as the issuer sent it.
    State,
    /// How old that is.
    Age,
    /// X.509-SVIDs with their keys.
    Identities,
}

struct Files {
    directory: PathBuf,
    place: Place,
    key: LessSafeKey,
    /// What a file has to have been written under: this start of the machine, this view of its processes, this node.
    here: Vec<u8>,
}

/// A file is not taken, or could not be written.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is larger than anything that is kept")]
    Large,
    #[error("it is not the newest that was written, or not written by this helper since the machine was started")]
    NotOurs,
    #[error("the system gives no randomness")]
    NoRandomness,
    #[error("the key's place cannot be written: {0}")]
    Place(#[from] NoPlace),
}

impl Cache {
    /// Of this node, in this directory, which is made private. `credentials` is the directory of the service manager's
    /// credentials, and `marks` where the marks of the newest files lie if the key is one of those.
    pub fn open(node: &SpiffeId, directory: &Path, credentials: Option<&Path>, marks: &Path) -> Self {
        let opened = avouch_config::make_private_dir(directory)
            .map_err(|error| error.to_string())
            .and_then(|()| Files::open(node, directory, credentials, marks).map_err(|error| error.to_string()));
        match opened {
            Ok(files) => Self(Some(Mutex::new(files))),
            Err(reason) => {
                tracing::warn!(reason, "cache.off: after a restart, identities have to come from the issuer again");
                // What was sealed with a key that is not to be had any more.
                let _ = fs::remove_dir_all(directory);
                Self(None)
            }
        }
    }

    /// None at all.
    #[cfg(test)]
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What was kept last, if there is anything that may be trusted to be that. What may not is wiped.
    pub fn read(&self, kind: Kind) -> Option<Secret> {
        let mut files = self.files()?;
        match files.read(kind) {
            Ok(found) => found,
            Err(fault) => {
                tracing::warn!(kind = kind.name(), reason = %fault, "cache.discard");
                files.forget(kind);
                None
            }
        }
    }

    /// Keeps this in place of what was kept before. If it cannot be kept, nothing is: what was kept before may be
    /// what has just been withdrawn.
    pub fn write(&self, kind: Kind, content: &[u8]) {
        let Some(mut files) = self.files() else { return };
        if let Err(fault) = files.write(kind, content) {
            tracing::error!(kind = kind.name(), reason = %fault, "cache.write.failed");
            files.forget(kind);
        }
    }

    /// Forgets all of it.
    pub fn forget(&self) {
        if let Some(mut files) = self.files() {
            Kind::ALL.into_iter().for_each(|kind| files.forget(kind));
        }
    }

    fn files(&self) -> Option<MutexGuard<'_, Files>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kind {
    const ALL: [Self; 3] = [Self::State, Self::Age, Self::Identities];

    fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Age => "age",
            Self::Identities => "identities",
        }
    }
}

impl Files {
    fn open(node: &SpiffeId, directory: &Path, credentials: Option<&Path>, marks: &Path) -> Result<Self, NoPlace> {
        let place = Place::find(directory, credentials, marks)?;
        let key = UnboundKey::new(&AES_256_GCM, place.key()).map_err(|_| NoPlace::Length)?;
        let boot = fs::read("/proc/sys/kernel/random/boot_id").map_err(NoPlace::Unreadable)?;
        let pids = fs::read_link("/proc/self/ns/pid").map_err(NoPlace::Unreadable)?;
        let pids = pids.as_os_str().as_encoded_bytes();
        let here = [b"avouch helper cache 1\n", boot.as_slice(), pids, b"\n", node.as_str().as_bytes(), b"\n"].concat();
        Ok(Self { directory: directory.to_owned(), place, key: LessSafeKey::new(key), here })
    }

    fn read(&mut self, kind: Kind) -> Result<Option<Secret>, Fault> {
        let file = match open(OpenOptions::new().read(true), &self.path(kind)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if length > LARGEST {
            return Err(Fault::Large);
        }
        // Of its full size at once: a buffer that grows leaves copies behind.
        let mut sealed = Zeroizing::new(Vec::with_capacity(length + 1));
        file.take(length as u64 + 1).read_to_end(&mut sealed)?;
        let tag = sealed.last_chunk::<MARK>().copied().ok_or(Fault::NotOurs)?;
        if sealed.len() < NONCE_LEN + MARK || !self.place.marks().of(kind).contains(&tag) {
            return Err(Fault::NotOurs);
        }
        let (nonce, content) = sealed.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Fault::NotOurs)?;
        let content = self.key.open_in_place(nonce, self.aad(kind), content).map_err(|_| Fault::NotOurs)?;
        Ok(Some(Secret::new(content.to_vec())))
    }

    fn write(&mut self, kind: Kind, content: &[u8]) -> Result<(), Fault> {
        if content.len() > LARGEST - NONCE_LEN - MARK {
            return Err(Fault::Large);
        }
        let nonce = ids::random::<NONCE_LEN>().map_err(|_| Fault::NoRandomness)?;
        let mut sealed = Zeroizing::new(content.to_vec());
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), self.aad(kind), &mut sealed)
            .map_err(|_| Fault::NotOurs)?;
        let tag: [u8; MARK] = tag.as_ref().try_into().map_err(|_| Fault::NotOurs)?;
        let path = self.path(kind);
        let beside = path.with_extension("new");
        let mut file = open(OpenOptions::new().write(true).create(true).truncate(true).mode(0o600), &beside)?;
        file.write_all(&nonce)?;
        file.write_all(&sealed)?;
        file.write_all(&tag)?;
        // Until the new one is in place both are the newest, whichever a crash leaves; after it, the old one is not.
        let before = self.place.marks().of(kind)[0];
        self.place.mark(kind, [before, tag])?;
        fs::rename(&beside, &path)?;
        self.place.mark(kind, [tag, tag])?;
        Ok(())
    }

    fn forget(&mut self, kind: Kind) {
        let path = self.path(kind);
        if let Err(error) = self.place.mark(kind, Marks::NONE) {
            tracing::error!(kind = kind.name(), reason = %error, "cache.forget.failed");
        }
        for path in [path.with_extension("new"), path] {
            let _ = fs::remove_file(path);
        }
    }

    fn path(&self, kind: Kind) -> PathBuf {
        self.directory.join(kind.name())
    }

    /// A file of one kind is none of another, and one of another start of the machine is none at all.
    fn aad(&self, kind: Kind) -> Aad<Vec<u8>> {
        Aad::from([self.here.as_slice(), kind.name().as_bytes()].concat())
    }
}

/// Opens what lies there itself, and nothing that a link leads to.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<fs::File> {
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    options.custom_flags(nofollow).open(path)
}

/// Bytes of one file: a node's whole state, or [`crate::identity::MAX_IDENTITIES`] identities.
const LARGEST: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
