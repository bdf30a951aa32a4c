//! Landlock under the view of files: should a mount be wrong, this still holds. And its scopes: no abstract socket and
//! no signal out of the session.
//!
//! File rules forbid every mount to whoever they hold for, in whatever namespace; so they come last of what changes
//! the view, and profiles in which programs make sandboxes of their own have none. A domain of scopes alone forbids
//! no mount.

#[cfg(test)]
mod tests;

use crate::profile::{Access, Kernel, Profile, Want};
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, LandlockStatus, PathBeneath, PathFd,
    PathFdError, RestrictSelf, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use std::path::{Path, PathBuf};

/// The files of a session, by the paths that it has inside.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// The work directory.
    pub(crate) work: &'a Path,
    /// Home.
    pub(crate) home: &'a Path,
    /// What the session gets beside what its profile names, to be read only: its own `/run/avouch`.
    pub(crate) own: &'a [PathBuf],
}

/// Landlock refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LandlockError {
    /// The profile requires what this kernel lacks.
    #[error("this kernel has no {0}, which the profile requires")]
    Lacking(&'static str),
    /// A rule could not be made or enforced.
    #[error("Landlock: {0}")]
    Kernel(String),
}

/// Puts this thread, and all that it starts, under the profile's rules. Returns what it wants and this kernel lacks.
pub(crate) fn restrict(profile: &Profile, view: &View<'_>) -> Result<Vec<&'static str>, LandlockError> {
    let used = used(&profile.kernel, abi())?;
    if !used.files && !used.scopes {
        return Ok(used.lacking);
    }
    let mut rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    if used.files {
        rules = rules.handle_access(AccessFs::from_all(NEWEST)).map_err(told)?;
    }
    if used.scopes {
        rules = rules.scope(Scope::from_all(NEWEST)).map_err(told)?;
    }
    let mut rules = rules.create().map_err(told)?;
    if used.files {
        for (path, access) in reach(profile, view) {
            rules = allow(rules, &path, access)?;
        }
    }
    rules.restrict_self().map_err(told)?;
    Ok(used.lacking)
}

/// What of Landlock a profile uses on a kernel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Used {
    files: bool,
    scopes: bool,
    /// What it wants and this kernel lacks.
    pub(crate) lacking: Vec<&'static str>,
}

pub(crate) fn used(kernel: &Kernel, abi: ABI) -> Result<Used, LandlockError> {
    let mut lacking = Vec::new();
    let mut one = |want, least, what| match want {
        Want::Off => Ok(false),
        Want::Required if abi < least => Err(LandlockError::Lacking(what)),
        Want::Wanted if abi < least => {
            lacking.push(what);
            Ok(false)
        }
        Want::Required | Want::Wanted => Ok(true),
    };
    let (files, scopes) = (one(kernel.landlock, ABI::V1, FILES)?, one(kernel.scopes, ABI::V6, SCOPES)?);
    Ok(Used { files, scopes, lacking })
}

/// Which Landlock this kernel has.
pub(crate) fn abi() -> ABI {
    status().map_or(ABI::Unsupported, ABI::from)
}

/// Whether the kernel was built with Landlock, and started without.
pub(crate) fn is_switched_off() -> bool {
    status() == Some(LandlockStatus::NotEnabled)
}

/// Asked without a change: no rules, no options.
fn status() -> Option<LandlockStatus> {
    Some(RestrictSelf::default().no_new_privs(false).apply().ok()?.landlock)
}

/// Every path with what may be done below it.
fn reach(profile: &Profile, view: &View<'_>) -> Vec<(PathBuf, Reach)> {
    let mut all: Vec<(PathBuf, Reach)> = Vec::new();
    // Names are no secret in a view that holds only what is named.
    all.push((PathBuf::from("/"), Reach::Names));
    let own = [PROC, "/sys", "/dev"].map(PathBuf::from);
    for path in profile.files.read.iter().chain(view.own).chain(&own) {
        all.push((path.clone(), Reach::Read));
    }
    all.extend(DEVICES.map(|path| (PathBuf::from(path), Reach::Device)));
    all.extend(SCRATCH.map(|path| (PathBuf::from(path), Reach::Write)));
    // A process writes to its own entries there; what changes the host is covered by the mounts.
    all.push((PathBuf::from(PROC), Reach::Files));
    let write = |access| if access == Access::Read { Reach::Read } else { Reach::Write };
    all.push((view.work.to_owned(), write(profile.files.work)));
    // Home is the session's own, for profiles that write anywhere outside /tmp at all.
    all.push((view.home.to_owned(), write(profile.files.work)));
    all.extend(profile.home.iter().map(|entry| (view.home.join(&entry.path), write(entry.access))));
    all
}

/// What may be done below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Names,
    Read,
    Write,
    /// Files that are there may be written.
    Files,
    Device,
}

impl Reach {
    fn access(self) -> BitFlags<AccessFs> {
        let files = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        match self {
            Self::Names => AccessFs::ReadDir.into(),
            Self::Read => AccessFs::from_read(NEWEST),
            Self::Files => files,
            Self::Device => files | AccessFs::IoctlDev | AccessFs::ReadDir,
            Self::Write => AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock),
        }
    }
}

/// What is not there needs no rule.
fn allow(rules: RulesetCreated, path: &Path, reach: Reach) -> Result<RulesetCreated, LandlockError> {
    let place = match PathFd::new(path) {
        Ok(place) => place,
        Err(PathFdError::OpenCall { source, .. }) if is_absent(&source) => return Ok(rules),
        Err(error) => return Err(told(error)),
    };
    let mut access = reach.access();
    if !path.is_dir() {
        access &= AccessFs::from_file(NEWEST);
    }
    rules.add_rule(PathBeneath::new(place, access)).map_err(told)
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

fn told(error: impl std::error::Error) -> LandlockError {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence = format!("{sentence}: {error}");
        cause = error.source();
    }
    LandlockError::Kernel(sentence)
}

/// The newest rights that are known to do what is wanted here: device control, and scopes.
const NEWEST: ABI = ABI::V6;
/// As they are named to people.
const FILES: &str = "Landlock";
const SCOPES: &str = "scopes of Landlock (Linux 6.12)";
const PROC: &str = "/proc";
/// The session's own file systems, in every profile.
const SCRATCH: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// Devices that hold nothing of the host.
const DEVICES: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/console",
];
