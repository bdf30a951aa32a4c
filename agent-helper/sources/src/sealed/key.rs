//! The key file of a sealed store: 32 bytes, readable by its owner alone, and not where a copy of the state would
//! take it along.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

const KEY_LEN: usize = 32;

/// A key file is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It lies where the state lies.
    #[error("the key file {0} lies inside the state directory; a copy of the state would contain its own key")]
    Inside(PathBuf),
    /// Others may read or write it.
    #[error("the key file {0} must be a regular file readable by its owner alone (mode 0600)")]
    Permissions(PathBuf),
    /// It has another length.
    #[error("the key file {0} must hold exactly 32 bytes")]
    Length(PathBuf),
    /// It is gone while values are sealed with it: a new key would open none of them.
    #[error("the key file {0} is missing although the store holds values sealed with it")]
    Lost(PathBuf),
    /// It cannot be read or written.
    #[error("the key file {path} cannot be used: {kind}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        kind: ErrorKind,
    },
}

/// Reads the key, or makes it when the store is empty. It may lie below none of the directories `outside`.
pub(super) fn load(
    file: &Path,
    outside: &[&Path],
    in_use: bool,
    random: &dyn SecureRandom,
) -> Result<LessSafeKey, KeyFault> {
    let unusable = |error: std::io::Error| KeyFault::Unusable { path: file.to_owned(), kind: error.kind() };
    let folder = file.parent().ok_or_else(|| unusable(ErrorKind::InvalidInput.into()))?;
    // Compared without links on the way: a link out of the state directory and back in is inside.
    let folder = folder.canonicalize().map_err(unusable)?;
    for directory in outside {
        if directory.canonicalize().is_ok_and(|directory| folder.starts_with(directory)) {
            return Err(KeyFault::Inside(file.to_owned()));
        }
    }
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    match OpenOptions::new().read(true).custom_flags(nofollow()).open(file) {
        Ok(opened) => read(file, opened, &mut bytes)?,
        Err(error) if error.kind() == ErrorKind::NotFound && in_use => return Err(KeyFault::Lost(file.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            random.fill(bytes.as_mut()).map_err(|_| unusable(ErrorKind::Other.into()))?;
            let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(unusable)?;
            made.write_all(bytes.as_ref()).and_then(|()| made.sync_all()).map_err(unusable)?;
            File::open(&folder).and_then(|folder| folder.sync_all()).map_err(unusable)?;
        }
        Err(error) => return Err(unusable(error)),
    }
    let key = UnboundKey::new(&AES_256_GCM, bytes.as_ref()).map_err(|_| KeyFault::Length(file.to_owned()))?;
    Ok(LessSafeKey::new(key))
}

fn read(path: &Path, mut file: File, into: &mut Zeroizing<[u8; KEY_LEN]>) -> Result<(), KeyFault> {
    let unusable = |error: std::io::Error| KeyFault::Unusable { path: path.to_owned(), kind: error.kind() };
    let metadata = file.metadata().map_err(unusable)?;
    if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
        return Err(KeyFault::Permissions(path.to_owned()));
    }
    if metadata.len() != KEY_LEN as u64 {
        return Err(KeyFault::Length(path.to_owned()));
    }
    file.read_exact(into.as_mut()).map_err(unusable)
}

/// `O_NOFOLLOW`, so that the file judged is the file named.
fn nofollow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
}
