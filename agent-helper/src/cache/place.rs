//! Where the cache's key is, and the marks of the files written last.
//!
//! Without further settings both are one key of the kernel's user keyring (`@u`): it outlives the helper, and no
//! reboot. Only whoever possesses it may read it, which is every process of this uid that has the keyring in its
//! session's, as logins have: a uid is one principal (DESIGN §1). A service manager may give the key instead, as the
//! credential `cache-key`; then the marks lie beside the state.

use super::Kind;
use crate::ids;
use avouch_words::Digest;
use linux_keyutils::{KeyError, KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    /// The kernel gives no keyring: containers often may not have one.
    #[error("the kernel's keyring cannot be used ({0:?}) and there is no credential `cache-key`")]
    Keyring(KeyError),
    /// Something that is needed cannot be read or written.
    #[error("{0}")]
    Unreadable(#[source] io::Error),
    /// A key of another length.
    #[error("the credential `cache-key` must be exactly 32 bytes")]
    Length,
    /// No key could be made.
    #[error("the system gives no randomness")]
    NoRandomness,
}

/// The last bytes of the files that may be opened: of each kind the newest, and while it is being replaced also what
/// replaces it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks([Pair; KINDS]);

type Pair = [[u8; MARK]; 2];

/// A key, and where marks are kept.
pub(super) struct Place {
    key: Zeroizing<[u8; KEY]>,
    marks: Marks,
    home: Home,
}

enum Home {
    /// The key of this name in the user keyring holds both.
    Keyring(KeyRing, String),
    /// The marks are in this file.
    File(PathBuf),
}

impl Marks {
    /// Those of nothing: no file ends so, as no tag is known beforehand.
    pub(super) const NONE: Pair = [[0; MARK]; 2];

    pub(super) fn of(&self, kind: Kind) -> &Pair {
        &self.0[kind as usize]
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (pairs, []) = bytes.as_chunks::<{ 2 * MARK }>() else { return None };
        let pairs: Vec<Pair> = pairs.iter().filter_map(|pair| pair.as_chunks::<MARK>().0.try_into().ok()).collect();
        Some(Self(pairs.try_into().ok()?))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.as_flattened().as_flattened().to_vec()
    }
}

impl Place {
    /// The credential if there is one, else the keyring. A key that is not there yet is made.
    pub(super) fn find(directory: &Path, credentials: Option<&Path>, marks: &Path) -> Result<Self, NoPlace> {
        if let Some(file) = credentials.map(|credentials| credentials.join(CREDENTIAL)).filter(|file| file.exists()) {
            return Self::credential(&file, marks);
        }
        let ring = user_keyring().map_err(NoPlace::Keyring)?;
        // By its directory: helpers of one uid that have nothing to do with each other leave each other alone.
        let name = format!("avouch:cache:{}", Digest::of(&[directory.as_os_str().as_bytes()]));
        let mut payload = Zeroizing::new([0; PAYLOAD]);
        if let Ok(found) = ring.search(&name)
            && found.read(&mut *payload).is_ok_and(|length| length == PAYLOAD)
            && let Some((key, marks)) = payload.split_first_chunk::<KEY>()
            && let Some(marks) = Marks::read(marks)
        {
            return Ok(Self { key: Zeroizing::new(*key), marks, home: Home::Keyring(ring, name) });
        }
        let key = Zeroizing::new(ids::random::<KEY>().map_err(|_| NoPlace::NoRandomness)?);
        let place = Self { key, marks: Marks([Marks::NONE; KINDS]), home: Home::Keyring(ring, name) };
        place.keep()?;
        Ok(place)
    }

    fn credential(file: &Path, marks: &Path) -> Result<Self, NoPlace> {
        let about = fs::metadata(file).map_err(NoPlace::Unreadable)?;
        if about.len() != KEY as u64 {
            return Err(NoPlace::Length);
        }
        let bytes = Zeroizing::new(fs::read(file).map_err(NoPlace::Unreadable)?);
        let key = Zeroizing::new(<[u8; KEY]>::try_from(bytes.as_slice()).map_err(|_| NoPlace::Length)?);
        let kept = fs::read(marks).ok().and_then(|bytes| Marks::read(&bytes));
        let home = Home::File(marks.to_owned());
        Ok(Self { key, marks: kept.unwrap_or(Marks([Marks::NONE; KINDS])), home })
    }

    pub(super) fn key(&self) -> &[u8] {
        &*self.key
    }

    pub(super) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// From now on these files of a kind are the newest.
    pub(super) fn mark(&mut self, kind: Kind, pair: Pair) -> Result<(), NoPlace> {
        self.marks.0[kind as usize] = pair;
        self.keep()
    }

    fn keep(&self) -> Result<(), NoPlace> {
        match &self.home {
            Home::Keyring(ring, name) => {
                let mut payload = Zeroizing::new([0; PAYLOAD]);
                payload[..KEY].copy_from_slice(&*self.key);
                payload[KEY..].copy_from_slice(&self.marks.bytes());
                let key = ring.add_key(name, payload.as_slice()).map_err(NoPlace::Keyring)?;
                let possessor = KeyPermissionsBuilder::builder().posessor(Permission::ALL).build();
                key.set_perms(possessor).map_err(NoPlace::Keyring)
            }
            Home::File(path) => {
                let beside = path.with_extension("new");
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&beside)
                    .and_then(|mut file| file.write_all(&self.marks.bytes()))
                    .and_then(|()| fs::rename(&beside, path))
                    .map_err(NoPlace::Unreadable)
            }
        }
    }
}

/// The keyring of this user, possessed: a session keyring of its own, as services have, does not lead to it by itself.
fn user_keyring() -> Result<KeyRing, KeyError> {
    let ring = KeyRing::from_special_id(KeyRingIdentifier::User, true)?;
    if let Err(KeyError::AccessDenied) = ring.search("avouch:cache:none") {
        KeyRing::from_special_id(KeyRingIdentifier::Session, true)?.link_keyring_id(KeyRingIdentifier::User)?;
    }
    Ok(ring)
}

/// Bytes of a mark: a file's authentication tag.
pub(super) const MARK: usize = 16;
const KEY: usize = 32;
const KINDS: usize = 3;
const PAYLOAD: usize = KEY + KINDS * 2 * MARK;
/// Name of the credential that holds the key.
const CREDENTIAL: &str = "cache-key";
