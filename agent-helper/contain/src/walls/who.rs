//! Which host id stands behind a session. Never root's.

use super::ContainError;
use std::fs;
use std::io::Read as _;

/// The host's ids of a session's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Another id than the caller's, which only root can give.
    pub(crate) other: bool,
}

/// What the choice depends on.
#[derive(Debug)]
struct Caller<'a> {
    uid: u32,
    gid: u32,
    asked: Option<u32>,
    sudo: Option<(u32, Option<u32>)>,
    users: &'a str,
}

impl Who {
    /// The caller's own id; for root the one asked for, else the one that called `sudo`, else one that nobody has.
    pub(crate) fn settle(asked: Option<u32>) -> Result<Self, ContainError> {
        let number = |name| std::env::var(name).ok()?.parse().ok();
        let caller = Caller {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            asked,
            sudo: number("SUDO_UID").map(|uid| (uid, number("SUDO_GID"))),
            users: &fs::read_to_string("/etc/passwd").unwrap_or_default(),
        };
        match settled(&caller)? {
            Some(who) => Ok(who),
            None => unused(caller.users),
        }
    }

    /// Whether no process outside the session has that id.
    pub(crate) fn is_nobodys(self) -> bool {
        (FIRST_UNUSED..=LAST_UNUSED).contains(&self.uid)
    }
}

/// `None` for an id that nobody has.
fn settled(caller: &Caller<'_>) -> Result<Option<Who>, ContainError> {
    if caller.uid != ROOT {
        return match caller.asked {
            Some(uid) if uid != caller.uid => Err(ContainError::NoId(format!(
                "only root can give a session another id than its own, {uid} was asked for"
            ))),
            _ => Ok(Some(Who { uid: caller.uid, gid: caller.gid, other: false })),
        };
    }
    let (uid, gid) = match (caller.asked, caller.sudo) {
        (Some(uid), Some((sudo, gid))) if uid == sudo => (uid, gid),
        (Some(uid), _) => (uid, None),
        (None, Some((uid, gid))) if uid != ROOT => (uid, gid),
        (None, _) => return Ok(None),
    };
    if uid == ROOT {
        return Err(ContainError::NoId("0 was asked for".to_owned()));
    }
    let gid = gid.filter(|gid| *gid != ROOT).or_else(|| group_of(caller.users, uid)).unwrap_or(uid);
    Ok(Some(Who { uid, gid, other: true }))
}

/// The user's own group, unless it is root's.
fn group_of(users: &str, uid: u32) -> Option<u32> {
    let uid = uid.to_string();
    users
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':').skip(2);
            (fields.next()? == uid).then(|| fields.next()?.parse().ok())?
        })
        .filter(|gid| *gid != ROOT)
}

/// An id that no user and no process has, above every range that is handed out elsewhere.
fn unused(users: &str) -> Result<Who, ContainError> {
    let refused = |why: &str| ContainError::NoId(why.to_owned());
    let taken = processes();
    let mut random = fs::File::open("/dev/urandom").map_err(|_| refused("there is no /dev/urandom"))?;
    for _ in 0..TRIES {
        let mut bytes = [0; 4];
        random.read_exact(&mut bytes).map_err(|_| refused("/dev/urandom gives nothing"))?;
        let uid = FIRST_UNUSED + u32::from_ne_bytes(bytes) % (LAST_UNUSED - FIRST_UNUSED + 1);
        if is_mapped(uid) && !taken.contains(&uid) && group_of(users, uid).is_none() {
            return Ok(Who { uid, gid: uid, other: true });
        }
    }
    Err(refused("this place has no unused ids"))
}

/// Whether this user namespace has that id at all.
fn is_mapped(uid: u32) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        matches!(numbers[..], [first, _, count] if (first..first + count).contains(&u64::from(uid)))
    })
}

/// The ids of every process.
fn processes() -> Vec<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.metadata().ok()).map(|about| about.uid()).collect()
}

const ROOT: u32 = 0;
/// Above what systemd gives to its containers (524288 to 1879048191), and below what is no id for a signed number.
pub(crate) const FIRST_UNUSED: u32 = 1_879_048_192;
const LAST_UNUSED: u32 = 2_147_483_647;
const TRIES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\nodd:x:1003:0::/:/bin/sh\n";

    fn of(uid: u32, asked: Option<u32>, sudo: Option<(u32, Option<u32>)>) -> Result<Option<Who>, ContainError> {
        settled(&Caller { uid, gid: uid, asked, sudo, users: USERS })
    }

    #[test]
    fn an_ordinary_caller_is_itself_and_nobody_else() {
        let own = Some(Who { uid: 1000, gid: 1000, other: false });
        assert_eq!(of(1000, None, Some((7, None))).unwrap(), own);
        assert_eq!(of(1000, Some(1000), None).unwrap(), own);
        assert!(of(1000, Some(1002), None).is_err());
        assert!(of(1000, Some(0), None).is_err());
    }

    #[test]
    fn root_is_never_root_inside() {
        let other = |uid, gid| Some(Who { uid, gid, other: true });
        assert_eq!(of(0, Some(1000), None).unwrap(), other(1000, 1001));
        assert_eq!(of(0, Some(1002), Some((1000, Some(5)))).unwrap(), other(1002, 1002));
        assert_eq!(of(0, None, Some((1000, Some(1005)))).unwrap(), other(1000, 1005));
        assert_eq!(of(0, None, Some((1003, Some(0)))).unwrap(), other(1003, 1003), "nor has it root's group");
        assert_eq!(of(0, None, Some((0, Some(0)))).unwrap(), None);
        assert_eq!(of(0, None, None).unwrap(), None);
        assert!(matches!(of(0, Some(0), None), Err(ContainError::NoId(_))));
    }

    #[test]
    fn an_unused_id_lies_where_nobody_hands_out_any() {
        if let Ok(who) = unused(USERS) {
            assert!((FIRST_UNUSED..=LAST_UNUSED).contains(&who.uid) && who.uid == who.gid);
        }
    }
}
