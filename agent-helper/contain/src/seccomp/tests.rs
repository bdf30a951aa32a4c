#![expect(unsafe_code, reason = "calls by number what no library lets one call wrongly")]

use super::*;
use crate::Profile;
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

type Arguments = [usize; 5];

/// No pointer, no descriptor, no valid number.
const BAD: usize = usize::MAX;

fn call(number: i64, arguments: Arguments) -> Result<i64, Errno> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the tests pass pointers that live on, or none that the kernel could follow.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, 0_usize) })
}

/// What `act` gives without the filter, and in a thread that has it.
fn both<T: Send>(profile: &str, act: impl Fn() -> T + Sync) -> (T, T) {
    let without = std::thread::scope(|scope| scope.spawn(&act).join().expect("without"));
    (without, with(profile, act))
}

/// What `act` gives in a thread that has the filter, for what must not be done without.
fn with<T: Send>(profile: &str, act: impl Fn() -> T + Sync) -> T {
    let kernel = Profile::builtin(profile).expect("profile").kernel;
    std::thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            install(&kernel).expect("filter");
            act()
        });
        filtered.join().expect("thread")
    })
}

fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn pointer(path: &CString) -> usize {
    path.as_ptr() as usize
}

#[test]
fn what_is_on_the_list_is_refused_in_every_profile() {
    let eperm: &[(i64, Arguments)] = &[
        (libc::SYS_add_key, [0; 5]),
        (libc::SYS_request_key, [0; 5]),
        (libc::SYS_keyctl, [9999, 0, 0, 0, 0]),
        (libc::SYS_bpf, [BAD, 0, 0, 0, 0]),
        (libc::SYS_perf_event_open, [1, 0, 0, 0, 0]),
        (libc::SYS_userfaultfd, [BAD, 0, 0, 0, 0]),
        (libc::SYS_init_module, [0, 0, 1, 0, 0]),
        (libc::SYS_finit_module, [BAD, 1, 0, 0, 0]),
        (libc::SYS_delete_module, [1, 0, 0, 0, 0]),
        (libc::SYS_kexec_load, [0, BAD, 0, 0, 0]),
        (libc::SYS_kexec_file_load, [BAD, BAD, 0, 1, BAD]),
        (libc::SYS_reboot, [1, 1, 1, 1, 0]),
        (libc::SYS_swapon, [1, 0, 0, 0, 0]),
        (libc::SYS_swapoff, [1, 0, 0, 0, 0]),
        (libc::SYS_acct, [1, 0, 0, 0, 0]),
        (libc::SYS_settimeofday, [1, 1, 0, 0, 0]),
        (libc::SYS_clock_settime, [BAD, 1, 0, 0, 0]),
        (libc::SYS_clock_adjtime, [BAD, 1, 0, 0, 0]),
        (libc::SYS_adjtimex, [1, 0, 0, 0, 0]),
        (libc::SYS_quotactl, [BAD, 0, 0, 0, 0]),
        (libc::SYS_quotactl_fd, [BAD, BAD, 0, 0, 0]),
        (libc::SYS_nfsservctl, [0; 5]),
        (libc::SYS_lookup_dcookie, [0; 5]),
        (libc::SYS_syslog, [BAD, 0, 0, 0, 0]),
        (libc::SYS_open_by_handle_at, [BAD, 1, 0, 0, 0]),
        (libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0]),
        (libc::SYS_ioctl, [BAD, 0x5412, 0, 0, 0]),
        (libc::SYS_ioctl, [BAD, 0x541c, 0, 0, 0]),
        (libc::SYS_ioctl, [BAD, 0xc050_6617, 0, 0, 0]),
        (libc::SYS_ioctl, [BAD, 0xc040_6618, 0, 0, 0]),
        (libc::SYS_ioctl, [BAD, 0xc040_6619, 0, 0, 0]),
        (libc::SYS_ioctl, [BAD, 0x5423 | 0xf << 32, 0, 0, 0]),
    ];
    let enosys = [
        (libc::SYS_io_uring_setup, [0, 1, 0, 0, 0]),
        (libc::SYS_io_uring_enter, [BAD, 0, 0, 0, 0]),
        (libc::SYS_io_uring_register, [BAD, 0, 0, 0, 0]),
        (libc::SYS_openat2, [BAD, 0, 0, 0, 0]),
    ];
    for profile in ["open", "work", "strict"] {
        let eperm = eperm.iter().map(|(number, arguments)| (*number, *arguments, Errno::EPERM));
        let enosys = enosys.iter().map(|(number, arguments)| (*number, *arguments, Errno::ENOSYS));
        for (number, arguments, refusal) in eperm.chain(enosys) {
            let (without, with) = both(profile, || call(number, arguments));
            assert_eq!(with, Err(refusal), "{number} in {profile}");
            // Some of them root alone may do, so that others are refused in either case.
            assert!(without != Err(refusal) || !as_root(), "{number} is refused without {profile} too");
        }
        // This one would hang up the terminal of whoever runs the tests.
        assert_eq!(with(profile, || call(libc::SYS_vhangup, [0; 5])), Err(Errno::EPERM));
    }
}

