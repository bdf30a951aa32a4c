//! What this host gives to contained sessions, found by trying it, and what to do about what it does not give.

mod fix;
#[cfg(test)]
mod tests;

use crate::landlock::{abi, is_switched_off};
use crate::limits::Group;
use crate::profile::Profile;
use crate::walls::{Contain, ContainError, prepare};
use crate::{Hardened, harden, keyring, seccomp};
use ::landlock::ABI;
use fix::Switches;
use nix::{getsockopt_impl, libc, sockopt_impl};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// What this host can.
#[derive(Debug, Clone)]
pub struct Host {
    abilities: Vec<Ability>,
}

/// One thing that containment takes from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ability {
    /// Its name.
    pub name: &'static str,
    /// Whether it is there.
    pub found: Found,
    /// What it is for.
    pub why: &'static str,
    /// Whether there is no contained session without it.
    pub needed: bool,
    /// What gives it, if it is missing: a command, or what to change.
    pub fix: Option<String>,
}

/// What trying it showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It works; with what there is to say about it.
    Yes(String),
    /// It does not, as the sentence says.
    No(String),
    /// It was not tried, as something before it failed.
    Unknown,
}

impl Host {
    /// Tries everything: makes a session without a program, and ends it. Call it on the main thread while there is no other,
    /// in a program that answers [`crate::STAGE`]; it hardens this process.
    pub fn look() -> Self {
        let trial = harden().map_err(ContainError::from).and_then(|hardened| trial(&hardened));
        Self::of(trial, &Switches::read())
    }

    /// All of it, the needed first.
    pub fn abilities(&self) -> &[Ability] {
        &self.abilities
    }

    /// Whether sessions can be contained here.
    pub fn contains(&self) -> bool {
        self.abilities.iter().all(|ability| !ability.needed || matches!(ability.found, Found::Yes(_)))
    }

    fn of(trial: Result<Vec<String>, ContainError>, switches: &Switches) -> Self {
        let mut abilities = walls(&trial, switches);
        abilities.push(Ability {
            name: "seccomp",
            found: tried(in_thread(|| match Profile::builtin("work") {
                Some(work) => seccomp::install(&work.kernel).map_err(|error| error.to_string()),
                None => Ok(()),
            })),
            why: "system calls that namespaces do not divide are refused",
            needed: true,
            fix: Some("boot a kernel with CONFIG_SECCOMP_FILTER".to_owned()),
        });
        abilities.extend(landlock_abilities());
        abilities.push(Ability {
            name: "session keyring",
            found: tried(in_thread(|| keyring::join_fresh().map_err(|error| error.desc().to_owned()))),
            why: "no key of yours is possessed by a session",
            needed: false,
            fix: Some(
                "container engines forbid keyctl by default: allow it in the outer container's seccomp profile"
                    .to_owned(),
            ),
        });
        abilities.push(Ability {
            name: "overlayfs",
            found: match &trial {
                Ok(lacking) => lacking.iter().find(|sentence| sentence.contains("overlayfs")).map_or_else(
                    || Found::Yes("in a user namespace".to_owned()),
                    |sentence| Found::No(sentence.clone()),
                ),
                Err(_) => Found::Unknown,
            },
            why: "caches can be written without anybody else finding it there",
            needed: false,
            fix: Some("Linux 5.11 or newer, and: sudo modprobe overlay".to_owned()),
        });
        abilities.push(Ability {
            name: "cgroup",
            found: match Group::place() {
                Ok(place) => Found::Yes(format!("below {}", place.display())),
                Err(why) => Found::No(why),
            },
            why: "limits count a session as a whole; without it each of its processes has its own",
            needed: false,
            fix: Some("systemd-run --user --scope avouch run ...".to_owned()),
        });
        for ability in &mut abilities {
            if !matches!(ability.found, Found::No(_)) {
                ability.fix = None;
            }
        }
        abilities.sort_by_key(|ability| !ability.needed);
        Self { abilities }
    }
}

