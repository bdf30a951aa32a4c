//! Files and directories that hold secrets or state: opened once, checked on the open descriptor, never larger than a
//! limit.

use crate::read::MAX_FILE;
use crate::start_error::StartError;
use avouch_words::Secret;
use nix::unistd::geteuid;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The largest file with a secret, in bytes.
pub const MAX_PRIVATE_FILE: usize = 64 * 1024;

/// Why a file or directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It is not there.
    #[error("it does not exist")]
    Missing,
    /// The system does not let us.
    #[error("it cannot be opened: {0}")]
    Open(io::Error),
    /// A directory, link, device or pipe, where a file is needed; or a file, where a directory is.
    #[error("it is not a plain {0}")]
    Kind(&'static str),
    /// Others than its owner may read or write it.
    #[error("its mode is {0:04o}, so others than its owner can use it")]
    Mode(u32),
    /// It belongs to someone else.
    #[error("it belongs to uid {owner}, not to uid {wanted}")]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Whose it has to be.
        wanted: u32,
    },
    /// Over the limit.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// Nothing is in it.
    #[error("it is empty")]
    Empty,
    /// Not UTF-8.
    #[error("it is not text")]
    NotText,
}

impl FileFault {
    /// What to do about it, as one sentence.
    pub fn action(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Missing => format!("Make {path}, or name another in the settings."),
            Self::Open(_) => format!("Let uid {} open {path}.", geteuid()),
            Self::Kind(kind) => format!("Put a plain {kind} at {path}, not a link to one."),
            Self::Mode(_) => format!("Take the rights of others away: chmod go= {path}"),
            Self::Owner { wanted, .. } => format!("Give it to uid {wanted}: chown {wanted} {path}"),
            Self::TooLong(limit) => format!("Keep {path} within {limit} bytes."),
            Self::Empty => format!("Put the value in {path}."),
            Self::NotText => format!("Put text in {path}, as UTF-8."),
        }
    }
}

/// Reads a file that only its owner, this uid or root, may read: at most [`MAX_PRIVATE_FILE`] bytes, not empty.
pub fn read_secret(path: &Path) -> Result<Secret, FileFault> {
    let mut file = open_plain(path)?;
    let meta = file.metadata().map_err(FileFault::Open)?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileFault::Mode(mode));
    }
    let wanted = geteuid().as_raw();
    if meta.uid() != wanted && meta.uid() != 0 {
        return Err(FileFault::Owner { owner: meta.uid(), wanted });
    }
    // A buffer that grew would leave copies behind, so it has its full size from the start.
    let mut bytes = vec![0; MAX_PRIVATE_FILE + 1];
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                drop(Secret::new(bytes));
                return Err(FileFault::Open(error));
            }
        }
    }
    if length > MAX_PRIVATE_FILE {
        drop(Secret::new(bytes));
        return Err(FileFault::TooLong(MAX_PRIVATE_FILE));
    }
    bytes.truncate(length);
    if bytes.is_empty() { Err(FileFault::Empty) } else { Ok(Secret::new(bytes)) }
}

/// Reads a file that is no secret, as text of at most `limit` bytes.
pub fn read_text(path: &Path, limit: usize) -> Result<String, FileFault> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    open_plain(path)?.take(most).read_to_end(&mut bytes).map_err(FileFault::Open)?;
    if bytes.len() > limit {
        return Err(FileFault::TooLong(limit));
    }
    String::from_utf8(bytes).map_err(|_| FileFault::NotText)
}

/// Reads a settings file.
pub(crate) fn read_settings(path: &Path) -> Result<String, StartError> {
    read_text(path, MAX_FILE).map_err(|fault| StartError::Settings { path: path.to_owned(), reason: fault.to_string() })
}

/// Makes a directory for this uid alone (0700), or refuses one that others may use.
pub fn make_private_dir(path: &Path) -> Result<(), FileFault> {
    make_dir(path, 0o700)?;
    let mode = check_dir(path)?;
    if mode & 0o077 == 0 { Ok(()) } else { Err(FileFault::Mode(mode)) }
}

