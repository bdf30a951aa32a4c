//! How a program gets a value: in its environment, on a pipe, in sealed memory, or in a file of its own that lies in
//! memory. All of it is gone when this is dropped.

use crate::args::{How, With};
use crate::failure::{Exit, Failure};
use avouch_helper::scrub::Needles;
use avouch_wire::local::{RevealReply, RevealedPart};
use avouch_words::Secret;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the program is given.
#[derive(Default)]
pub struct Given {
    variables: Vec<(String, Secret)>,
    descriptors: Vec<OwnedFd>,
    files: Option<Files>,
    values: Vec<Secret>,
}

/// Files of mode 0400 in a directory of mode 0700, in memory.
struct Files {
    directory: PathBuf,
    made: Vec<(PathBuf, usize)>,
}

impl Given {
    /// One credential, all parts of it.
    pub fn add(&mut self, with: &With, reply: RevealReply) -> Result<(), Failure> {
        let parts = reply.parts;
        let alone = parts.len() == 1;
        for RevealedPart { name, value } in parts {
            let value = Secret::new(value);
            let variable = variable(with, &name, alone)?;
            if is_secret(&name) {
                self.values.push(copy(&value));
            }
            self.part(with.how, &name, variable, value).map_err(|error| {
                Failure::new(Exit::Failure, format!("cannot hand over {}: {error}", with.credential))
            })?;
        }
        Ok(())
    }

    fn part(&mut self, how: How, name: &str, variable: String, value: Secret) -> io::Result<()> {
        match how {
            How::Env => {
                if value.expose().contains(&0) {
                    return Err(io::Error::other("a variable holds no NUL"));
                }
                self.variables.push((variable, value));
            }
            How::Fd => {
                // It has to fit: nobody reads it yet.
                if value.len() > PIPE {
                    return Err(io::Error::other("it is longer than a pipe holds; use memfd instead of fd"));
                }
                let (reader, mut writer) = io::pipe()?;
                writer.write_all(value.expose())?;
                self.hand(variable, reader.into());
            }
            How::Memfd => {
                let memory = memfd_create("avouch", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
                let mut file = File::from(memory);
                file.write_all(value.expose())?;
                io::Seek::rewind(&mut file)?;
                fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
                self.hand(variable, file.into());
            }
            How::File => {
                let files = match self.files.take() {
                    Some(files) => files,
                    None => Files::make()?,
                };
                let files = self.files.insert(files);
                let path = files.put(&format!("{variable}.{name}"), &value)?;
                self.variables.push((format!("{variable}_FILE"), Secret::new(path.as_os_str().as_bytes().to_vec())));
            }
        }
        Ok(())
    }

    fn hand(&mut self, variable: String, descriptor: OwnedFd) {
        let path = format!("/dev/fd/{}", descriptor.as_raw_fd());
        self.variables.push((format!("{variable}_FD"), Secret::new(path.into_bytes())));
        self.descriptors.push(descriptor);
    }

    /// The program's variables.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let variable = |(name, value): &(String, Secret)| (name.into(), OsStr::from_bytes(value.expose()).to_owned());
        self.variables.iter().map(variable).collect()
    }

    /// Starts a program that inherits the descriptors; ours are closed behind it.
    pub fn handing_over<T>(&mut self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        for descriptor in &self.descriptors {
            fcntl_setfd(descriptor.as_fd(), FdFlags::empty())?;
        }
        let started = start();
        self.descriptors.clear();
        started
    }

    /// What must not be printed.
    pub fn needles(&self) -> Result<Arc<Needles>, Failure> {
        let lines = self.values.iter().flat_map(|value| lines(value.expose()));
        let needles = Needles::new(lines);
        needles.map(Arc::new).map_err(|error| {
            Failure::new(Exit::Failure, format!("what the program prints could not be searched for the value: {error}"))
        })
    }
}

/// A value of several lines, as a key in PEM, is looked for by its lines: programs break them anew. What is too short to
/// be told from other text is left out, unless it is all there is.
fn lines(value: &[u8]) -> Vec<&[u8]> {
    let all: Vec<&[u8]> = value.split(|byte| *byte == b'\n').collect();
    match all.len() {
        1 => all,
        _ => all.into_iter().filter(|line| line.len() >= LINE && !line.starts_with(b"-----")).take(LINES).collect(),
    }
}

fn is_secret(part: &str) -> bool {
    matches!(part, "value" | "private_key")
}

fn copy(value: &Secret) -> Secret {
    Secret::new(value.expose().to_vec())
}

/// `DB_PASSWORD`, `DB_USERNAME`; of a value alone, the credential's name or what was asked for.
fn variable(with: &With, part: &str, alone: bool) -> Result<String, Failure> {
    let own = with.credential.as_str().to_ascii_uppercase().replace(['-', '.'], "_");
    let base = with.variable.clone().unwrap_or(own);
    let base = if base.starts_with(|first: char| first.is_ascii_digit()) { format!("_{base}") } else { base };
    let ending = match part {
        "value" if alone => return Ok(base),
        "value" => "PASSWORD",
        "username" => "USERNAME",
        "certificate" => "CERTIFICATE",
        "private_key" => "PRIVATE_KEY",
        "ca_chain" => "CA_CHAIN",
        _ => return Err(Failure::new(Exit::Failure, "the helper gave a part that this program does not know")),
    };
    Ok(format!("{base}_{ending}"))
}

impl Files {
    fn make() -> io::Result<Self> {
        let place = memory().ok_or_else(|| {
            io::Error::other(
                "there is no directory in memory ($XDG_RUNTIME_DIR, /dev/shm, /tmp); use memfd instead of file",
            )
        })?;
        let directory = place.join(format!("{PREFIX}{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self { directory, made: Vec::new() })
    }

    fn put(&mut self, name: &str, value: &Secret) -> io::Result<PathBuf> {
        let path = self.directory.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
        self.made.push((path.clone(), value.len()));
        file.write_all(value.expose())?;
        Ok(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for (path, length) in &self.made {
            wipe(path, *length);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Overwrites a file and takes it away. Best effort: it lies in memory.
fn wipe(path: &Path, length: usize) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    let over = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(&vec![0; length]));
    drop(over);
    let _ = fs::remove_file(path);
}

/// A directory that lies in memory, where nothing of a file is left on a disk.
fn memory() -> Option<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let places = runtime.into_iter().chain(["/dev/shm".into(), "/tmp".into()]);
    places.into_iter().find(|place| rustix::fs::statfs(place).is_ok_and(|about| about.f_type == TMPFS))
}

/// Takes away what a run that was killed has left.
pub fn sweep() {
    let Some(entries) = memory().and_then(|place| fs::read_dir(place).ok()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            for file in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                let length = file.metadata().map_or(0, |about| usize::try_from(about.len()).unwrap_or(0));
                wipe(&file.path(), length.min(LONGEST));
            }
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What every pipe holds (pipe(7)).
const PIPE: usize = 32 * 1024;
/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
const PREFIX: &str = "avouch-exec-";
/// The longest value that is overwritten.
const LONGEST: usize = 1024 * 1024;
/// The shortest line that is looked for in a value of several.
const LINE: usize = 16;
/// The most of them.
const LINES: usize = 12;
