//! The other names of a place: one file system can be mounted at many.

use std::path::{Path, PathBuf};

/// The mounts that this process sees.
#[derive(Debug)]
pub(crate) struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    device: String,
    /// What of the file system it shows.
    shows: PathBuf,
    at: PathBuf,
}

impl Mounts {
    /// Those that there are now.
    pub(crate) fn now() -> std::io::Result<Self> {
        Ok(Self::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    /// proc_pid_mountinfo(5): two numbers, the device, what it shows, where.
    fn parse(text: &[u8]) -> Self {
        let mount = |line: &[u8]| {
            let mut fields = line.split(|byte| *byte == b' ').skip(2);
            let device = String::from_utf8_lossy(fields.next()?).into_owned();
            Some(Mount { device, shows: plain(fields.next()?), at: plain(fields.next()?) })
        };
        Self(text.split(|byte| *byte == b'\n').filter_map(mount).collect())
    }

    /// Every name of what is at `path`, its own among them, and of what of it is mounted elsewhere.
    pub(crate) fn names(&self, path: &Path) -> Vec<PathBuf> {
        let mut names = vec![path.to_owned()];
        let of = self.0.iter().filter(|mount| path.starts_with(&mount.at));
        // Of several at one place the last is on top, and taken.
        let Some(of) = of.max_by_key(|mount| mount.at.components().count()) else { return names };
        let Ok(place) = path.strip_prefix(&of.at).map(|below| join(&of.shows, below)) else { return names };
        for mount in self.0.iter().filter(|mount| mount.device == of.device) {
            if let Ok(below) = place.strip_prefix(&mount.shows) {
                names.push(join(&mount.at, below));
            } else if mount.shows.starts_with(&place) {
                names.push(mount.at.clone());
            }
        }
        names.sort();
        names.dedup();
        names
    }
}

/// Without a slash at the end, which would make a directory of a file.
fn join(path: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { path.to_owned() } else { path.join(below) }
}

/// Spaces, tabs, line ends and backslashes are three octal digits behind a backslash.
fn plain(field: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = tail.first_chunk::<3>().filter(|_| *first == b'\\');
        match octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "20 1 254:0 / / rw - ext4 /dev/vda rw\n\
        21 20 254:0 /home/ann /mnt/a\\040b rw shared:1 - ext4 /dev/vda rw\n\
        22 20 254:0 /home/ann/state/keys /mnt/keys rw - ext4 /dev/vda rw\n\
        23 20 0:30 / /run rw - tmpfs tmpfs rw\n\
        24 20 0:31 / /data rw - ext4 /dev/vdb rw\n\
        25 20 0:31 /x /home/bob rw - ext4 /dev/vdb rw\n\
        26 20 0:32 / /top rw - tmpfs tmpfs rw\n\
        27 26 0:31 /y /top rw - ext4 /dev/vdb rw\n";

    #[test]
    fn a_place_has_a_name_in_every_mount_that_shows_it() {
        let mounts = Mounts::parse(MOUNTS.as_bytes());
        let names = |path: &str| -> Vec<String> {
            mounts.names(Path::new(path)).into_iter().map(|name| name.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("/home/ann/state"), ["/home/ann/state", "/mnt/a b/state", "/mnt/keys"]);
        assert_eq!(
            names("/mnt/a b/state/keys/one"),
            ["/home/ann/state/keys/one", "/mnt/a b/state/keys/one", "/mnt/keys/one"]
        );
        assert_eq!(names("/home/bob"), ["/data/x", "/home/bob"]);
        assert_eq!(names("/top/z"), ["/data/y/z", "/top/z"]);
        assert_eq!(names("/run/avouch"), ["/run/avouch"]);
        assert_eq!(names("/home/annabel"), ["/home/annabel"]);
    }
}
