//! Where a session works, and where it may not.

use super::alias::Mounts;
use super::order::Order;
use super::who::Who;
use super::{BUNDLE_FILE, Contain, ContainError, EXTRA_FILE, TOKENS_DIRECTORY, WORKLOAD_SOCKET};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// The session as the stages are told of it, with every path free of links.
pub(crate) fn settle(contain: Contain, who: Who, terminals: [bool; 3]) -> Result<Order, ContainError> {
    let bad = |path: &Path, error: std::io::Error| ContainError::WorkDir(format!("{}: {error}", path.display()));
    let current_dir = contain.work_dir.canonicalize().map_err(|error| bad(&contain.work_dir, error))?;
    // The kernel names where one stands without links: one that is there now was put there since, by a session that works
    // above it.
    if current_dir != contain.work_dir {
        let shown = contain.work_dir.display();
        return Err(ContainError::WorkDir(format!("{shown} leads to another place, {}", current_dir.display())));
    }
    let home = contain.home.as_deref().and_then(|home| home.canonicalize().ok()).or_else(|| contain.home.clone());
    // What cannot be followed to its end is hidden under the name it has.
    let hide = contain.hide.into_iter().map(|path| path.canonicalize().unwrap_or(path));
    let mounts = Mounts::now()?;
    let mut hide: Vec<_> = hide.flat_map(|path| mounts.names(&path)).collect();
    refuse(&current_dir, None, &hide)?;
    refuse_homes(&current_dir, who.uid, home.as_deref(), &mounts)?;
    let root = Path::new("/");
    let holes = contain.profile.sockets.iter();
    let holes = holes.filter_map(|hole| hole.path(home.as_deref().unwrap_or(root), contain.runtime_dir.as_deref()));
    let named: Vec<_> = holes.filter_map(|path| path.canonicalize().ok()).collect();
    let sockets = sockets(&std::fs::read_to_string("/proc/net/unix").unwrap_or_default(), &named);
    hide.extend(sockets.iter().flat_map(|path| mounts.names(path)));
    // What is at these places inside is the session's own, whatever the host has there.
    let own = [WORKLOAD_SOCKET, BUNDLE_FILE, EXTRA_FILE, TOKENS_DIRECTORY];
    hide.retain(|path| !own.iter().any(|own| Path::new(own).starts_with(path)));
    Ok(Order {
        who,
        profile: (contain.profile.name().to_owned(), contain.profile.text().to_owned()),
        socket: contain.workload_socket,
        tokens: contain.tokens_directory,
        work_dir: current_dir.clone(),
        current_dir,
        home,
        home_named: contain.home,
        runtime_dir: contain.runtime_dir,
        hide,
        terminals,
    })
}

/// A work directory is given whole. So it may not be one that holds what is hidden or made anew.
fn refuse(work: &Path, home: Option<&Path>, hide: &[PathBuf]) -> Result<(), ContainError> {
    let shown = work.display();
    let because = |why: String| Err(ContainError::WorkDir(format!("{shown} {why}; start in a directory of its own")));
    if work.parent().is_none() {
        return because("is everything".to_owned());
    }
    if let Some(home) = home
        && home.starts_with(work)
    {
        return because("holds your whole home, which a session must not see".to_owned());
    }
    if let Some(hidden) = hide.iter().find(|hidden| work.starts_with(hidden)) {
        return because(format!("lies in {}, which belongs to avouch", hidden.display()));
    }
    if let Some(made) = MADE.iter().find(|made| work.starts_with(made)) {
        return because(format!("lies in {made}, which every session has as its own"));
    }
    if let Some(shared) = WHOLE.iter().find(|shared| Path::new(shared).starts_with(work)) {
        return because(format!("holds {shared}"));
    }
    Ok(())
}

/// Whatever the environment names as home: those of the caller, of the id behind the session and of the directory's
/// owner are no work directories either, by whatever name.
fn refuse_homes(work: &Path, uid: u32, named: Option<&Path>, mounts: &Mounts) -> Result<(), ContainError> {
    let owner = std::fs::metadata(work).map_or(uid, |about| about.uid());
    let caller = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    for home in homes(&users, &[uid, owner, caller]).into_iter().chain(named.map(Path::to_owned)) {
        for name in mounts.names(&home.canonicalize().unwrap_or(home)) {
            refuse(work, Some(&name), &[])?;
        }
    }
    Ok(())
}