#[test]
fn no_file_gets_a_set_id_bit_by_any_call() {
    let folder = tempfile::tempdir().expect("folder");
    let at = libc::AT_FDCWD as usize;
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("file");
    let mode_of = |path: &Path| path.symlink_metadata().expect("file").mode() & 0o6000;
    let c = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).expect("path");
    let (old, made, directory) = (c(&file), folder.path().join("made"), c(folder.path()));
    let new = c(&made);
    let opened = std::fs::File::open(&file).expect("file");
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&opened) as usize;
    let creating = (libc::O_CREAT | libc::O_WRONLY) as usize;
    let unnamed = (libc::O_TMPFILE | libc::O_WRONLY) as usize;
    for bit in [0o4755, 0o2755, 0o6755, 0o4000] {
        let calls: [(&str, i64, Arguments); 6] = [
            ("fchmod", libc::SYS_fchmod, [descriptor, bit, 0, 0, 0]),
            ("fchmodat", libc::SYS_fchmodat, [at, pointer(&old), bit, 0, 0]),
            ("fchmodat2", 452, [at, pointer(&old), bit, 0, 0]),
            ("mknodat", libc::SYS_mknodat, [at, pointer(&new), 0o100_000 | bit, 0, 0]),
            ("openat", libc::SYS_openat, [at, pointer(&new), creating, bit, 0]),
            ("openat unnamed", libc::SYS_openat, [at, pointer(&directory), unnamed, bit, 0]),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let older: [(&str, i64, Arguments); 0] = [];
        #[cfg(target_arch = "x86_64")]
        let older: [(&str, i64, Arguments); 4] = [
            ("chmod", libc::SYS_chmod, [pointer(&old), bit, 0, 0, 0]),
            ("creat", libc::SYS_creat, [pointer(&new), bit, 0, 0, 0]),
            ("mknod", libc::SYS_mknod, [pointer(&new), 0o100_000 | bit, 0, 0, 0]),
            ("open", libc::SYS_open, [pointer(&new), creating, bit, 0, 0]),
        ];
        for (name, number, arguments) in calls.into_iter().chain(older) {
            let act = || {
                let done = call(number, arguments);
                if let (Ok(made), "openat" | "openat unnamed" | "open" | "creat") = (done, name) {
                    let _ = nix::unistd::close(made as i32);
                }
                let set = mode_of(&file) | made.symlink_metadata().map_or(0, |facts| facts.mode() & 0o6000);
                let _ = std::fs::remove_file(&made);
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("mode");
                (done.map(drop), set)
            };
            let (without, with) = both("open", act);
            assert_eq!(with, (Err(Errno::EPERM), 0), "{name} {bit:o}");
            assert!(without.0.is_ok() && (without.1 != 0 || name == "openat unnamed"), "{name} {bit:o}: {without:?}");
        }
    }
    // The kernel itself takes no such bits from mkdir.
    let below = c(&folder.path().join("below"));
    call(libc::SYS_mkdirat, [at, pointer(&below), 0o6755, 0, 0]).expect("directory");
    assert_eq!(mode_of(&folder.path().join("below")), 0);
}

#[test]
fn no_file_gets_capabilities_where_a_session_may_be_root_of_a_namespace() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("file");
    let opened = std::fs::File::open(&file).expect("file");
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&opened) as usize;
    let path = CString::new(file.as_os_str().as_encoded_bytes()).expect("path");
    let name = CString::new("security.capability").expect("name");
    // cap_setuid=ep, as linux/capability.h has it: revision 2 and effective, then two halves of two sets.
    let value: Vec<u8> = [0x0200_0001_u32, 1 << 7, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    let (name, value) = (pointer(&name), (value.as_ptr() as usize, value.len()));
    let calls = [
        (libc::SYS_setxattr, [pointer(&path), name, value.0, value.1, 0]),
        (libc::SYS_lsetxattr, [pointer(&path), name, value.0, value.1, 0]),
        (libc::SYS_fsetxattr, [descriptor, name, value.0, value.1, 0]),
        (463, [BAD, pointer(&path), 0, name, 0]),
    ];
    for (number, arguments) in calls {
        let (without, with) = both("open", || call(number, arguments));
        assert_eq!(with, Err(Errno::EOPNOTSUPP), "{number}");
        assert!(without == Ok(0) || !as_root() || number == 463, "{number}: {without:?}");
        assert_ne!(without, with, "{number}");
        // In the others nobody is root of anything.
        assert_eq!(both("work", || call(number, arguments)).1, without, "{number}");
    }
}

