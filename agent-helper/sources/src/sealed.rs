//! The embedded sealed store: one file per credential, AES-256-GCM under a key that lies outside the directory. The
//! binding's digest is sealed with the value: a binding that was changed afterwards opens nothing (rule B01).

mod backup;
mod key;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use avouch_words::{Digest, Name, Reference, Secret};
use ring::aead::{Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

pub use backup::{BACKUP_MAX, MOST_BACKUPS};
pub use key::KeyFault;

use crate::{Doing, Lease, Obligations, Source, SourceFault, Wanted};

/// The shortest value: a shorter one could not be scrubbed from a reply without taking innocent text with it.
pub const VALUE_MIN: usize = 8;
/// The longest value, in bytes.
pub const VALUE_MAX: usize = 16 * 1024;

const MAGIC: &[u8; 8] = b"avouchS1";
const DIGEST_LEN: usize = 32;
const HEADER: usize = MAGIC.len() + DIGEST_LEN + NONCE_LEN;
const FILE_MAX: usize = HEADER + VALUE_MAX + MAX_TAG_LEN;
const SUFFIX: &str = ".sealed";

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// The directory.
    #[error("the sealed store's directory {path} cannot be used: {kind}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        kind: ErrorKind,
    },
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyFault),
}

/// A value is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PutFault {
    /// Under [`VALUE_MIN`].
    #[error("too short to scrub: a value has at least 8 bytes")]
    TooShort,
    /// Above [`VALUE_MAX`].
    #[error("too long: a value has at most 16384 bytes")]
    TooLong,
    /// A line end, NUL, another control character or a byte outside ASCII.
    #[error("a value is printable ASCII without line ends; it was not stored")]
    NotPrintable,
    /// As many backups as are kept.
    #[error("there are 64 sealed backups already")]
    TooMany,
    /// The file could not be written.
    #[error("the sealed store cannot be written: {0}")]
    Write(ErrorKind),
    /// Sealing failed.
    #[error("the value could not be sealed")]
    Seal,
}

/// The store, opened.
pub struct SealedStore {
    name: Name,
    directory: PathBuf,
    key: LessSafeKey,
    random: SystemRandom,
}

