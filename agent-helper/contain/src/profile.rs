//! What a contained session reaches: files, sockets, abilities and limits, as a commented file of its own.

mod read;
mod size;
#[cfg(test)]
mod tests;

pub use size::Size;

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A profile that was read and makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    text: String,
    pub(crate) about: String,
    pub(crate) files: Files,
    pub(crate) home: Vec<HomeEntry>,
    pub(crate) sockets: Vec<Hole>,
    pub(crate) kernel: Kernel,
    pub(crate) limits: Limits,
}

/// What is seen of the system, and what the work directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// Readable and executable, never written. `/` is everything.
    pub(crate) read: Vec<PathBuf>,
    /// Not there, although below something that is read.
    pub(crate) hide: Vec<PathBuf>,
    /// How the work directory is given.
    pub(crate) work: Access,
}

/// An entry of home, relative to it. `.` is all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HomeEntry {
    pub(crate) path: PathBuf,
    pub(crate) access: Access,
}

/// How files are given to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read and executed.
    Read,
    /// Written too, but what is written is the session's own and ends with it.
    Copy,
    /// Written as if there were no session.
    Write,
}

/// A Unix socket of the host that the profile names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hole {
    Absolute(PathBuf),
    InHome(PathBuf),
    InRuntimeDirectory(PathBuf),
}

/// What the profile takes from the kernel beside namespaces and seccomp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Landlock's file rules.
    pub(crate) landlock: Want,
    /// Landlock's scopes.
    pub(crate) scopes: Want,
    /// A session keyring of its own.
    pub(crate) keyring: Want,
    /// overlayfs, for [`Access::Copy`].
    pub(crate) overlay: Want,
    /// A cgroup for the limits.
    pub(crate) cgroup: Want,
    /// Whether the session may make namespaces.
    pub(crate) namespaces: Allowed,
    /// Whether its processes may trace each other.
    pub(crate) trace: Allowed,
}

/// What to do where the kernel lacks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Want {
    /// Refuse.
    Required,
    /// Say so and go on.
    Wanted,
    /// It is not used at all.
    Off,
}

/// Whether something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Allowed {
    Allow,
    Refuse,
}

/// What a session may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of one process, and of all together in a cgroup.
    pub memory: Size,
    /// What is written to the session's own file systems, all together.
    pub scratch: Size,
    /// Processes and threads.
    pub processes: u64,
    /// Open files of a process.
    pub files: u64,
    /// Bytes of one file.
    pub file_size: Size,
    /// How long the session lives.
    pub wall_time: Option<Duration>,
}

/// Why there is no such profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A name that no profile can have.
    #[error("{0:?} is no name of a profile: take up to 32 of a-z, 0-9 and -, a letter first")]
    Name(String),
    /// Neither built in nor found.
    #[error("there is no profile {name:?}: open, work and strict are built in, and no {name}.toml is in {looked}")]
    NotFound {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        looked: String,
    },
    /// A file that would replace a built-in profile.
    #[error("{0} has the name of a built-in profile, which cannot be overridden: give it another name")]
    BuiltIn(PathBuf),
    /// It could not be read.
    #[error("cannot read {file}: {source}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than its user could have written it.
    #[error("{0} can be written by others, or is no plain file of yours or root's: chown it and chmod go-w")]
    Unsafe(PathBuf),
    /// It is larger than a profile can be.
    #[error("{0} is larger than 64 KiB, which no profile is")]
    TooLarge(PathBuf),
    /// It is not TOML, or a value has the wrong type.
    #[error("profile {name}: {sentence}")]
    Syntax {
        /// The profile.
        name: String,
        /// What is wrong and where.
        sentence: String,
    },
    /// A key that nothing reads.
    #[error("profile {name}: there is no key `{key}`: did you mean `{nearest}`?")]
    UnknownKey {
        /// The profile.
        name: String,
        /// The key.
        key: String,
        /// The nearest one there is.
        nearest: String,
    },
    /// A value that means nothing.
    #[error("profile {name}: `{key}` {sentence}")]
    Value {
        /// The profile.
        name: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        sentence: String,
    },
}

impl Profile {
    /// The built-in profile of that name.
    pub fn builtin(name: &str) -> Option<Self> {
        let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        read::complete(name, text).ok()
    }

    /// The built-in profile, or the one in the first of these directories that has a file `NAME.toml`. List what the host's
    /// administrator writes before what a user writes.
    pub fn find(name: &str, directories: &[PathBuf]) -> Result<Self, ProfileError> {
        if !is_name(name) {
            return Err(ProfileError::Name(name.to_owned()));
        }
        let files: Vec<PathBuf> = directories.iter().map(|directory| directory.join(format!("{name}.toml"))).collect();
        let found = files.iter().find(|file| file.symlink_metadata().is_ok());
        if let Some(profile) = Self::builtin(name) {
            return match found {
                Some(file) => Err(ProfileError::BuiltIn(file.clone())),
                None => Ok(profile),
            };
        }
        let Some(file) = found else {
            let looked: Vec<String> = directories.iter().map(|directory| directory.display().to_string()).collect();
            return Err(ProfileError::NotFound { name: name.to_owned(), looked: looked.join(" or ") });
        };
        Self::parse(name, &text_of(file)?)
    }

    /// Reads the text of a profile; what a built-in one's text is, is that one.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, ProfileError> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, own)) if *own == text => read::complete(name, text),
            Some(_) => Err(ProfileError::BuiltIn(PathBuf::from(format!("{name}.toml")))),
            None => read::own(name, text),
        }
    }

    /// Where profiles of one's own are: the administrator's first.
    pub fn directories(config_home: Option<PathBuf>) -> Vec<PathBuf> {
        let own = config_home.map(|config| config.join("avouch/profiles"));
        [Some(PathBuf::from("/etc/avouch/profiles")), own].into_iter().flatten().collect()
    }

    /// The names of the built-in profiles.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Its name, as in `session:contained:<name>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for, in a few words.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// The limits of its sessions.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What [`Profile::parse`] reads, for a process that gets it by another.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Hole {
    /// Where the socket is on this host; none if it lies below a directory that there is none of.
    pub(crate) fn path(&self, home: &Path, runtime_directory: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::Absolute(path) => Some(path.clone()),
            Self::InHome(path) => Some(home.join(path)),
            Self::InRuntimeDirectory(path) => Some(runtime_directory?.join(path)),
        }
    }
}

fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    letters && name.len() <= MAX_NAME && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
}

/// The text of a file that nobody but its user and root can have written.
fn text_of(file: &Path) -> Result<String, ProfileError> {
    let unreadable = |source| ProfileError::Unreadable { file: file.to_owned(), source };
    let open = std::fs::File::open(file).map_err(unreadable)?;
    let facts = open.metadata().map_err(unreadable)?;
    let own = facts.uid() == 0 || facts.uid() == rustix::process::getuid().as_raw();
    if !facts.is_file() || !own || facts.mode() & OTHERS_WRITE != 0 {
        return Err(ProfileError::Unsafe(file.to_owned()));
    }
    let mut text = String::new();
    open.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(ProfileError::TooLarge(file.to_owned()));
    }
    Ok(text)
}

/// The profiles that every avouch knows, from the most open to the strictest.
const BUILT_IN: [(&str, &str); 3] = [
    ("open", include_str!("../../../config/profiles/open.toml")),
    ("work", include_str!("../../../config/profiles/work.toml")),
    ("strict", include_str!("../../../config/profiles/strict.toml")),
];
/// The longest name of a profile.
const MAX_NAME: usize = 32;
/// The largest profile, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// Write for group and others.
const OTHERS_WRITE: u32 = 0o022;