#[test]
fn only_sockets_that_a_network_namespace_divides_are_made() {
    let [unix, four, six, netlink] = FAMILIES_IN_USE.map(|family| family as usize);
    let (stream, datagram, raw) = (1, 2, 3);
    let refused: &[(&str, Arguments)] = &[
        ("vsock", [libc::AF_VSOCK as usize, stream, 0, 0, 0]),
        ("packet", [libc::AF_PACKET as usize, raw, 0, 0, 0]),
        ("alg", [libc::AF_ALG as usize, 5, 0, 0, 0]),
        ("bluetooth", [libc::AF_BLUETOOTH as usize, raw, 0, 0, 0]),
        ("key", [libc::AF_KEY as usize, raw, 2, 0, 0]),
        ("xdp", [44, raw, 0, 0, 0]),
        ("tipc", [30, stream, 0, 0, 0]),
        ("raw", [four, raw, 1, 0, 0]),
        ("raw 6", [six, raw | libc::SOCK_CLOEXEC as usize, 58, 0, 0]),
        ("old packet", [four, 10, 768, 0, 0]),
        ("sctp", [four, stream, 132, 0, 0]),
        ("netfilter", [netlink, raw, 12, 0, 0]),
        ("audit", [netlink, raw, 9, 0, 0]),
        ("generic", [netlink, raw, 16, 0, 0]),
    ];
    let made: &[(&str, Arguments)] = &[
        ("unix", [unix, stream, 0, 0, 0]),
        ("tcp", [four, stream, 0, 0, 0]),
        ("tcp named", [four, stream | libc::SOCK_NONBLOCK as usize, 6, 0, 0]),
        ("udp 6", [six, datagram, 17, 0, 0]),
        ("route", [netlink, raw, 0, 0, 0]),
    ];
    let socket = |arguments: Arguments| {
        let made = call(libc::SYS_socket, arguments)?;
        let _ = nix::unistd::close(made as i32);
        Ok(())
    };
    let mut possible = 0;
    for (name, arguments) in refused {
        let (without, with) = both("open", || socket(*arguments));
        assert_eq!(with, Err(Errno::EAFNOSUPPORT), "{name}");
        possible += usize::from(without != Err(Errno::EAFNOSUPPORT));
    }
    assert!(possible > 0, "no control at all");
    for (name, arguments) in made {
        let (without, with) = both("strict", || socket(*arguments));
        // This host may have no IPv6; the session then has none either.
        assert_eq!(with, without, "{name}");
        assert!(without.is_ok() || *name == "udp 6", "{name}");
    }
}

const FAMILIES_IN_USE: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

#[test]
fn namespaces_and_mounts_are_refused_but_for_open() {
    let empty = CString::new("").expect("text");
    let calls: &[(i64, Arguments)] = &[
        (libc::SYS_mount, [0, pointer(&empty), 0, 0, 0]),
        (libc::SYS_umount2, [pointer(&empty), 0, 0, 0, 0]),
        (libc::SYS_pivot_root, [pointer(&empty), pointer(&empty), 0, 0, 0]),
        (libc::SYS_chroot, [pointer(&empty), 0, 0, 0, 0]),
        (libc::SYS_setns, [BAD, 0, 0, 0, 0]),
        (libc::SYS_fsopen, [1, 0, 0, 0, 0]),
        (libc::SYS_fsconfig, [BAD, 0, 0, 0, 0]),
        (libc::SYS_open_tree, [BAD, pointer(&empty), 1, 0, 0]),
        (libc::SYS_mount_setattr, [BAD, pointer(&empty), 0, 1, 0]),
        (libc::SYS_unshare, [0x2000_0000 | 1 << 40, 0, 0, 0, 0]),
        (libc::SYS_clone, [0x1000_0000, 0, 0, 0, 0]),
    ];
    for (number, arguments) in calls {
        if *number == libc::SYS_clone || *number == libc::SYS_unshare {
            // Without the filter these would do it.
            for profile in ["work", "strict"] {
                assert_eq!(with(profile, || call(*number, *arguments)), Err(Errno::EPERM), "{number} in {profile}");
            }
            continue;
        }
        for profile in ["open", "work", "strict"] {
            let (without, with) = both(profile, || call(*number, *arguments));
            let refused = profile != "open";
            assert_eq!(with, if refused { Err(Errno::EPERM) } else { without }, "{number} in {profile}");
            assert!(without != Err(Errno::EPERM) || !as_root(), "{number}");
        }
    }
    for (profile, unshared) in [("open", Ok(0)), ("work", Err(Errno::EPERM))] {
        // A namespace of this thread's own host name: what root may do anywhere.
        let (without, with) = both(profile, || call(libc::SYS_unshare, [0x0400_0000, 0, 0, 0, 0]));
        assert!(with == unshared || !as_root(), "{profile}: {with:?}");
        assert!(without == Ok(0) || !as_root());
        let (_, files) = both(profile, || call(libc::SYS_unshare, [libc::CLONE_FS as usize, 0, 0, 0, 0]));
        assert_eq!(files, Ok(0), "what makes no namespace is free");
    }
    let (without, with) = both("work", || call(libc::SYS_clone3, [0; 5]));
    assert_eq!((without == Err(Errno::ENOSYS), with), (false, Err(Errno::ENOSYS)));
}

