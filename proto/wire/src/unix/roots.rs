//! The roots of all sessions on this host: no process below one may administer avouch (DESIGN §5, invariant 11). The
//! helper writes one file for each session; the issuer on the same host reads them all at each call.

use super::peer::Peer;
use super::proc::{Stat, cgroup, own_pid_namespace};
use avouch_words::Ulid;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why the list cannot be trusted. The caller refuses.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The list or `/proc` cannot be read.
    #[error("the session roots in {} cannot be read: {error}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that is no session root, or more of them than there can be.
    #[error("{} is not a list of session roots", .0.display())]
    Malformed(PathBuf),
    /// Others can write to the directory.
    #[error("the directory {} is writable by others than its owner", .0.display())]
    Unsafe(PathBuf),
    /// The helper counts processes in another PID namespace than we do.
    #[error("the session roots in {} are of another PID namespace", .0.display())]
    OtherNamespace(PathBuf),
    /// The peer's ancestry changed while it was read, or has no end.
    #[error("the ancestors of process {0} cannot be followed")]
    Ancestry(i32),
}

/// One session's root as its file has it; the fields in this order are the canonical form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cgroup: Option<String>,
    pid: i32,
    pid_namespace: u64,
    start: u64,
}

/// The roots of the sessions that are alive.
pub struct Roots(Vec<Root>);

