use super::*;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change};
use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::process::Command;

/// A folder that is not below /tmp, as that is the session's own.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let program = std::env::current_exe().expect("program");
        let root = tempfile::tempdir_in(program.parent().expect("folder")).expect("folder");
        for directory in ["work", "home/.cargo/registry", "home/.cargo/bin", "outside"] {
            fs::create_dir_all(root.path().join(directory)).expect("folder");
        }
        fs::write(root.path().join("outside/secret"), "secret").expect("file");
        fs::copy("/bin/true", root.path().join("outside/program")).expect("program");
        std::os::unix::fs::symlink(root.path().join("outside/secret"), root.path().join("work/link")).expect("link");
        Self { root }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// What `act` gives in a thread under the profile's rules.
    fn under<T: Send>(&self, profile: &str, act: impl FnOnce() -> T + Send) -> T {
        let profile = Profile::builtin(profile).expect("profile");
        let (work, home) = (self.path("work"), self.path("home"));
        let view = View { work: &work, home: &home, own: &[] };
        std::thread::scope(|scope| {
            let restricted = scope.spawn(|| {
                restrict(&profile, &view).expect("rules");
                act()
            });
            restricted.join().expect("thread")
        })
    }
}

fn refused<T>(done: io::Result<T>) -> bool {
    matches!(done, Err(error) if matches!(error.raw_os_error(), Some(libc_code) if [Errno::EACCES, Errno::EPERM, Errno::EXDEV].iter().any(|errno| *errno as i32 == libc_code)))
}

#[test]
fn a_session_in_work_reads_the_system_and_writes_its_own() {
    let place = Place::new();
    let at = |below: &str| place.path(below);
    place.under("work", || {
        assert!(fs::read("/etc/passwd").is_ok() && fs::read_dir("/").is_ok());
        assert!(Command::new("/bin/true").status().expect("a program of the system").success());
        for file in ["work/new", "home/new", "home/.cargo/registry/new"] {
            fs::write(at(file), "new").expect(file);
        }
        fs::rename(at("work/new"), at("home/moved")).expect("from its own to its own");
        assert!(tempfile::tempfile().is_ok() && fs::write("/dev/null", "nothing").is_ok());
        assert!(fs::write("/proc/self/comm", "name").is_ok());

        assert!(refused(fs::read(at("outside/secret"))));
        assert!(refused(fs::read(at("work/link"))), "through a link");
        assert!(refused(fs::write(at("outside/secret"), "x")) && refused(fs::write(at("outside/new"), "x")));
        assert!(refused(fs::hard_link(at("outside/secret"), at("work/hard"))), "by a hard link in");
        assert!(refused(fs::hard_link(at("home/moved"), at("outside/hard"))), "by a hard link out");
        assert!(refused(fs::rename(at("home/moved"), at("outside/moved"))));
        assert!(refused(fs::remove_file(at("outside/secret"))));
        assert!(refused(fs::OpenOptions::new().append(true).open("/etc/passwd")));
        assert!(refused(Command::new(at("outside/program")).status()));
    });
    assert!(Command::new(at("outside/program")).status().expect("the control").success());
    assert_eq!(fs::read_to_string(at("work/link")).expect("the control"), "secret");
}

#[test]
fn strict_writes_nothing_outside_tmp_and_open_has_no_file_rules() {
    let place = Place::new();
    let at = |below: &str| place.path(below);
    fs::write(at("work/there"), "there").expect("the control");
    place.under("strict", || {
        assert_eq!(fs::read_to_string(at("work/there")).expect("read"), "there");
        for file in ["work/new", "work/there", "home/new", "home/.cargo/bin/cargo", "outside/new"] {
            assert!(refused(fs::write(at(file), "new")), "{file}");
        }
        assert!(fs::OpenOptions::new().write(true).open("/dev/null").is_ok());
        fs::write(std::env::temp_dir().join(format!("avouch-{}", std::process::id())), "new").expect("below /tmp");
    });
    let _ = fs::remove_file(std::env::temp_dir().join(format!("avouch-{}", std::process::id())));
    place.under("open", || {
        assert!(fs::read(at("outside/secret")).is_ok() && fs::write(at("outside/new"), "new").is_ok());
    });
}

#[test]
fn file_rules_forbid_mounts_and_open_leaves_them_to_sandboxes() {
    let place = Place::new();
    let mount = || {
        // A mount namespace of this thread's own, so that nothing of it is seen outside.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
        mount_change("/", private)
            .and_then(|()| rustix::mount::mount("none", place.path("home"), "tmpfs", MountFlags::empty(), None))
            .map_err(|error| Errno::from_raw(error.raw_os_error()))
    };
    let without = std::thread::scope(|scope| scope.spawn(mount).join().expect("thread"));
    if without.is_err() {
        eprintln!("this host lets nobody mount here: no control");
        return;
    }
    assert_eq!(place.under("work", mount), Err(Errno::EPERM));
    assert_eq!(place.under("open", mount), Ok(()));
}

#[test]
fn scopes_end_signals_and_abstract_sockets_at_the_session() {
    if abi() < ABI::V6 {
        eprintln!("this kernel has no scopes of Landlock: nothing to show");
        return;
    }
    let place = Place::new();
    let name = format!("avouch-test-{}", std::process::id());
    let address = UnixAddr::new_abstract(name.as_bytes()).expect("address");
    let make = || socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).expect("socket");
    let outside = make();
    bind(outside.as_raw_fd(), &address).expect("bound");
    listen(&outside, nix::sys::socket::Backlog::new(4).expect("backlog")).expect("listening");
    let mut child = Command::new("sleep").arg("60").spawn().expect("a process outside");
    let process = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("pid"));
    let reach = || (connect(make().as_raw_fd(), &address), nix::sys::signal::kill(process, None));
    assert_eq!(reach(), (Ok(()), Ok(())), "the control");
    for profile in ["open", "work", "strict"] {
        assert_eq!(place.under(profile, reach), (Err(Errno::EPERM), Err(Errno::EPERM)), "{profile}");
    }
    child.kill().expect("ended");
    child.wait().expect("gone");
}

#[test]
fn what_a_profile_requires_is_refused_where_it_is_lacking() {
    let of = |name| Profile::builtin(name).expect("profile").kernel;
    assert!(matches!(used(&of("strict"), ABI::Unsupported), Err(LandlockError::Lacking(FILES))));
    let found = |profile, abi| used(&of(profile), abi).expect(profile);
    assert_eq!(found("strict", ABI::V5), Used { files: true, scopes: false, lacking: vec![SCOPES] });
    assert_eq!(found("work", ABI::Unsupported), Used { files: false, scopes: false, lacking: vec![FILES, SCOPES] });
    assert_eq!(found("open", ABI::V6), Used { files: false, scopes: true, lacking: vec![] });
    let mut scopes = of("work");
    scopes.scopes = Want::Required;
    assert!(matches!(used(&scopes, ABI::V5), Err(LandlockError::Lacking(SCOPES))));
}
