//! Files with secrets or records in them, made and read with care.

use crate::failure::{Exit, Failure};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Makes a new file of mode 0600 and writes it durably. One that exists is never overwritten, and a link is
/// never followed.
pub fn create_private(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from).map(File::from);
    let written = made.and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        let action = match error.kind() {
            io::ErrorKind::AlreadyExists => "Choose another name, or remove that file first.",
            _ => "",
        };
        Failure::new(Exit::Failure, format!("cannot make {}: {error}", path.display())).then(action)
    })
}

/// Reads a file that holds a secret: a regular file of this user's that nobody else may read.
pub fn read_private(path: &Path, longest: usize) -> Result<Vec<u8>, Failure> {
    let fail = |why: String, action: &str| {
        Failure::new(Exit::Usage, format!("cannot take a secret from {}: {why}", path.display())).then(action)
    };
    // A FIFO must not keep us waiting before it has been looked at.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
    let file = File::from(file.map_err(|error| fail(error.to_string(), ""))?);
    let about = file.metadata().map_err(|error| fail(error.to_string(), ""))?;
    if !about.is_file() {
        return Err(fail("it is no regular file".to_owned(), "Use --value-stdin for a pipe."));
    }
    if about.mode() & 0o077 != 0 {
        let mode = about.mode() & 0o777;
        let action = format!("Run `chmod 600 {}`, and take its value for known to others.", path.display());
        return Err(fail(format!("others may read it (its mode is {mode:04o})"), &action));
    }
    if about.uid() != rustix::process::geteuid().as_raw() {
        return Err(fail(format!("it belongs to uid {}", about.uid()), "Use a file of your own."));
    }
    read_limited(file, longest).map_err(|error| fail(error.to_string(), ""))
}

/// Reads all there is into a buffer that never grows, so that no copy is left behind.
pub fn read_limited(mut from: impl Read, longest: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; longest + 1];
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => {
                buffer.truncate(filled);
                return Ok(buffer);
            }
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("it is longer than {longest} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_private_file_is_made_once_and_with_mode_0600() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        create_private(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(create_private(&path, b"two").unwrap_err().to_string().contains("exists"));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(create_private(&link, b"three").is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn a_secret_is_not_taken_from_a_file_that_others_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, b"hunter2-hunter2").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let failure = read_private(&path, 100).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains("0640") && failure.to_string().contains("chmod 600"), "{failure}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_private(&path, 15).unwrap(), b"hunter2-hunter2");
        assert!(read_private(&path, 14).unwrap_err().to_string().contains("longer than 14 bytes"));
        assert!(read_private(dir.path(), 14).unwrap_err().to_string().contains("no regular file"));
    }
}
