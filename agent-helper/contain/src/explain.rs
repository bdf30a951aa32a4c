//! What a contained session will reach, said before it starts.

#[cfg(test)]
mod tests;

use crate::profile::{Access, Allowed, Profile, Want};
use crate::walls::Contain;
use crate::{Scrubbed, git, keyring, landlock, limits};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// What a session of this kind reaches on this host, line by line: files, network, sockets, variables, kernel, limits, and what
/// this host lacks of what the profile wants.
pub fn explain(contain: &Contain, scrubbed: &Scrubbed) -> String {
    let mut text = tell(contain, scrubbed);
    text.out.truncate(text.out.trim_end().len());
    text.out
}

/// The same for scripts: each thing by itself.
pub fn reach(contain: &Contain, scrubbed: &Scrubbed) -> Vec<Reach> {
    tell(contain, scrubbed).rows
}

/// One thing that is told of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// What it is about: `files`, `network`, `sockets`, `user`, `variables`, `kernel`, `limits` or `missing`.
    pub about: String,
    /// How it is reached, as `read`, `written` or `hidden`; may be empty.
    pub how: String,
    /// The thing, or a sentence.
    pub what: String,
}

fn tell(contain: &Contain, scrubbed: &Scrubbed) -> Text {
    let profile = &contain.profile;
    let mut text = Text::default();
    text.out.push_str(&format!("Profile {}: {}\n\n", profile.name(), profile.about()));
    text.line(
        "network",
        "",
        "nothing but the session's broker: no name service, no other host, no loopback of the host",
    );
    files(&mut text, contain);
    sockets(&mut text, contain);
    text.line("user", "", &user(contain.uid));
    variables(&mut text, scrubbed);
    kernel(&mut text, profile);
    let limits = profile.limits();
    let each =
        if profile.kernel.cgroup != Want::Off && limits::Group::place().is_ok() { "" } else { " for each process" };
    text.line("limits", "", &format!("memory {}{each}; {} processes", limits.memory, limits.processes));
    text.line("", "", &format!("{} open files and {} of one file, for each process", limits.files, limits.file_size));
    let time =
        limits.wall_time.map_or_else(|| "no end of time".to_owned(), |time| format!("ends after {}", length(time)));
    text.line("", "", &format!("{} written to what is its own; {time}", limits.scratch));
    missing(&mut text, profile);
    text
}

fn files(text: &mut Text, contain: &Contain) {
    let profile = &contain.profile;
    let work = shown(&contain.work_dir);
    match profile.files.work {
        Access::Write => {
            text.line("files", "written", &work);
            text.line("", "", "what a session writes there is as trustworthy as the session: look before you run it");
        }
        Access::Copy => text.line("files", "copied", &work),
        Access::Read => text.line("files", "read", &work),
    }
    let home = if profile.files.work == Access::Read { "" } else { ", home" };
    text.line("", "its own", &format!("/tmp, /var/tmp, /dev/shm{home}: memory, gone when the session ends"));
    let home_is_reached = contain.home.as_deref().is_some_and(|home| reaches(home, behind(contain.uid)));
    let named = profile.home.iter().any(|entry| [git::FILE, "."].iter().any(|path| entry.path == Path::new(path)));
    let git =
        contain.home.as_deref().filter(|_| home_is_reached && !named).and_then(|home| std::fs::File::open(home).ok());
    if git.and_then(git::identity).is_some() {
        text.line("", "", "~/.gitconfig there says who commits, and has nothing else of yours");
    }
    for (access, word) in [(Access::Write, "WRITTEN"), (Access::Copy, "copied"), (Access::Read, "read")] {
        let here = |path: &Path| {
            home_is_reached && contain.home.as_ref().is_some_and(|home| home.join(path).symlink_metadata().is_ok())
        };
        let entries = profile.home.iter().filter(|entry| entry.access == access && here(&entry.path));
        text.list(
            "",
            word,
            entries.map(|entry| {
                if entry.path == Path::new(".") { "~".to_owned() } else { format!("~/{}", shown(&entry.path)) }
            }),
        );
    }
    let there = |path: &&std::path::PathBuf| path.symlink_metadata().is_ok();
    text.list("", "read", profile.files.read.iter().filter(there).map(|path| shown(path)));
    let hidden = profile.files.hide.iter().chain(&contain.hide).filter(there);
    text.list(
        "",
        "hidden",
        hidden.map(|path| shown(path)).chain(["/run, other users' processes, all else".to_owned()]),
    );
}

fn sockets(text: &mut Text, contain: &Contain) {
    text.line("sockets", "", "the Workload API of this session");
    let home = contain.home.as_deref().unwrap_or(Path::new("/"));
    for hole in &contain.profile.sockets {
        if let Some(path) = hole.path(home, contain.runtime_dir.as_deref()) {
            let absent = if path.symlink_metadata().is_ok() { "" } else { " (not there now)" };
            text.line("", "HOLE", &format!("{}{absent}: what is behind it acts outside the wall", shown(&path)));
        }
    }
}

