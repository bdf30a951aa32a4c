//! What `/proc` says of a process.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The fields of `/proc/PID/stat` that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// Z and X are processes that have ended.
    pub state: u8,
    /// As our PID namespace sees it; 0 for none.
    pub parent: i32,
    /// Clock ticks after boot.
    pub start_time: u64,
}

impl Stat {
    pub fn of(pid: i32) -> io::Result<Self> {
        let text = read_bounded(&format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The command name may hold anything, also spaces and parentheses: what follows the last `)` is the kernel's own
    /// (U09).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let after = text.iter().rposition(|byte| *byte == b')')? + 1;
        let rest = std::str::from_utf8(&text[after..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let [state] = fields.next()?.as_bytes() else {
            return None;
        };
        let parent = fields.next()?.parse().ok()?;
        // Fields 3 and 4 are read; start time is field 22.
        let start_time = fields.nth(17)?.parse().ok()?;
        Some(Self { state: *state, parent, start_time })
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// The effective uid and gid, which are what the kernel gives for a socket's peer.
pub(super) fn effective_ids(pid: i32) -> io::Result<(u32, u32)> {
    let text = read_bounded(&format!("/proc/{pid}/status"))?;
    let effective = |name: &str| -> Option<u32> {
        let line = std::str::from_utf8(&text).ok()?.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    effective("Uid:").zip(effective("Gid:")).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The process that a pidfd holds: 0 if it is in a PID namespace that we do not see, negative once it is reaped; none
/// if the descriptor is no pidfd. Only the kernel gives names that begin so: a file's begins with a slash.
pub(super) fn pid_behind(descriptor: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let number = descriptor.as_raw_fd();
    let name = fs::read_link(format!("/proc/self/fd/{number}"))?;
    let name = name.as_os_str().as_encoded_bytes();
    if name != b"anon_inode:[pidfd]" && !name.starts_with(b"pidfd:[") {
        return Ok(None);
    }
    let text = read_bounded(&format!("/proc/self/fdinfo/{number}"))?;
    let line = std::str::from_utf8(&text).ok().and_then(|text| text.lines().find_map(|line| line.strip_prefix("Pid:")));
    Ok(line.and_then(|pid| pid.trim().parse().ok()))
}

/// The cgroup in the unified hierarchy (version 2); none where the process is in none.
pub(super) fn cgroup(pid: i32) -> io::Result<Option<String>> {
    let text = read_bounded(&format!("/proc/{pid}/cgroup"))?;
    let text = std::str::from_utf8(&text).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned))
}

/// The inode of the PID namespace that this process is in: pids mean something only beside it.
pub(super) fn own_pid_namespace() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

fn read_bounded(path: &str) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut text = Vec::with_capacity(1024);
    fs::File::open(path)?.take(MAX_PROC_FILE).read_to_end(&mut text)?;
    Ok(text)
}

/// More than any of these files holds.
const MAX_PROC_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// U09: a command name that looks like the end of itself.
    #[test]
    fn the_command_name_does_not_break_the_reading() {
        let rest = "S 7 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        for name in ["sleep", "a) S 1 (", ") Z 0", "a b c", ")))", "\n", "\u{e9}"] {
            let stat = Stat::parse(format!("12 ({name}) {rest}").as_bytes()).unwrap();
            assert_eq!(stat, Stat { state: b'S', parent: 7, start_time: 4242 }, "{name}");
        }
        let not_utf8 = [b"12 (\xff\xfe) ".as_slice(), rest.as_bytes()].concat();
        assert_eq!(Stat::parse(&not_utf8).unwrap().start_time, 4242);
        for bad in ["", "12 (x", "12 (x)", "12 (x) S", "12 (x) S 7 1 1", "12 (x) SS 7", "12 (x) S seven"] {
            assert_eq!(Stat::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
