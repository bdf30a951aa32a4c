//! Raw mode of the terminal on stdin, undone on every way out.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use std::io;
use std::sync::{Mutex, Once, PoisonError};

/// Puts the terminal right when it goes out of scope. A panic does so as well, where panics abort.
pub(crate) struct RawGuard;

impl RawGuard {
    pub(crate) fn new() -> Self {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                leave();
                before(info);
            }));
        });
        Self
    }
}

impl Drop for RawGuard {
    fn drop(&mut self) {
        leave();
    }
}

/// Raw mode, if this process is in the terminal's foreground; says whether it is.
pub(crate) fn enter() -> io::Result<bool> {
    if !in_foreground() {
        return Ok(false);
    }
    let mut saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner);
    if saved.is_none() {
        let usual = tcgetattr(io::stdin())?;
        let mut raw = usual.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        *saved = Some(usual);
    }
    Ok(true)
}

/// The mode that was found, if it was changed.
pub(crate) fn leave() {
    let mut saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(usual) = saved.take() {
        // Nothing is left to try where the terminal itself is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &usual);
    }
}

/// A terminal that is not this process's controlling one has no background.
pub(crate) fn in_foreground() -> bool {
    tcgetpgrp(io::stdin()).map_or(true, |group| group == rustix::process::getpgrp())
}

static SAVED: Mutex<Option<Termios>> = Mutex::new(None);
static HOOK: Once = Once::new();

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::termios::LocalModes;
    use std::process::{Command, Stdio};

    /// Says to the test below, when it is run again by the one after it, that it is to panic.
    const PANICS: &str = "AVOUCH_TEST_PANICS";

    #[test]
    fn panics_in_raw_mode_where_it_is_told_to() {
        if std::env::var_os(PANICS).is_none() {
            return;
        }
        // Where panics abort, nothing is dropped.
        std::mem::forget(RawGuard::new());
        assert!(enter().unwrap());
        if tcgetattr(io::stdin()).unwrap().local_modes.contains(LocalModes::ICANON) {
            std::process::exit(3);
        }
        panic!("on purpose");
    }

    #[test]
    fn a_panic_puts_the_terminal_right_before_anything_is_dropped() {
        let pair = nix::pty::openpty(None, None).unwrap();
        let before = tcgetattr(&pair.slave).unwrap();
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "terminal::tests::panics_in_raw_mode_where_it_is_told_to"]).env(PANICS, "1");
        again.stdin(Stdio::from(pair.slave.try_clone().unwrap())).stdout(Stdio::null()).stderr(Stdio::null());
        assert_eq!(again.status().unwrap().code(), Some(101));
        let after = tcgetattr(&pair.slave).unwrap();
        assert_eq!((after.local_modes, after.output_modes), (before.local_modes, before.output_modes));
    }
}
