//! A cgroup of the session's own, where the hierarchy above is ours to divide.

use crate::profile::Limits;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A cgroup with the session's first process in it. Dropping it ends whatever is in it, and removes it.
#[derive(Debug)]
pub(crate) struct Group {
    directory: PathBuf,
}

impl Group {
    /// Puts a process that has no children yet, and with it all that it will have, into a cgroup of its own. The error is
    /// a sentence for people.
    pub(crate) fn around(process: u32, limits: &Limits) -> Result<Self, String> {
        let read = |file| fs::read_to_string(file).map_err(|error| format!("{file} cannot be read: {error}"));
        let own = own_directory(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)?;
        Self::below(&own, process, limits)
    }

    /// Whether [`Group::around`] would find a place; the error says why not.
    pub(crate) fn place() -> Result<PathBuf, String> {
        let read = |file| fs::read_to_string(file).map_err(|error| format!("{file} cannot be read: {error}"));
        let own = own_directory(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)?;
        let place = divided(&own).ok_or_else(|| NOT_DIVIDED.to_owned())?;
        rustix::fs::access(&place, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .and_then(|()| rustix::fs::access(place.join(PROCESSES), rustix::fs::Access::WRITE_OK))
            .map_err(|error| not_ours(&place, &error.into()))?;
        Ok(place)
    }

    /// A cgroup with processes in it cannot be divided (but for the root of all), so it is the one above that may hold
    /// another.
    fn below(own: &Path, process: u32, limits: &Limits) -> Result<Self, String> {
        let place = divided(own).ok_or_else(|| NOT_DIVIDED.to_owned())?;
        let directory = place.join(format!("avouch-{process}"));
        // Left by a `run` that was killed: its processes are dead, or this number would not be another's now.
        let _ = fs::remove_dir(directory.join(INSIDE)).and_then(|()| fs::remove_dir(&directory));
        fs::create_dir(&directory).map_err(|error| not_ours(&place, &error))?;
        let group = Self { directory };
        fs::create_dir(group.directory.join(INSIDE)).map_err(|error| not_ours(&place, &error))?;
        group.settle(process, limits).map_err(|error| not_ours(&place, &error))?;
        Ok(group)
    }

    fn settle(&self, process: u32, limits: &Limits) -> io::Result<()> {
        self.write("memory.max", &limits.memory.bytes().to_string())?;
        self.write("pids.max", &limits.processes.to_string())?;
        // Not there on a kernel without swap accounting.
        let _ = self.write("memory.swap.max", "0");
        // One below: the group that a session is in is the top of what it can mount of them, where it may mount, and its
        // own user's. Above that it changes nothing.
        self.write(&format!("{INSIDE}/{PROCESSES}"), &process.to_string())
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.directory.join(file), text)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            // From Linux 5.14 on; whatever is in there ends with its pid namespace in any case.
            let _ = self.write("cgroup.kill", "1");
            let _ = fs::remove_dir(self.directory.join(INSIDE));
            if !matches!(fs::remove_dir(&self.directory), Err(error) if error.kind() == io::ErrorKind::ResourceBusy) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// The directory of this process's cgroup in the v2 hierarchy.
fn own_directory(mounts: &str, own: &str) -> Result<PathBuf, String> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or(NO_V2)?;
    let (root, place) = mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter(|(_, kind)| kind.starts_with("cgroup2 "))
        .find_map(|(line, _)| {
            let mut fields = line.split(' ').skip(3);
            Some((fields.next()?, fields.next()?))
        })
        .ok_or(NO_V2)?;
    let below = Path::new(path).strip_prefix(root).map_err(|_| NOT_DIVIDED)?;
    Ok(Path::new(place).join(below))
}

/// Where a sibling of `own`, or a child, has the controllers that the limits need.
fn divided(own: &Path) -> Option<PathBuf> {
    [Some(own), own.parent()].into_iter().flatten().find(|place| has_controllers(place)).map(Path::to_owned)
}

fn has_controllers(place: &Path) -> bool {
    let given = fs::read_to_string(place.join("cgroup.subtree_control")).unwrap_or_default();
    CONTROLLERS.iter().all(|needed| given.split_whitespace().any(|one| one == *needed))
}

fn not_ours(place: &Path, error: &io::Error) -> String {
    format!("no cgroup can be made below {}: {error}", place.display())
}

const CONTROLLERS: [&str; 2] = ["memory", "pids"];
const PROCESSES: &str = "cgroup.procs";
/// The group of the session's processes, in the one that has the limits.
const INSIDE: &str = "session";
const NO_V2: &str = "there is no cgroup v2 here";
const NOT_DIVIDED: &str = "the cgroup above this process gives no memory and pids controllers";
/// A cgroup can be removed once its last process is reaped: half a second at most.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Size;

    const LIMITS: Limits = Limits {
        memory: Size::Bytes(512 << 20),
        scratch: Size::Bytes(1),
        processes: 64,
        files: 64,
        file_size: Size::Bytes(1),
        wall_time: None,
    };

    #[test]
    fn the_own_cgroup_is_found_wherever_v2_is_mounted() {
        let line = |root, place, kind| format!("35 24 0:30 {root} {place} rw,nosuid shared:9 - {kind} cgroup2 rw\n");
        let v1 = line("/", "/sys/fs/cgroup/memory", "cgroup");
        let of = |root, place, own: &str| own_directory(&(v1.clone() + &line(root, place, "cgroup2")), own);
        let path = PathBuf::from;
        let scope = "0::/user.slice/session-1.scope\n";
        assert_eq!(of("/", "/sys/fs/cgroup", scope), Ok(path("/sys/fs/cgroup/user.slice/session-1.scope")));
        assert_eq!(of("/", "/sys/fs/cgroup/unified", "1:cpu:/x\n0::/\n"), Ok(path("/sys/fs/cgroup/unified")));
        assert_eq!(of("/user.slice", "/cg", scope), Ok(path("/cg/session-1.scope")));
        assert_eq!(of("/other", "/cg", scope), Err(NOT_DIVIDED.to_owned()));
        assert_eq!(own_directory(&v1, scope), Err(NO_V2.to_owned()));
        assert_eq!(own_directory(&v1, "1:memory:/\n"), Err(NO_V2.to_owned()));
    }

    #[test]
    fn a_group_lies_beside_its_maker_with_the_limits_and_ends_whoever_is_left() {
        let root = tempfile::tempdir().expect("folder");
        let own = root.path().join("app.slice/shell.scope");
        fs::create_dir_all(&own).expect("folder");
        assert_eq!(Group::below(&own, 7, &LIMITS).expect_err("not divided"), NOT_DIVIDED);
        fs::write(root.path().join("app.slice/cgroup.subtree_control"), "cpu memory\n").expect("file");
        assert_eq!(Group::below(&own, 7, &LIMITS).expect_err("no pids"), NOT_DIVIDED);
        fs::write(root.path().join("app.slice/cgroup.subtree_control"), "cpu memory pids\n").expect("file");
        let directory = root.path().join("app.slice/avouch-7");
        fs::create_dir_all(directory.join(INSIDE)).expect("left by a run that was killed");
        let group = Group::below(&own, 7, &LIMITS).expect("a group");
        let read = |file| fs::read_to_string(directory.join(file)).expect(file);
        assert_eq!([read("memory.max"), read("pids.max"), read("session/cgroup.procs")], ["536870912", "64", "7"]);
        drop(group);
        assert_eq!(read("cgroup.kill"), "1", "whoever is left is ended");
    }
}