impl SealedStore {
    /// Opens `directory`, which is made if it is not there (0700). The key file (32 bytes, 0600) is made if it is
    /// not there while the store is empty; it may lie neither in the store nor below `state`.
    pub fn open(name: Name, directory: &Path, key_file: &Path, state: &Path) -> Result<Self, OpenFault> {
        let fault = |error: std::io::Error| OpenFault::Directory { path: directory.to_owned(), kind: error.kind() };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fault)?;
        let random = SystemRandom::new();
        let in_use = holds_any(directory).map_err(fault)?;
        let key = key::load(key_file, &[directory, state], in_use, &random)?;
        Ok(Self { name, directory: directory.to_owned(), key, random })
    }

    /// Seals a value for a credential and the binding with this digest; one that was there is replaced. When it
    /// returns the value is durable.
    pub fn put(&self, credential: &Name, binding: &Digest, value: &Secret) -> Result<(), PutFault> {
        check(value)?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| PutFault::Seal)?;
        let mut file = Zeroizing::new(Vec::with_capacity(FILE_MAX));
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(binding.as_bytes());
        file.extend_from_slice(&nonce);
        file.extend_from_slice(value.expose());
        let aad = aad(credential, binding);
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&aad), &mut file[HEADER..])
            .map_err(|_| PutFault::Seal)?;
        file.extend_from_slice(tag.as_ref());
        self.replace(&file_name(credential), &file).map_err(|error| PutFault::Write(error.kind()))
    }

    /// Opens the value of a credential for the binding with this digest.
    pub fn open_value(&self, credential: &Name, binding: &Digest) -> Result<Secret, SourceFault> {
        let file = match read_bounded(&self.path(credential)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(SourceFault::Missing),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(SourceFault::Denied),
            Err(_) => return Err(SourceFault::Unavailable),
        };
        let body = file.strip_prefix(MAGIC.as_slice()).ok_or(SourceFault::Garbage)?;
        let (sealed_for, body) = body.split_at_checked(DIGEST_LEN).ok_or(SourceFault::Garbage)?;
        let (nonce, sealed) = body.split_at_checked(NONCE_LEN).ok_or(SourceFault::Garbage)?;
        if sealed_for != binding.as_bytes() {
            return Err(SourceFault::OtherBinding);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SourceFault::Garbage)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let aad = aad(credential, binding);
        let plain = self.key.open_in_place(nonce, Aad::from(&aad), &mut opened).map_err(|_| SourceFault::Garbage)?;
        let value = Secret::new(plain.to_vec());
        check(&value).map_err(|_| SourceFault::Garbage)?;
        Ok(value)
    }

    /// The credentials that have a value, in no order.
    pub fn list(&self) -> Result<Vec<Name>, SourceFault> {
        list(&self.directory).map(Iterator::collect).map_err(|_| SourceFault::Unavailable)
    }

    /// Removes a credential's value; none being there is no fault.
    pub fn remove(&self, credential: &Name) -> Result<(), PutFault> {
        match std::fs::remove_file(self.path(credential)).and_then(|()| File::open(&self.directory)?.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(PutFault::Write(error.kind())),
            _ => Ok(()),
        }
    }

    fn path(&self, credential: &Name) -> PathBuf {
        self.directory.join(file_name(credential))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        // Two writers of one file must not share a temporary file.
        let mut unique = [0; 8];
        self.random.fill(&mut unique).map_err(|_| std::io::Error::from(ErrorKind::Other))?;
        let temporary = self.directory.join(format!(".{name}.{:016x}", u64::from_ne_bytes(unique)));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&temporary, self.directory.join(name)));
        if written.is_err() {
            // Best effort: the name begins with a dot, so it is never listed nor read.
            let _ = std::fs::remove_file(&temporary);
        }
        written?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Source for SealedStore {
    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "sealed"
    }

    fn check_reference(&self, reference: &Reference) -> Result<(), String> {
        match reference.as_str() {
            "" => Ok(()),
            _ => Err("the sealed store finds a value by the credential's name: leave the reference out".to_owned()),
        }
    }

    fn read<'a>(&'a self, wanted: &'a Wanted, _owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        // A few hundred bytes of a local file: less work than handing it to another thread.
        Box::pin(async move {
            self.check_reference(&wanted.reference).map_err(|_| SourceFault::Reference)?;
            self.open_value(&wanted.credential, &wanted.binding).map(Lease::of)
        })
    }
}

impl std::fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedStore").field("name", &self.name).field("directory", &self.directory).finish()
    }
}

/// Whether a value can be injected and scrubbed.
pub(crate) fn check(value: &Secret) -> Result<(), PutFault> {
    match value.len() {
        0..VALUE_MIN => Err(PutFault::TooShort),
        VALUE_MIN..=VALUE_MAX if value.expose().iter().all(|b| (b' '..=b'~').contains(b)) => Ok(()),
        VALUE_MIN..=VALUE_MAX => Err(PutFault::NotPrintable),
        _ => Err(PutFault::TooLong),
    }
}

/// What is sealed with the value. The name's length goes first, so that no two pairs give the same bytes.
fn aad(credential: &Name, binding: &Digest) -> Vec<u8> {
    let name = credential.as_str().as_bytes();
    let mut out = Vec::with_capacity(MAGIC.len() + 1 + name.len() + DIGEST_LEN);
    out.extend_from_slice(MAGIC);
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name);
    out.extend_from_slice(binding.as_bytes());
    out
}

fn file_name(credential: &Name) -> String {
    format!("{credential}{SUFFIX}")
}

/// Whether anything in it is sealed with the key.
fn holds_any(directory: &Path) -> std::io::Result<bool> {
    let sealed = |name: &str| [SUFFIX, backup::SUFFIX].iter().any(|suffix| name.ends_with(suffix));
    Ok(std::fs::read_dir(directory)?.flatten().any(|entry| entry.file_name().to_str().is_some_and(sealed)))
}

fn list(directory: &Path) -> std::io::Result<impl Iterator<Item = Name> + use<>> {
    Ok(std::fs::read_dir(directory)?.flatten().filter_map(|entry| {
        let file = entry.file_name();
        Name::parse(file.to_str()?.strip_suffix(SUFFIX)?).ok()
    }))
}

/// Reads a file that has at most as many bytes as a sealed value can have.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_MAX {
        return Err(std::io::Error::from(ErrorKind::InvalidData));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
