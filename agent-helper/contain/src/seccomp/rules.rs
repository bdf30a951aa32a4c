//! The lists.

use nix::libc;
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
use std::collections::BTreeMap;

/// Calls with the conditions under which they are refused; none for always.
#[derive(Debug, Default)]
pub(super) struct Rules(BTreeMap<i64, Vec<SeccompRule>>);

/// One condition: of this argument, so compared with this.
type Condition = (u8, SeccompCmpOp, u64);

impl Rules {
    /// What is not permitted (EPERM).
    pub(super) fn forbidden(namespaces: bool, trace: bool) -> Result<Self, BackendError> {
        let mut rules = Self::default();
        rules.always(FORBIDDEN);
        #[cfg(target_arch = "x86_64")]
        rules.always(FORBIDDEN_X86_64);
        if namespaces {
            rules.always(MOUNTS);
            for call in [libc::SYS_unshare, libc::SYS_clone] {
                let flags = if call == libc::SYS_clone { &NAMESPACES[..NAMESPACES_OF_CLONE] } else { &NAMESPACES };
                for flag in flags {
                    rules.when(call, &[has(0, *flag)])?;
                }
            }
        }
        if trace {
            rules.always(TRACE);
        }
        rules.modes()?;
        for request in REQUESTS {
            rules.when(libc::SYS_ioctl, &[(1, SeccompCmpOp::Eq, request)])?;
        }
        let odd: Vec<Condition> = PERSONALITIES.iter().map(|known| (0, SeccompCmpOp::Ne, *known)).collect();
        rules.when(libc::SYS_personality, &odd)?;
        Ok(rules)
    }

    /// What this kernel does not have, as far as the session is concerned (ENOSYS): programs have another way.
    pub(super) fn missing(namespaces: bool) -> Result<Self, BackendError> {
        let mut rules = Self::default();
        rules.always(MISSING);
        if namespaces {
            // Its flags lie in memory, where no filter sees them; C libraries go back to clone.
            rules.always(&[libc::SYS_clone3]);
        }
        Ok(rules)
    }

    /// Kinds of sockets that are not there (EAFNOSUPPORT).
    pub(super) fn families() -> Result<Self, BackendError> {
        let mut rules = Self::default();
        let none_of = |argument, known: &[u64]| -> Vec<Condition> {
            known.iter().map(|known| (argument, SeccompCmpOp::Ne, *known)).collect()
        };
        let of = |family: i32| (0, SeccompCmpOp::Eq, number(family));
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            rules.when(call, &none_of(0, &FAMILIES.map(number)))?;
            let mut netlink = none_of(2, &NETLINKS.map(number));
            netlink.push(of(libc::AF_NETLINK));
            rules.when(call, &netlink)?;
            for family in [libc::AF_INET, libc::AF_INET6] {
                for kind in RAW_KINDS {
                    rules.when(call, &[of(family), (1, SeccompCmpOp::MaskedEq(KIND_MASK), number(kind))])?;
                }
                let mut protocol = none_of(2, &PROTOCOLS.map(number));
                protocol.push(of(family));
                rules.when(call, &protocol)?;
            }
        }
        Ok(rules)
    }

    /// What this file system does not support (EOPNOTSUPP): the attributes of files, if the session may make namespaces. Root of
    /// one may give files capabilities, that are worth as much as the owner of the file; in a work directory of
    /// root's, shown to the session as its own, that is root. Their name lies in memory, where no filter looks.
    pub(super) fn attributes(namespaces: bool) -> Result<Self, BackendError> {
        let mut rules = Self::default();
        if namespaces {
            rules.always(ATTRIBUTES);
        }
        Ok(rules)
    }

    pub(super) fn into_map(self) -> BTreeMap<i64, Vec<SeccompRule>> {
        self.0
    }

    /// Set-user-id and set-group-id bits. Whatever writes a file writes it as the owner of the work directory, who may be
    /// root: such a file would be the way out.
    fn modes(&mut self) -> Result<(), BackendError> {
        for bit in SET_ID {
            for (call, mode) in MODES {
                self.when(*call, &[has(*mode, bit)])?;
            }
            for (call, flags, mode) in OPENS {
                for made in MAKING {
                    self.when(*call, &[has(*flags, made), has(*mode, bit)])?;
                }
            }
        }
        Ok(())
    }

    fn always(&mut self, calls: &[i64]) {
        for call in calls {
            self.0.insert(*call, Vec::new());
        }
    }

    fn when(&mut self, call: i64, conditions: &[Condition]) -> Result<(), BackendError> {
        let conditions = conditions.iter().map(|(argument, compared, value)| {
            // The kernel looks at 32 bits of every argument that is looked at here.
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, compared.clone(), *value)
        });
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
        self.0.entry(call).or_default().push(rule);
        Ok(())
    }
}

