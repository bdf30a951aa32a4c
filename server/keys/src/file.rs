//! The key file: 32 random bytes that seal all signing keys. Each way in which it can be wrong has its own sentence.

use avouch_words::Secret;
use ring::rand::SecureRandom;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// The key out of a key file.
#[derive(Debug)]
pub struct KeyFile(Secret);

/// What to do if there is no key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Make one: right when nothing has been sealed yet.
    Make,
    /// Refuse: what was sealed under the lost one could never be opened with a new one.
    Refuse,
}

/// Why a key file is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none, and keys are sealed already.
    #[error(
        "the key file {0} is missing, and the issuer's keys are sealed under it; put it back, or start with an empty state directory"
    )]
    Missing(PathBuf),
    /// It or its directory cannot be read.
    #[error("the key file {path} cannot be read: {error}")]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is none and it cannot be made.
    #[error("the key file {path} cannot be made: {error}")]
    Unwritable {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("the key file {0} is not a regular file")]
    NotAFile(PathBuf),
    /// Somebody else's.
    #[error("the key file {path} belongs to uid {owner}, not to uid {us} nor to root; change its owner")]
    Owner {
        /// Where it is.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Others may read or write it.
    #[error("the key file {path} has mode {mode:04o}; others must have no right to it: chmod 0600")]
    Mode {
        /// Where it is.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It has a second name, which may lie inside the state.
    #[error(
        "the key file {0} has a second name (a hard link), which a copy of the state might hold; copy it to a file of its own"
    )]
    Linked(PathBuf),
    /// Not 32 bytes.
    #[error("the key file {path} holds {length} bytes instead of {KEY}; it is damaged or not a key file")]
    Length {
        /// Where it is.
        path: PathBuf,
        /// How long it is.
        length: u64,
    },
    /// All bytes are the same (case O11).
    #[error("the key file {0} holds the same byte 32 times, which is no key")]
    Weak(PathBuf),
    /// A backup of the state would hold the key that seals it (case H09).
    #[error(
        "the key file {path} lies inside the state directory {state}; a copy of the state would hold its own key: move it elsewhere"
    )]
    InsideState {
        /// Where it is.
        path: PathBuf,
        /// The state directory.
        state: PathBuf,
    },
}

impl KeyFile {
    /// Reads the key file, or makes it. It may not lie in `state_dir`, on whatever way of links. The state directory
    /// has to exist.
    pub fn open(path: &Path, state_dir: &Path, absent: Absent, rng: &dyn SecureRandom) -> Result<Self, KeyFileError> {
        check_outside(path, state_dir)?;
        match File::open(path) {
            Ok(file) => read(path, file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KeyFileError::Unreadable { path: path.to_owned(), error })
            }
            Err(_) if absent == Absent::Refuse => Err(KeyFileError::Missing(path.to_owned())),
            Err(_) => {
                make(path, rng).map_err(|error| KeyFileError::Unwritable { path: path.to_owned(), error })?;
                let file =
                    File::open(path).map_err(|error| KeyFileError::Unreadable { path: path.to_owned(), error })?;
                read(path, file)
            }
        }
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Both the name and what it leads to have to be outside.
fn check_outside(path: &Path, state_dir: &Path) -> Result<(), KeyFileError> {
    let unreadable = |error| KeyFileError::Unreadable { path: path.to_owned(), error };
    let state = fs::canonicalize(state_dir).map_err(unreadable)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut places = vec![fs::canonicalize(parent).map_err(unreadable)?];
    match fs::canonicalize(path) {
        Ok(target) => places.push(target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(error)),
    }
    if places.iter().any(|place| place.starts_with(&state)) {
        return Err(KeyFileError::InsideState { path: path.to_owned(), state });
    }
    Ok(())
}

/// All checks are made on the opened file, so that it cannot be changed for another in between.
fn read(path: &Path, file: File) -> Result<KeyFile, KeyFileError> {
    let unreadable = |error| KeyFileError::Unreadable { path: path.to_owned(), error };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile(path.to_owned()));
    }
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us && metadata.uid() != 0 {
        return Err(KeyFileError::Owner { path: path.to_owned(), owner: metadata.uid(), us });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode { path: path.to_owned(), mode });
    }
    if metadata.nlink() > 1 {
        return Err(KeyFileError::Linked(path.to_owned()));
    }
    if metadata.len() != KEY as u64 {
        return Err(KeyFileError::Length { path: path.to_owned(), length: metadata.len() });
    }
    let mut key = vec![0; KEY];
    (&file).read_exact(&mut key).map_err(unreadable)?;
    let key = Secret::new(key);
    if key.expose().iter().all(|byte| *byte == key.expose()[0]) {
        return Err(KeyFileError::Weak(path.to_owned()));
    }
    Ok(KeyFile(key))
}

