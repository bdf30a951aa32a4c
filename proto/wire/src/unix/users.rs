//! Which users have a number of their own here. In a user namespace that maps only some, the kernel shows all others with
//! one number, the overflow uid: it is nobody's, and nothing may match it. Where every user is mapped, the same number is
//! a user like any other.

use std::fs;
use std::sync::LazyLock;

/// Whether this uid, as the kernel showed it to us, may stand for users that our user namespace does not map.
pub fn is_unmapped(uid: u32) -> bool {
    *UID == Some(uid)
}

/// The same of a gid.
pub fn is_unmapped_group(gid: u32) -> bool {
    *GID == Some(gid)
}

/// The number that stands for many, if the map leaves any out. Of a map that cannot be read nothing is believed.
fn shared(map: Option<&str>, overflow: Option<&str>) -> Option<u32> {
    let is_whole = map.is_some_and(|map| {
        let counts =
            map.lines().map(|line| line.split_ascii_whitespace().nth(2).and_then(|count| count.parse::<u64>().ok()));
        counts.sum::<Option<u64>>() == Some(EVERY_ID)
    });
    let overflow = overflow.and_then(|number| number.trim().parse().ok()).unwrap_or(USUAL_OVERFLOW);
    (!is_whole).then_some(overflow)
}

fn read(map: &str, overflow: &str) -> Option<u32> {
    shared(fs::read_to_string(map).ok().as_deref(), fs::read_to_string(overflow).ok().as_deref())
}

/// A process's map is written once, before it can do anything as somebody.
static UID: LazyLock<Option<u32>> = LazyLock::new(|| read("/proc/self/uid_map", "/proc/sys/kernel/overflowuid"));
static GID: LazyLock<Option<u32>> = LazyLock::new(|| read("/proc/self/gid_map", "/proc/sys/kernel/overflowgid"));
/// All but 2³²-1, which means "none".
const EVERY_ID: u64 = u32::MAX as u64;
const USUAL_OVERFLOW: u32 = 65534;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overflow_uid_is_nobody_where_some_users_are_not_mapped_and_a_user_elsewhere() {
        let whole = "         0          0 4294967295\n";
        assert_eq!(shared(Some(whole), Some("65534\n")), None);
        assert_eq!(shared(Some("0 0 1000\n1000 1000 4294966295\n"), Some("65534\n")), None, "whole in two lines");
        for part in ["0 1000 1\n", "0 100000 65536\n", "0 0 4294967294\n", "", "nonsense"] {
            assert_eq!(shared(Some(part), Some("65534\n")), Some(65534), "{part:?}");
        }
        assert_eq!(shared(Some("0 0 1\n"), Some("60001\n")), Some(60001), "an administrator may choose it");
        assert_eq!(shared(None, None), Some(65534), "what cannot be read is not believed");
    }
}