fn variables(text: &mut Text, scrubbed: &Scrubbed) {
    text.line("variables", "kept", &format!("{} as they are", scrubbed.environment.len()));
    text.list("", "dropped", scrubbed.secrets.iter().cloned());
    if !scrubbed.secrets.is_empty() {
        text.line("", "", "they look like secrets; --env NAME keeps one");
    }
    text.list("", "unset", scrubbed.ways_out.iter().cloned());
}

fn kernel(text: &mut Text, profile: &Profile) {
    let kernel = &profile.kernel;
    let word = |want| match want {
        Want::Required => "required",
        Want::Wanted => "wanted",
        Want::Off => "off",
    };
    let allowed = |allowed| if allowed == Allowed::Allow { "allowed" } else { "refused" };
    let wants = format!(
        "Landlock {}, its scopes {}, keyring {}",
        word(kernel.landlock),
        word(kernel.scopes),
        word(kernel.keyring)
    );
    text.line("kernel", "", &wants);
    let may = format!(
        "namespaces of its own {}, tracing its own processes {}",
        allowed(kernel.namespaces),
        allowed(kernel.trace)
    );
    text.line("", "", &may);
}

/// What can be known without a session; the rest is said when one starts.
fn missing(text: &mut Text, profile: &Profile) {
    let kernel = &profile.kernel;
    match landlock::used(kernel, landlock::abi()) {
        Ok(used) => {
            used.lacking.iter().for_each(|what| text.line("missing", "", &format!("this kernel has no {what}")))
        }
        Err(error) => text.line("missing", "REFUSED", &error.to_string()),
    }
    if kernel.keyring != Want::Off
        && let Ok(Err(error)) = std::thread::scope(|scope| scope.spawn(keyring::join_fresh).join())
    {
        let refused = if kernel.keyring == Want::Required { "REFUSED" } else { "" };
        text.line("missing", refused, &format!("this host gives no session keyring of its own ({})", error.desc()));
    }
    if kernel.cgroup != Want::Off
        && let Err(why) = limits::Group::place()
    {
        let refused = if kernel.cgroup == Want::Required { "REFUSED" } else { "" };
        text.line("missing", refused, &format!("a cgroup for the limits: {why}"));
    }
}

fn user(asked: Option<u32>) -> String {
    match behind(asked) {
        Some(uid) => format!("host id {uid}, without any privilege"),
        None => "an id of this host that nobody has, without any privilege".to_owned(),
    }
}

/// The host's id behind the session; none for one that nobody has.
fn behind(asked: Option<u32>) -> Option<u32> {
    let own = rustix::process::geteuid();
    if own.is_root() { asked.or_else(|| std::env::var("SUDO_UID").ok()?.parse().ok()) } else { Some(own.as_raw()) }
}

/// Whether that id gets anywhere below a directory. What root has for itself alone its sessions do not see.
fn reaches(directory: &Path, uid: Option<u32>) -> bool {
    let others_pass = 0o001;
    directory.metadata().is_ok_and(|facts| uid == Some(facts.uid()) || facts.mode() & others_pass != 0)
}

fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let (unit, letter) =
        [(60 * 60, 'h'), (60, 'm')].into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit)).unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// A path that cannot write to a terminal.
fn shown(path: &Path) -> String {
    path.display()
        .to_string()
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] })
        .collect()
}

/// Lines in three columns.
#[derive(Default)]
struct Text {
    out: String,
    rows: Vec<Reach>,
}

impl Text {
    fn line(&mut self, about: &str, how: &str, what: &str) {
        self.row(about, how, what);
        self.write(about, how, what);
    }

    /// A line that names no subject goes on with the one before.
    fn row(&mut self, about: &str, how: &str, what: &str) {
        let about = match (about, self.rows.last()) {
            ("", Some(last)) => last.about.clone(),
            _ => about.to_owned(),
        };
        self.rows.push(Reach { about, how: how.to_owned(), what: what.to_owned() });
    }

    fn write(&mut self, about: &str, how: &str, what: &str) {
        let line = format!("{about:<WIDE$}{how:<NARROW$}{what}");
        let _ = writeln!(self.out, "{}", line.trim_end());
    }

    /// As many items on a line as there is room for.
    fn list(&mut self, about: &str, how: &str, items: impl Iterator<Item = String>) {
        let (subject, way) = (about, how);
        let (mut about, mut how, mut row) = (about, how, String::new());
        for item in items {
            self.row(subject, way, &item);
            if !row.is_empty() && row.len() + item.len() > ROOM {
                self.write(about, how, &row);
                (about, how) = ("", "");
                row.clear();
            }
            row.push_str(if row.is_empty() { "" } else { " " });
            row.push_str(&item);
        }
        if !row.is_empty() {
            self.write(about, how, &row);
        }
    }
}

const WIDE: usize = 11;
const NARROW: usize = 9;
/// Characters of the third column.
const ROOM: usize = 78;
