//! The file that is read and rewritten: a plain file of this user's, taken as it is and replaced in one step, or not at
//! all. Everything is done in the directory that was opened, whatever becomes of its name meanwhile.

use crate::failure::{Exit, Failure};
use crate::files;
use avouch_words::Secret;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, fchmod, fchown, fstat, openat, renameat, statat, unlinkat};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A file that was read.
#[derive(Debug)]
pub struct EnvFile {
    path: PathBuf,
    dir: OwnedFd,
    name: OsString,
    stat: Stat,
    /// What is in it.
    pub content: Secret,
}

impl EnvFile {
    /// Opens and reads it. A link, a file of somebody else, one with more than one name and one that is too large are
    /// refused.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: &str, action: &str| {
            Failure::new(Exit::Usage, format!("{} is not imported: {why}", path.display())).then(action)
        };
        let failed = |error: rustix::io::Errno| match error {
            rustix::io::Errno::LOOP => refuse("it is a link", "Name the file itself."),
            error => refuse(&io::Error::from(error).to_string(), ""),
        };
        let name = path.file_name().ok_or_else(|| refuse("it is no file", ""))?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(parent, flags, Mode::empty()).map_err(failed)?;
        // A FIFO must not keep us waiting before it has been looked at.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&dir, &name, flags, Mode::empty()).map_err(failed)?);
        let stat = fstat(&file).map_err(failed)?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(refuse("it is no plain file", ""));
        }
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(refuse(&format!("it belongs to uid {}", stat.st_uid), "Import it as that user."));
        }
        if stat.st_nlink != 1 {
            return Err(refuse("it has other names, which would keep the values", "Remove them: `ls -i` shows which."));
        }
        let content = files::read_limited(file, LARGEST).map_err(|error| refuse(&error.to_string(), ""))?;
        Ok(Self { path: path.to_owned(), dir, name, stat, content: Secret::new(content) })
    }

    /// Its name as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its mode, if others than its owner may read it.
    pub fn open_to_others(&self) -> Option<u32> {
        Some(self.stat.st_mode & 0o7777).filter(|mode| mode & 0o044 != 0)
    }

    /// Puts other content in its place, with its mode and group. It is not replaced if somebody has changed it since.
    pub fn replace(&self, content: &Secret) -> io::Result<()> {
        let beside = beside(&self.name)?;
        let written = self.write(&beside, content);
        if written.is_err() {
            let _ = unlinkat(&self.dir, &beside, AtFlags::empty());
        }
        written
    }

    fn write(&self, beside: &OsString, content: &Secret) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.dir, beside, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(content.expose())?;
        // A group that this user is not in is not kept, and then has no rights either.
        let group = fchown(&file, None, Some(Gid::from_raw(self.stat.st_gid)));
        let mode = self.stat.st_mode & if group.is_ok() { 0o777 } else { 0o707 };
        fchmod(&file, Mode::from_raw_mode(mode))?;
        file.sync_all()?;
        let now = statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        let of =
            |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_nlink);
        if of(&now) != of(&self.stat) {
            return Err(io::Error::other("somebody has changed it meanwhile"));
        }
        renameat(&self.dir, beside, &self.dir, &self.name)?;
        rustix::fs::fsync(&self.dir)?;
        Ok(())
    }
}

/// An empty file of mode 0600 beside the one whose place it may take.
#[derive(Debug)]
pub struct NewFile {
    /// The file.
    pub file: File,
    place: PathBuf,
    dir: OwnedFd,
    name: OsString,
    beside: OsString,
}

