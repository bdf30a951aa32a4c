//! Which program file a process runs: its path, if it is the same file to us, and its hash.

use avouch_words::Digest;
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What was found of a program file; what was not is absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    pub path: Option<String>,
    pub digest: Option<Digest>,
}

/// Hashes program files, one at a time, and each state of a file once (U18).
#[derive(Default)]
pub(super) struct Executables(Mutex<HashMap<State, Digest>>);

/// A file in one state. Its owner can set back the time of modification, but not that of change.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Executables {
    /// Follows `/proc/PID/exe`, which leads to the file itself, whatever is mounted over its name (U08).
    pub fn of(&self, exe: &Path, digest: bool) -> Program {
        self.read(exe, digest).unwrap_or_default()
    }

    fn read(&self, exe: &Path, digest: bool) -> io::Result<Program> {
        let mut file = File::open(exe)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Program::default());
        }
        let state = State::of(&metadata);
        let path = path_of(exe, state);
        let digest = if digest && state.size <= MAX_EXECUTABLE { self.digest(&mut file, state)? } else { None };
        // The process may have begun another program meanwhile, or the file may have been written to.
        if State::of(&File::open(exe)?.metadata()?) != state {
            return Ok(Program::default());
        }
        Ok(Program { path, digest })
    }

    fn digest(&self, file: &mut File, state: State) -> io::Result<Option<Digest>> {
        // Held while hashing: one file at a time, however many ask.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known.get(&state) {
            return Ok(Some(*digest));
        }
        let Some(digest) = hash(file, state.size)? else {
            return Ok(None);
        };
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(state, digest);
        Ok(Some(digest))
    }

    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// The path by which we know the same file. To the process another one may be mounted there, or it is deleted.
fn path_of(exe: &Path, state: State) -> Option<String> {
    let path = fs::read_link(exe).ok()?;
    let ours = State::of(&fs::metadata(&path).ok()?);
    if (ours.device, ours.inode) != (state.device, state.inode) {
        return None;
    }
    path.to_str().map(str::to_owned)
}

/// The hash of exactly `size` bytes; none if there are more or fewer.
fn hash(file: &mut File, size: u64) -> io::Result<Option<Digest>> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 128 * 1024];
    let mut total: u64 = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        total += count as u64;
        if total > size {
            return Ok(None);
        }
        context.update(&buffer[..count]);
    }
    let digest = <[u8; 32]>::try_from(context.finish().as_ref()).map(Digest::from_bytes).ok();
    Ok(digest.filter(|_| total == size))
}

/// The largest program file that is hashed.
pub(super) const MAX_EXECUTABLE: u64 = 256 * 1024 * 1024;
/// Hashes that are kept.
const MAX_KNOWN: usize = 1024;