/// The homes of these users, but for those that are everything or a part of the system.
fn homes(users: &str, of: &[u32]) -> Vec<PathBuf> {
    let home = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let uid: u32 = fields.next()?.parse().ok()?;
        let home = PathBuf::from(fields.nth(2)?);
        (of.contains(&uid) && home.is_absolute() && home.parent().is_some()).then_some(home)
    };
    users.lines().filter_map(home).collect()
}

/// Every socket that somebody listens on in this network, but for those that the profile names: no network namespace
/// stops a socket that has a path.
fn sockets(listed: &str, named: &[PathBuf]) -> Vec<PathBuf> {
    let path = |line: &str| {
        // Six columns, an aligned number, and the path, which may hold spaces.
        let (_, path) = line.splitn(7, ' ').nth(6)?.trim_start().split_once(' ')?;
        let path = Path::new(path).canonicalize().ok()?;
        std::fs::symlink_metadata(&path).is_ok_and(|about| about.file_type().is_socket()).then_some(path)
    };
    let mut all: Vec<_> = listed.lines().filter(|line| line.contains(" /")).filter_map(path).collect();
    all.retain(|path| !named.contains(path));
    all.sort();
    all.dedup();
    all
}

/// Made anew for every session, and never the host's.
const MADE: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];
/// Nobody's own: what else is in there would be given too.
const WHOLE: [&str; 8] = ["/tmp", "/var/tmp", "/usr/bin", "/usr/lib", "/etc", "/var/lib", "/home", "/opt"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_of_the_host_is_hidden_but_for_those_that_are_named() {
        let place = tempfile::tempdir().unwrap();
        let [one, named] = ["a b", "named"].map(|name| place.path().canonicalize().unwrap().join(name));
        let _listening = [&one, &named].map(|path| std::os::unix::net::UnixListener::bind(path).unwrap());
        let listed = std::fs::read_to_string("/proc/net/unix").unwrap();
        let found = sockets(&listed, std::slice::from_ref(&named));
        assert!(found.contains(&one) && !found.contains(&named), "{found:?}");
        assert!(sockets(&listed, &[]).contains(&named));
        assert!(sockets("Num RefCount Protocol\n0: 1 0 0 1 1 9 @/abstract\n", &[]).is_empty());
    }

    #[test]
    fn homes_are_known_by_their_users_and_not_by_the_environment_alone() {
        let users = "root:x:0:0:,,:/root:/bin/sh\nann:x:7:7::/home/ann:/bin/sh\nany:x:8:8::/:/bin/false\nbob:x:9:9\n";
        assert_eq!(homes(users, &[7, 8, 9]), [Path::new("/home/ann")]);
        assert_eq!(homes(users, &[0, 7]).len(), 2);
        let home = homes(&std::fs::read_to_string("/etc/passwd").unwrap(), &[rustix::process::getuid().as_raw()]).pop();
        if let Some(home) = home.filter(|home| home.is_dir()) {
            let refused = refuse_homes(&home, 12_345, None, &Mounts::now().unwrap());
            assert!(matches!(refused, Err(ContainError::WorkDir(_))), "{}", home.display());
        }
    }

    #[test]
    fn a_work_directory_shows_nothing_that_is_hidden() {
        let hide = ["/home/ann/.local/state/avouch".into(), "/work/own/state".into()];
        let of = |work: &str| refuse(Path::new(work), Some(Path::new("/home/ann")), &hide);
        for work in ["/home/ann/src", "/tmp/x", "/srv", "/work/own", "/var/lib/jenkins/job", "/etc/nginx"] {
            assert!(of(work).is_ok(), "{work}");
        }
        for work in [
            "/",
            "/home",
            "/home/ann",
            "/home/ann/.local/state/avouch/spool",
            "/run/user/7",
            "/tmp",
            "/usr",
            "/var",
            "/proc/1",
        ] {
            assert!(matches!(of(work), Err(ContainError::WorkDir(_))), "{work}");
        }
    }
}
