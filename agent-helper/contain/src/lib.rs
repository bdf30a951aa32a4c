//! How `avouch run` launches a program: with an environment that leads it to the helper, a terminal of its own if
//! there is one, its signals and exit code passed on, and nothing left behind when it ends. Knows no secret and
//! asks nobody for anything.
//!
//! The steps that have to happen between fork and exec are taken by the program's own file, started again with
//! [`STAGE`] as its first argument: so nothing runs in a forked copy of a process, and no unsafe code is needed.

mod environment;
mod explain;
mod git;
mod harden;
mod host;
mod keyring;
mod landlock;
mod launch;
mod limits;
mod profile;
mod pty;
mod reap;
mod seal;
mod seccomp;
mod secrets;
mod signals;
mod stage;
mod terminal;
mod walls;

pub use environment::{Scrubbed, SessionEnvironment, child_environment, scrub, session_names};
pub use explain::{Reach, explain, reach};
pub use harden::{Hardened, harden};
pub use host::{Ability, Found, Host};
pub use launch::{Launch, LaunchError, Watch, launch};
pub use profile::{Access, Limits, Profile, ProfileError, Size};
pub use reap::{adopt_orphans, end_descendants};
pub use secrets::{looks_like_secret, secret_shape};
pub use stage::{STAGE, bound_to_parent, stage};
pub use walls::{
    BUNDLE_FILE, Contain, ContainError, EXTRA_FILE, Prepared, SessionFiles, TOKENS_DIRECTORY, WORKLOAD_SOCKET, prepare,
};

/// Exit code for a session whose time was over, as `timeout` gives it.
pub const TIMED_OUT: u8 = 124;
/// Exit code for a program that was found and could not be started, as shells give it.
pub const CANNOT_EXECUTE: u8 = 126;
/// Exit code for a program that was not found, as shells give it.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended a program, as shells do.
pub const SIGNALLED: u8 = 128;