fn has(argument: u8, bits: u64) -> Condition {
    (argument, SeccompCmpOp::MaskedEq(bits), bits)
}

/// The 32 bits of a constant of the C library.
fn number(constant: i32) -> u64 {
    u64::from(constant.cast_unsigned())
}

/// Keyrings ignore namespaces; the rest changes the host, reads the kernel, or is a door that few people watch.
const FORBIDDEN: &[i64] = &[
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_nfsservctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_vhangup,
    libc::SYS_syslog,
    // Opens a file by its number, whatever lies over it.
    libc::SYS_open_by_handle_at,
];

#[cfg(target_arch = "x86_64")]
const FORBIDDEN_X86_64: &[i64] = &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_uselib, libc::SYS_modify_ldt];

/// io_uring makes calls that no filter sees; the mode of openat2 lies in memory, where no filter looks.
const MISSING: &[i64] =
    &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_openat2];

/// Other views of the file system, and other namespaces.
const MOUNTS: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_mount_setattr,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_setns,
];

/// The flags that make namespaces; the last is no flag of `clone`, where these bits are a signal.
const NAMESPACES: [u64; 8] =
    [0x1000_0000, 0x0002_0000, 0x2000_0000, 0x4000_0000, 0x0800_0000, 0x0400_0000, 0x0200_0000, 0x0000_0080];
const NAMESPACES_OF_CLONE: usize = 7;

/// Reading and steering other processes, and taking their descriptors.
const TRACE: &[i64] =
    &[libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_getfd, libc::SYS_kcmp];

/// Calls that set a mode, with its place. mkdir is none of them: the kernel takes no such bits from it.
const MODES: &[(i64, u8)] = &[
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (FCHMODAT2, 2),
    (libc::SYS_mknodat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
];

/// Calls that set a mode if they make a file: the places of flags and mode.
const OPENS: &[(i64, u8, u8)] = &[
    (libc::SYS_openat, 2, 3),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1, 2),
];

/// Setting an extended attribute.
const ATTRIBUTES: &[i64] = &[libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, SETXATTRAT];

/// `S_ISUID` and `S_ISGID`.
const SET_ID: [u64; 2] = [0o4000, 0o2000];
/// `O_CREAT`, and what of `O_TMPFILE` is not `O_DIRECTORY`.
const MAKING: [u64; 2] = [0o100, 0o20_000_000];

/// `TIOCSTI` and `TIOCLINUX` type into a terminal, `TIOCSETD` loads line disciplines (asm-generic/ioctls.h).
/// `FS_IOC_ADD_ENCRYPTION_KEY`, `FS_IOC_REMOVE_ENCRYPTION_KEY` and the same for all users (linux/fscrypt.h) reach the keys of
/// an encrypted home: they are a uid's too.
const REQUESTS: [u64; 6] = [0x5412, 0x541c, 0x5423, 0xc050_6617, 0xc040_6618, 0xc040_6619];

/// None, `PER_LINUX32`, `UNAME26`, both, `ADDR_NO_RANDOMIZE` (debuggers), and the question which it is.
const PERSONALITIES: [u64; 6] = [0, 0x8, 0x2_0000, 0x2_0008, 0x4_0000, 0xffff_ffff];

/// Sockets that a network namespace divides. Not AF_VSOCK, which ignores it.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Interfaces and addresses, what sockets there are, and news of devices (of which there are none).
const NETLINKS: [i32; 3] = [libc::NETLINK_ROUTE, libc::NETLINK_SOCK_DIAG, libc::NETLINK_KOBJECT_UEVENT];
/// `SOCK_RAW` and `SOCK_PACKET`.
const RAW_KINDS: [i32; 2] = [3, 10];
/// The kind among the flags that go with it.
const KIND_MASK: u64 = 0xf;
/// The usual ones, and Multipath TCP, which Go asks for first.
const PROTOCOLS: [i32; 6] =
    [0, libc::IPPROTO_ICMP, libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMPV6, libc::IPPROTO_MPTCP];

/// Calls that the C library has no names for on each architecture; their numbers are the same on all.
const FCHMODAT2: i64 = 452;
const SETXATTRAT: i64 = 463;
const OPEN_TREE_ATTR: i64 = 467;