/// Makes the directory if it is not there, for all to read whatever the umask. Both sides do it at their start, so that no
/// list at all means trouble.
pub fn create(directory: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(directory) {
        Ok(()) => fs::set_permissions(directory, fs::Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Adds the root of a session. On cgroup v2 its cgroup is noted too, if nothing but the session is in it: then
/// membership shows descent even of orphans.
pub fn write(directory: &Path, session: Ulid, root: &Peer) -> io::Result<()> {
    let record = Root {
        cgroup: own_cgroup(root)?,
        pid: root.pid(),
        pid_namespace: own_pid_namespace()?,
        start: root.start_time(),
    };
    let text = serde_json::to_vec(&record)?;
    let temporary = directory.join(format!("{TEMPORARY}{session}"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(&text)?;
    fs::rename(&temporary, directory.join(session.to_string()))
}

/// Takes the root of an ended session away.
pub fn remove(directory: &Path, session: Ulid) -> io::Result<()> {
    match fs::remove_file(directory.join(session.to_string())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes the roots away that have ended, with nothing left in their cgroup, and what is no root: what a helper does at
/// its start. A root that is alive stays, although its session went with an earlier helper: what descends from it may
/// not administer. Where it cannot be told, nothing is taken away and this fails.
pub fn prune(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let finished = name(&path).is_some_and(|name| !name.starts_with(TEMPORARY));
        let lives = match Root::read(&path)?.filter(|_| finished) {
            Some(root) => root.is_alive()? || root.is_inhabited()?,
            None => false,
        };
        if !lives {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

impl Root {
    /// What a file says; nothing if it is no root. Whoever can write to the directory shall not make us wait by a file
    /// of another kind, nor read elsewhere.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => fs::File::from(file),
            // A symbolic link; a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut text = Vec::new();
        file.take(MAX_ROOT + 1).read_to_end(&mut text)?;
        let root: Option<Self> = serde_json::from_slice(&text).ok();
        Ok(root.filter(|root| text.len() as u64 <= MAX_ROOT && root.pid > 0))
    }

    fn is_alive(&self) -> io::Result<bool> {
        match Stat::of(self.pid) {
            Ok(stat) => Ok(stat.start_time == self.start && !stat.has_ended()),
            Err(error) if has_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether processes are left in its own cgroup.
    fn is_inhabited(&self) -> io::Result<bool> {
        let Some(cgroup) = &self.cgroup else { return Ok(false) };
        let processes = Path::new(CGROUPS).join(cgroup.trim_start_matches('/')).join("cgroup.procs");
        match fs::File::open(processes).and_then(|mut list| list.read(&mut [0])) {
            Ok(read) => Ok(read > 0),
            Err(error) if has_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

/// It ended before it was looked for, or while it was read.
fn has_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || Errno::from_io_error(error) == Some(Errno::SRCH)
}

impl Roots {
    /// Reads the list. Roots that have ended are left out, unless their cgroup may still hold processes.
    pub fn read(directory: &Path) -> Result<Self, Unreadable> {
        let failed = |path: &Path, error| Unreadable::Io { path: path.to_owned(), error };
        let metadata = fs::metadata(directory).map_err(|error| failed(directory, error))?;
        if metadata.mode() & 0o022 != 0 {
            return Err(Unreadable::Unsafe(directory.to_owned()));
        }
        let namespace = own_pid_namespace().map_err(|error| failed(directory, error))?;
        let mut roots = Vec::new();
        for (nth, entry) in fs::read_dir(directory).map_err(|error| failed(directory, error))?.enumerate() {
            let path = entry.map_err(|error| failed(directory, error))?.path();
            let name = name(&path).unwrap_or_default();
            if nth >= MAX_ROOTS {
                return Err(Unreadable::Malformed(directory.to_owned()));
            }
            if name.starts_with(TEMPORARY) {
                continue;
            }
            if Ulid::parse(name).is_err() {
                return Err(Unreadable::Malformed(path));
            }
            let root = match Root::read(&path) {
                Ok(Some(root)) => root,
                Ok(None) => return Err(Unreadable::Malformed(path)),
                // The session ended while we read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path, error)),
            };
            if root.pid_namespace != namespace {
                return Err(Unreadable::OtherNamespace(directory.to_owned()));
            }
            if root.is_alive().map_err(|error| failed(&path, error))? || root.cgroup.is_some() {
                roots.push(root);
            }
        }
        Ok(Self(roots))
    }

    /// Whether the peer is in a session: it or an ancestor is a root, or it is in a root's own cgroup.
    pub fn holds(&self, peer: &Peer) -> Result<bool, Unreadable> {
        let by_descent = descends(peer, |pid, start| self.0.iter().any(|root| root.pid == pid && root.start == start))?;
        Ok(by_descent || self.holds_cgroup(peer)?)
    }

    fn holds_cgroup(&self, peer: &Peer) -> Result<bool, Unreadable> {
        if self.0.iter().all(|root| root.cgroup.is_none()) {
            return Ok(false);
        }
        let own = cgroup(peer.pid()).map_err(|_| Unreadable::Ancestry(peer.pid()))?.unwrap_or_default();
        peer.recheck().map_err(|_| Unreadable::Ancestry(peer.pid()))?;
        let inside = |group: &String| {
            own.strip_prefix(group.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Ok(self.0.iter().filter_map(|root| root.cgroup.as_ref()).any(inside))
    }
}

/// Whether the process or one of its ancestors is what `matches` (pid, start time) says yes to. A child subreaper at
/// the root of a session keeps orphans below it, so the walk finds them.
pub fn descends(peer: &Peer, mut matches: impl FnMut(i32, u64) -> bool) -> Result<bool, Unreadable> {
    let lost = || Unreadable::Ancestry(peer.pid());
    let mut pid = peer.pid();
    let mut youngest = peer.start_time();
    for _ in 0..MAX_ANCESTORS {
        let stat = Stat::of(pid).map_err(|_| lost())?;
        // A pid that was given to a younger process while we walked is nobody's ancestor.
        if stat.start_time > youngest {
            return Err(lost());
        }
        if matches(pid, stat.start_time) {
            return Ok(true);
        }
        if stat.parent == 0 {
            peer.recheck().map_err(|_| lost())?;
            return Ok(false);
        }
        (pid, youngest) = (stat.parent, stat.start_time);
    }
    Err(lost())
}

/// The root's cgroup, if everything in it descends from the root.
fn own_cgroup(root: &Peer) -> io::Result<Option<String>> {
    let Some(group) = cgroup(root.pid())?.filter(|group| group.len() > 1 && !group.contains("..")) else {
        return Ok(None);
    };
    let members = Path::new(CGROUPS).join(&group[1..]).join("cgroup.procs");
    let mut text = String::new();
    let Ok(_) = fs::File::open(members).and_then(|file| file.take(MAX_MEMBERS).read_to_string(&mut text)) else {
        return Ok(None);
    };
    let mut pids = text.lines().map(str::parse::<i32>).peekable();
    let cut_off = text.len() as u64 == MAX_MEMBERS;
    let shared = cut_off || pids.peek().is_none() || pids.any(|pid| !pid.is_ok_and(|pid| is_below(pid, root)));
    Ok((!shared).then_some(group))
}

fn is_below(pid: i32, root: &Peer) -> bool {
    let mut pid = pid;
    for _ in 0..MAX_ANCESTORS {
        if pid == root.pid() {
            return true;
        }
        match Stat::of(pid) {
            Ok(stat) if stat.parent != 0 => pid = stat.parent,
            _ => return false,
        }
    }
    false
}

/// Where cgroup v2 is mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Begins the name of a file that is being written.
const TEMPORARY: &str = ".new-";
/// Files in the list, those of sessions that have ended and are not yet taken away among them.
const MAX_ROOTS: usize = 4096;
/// The largest file, in bytes.
const MAX_ROOT: u64 = 4096;
/// The longest line of ancestors that is followed.
const MAX_ANCESTORS: usize = 1024;
/// How much of a cgroup's member list is read.
const MAX_MEMBERS: u64 = 64 * 1024;
