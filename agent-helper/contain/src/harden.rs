//! What `run` does to itself before it asks for a session.

use nix::sys::prctl;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// This process leaves no core file, cannot be read by its neighbours, and takes in every orphan below it. Holds
/// the core limit that the program shall get back.
#[derive(Debug)]
pub struct Hardened {
    core: Option<u64>,
}

impl Hardened {
    /// The soft core limit that was in force before; `None` for no limit.
    pub(crate) fn core(&self) -> Option<u64> {
        self.core
    }
}

/// Makes this process undumpable, with a core limit of 0, and a child subreaper: processes below it whose parent
/// ends stay below it, so that they can be told from others for as long as they live.
pub fn harden() -> io::Result<Hardened> {
    prctl::set_dumpable(false)?;
    crate::adopt_orphans()?;
    let before = getrlimit(Resource::Core);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: before.maximum })?;
    Ok(Hardened { core: before.current })
}
