//! The clock is an argument: code that reads the time takes one of these.

use std::fmt;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Millis(pub i64);

impl Millis {
    /// Later by so much.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How far it is from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// What the time is. Wall time names moments to others; boot time measures ages, and goes on while the machine
/// is suspended (`CLOCK_BOOTTIME`).
pub trait Clock: Send + Sync {
    /// Wall time.
    fn now(&self) -> Millis;
    /// Time since the machine was started, suspension included.
    fn boot(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the ambient clock enters")]
    fn now(&self) -> Millis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not a test of its own: tells the boot time of the time namespace that it is in.
    #[test]
    fn in_another_time_namespace() {
        if std::env::var_os("TEST_TELL_BOOT").is_some() {
            println!("boot:{}", SystemClock.boot().as_secs());
        }
    }

    /// Only the boot clock is moved there, as a suspension moves it: a clock that stands still meanwhile would not show it.
    #[test]
    fn age_is_read_from_the_clock_that_goes_on_while_the_machine_is_suspended() {
        if !rustix::process::geteuid().is_root() {
            println!("not run: needs root");
            return;
        }
        let moved = std::process::Command::new("unshare")
            .args(["--time", "--boottime", "5000"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "clock::tests::in_another_time_namespace", "--nocapture"])
            .env("TEST_TELL_BOOT", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&moved.stdout);
        let there = said.lines().find_map(|line| line.split_once("boot:")?.1.parse::<u64>().ok());
        let there = Duration::from_secs(there.unwrap_or_else(|| panic!("{moved:?}")));
        assert!(there >= Duration::from_secs(4_990) + SystemClock.boot(), "{there:?}");
    }
}