/// What building a session showed: it stops at the first thing that is missing.
fn walls(trial: &Result<Vec<String>, ContainError>, switches: &Switches) -> Vec<Ability> {
    let mut all = vec![
        ("user namespaces", "a session is built in one, without root", switches.user_namespaces()),
        ("namespaces", "processes, network, mounts and names of its own", switches.user_namespaces()),
        ("mounts", "a session has its own view of files", "Linux 5.14 or newer".to_owned()),
        ("fresh /proc", "a session sees no process but its own", fix::PROC.to_owned()),
        ("loopback", "a session reaches its broker there", "boot a kernel with CONFIG_NET_NS".to_owned()),
        ("network cookie", "the helper tells a session's listener from the host's", "Linux 5.14 or newer".to_owned()),
    ];
    if rustix::process::geteuid().is_root() {
        // Settled before all else.
        all.insert(0, ("other id", "a session that root starts is not root", fix::OTHER_ID.to_owned()));
    }
    let failed = trial.as_ref().err().map(|error| (place_of(error), error.to_string()));
    let mut reached = true;
    let mut abilities = Vec::new();
    for (name, why, fix) in all {
        let mut found = Found::Yes("works".to_owned());
        match &failed {
            Some((place, why)) if *place == name => {
                found = Found::No(why.clone());
                reached = false;
            }
            Some(_) if !reached => found = Found::Unknown,
            Some(("", _)) => found = Found::Unknown,
            _ => {}
        }
        abilities.push(Ability { name, found, why, needed: true, fix: Some(fix) });
    }
    if let Some(("", why)) = &failed {
        let whole = Ability {
            name: "a contained session",
            found: Found::No(why.clone()),
            why: "everything together",
            needed: true,
            fix: Some("see what it says".to_owned()),
        };
        abilities.insert(0, whole);
    }
    abilities
}

/// Which ability an error is about.
fn place_of(error: &ContainError) -> &'static str {
    match error {
        ContainError::UserNamespaces(_) | ContainError::UserNamespacesHeld(_) => "user namespaces",
        ContainError::Namespaces(_) => "namespaces",
        ContainError::Mounts(_) => "mounts",
        ContainError::FreshProc(_) => "fresh /proc",
        ContainError::NetnsCookie(_) => "network cookie",
        ContainError::Loopback(_) => "loopback",
        ContainError::NoId(_) | ContainError::IdMap(_) => "other id",
        ContainError::WorkDir(_)
        | ContainError::Socket(_)
        | ContainError::Seal(_)
        | ContainError::Terminal(_)
        | ContainError::Lost(_)
        | ContainError::Io(_) => "",
    }
}

fn landlock_abilities() -> [Ability; 2] {
    let abi = abi();
    let found = |least| {
        if abi >= least { Found::Yes(format!("ABI {abi}")) } else { Found::No(format!("this kernel's ABI is {abi}")) }
    };
    let files = match (abi, is_switched_off()) {
        (ABI::Unsupported, true) => "add landlock to lsm= on the kernel's command line",
        _ => "Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK",
    };
    [
        Ability {
            name: "Landlock",
            found: found(ABI::V1),
            why: "a second lock on files, under the mounts; strict requires it",
            needed: false,
            fix: Some(files.to_owned()),
        },
        Ability {
            name: "scopes of Landlock",
            found: found(ABI::V6),
            why: "a second lock on signals and abstract sockets",
            needed: false,
            fix: Some("Linux 6.12 or newer".to_owned()),
        },
    ]
}

/// A session in all but its program; what it lacks.
fn trial(hardened: &Hardened) -> Result<Vec<String>, ContainError> {
    let place = Place::make()?;
    let _listening = UnixListener::bind(place.0.join("workload.sock"))?;
    let lost = || ContainError::Io("the profile work is not built in".to_owned());
    let contain = Contain {
        profile: Profile::builtin("work").ok_or_else(lost)?,
        workload_socket: place.0.join("workload.sock"),
        tokens_directory: None,
        work_dir: place.0.join("work"),
        home: Some(place.0.join("home")),
        runtime_dir: None,
        hide: Vec::new(),
        uid: None,
    };
    let prepared = prepare(hardened, contain)?;
    nix::sys::socket::getsockopt(&prepared.listener(), NetworkCookie)
        .map_err(|error| ContainError::NetnsCookie(error.desc().to_owned()))?;
    Ok(prepared.lacking().to_vec())
}

sockopt_impl!(
    /// SO_NETNS_COOKIE (socket(7)), since Linux 5.14.
    NetworkCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// A directory for the trial, removed after it.
struct Place(PathBuf);

impl Place {
    fn make() -> io::Result<Self> {
        let root = std::env::temp_dir().canonicalize()?.join(format!("avouch-look-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o755).create(&root)?;
        let place = Self(root);
        // A cache, so that copies are tried.
        std::fs::create_dir_all(place.0.join("home/.cache/pip"))?;
        std::fs::create_dir(place.0.join("work"))?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tries in a thread what lasts for the thread that does it.
fn in_thread(act: impl FnOnce() -> Result<(), String> + Send) -> Result<(), String> {
    std::thread::scope(|scope| scope.spawn(act).join().unwrap_or_else(|_| Err("the attempt was lost".to_owned())))
}

fn tried(done: Result<(), String>) -> Found {
    match done {
        Ok(()) => Found::Yes("works".to_owned()),
        Err(why) => Found::No(why),
    }
}
