//! A folder with all that the attempts need, owned by the caller, and the caller's part started in it.

use crate::corpus::PROFILES;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An account that all distributions have and nobody uses, so that tools which look theirs up work; not nobody, which a
/// contained session is never given.
const ACCOUNT: &str = "games";
/// Where there is no such account, a uid that none has.
const USER: u32 = 54_321;
const PATHS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The attacker's program, and what watches it.
const PARTS: [(&str, &str); 11] = [
    ("attack.py", include_str!("attack/attack.py")),
    ("common.py", include_str!("attack/common.py")),
    ("compat.c", include_str!("attack/compat.c")),
    ("files.py", include_str!("attack/files.py")),
    ("kernel.py", include_str!("attack/kernel.py")),
    ("mounts.py", include_str!("attack/mounts.py")),
    ("net.py", include_str!("attack/net.py")),
    ("outside.py", include_str!("attack/outside.py")),
    ("own.py", include_str!("attack/own.py")),
    ("preload.c", include_str!("attack/preload.c")),
    ("processes.py", include_str!("attack/processes.py")),
];
const TERMINAL: (&str, &str) = ("terminal.py", include_str!("attack/terminal.py"));

/// Limits that an attempt can reach without harm to the machine.
const TIGHT: &str = "from = \"work\"\nabout = \"small limits\"\n[limits]\nmemory = \"1GiB\"\nscratch = \"64MiB\"\nprocesses = 200\nfiles = 512\n";

/// Prepares everything, runs the caller's part, and takes everything away. True if nothing got out.
pub fn run(caller: &str, chosen: &[&str]) -> io::Result<bool> {
    let root = rustix::process::geteuid().is_root();
    if caller == "root" && !root {
        return Err(io::Error::other("only root calls as root"));
    }
    let base = Base::make(if root { Path::new("/home").into() } else { home()? })?;
    base.fill()?;
    let other = (caller == "user" && root).then(user);
    let runtime = Runtime::make(other)?;
    if let Some(uid) = other {
        base.for_root_alone()?;
        base.give_to(uid)?;
    }
    let mut command = Command::new(if other.is_some() { "setpriv" } else { "env" });
    if let Some(uid) = other {
        command.args(["--reuid", &uid.to_string(), "--regid", &uid.to_string(), "--clear-groups", "env"]);
    }
    let at = base.path.display();
    command.args(["-i", &format!("PATH={PATHS}"), "LANG=C.UTF-8"]);
    command.args([format!("HOME={at}/home"), format!("TMPDIR={at}/tmp"), format!("XDG_CONFIG_HOME={at}/config")]);
    if let Some(path) = &runtime.path {
        command.arg(format!("XDG_RUNTIME_DIR={}", path.display()));
    }
    command.arg(base.path.join("bin/avouch-escapes")).args(["inner", caller]).arg(&base.path).args(chosen);
    Ok(command.current_dir(base.path.join("home")).status()?.success())
}

fn user() -> u32 {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |line: &str| line.strip_prefix(ACCOUNT)?.split(':').nth(2)?.parse().ok();
    accounts.lines().find_map(of).unwrap_or(USER)
}

fn home() -> io::Result<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).ok_or_else(|| io::Error::other("HOME is not set"))
}

struct Base {
    path: PathBuf,
}

impl Base {
    fn make(below: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&below)?;
        let path = tempfile::Builder::new().prefix("avouch-escapes-").tempdir_in(below)?.keep();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self { path })
    }

    fn fill(&self) -> io::Result<()> {
        for folder in ["bin", "home", "tmp", "corpus", "config/avouch/profiles"] {
            fs::create_dir_all(self.path.join(folder))?;
        }
        let own = std::env::current_exe()?;
        fs::copy(own.with_file_name("avouch"), self.path.join("bin/avouch"))?;
        fs::copy(&own, self.path.join("bin/avouch-escapes"))?;
        for (name, text) in PARTS.into_iter().chain([TERMINAL]) {
            fs::write(self.path.join("corpus").join(name), text)?;
        }
        fs::write(self.path.join("config/avouch/profiles/tight.toml"), TIGHT)?;
        let mut random = [0; 8];
        fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let value = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        fs::write(self.path.join("canary"), format!("canary-{value}"))
    }

    /// What only root can put into a work directory.
    fn for_root_alone(&self) -> io::Result<()> {
        for place in ["outside"].into_iter().chain(PROFILES) {
            let work = self.path.join("home").join(format!("work-{place}"));
            fs::create_dir(&work)?;
            fs::copy("/bin/cat", work.join("cat-as-root"))?;
            fs::copy(self.path.join("canary"), work.join("for-root-alone"))?;
            Command::new("mknod").arg(work.join("kmsg-made-before")).args(["-m", "666", "c", "1", "11"]).status()?;
        }
        Ok(())
    }

    /// Gives everything to the caller but what is root's on purpose.
    fn give_to(&self, uid: u32) -> io::Result<()> {
        let mut left = vec![self.path.clone()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(fs::read_dir(&path)?.flatten().map(|entry| entry.path()));
            }
            match path.file_name().and_then(|name| name.to_str()) {
                Some("cat-as-root") => fs::set_permissions(&path, fs::Permissions::from_mode(0o4755))?,
                Some("for-root-alone") => fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?,
                _ => chown(&path, Some(uid), Some(uid))?,
            }
        }
        Ok(())
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        // The control of one case is a mount.
        let mounted = self.path.join("home/work-outside/propagated");
        if fs::read_to_string("/proc/self/mountinfo").is_ok_and(|all| all.contains(&*mounted.to_string_lossy())) {
            Command::new("umount").arg(mounted).status().ok();
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{} is left: {error}", self.path.display());
        }
    }
}

/// The caller's runtime directory, where this host has one or lets one be made.
struct Runtime {
    path: Option<PathBuf>,
    made: bool,
}

impl Runtime {
    fn make(other: Option<u32>) -> io::Result<Self> {
        let own = rustix::process::geteuid();
        let uid = other.unwrap_or(own.as_raw());
        let path = PathBuf::from(format!("/run/user/{uid}"));
        if path.is_dir() {
            return Ok(Self { path: Some(path), made: false });
        }
        if !own.is_root() {
            return Ok(Self { path: std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), made: false });
        }
        fs::create_dir_all("/run/user")?;
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        chown(&path, Some(uid), Some(uid))?;
        Ok(Self { path: Some(path), made: true })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let (true, Some(path)) = (self.made, &self.path) {
            fs::remove_dir_all(path).ok();
        }
    }
}