impl NewFile {
    /// Makes one beside this path, where there is nothing or a plain file of this user's.
    pub fn beside(path: &Path) -> Result<Self, Failure> {
        let failed = |why: String| Failure::new(Exit::Usage, format!("{} cannot be restored: {why}", path.display()));
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // What may not be imported may not be replaced either.
            Ok(_) => drop(EnvFile::open(path)?),
            Err(error) => return Err(failed(error.to_string())),
        }
        let name = path.file_name().ok_or_else(|| failed("it is no file".to_owned()))?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = || {
            let dir = rustix::fs::open(parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let beside = beside(&name)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(openat(&dir, &beside, flags, Mode::RUSR | Mode::WUSR)?);
            // Whatever the umask takes away.
            fchmod(&file, Mode::RUSR | Mode::WUSR)?;
            Ok::<_, io::Error>((dir, beside, file))
        };
        let (dir, beside, file) = made().map_err(|error| failed(error.to_string()))?;
        Ok(Self { file, place: parent.to_owned(), dir, name: name.clone(), beside })
    }

    /// Where it is now.
    pub fn path(&self) -> PathBuf {
        self.place.join(&self.beside)
    }

    /// Puts it in its place.
    pub fn take_place(self) -> io::Result<()> {
        renameat(&self.dir, &self.beside, &self.dir, &self.name)?;
        rustix::fs::fsync(&self.dir)?;
        Ok(())
    }

    /// Takes it away again.
    pub fn discard(self) {
        let _ = unlinkat(&self.dir, &self.beside, AtFlags::empty());
    }
}

/// A name beside this one that nobody else has.
fn beside(own: &OsString) -> io::Result<OsString> {
    let mut random = [0; 8];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
    filled.map_err(|_| io::Error::other("there is no randomness"))?;
    let mut name = OsString::from(".");
    name.push(own);
    name.push(format!(".{:016x}", u64::from_ne_bytes(random)));
    Ok(name)
}

/// Bytes of a file.
pub const LARGEST: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn place(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn names(dir: &tempfile::TempDir) -> usize {
        std::fs::read_dir(dir.path()).unwrap().count()
    }

    #[test]
    fn it_is_replaced_in_one_step_with_its_mode() {
        let (dir, path) = place("A=b\n", 0o640);
        let file = EnvFile::open(&path).unwrap();
        assert_eq!(file.open_to_others(), Some(0o640));
        file.replace(&Secret::new(b"A=c\n".to_vec())).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"A=c\n");
        assert_eq!((std::fs::metadata(&path).unwrap().mode() & 0o777, names(&dir)), (0o640, 1));
        let again = file.replace(&Secret::new(b"A=d\n".to_vec())).unwrap_err();
        assert!(again.to_string().contains("meanwhile"), "{again}");
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), names(&dir)), (&b"A=c\n"[..], 1));
    }

    #[test]
    fn what_was_written_meanwhile_is_not_overwritten() {
        let (dir, path) = place("A=b\n", 0o600);
        let file = EnvFile::open(&path).unwrap();
        std::fs::write(&path, "A=b\nNEW=x\n").unwrap();
        assert!(file.replace(&Secret::new(b"A=c\n".to_vec())).is_err());
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), names(&dir)), (&b"A=b\nNEW=x\n"[..], 1));
    }

    #[test]
    fn links_other_names_and_what_is_too_large_or_no_file_are_refused() {
        let (dir, path) = place("A=b\n", 0o600);
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        let why = |path: &Path| EnvFile::open(path).map(drop).unwrap_err().to_string();
        assert!(why(&link).contains("it is a link"), "{}", why(&link));
        assert!(why(dir.path()).contains("no plain file"), "{}", why(dir.path()));
        assert!(why(&dir.path().join("none")).contains("No such file"));
        std::fs::hard_link(&path, dir.path().join("other")).unwrap();
        assert!(why(&path).contains("other names"), "{}", why(&path));
        std::fs::remove_file(dir.path().join("other")).unwrap();
        std::fs::write(&path, vec![b'x'; LARGEST]).unwrap();
        assert!(EnvFile::open(&path).is_ok());
        std::fs::write(&path, vec![b'x'; LARGEST + 1]).unwrap();
        assert!(why(&path).contains("longer than"), "{}", why(&path));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            assert!(why(&path).contains("belongs to uid 65534"), "{}", why(&path));
        }
    }
}