/// Written whole beside its place and then moved there, so that a crash leaves no short key file.
fn make(path: &Path, rng: &dyn SecureRandom) -> io::Result<()> {
    let mut key = [0; KEY];
    rng.fill(&mut key).map_err(|_| io::Error::other("the random source failed"))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| {
        file.write_all(&key)?;
        file.sync_all()
    });
    key.zeroize();
    written?;
    fs::rename(&beside, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// AES-256.
pub(crate) const KEY: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    struct Place {
        _dir: TempDir,
        state: PathBuf,
        key: PathBuf,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let (state, keys) = (dir.path().join("state"), dir.path().join("keys"));
        fs::create_dir(&state).unwrap();
        fs::create_dir(&keys).unwrap();
        Place { state, key: keys.join("seal.key"), _dir: dir }
    }

    impl Place {
        fn open(&self, path: &Path, absent: Absent) -> Result<KeyFile, KeyFileError> {
            KeyFile::open(path, &self.state, absent, &SystemRandom::new())
        }

        fn put(&self, bytes: &[u8], mode: u32) {
            fs::write(&self.key, bytes).unwrap();
            fs::set_permissions(&self.key, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    #[test]
    fn the_first_start_makes_the_key_file_and_the_next_reads_it() {
        let place = place();
        let made = place.open(&place.key, Absent::Make).unwrap();
        assert_eq!(fs::metadata(&place.key).unwrap().mode() & 0o7777, 0o600);
        let read = place.open(&place.key, Absent::Refuse).unwrap();
        assert_eq!(made.expose(), read.expose());
        assert_eq!(fs::read_dir(place.key.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(format!("{made:?}"), "KeyFile(Secret)");
    }

    #[test]
    fn a_lost_key_file_is_not_replaced() {
        let place = place();
        assert!(matches!(place.open(&place.key, Absent::Refuse), Err(KeyFileError::Missing(_))));
        assert!(!place.key.exists());
    }

    #[test]
    fn a_key_file_inside_the_state_is_refused_through_links_too() {
        let place = place();
        let inside = place.state.join("seal.key");
        let refused = |path: &Path| matches!(place.open(path, Absent::Make), Err(KeyFileError::InsideState { .. }));
        assert!(refused(&inside) && !inside.exists());
        fs::create_dir(place.state.join("deep")).unwrap();
        assert!(refused(&place.state.join("deep/seal.key")));
        assert!(refused(&place.key.parent().unwrap().join("../state/seal.key")));

        let way = place.key.parent().unwrap().join("way");
        symlink(&place.state, &way).unwrap();
        assert!(refused(&way.join("seal.key")), "a linked directory");
        fs::write(&inside, [7; 32]).unwrap();
        symlink(&inside, &place.key).unwrap();
        assert!(refused(&place.key), "a linked file");
        fs::remove_file(&place.key).unwrap();
        place.put(&[7; 32], 0o600);
        let from_inside = place.state.join("link.key");
        symlink(&place.key, &from_inside).unwrap();
        assert!(refused(&from_inside), "a link that a backup may follow");
        place.put(&(0..32).collect::<Vec<u8>>(), 0o600);
        fs::hard_link(&place.key, place.state.join("second")).unwrap();
        assert!(matches!(place.open(&place.key, Absent::Make), Err(KeyFileError::Linked(_))), "a second name");
    }

    #[test]
    fn each_fault_of_the_file_has_its_own_error() {
        let place = place();
        let opened = || place.open(&place.key, Absent::Make).map(|_| ());
        let good: Vec<u8> = (0..32).collect();
        place.put(&good, 0o600);
        assert!(opened().is_ok());
        place.put(&good, 0o640);
        assert!(matches!(opened(), Err(KeyFileError::Mode { mode: 0o640, .. })));
        place.put(&good, 0o604);
        assert!(matches!(opened(), Err(KeyFileError::Mode { .. })));
        for length in [0, 31, 33] {
            place.put(&vec![1; length], 0o600);
            assert!(matches!(opened(), Err(KeyFileError::Length { .. })), "{length}");
        }
        place.put(&[0; 32], 0o600);
        assert!(matches!(opened(), Err(KeyFileError::Weak(_))));
        fs::remove_file(&place.key).unwrap();
        fs::create_dir(&place.key).unwrap();
        assert!(matches!(opened(), Err(KeyFileError::NotAFile(_))));
        let nowhere = place.key.parent().unwrap().join("none/seal.key");
        assert!(matches!(place.open(&nowhere, Absent::Make), Err(KeyFileError::Unreadable { .. })));
    }

    #[test]
    fn a_key_file_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            println!("not run: needs root");
            return;
        }
        let place = place();
        place.put(&(0..32).collect::<Vec<u8>>(), 0o600);
        std::os::unix::fs::chown(&place.key, Some(12_345), None).unwrap();
        let refused = place.open(&place.key, Absent::Make).map(|_| ());
        assert!(matches!(refused, Err(KeyFileError::Owner { owner: 12_345, us: 0, .. })));
    }
}