#[test]
fn tracing_is_for_debuggers_and_not_in_strict() {
    let look = |profile| both(profile, || call(libc::SYS_process_vm_readv, [std::process::id() as usize, 0, 0, 0, 0]));
    assert_eq!(look("work"), (Ok(0), Ok(0)));
    assert_eq!(look("strict"), (Ok(0), Err(Errno::EPERM)));
    for number in [libc::SYS_ptrace, libc::SYS_process_vm_writev, libc::SYS_pidfd_getfd, libc::SYS_kcmp] {
        let (without, with) = both("strict", || call(number, [BAD; 5]));
        assert_eq!((without == Err(Errno::EPERM), with), (false, Err(Errno::EPERM)), "{number}");
    }
}

#[test]
fn programs_run_under_every_profile_as_before() {
    for profile in ["open", "work", "strict"] {
        let run = || {
            let shell =
                "umask 022; cd $(mktemp -d) && : > a && chmod 755 a && mkdir b && (cat a | sort) & wait; exec true";
            std::process::Command::new("sh").args(["-c", shell]).status().expect("shell").code()
        };
        assert_eq!(both(profile, run), (Some(0), Some(0)), "{profile}");
        let (without, with) = both(profile, || (call(libc::SYS_personality, [BAD, 0, 0, 0, 0]), status("NoNewPrivs:")));
        assert_eq!(with.0, without.0);
        assert_eq!(with.1, "1");
        let (_, mode) = both(profile, || status("Seccomp:"));
        assert_eq!(mode, "2");
    }
}

fn status(field: &str) -> String {
    let text = std::fs::read_to_string("/proc/thread-self/status").expect("status");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("field");
    line.trim().to_owned()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn foreign_architectures_do_not_pass_by() {
    // The x32 numbers: without them the kernel says that there is no such call.
    let (without, with) = both("open", || call(0x4000_0000 + libc::SYS_getpid, [0; 5]));
    assert_eq!((without == Err(Errno::EPERM), with), (false, Err(Errno::EPERM)));
    assert_eq!(both("open", || call(-1, [0; 5])), (Err(Errno::ENOSYS), Err(Errno::EPERM)));

    use std::os::unix::process::ExitStatusExt as _;
    // A program of 32 bits: `mov eax, 1; mov ebx, 42; int 0x80`, which is exit(42).
    let folder = tempfile::tempdir().expect("folder");
    let program = folder.path().join("program");
    let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    for word in [0x0804_8054_u32, 52, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    for half in [52_u16, 32, 1, 40, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [1_u32, 0, 0x0804_8000, 0x0804_8000, 96, 96, 5, 0x1000] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(b"\xb8\x01\0\0\0\xbb\x2a\0\0\0\xcd\x80");
    std::fs::write(&program, bytes).expect("program");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("mode");
    let run = || std::process::Command::new(&program).status().map(|end| (end.code(), end.signal()));
    let (without, with) = both("open", run);
    match without {
        Ok(end) => {
            assert_eq!(end, (Some(42), None), "the control");
            assert_eq!(with.expect("ran"), (None, Some(libc::SIGSYS)));
        }
        Err(error) => eprintln!("this kernel runs no programs of 32 bits ({error}): no control"),
    }
}
