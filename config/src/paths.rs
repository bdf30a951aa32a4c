//! Where files are. Every name is here once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The issuer's admin socket, in its runtime directory.
pub const ADMIN_SOCKET: &str = "admin.sock";
/// The SPIFFE Workload API, in the helper's runtime directory.
pub const WORKLOAD_SOCKET: &str = "workload.sock";
/// Where `avouch run` hands over a session's listener, in the helper's runtime directory.
pub const SESSION_SOCKET: &str = "session.sock";
/// The helper's own admin socket, in its runtime directory.
pub const HELPER_SOCKET: &str = "helper.sock";
/// Session roots as the issuer on the same host reads them, in the helper's runtime directory.
pub const ROOTS_DIR: &str = "roots";
/// The files of live sessions, in the helper's runtime directory.
pub const SESSIONS_DIR: &str = "sessions";
/// What a helper that starts again goes on with, in its runtime directory.
pub const CACHE_DIR: &str = "cache";
/// Marks of the newest files there, in the helper's state directory, if the service manager gives the cache's key.
pub const CACHE_MARKS_FILE: &str = "cache.marks";
/// The issuer's database, in its state directory.
pub const DATABASE_FILE: &str = "avouch.db";
/// The audit spool, in the helper's state directory.
pub const SPOOL_DIR: &str = "spool";
/// What sources are owed, in the helper's state directory.
pub const LEASES_FILE: &str = "leases";
/// The sealed store, in the helper's state directory.
pub const SEALED_DIR: &str = "sealed";

/// The places of a system or of one user. Each of the two parts has directories of its own below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Settings and key files.
    pub config: PathBuf,
    /// What survives a reboot.
    pub state: PathBuf,
    /// Sockets, and what does not survive a reboot.
    pub runtime: PathBuf,
    /// Where a supervisor put secrets for this process alone (`$CREDENTIALS_DIRECTORY`), if it did.
    pub credentials: Option<PathBuf>,
}

impl Paths {
    /// Those of the system: `/etc/avouch`, `/var/lib/avouch`, `/run/avouch`.
    pub fn system() -> Self {
        Self {
            config: "/etc/avouch".into(),
            state: "/var/lib/avouch".into(),
            runtime: "/run/avouch".into(),
            credentials: credentials(|name| std::env::var_os(name)),
        }
    }

    /// Those of the user who runs the program (XDG base directories); none without a home directory.
    pub fn user() -> Option<Self> {
        Self::of_user(|name| std::env::var_os(name), nix::unistd::geteuid().as_raw())
    }

    /// The system's for root, else the user's.
    pub fn of_caller() -> Option<Self> {
        if nix::unistd::geteuid().is_root() { Some(Self::system()) } else { Self::user() }
    }

    /// All below one directory.
    pub fn below(dir: &Path) -> Self {
        Self { config: dir.join("config"), state: dir.join("state"), runtime: dir.join("run"), credentials: None }
    }

    fn of_user(variable: impl Fn(&str) -> Option<OsString>, uid: u32) -> Option<Self> {
        // A relative path in an XDG variable is to be ignored (XDG Base Directory Specification).
        let dir = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = dir("HOME")?;
        let config = dir("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("avouch");
        let state = dir("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")).join("avouch");
        let runtime = dir("XDG_RUNTIME_DIR")
            .or_else(|| Some(PathBuf::from(format!("/run/user/{uid}"))).filter(|path| path.is_dir()))
            .map_or_else(|| state.join("run"), |path| path.join("avouch"));
        Some(Self { config, state, runtime, credentials: credentials(&variable) })
    }

    /// The issuer's settings.
    pub fn server_config(&self) -> PathBuf {
        self.config.join("server.toml")
    }

    /// The helper's settings.
    pub fn helper_config(&self) -> PathBuf {
        self.config.join("helper.toml")
    }

    /// The key that seals the issuer's authorities.
    pub fn server_seal_key(&self) -> PathBuf {
        self.given(SERVER_SEAL).unwrap_or_else(|| self.config.join("server-seal.key"))
    }

    /// The key that seals the helper's store of credentials.
    pub fn helper_seal_key(&self) -> PathBuf {
        self.given(HELPER_SEAL).unwrap_or_else(|| self.config.join("helper-seal.key"))
    }

    /// The join token that a supervisor gave, if it did.
    pub fn join_token(&self) -> Option<PathBuf> {
        self.given(JOIN_TOKEN)
    }

    fn given(&self, name: &str) -> Option<PathBuf> {
        let file = self.credentials.as_ref()?.join(name);
        file.is_file().then_some(file)
    }

    /// The issuer's state directory.
    pub fn server_state(&self) -> PathBuf {
        self.state.join("server")
    }

    /// The helper's state directory.
    pub fn helper_state(&self) -> PathBuf {
        self.state.join("helper")
    }

    /// The issuer's runtime directory.
    pub fn server_runtime(&self) -> PathBuf {
        self.runtime.join("server")
    }

    /// The helper's runtime directory.
    pub fn helper_runtime(&self) -> PathBuf {
        self.runtime.join("helper")
    }
}

fn credentials(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    variable("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// What the credentials are called in a unit (`LoadCredential=`).
const SERVER_SEAL: &str = "avouch.server-seal";
const HELPER_SEAL: &str = "avouch.helper-seal";
const JOIN_TOKEN: &str = "avouch.join-token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_places_follow_the_xdg_variables_that_are_absolute() {
        let set = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let paths = Paths::of_user(set(&[("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/run/user/7")]), 7).unwrap();
        assert_eq!(paths.helper_runtime(), Path::new("/run/user/7/avouch/helper"));
        assert_eq!(paths.server_state(), Path::new("/home/a/.local/share/avouch/server"));
        let paths = Paths::of_user(set(&[("HOME", "/home/a"), ("XDG_CONFIG_HOME", "relative")]), u32::MAX - 7).unwrap();
        assert_eq!(paths.server_config(), Path::new("/home/a/.config/avouch/server.toml"));
        assert_eq!(paths.runtime, Path::new("/home/a/.local/share/avouch/run"));
        assert_eq!(Paths::of_user(set(&[]), 7), None);
    }

    #[test]
    fn what_a_supervisor_gave_stands_for_what_lies_in_etc_and_only_if_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths { credentials: Some(dir.path().to_owned()), ..Paths::below(Path::new("/x")) };
        assert_eq!(paths.server_seal_key(), Path::new("/x/config/server-seal.key"));
        assert_eq!((paths.helper_seal_key(), paths.join_token()), ("/x/config/helper-seal.key".into(), None));
        for name in [SERVER_SEAL, HELPER_SEAL, JOIN_TOKEN] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        assert_eq!(paths.server_seal_key(), dir.path().join("avouch.server-seal"));
        assert_eq!(paths.helper_seal_key(), dir.path().join("avouch.helper-seal"));
        assert_eq!(paths.join_token(), Some(dir.path().join("avouch.join-token")));
        let relative = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| OsString::from("here"));
        assert_eq!(credentials(relative), None);
    }
}
