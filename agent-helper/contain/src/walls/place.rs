//! Where a session works, and where it may not.

use super::order::Order;
use super::who::Who;
use super::{Contain, ContainError};
use std::path::{Path, PathBuf};

/// The session as the stages are told of it, with every path free of links.
pub(crate) fn settle(contain: Contain, who: Who, terminals: [bool; 3]) -> Result<Order, ContainError> {
    let bad = |path: &Path, error: std::io::Error| ContainError::WorkDir(format!("{}: {error}", path.display()));
    let current_dir = contain.work_dir.canonicalize().map_err(|error| bad(&contain.work_dir, error))?;
    let home = contain.home.as_deref().and_then(|home| home.canonicalize().ok()).or_else(|| contain.home.clone());
    // What cannot be followed to its end is hidden under the name it has.
    let hide: Vec<_> = contain.hide.into_iter().map(|path| path.canonicalize().unwrap_or(path)).collect();
    refuse(&current_dir, home.as_deref(), &hide)?;
    Ok(Order {
        who,
        profile: (contain.profile.name().to_owned(), contain.profile.text().to_owned()),
        socket: contain.workload_socket,
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

/// Made anew for every session, and never the host's.
const MADE: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];
/// Nobody's own: what else is in there would be given too.
const WHOLE: [&str; 8] = ["/tmp", "/var/tmp", "/usr/bin", "/usr/lib", "/etc", "/var/lib", "/home", "/opt"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_directory_shows_nothing_that_is_hidden() {
        let hide = ["/home/ann/.local/state/avouch".into(), "/work/own/state".into()];
        let of = |work: &str| refuse(Path::new(work), Some(Path::new("/home/ann")), &hide);
        for work in ["/home/ann/src", "/tmp/x", "/srv", "/work/own", "/var/lib/jenkins/job", "/etc/nginx"] {
            assert!(of(work).is_ok(), "{work}");
        }
        for work in
            ["/", "/home", "/home/ann", "/home/ann/.local/state/avouch/spool", "/run/user/7", "/tmp", "/usr", "/var", "/proc/1"]
        {
            assert!(matches!(of(work), Err(ContainError::WorkDir(_))), "{work}");
        }
    }
}