/// Makes a directory in which other uids can reach sockets by name (0755), or refuses one that others may write.
pub fn make_shared_dir(path: &Path) -> Result<(), FileFault> {
    make_dir(path, 0o755)?;
    let mode = check_dir(path)?;
    if mode & 0o022 == 0 { Ok(()) } else { Err(FileFault::Mode(mode)) }
}

/// Whether `file`, by its real path, is outside `dir`.
pub fn check_outside(dir: &Path, file: &Path) -> Result<(), StartError> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(file).starts_with(real(dir)) {
        return Err(StartError::KeyInState { file: file.to_owned(), dir: dir.to_owned() });
    }
    Ok(())
}

fn open_plain(path: &Path) -> Result<File, FileFault> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|error| {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::NotFound, _) => FileFault::Missing,
            (_, Some(code)) if code == nix::errno::Errno::ELOOP as i32 => FileFault::Kind("file"),
            _ => FileFault::Open(error),
        }
    })?;
    let plain = file.metadata().map_err(FileFault::Open)?.is_file();
    if plain { Ok(file) } else { Err(FileFault::Kind("file")) }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), FileFault> {
    // Parents are for everybody to pass through; only the last one is ours alone.
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(FileFault::Open)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(FileFault::Open(error)),
    }
}

fn check_dir(path: &Path) -> Result<u32, FileFault> {
    let meta = path.symlink_metadata().map_err(FileFault::Open)?;
    if !meta.is_dir() {
        return Err(FileFault::Kind("directory"));
    }
    let wanted = geteuid().as_raw();
    if meta.uid() != wanted {
        return Err(FileFault::Owner { owner: meta.uid(), wanted });
    }
    Ok(meta.permissions().mode() & 0o7777)
}

impl StartError {
    /// A directory that cannot be used.
    pub fn directory(path: &Path) -> impl FnOnce(FileFault) -> Self {
        let path: PathBuf = path.to_owned();
        move |fault| Self::Directory { path, fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn write(path: &Path, bytes: &[u8], mode: u32) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_file_is_private_plain_small_and_not_empty() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        write(&at("good"), b"value", 0o600);
        assert_eq!(read_secret(&at("good")).unwrap().expose(), b"value");
        write(&at("limit"), &vec![1; MAX_PRIVATE_FILE], 0o400);
        assert_eq!(read_secret(&at("limit")).unwrap().len(), MAX_PRIVATE_FILE);

        for mode in [0o640, 0o604, 0o660, 0o601] {
            write(&at("open"), b"value", 0o600);
            fs::set_permissions(at("open"), fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read_secret(&at("open")), Err(FileFault::Mode(found)) if found == mode));
        }
        write(&at("long"), &vec![1; MAX_PRIVATE_FILE + 1], 0o600);
        assert!(matches!(read_secret(&at("long")), Err(FileFault::TooLong(_))));
        write(&at("empty"), b"", 0o600);
        assert!(matches!(read_secret(&at("empty")), Err(FileFault::Empty)));
        assert!(matches!(read_secret(&at("none")), Err(FileFault::Missing)));
        assert!(matches!(read_secret(dir.path()), Err(FileFault::Kind("file"))));
        symlink(at("good"), at("link")).unwrap();
        assert!(matches!(read_secret(&at("link")), Err(FileFault::Kind("file"))));
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(matches!(read_secret(&at("pipe")), Err(FileFault::Kind("file"))));
    }

    #[test]
    fn a_directory_that_others_can_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        make_private_dir(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        make_private_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(make_private_dir(&path), Err(FileFault::Mode(0o750))));
        make_shared_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(make_shared_dir(&path), Err(FileFault::Mode(0o777))));
        symlink(dir.path(), dir.path().join("link")).unwrap();
        assert!(matches!(make_private_dir(&dir.path().join("link")), Err(FileFault::Kind("directory"))));
    }

    #[test]
    fn a_key_below_the_state_directory_is_found_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        write(&state.join("key"), b"k", 0o600);
        symlink(&state, dir.path().join("elsewhere")).unwrap();
        assert!(matches!(check_outside(&state, &dir.path().join("elsewhere/key")), Err(StartError::KeyInState { .. })));
        write(&dir.path().join("key"), b"k", 0o600);
        assert!(check_outside(&state, &dir.path().join("key")).is_ok());
    }
}
