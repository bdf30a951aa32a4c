//! What `/proc` says of a session's first process.

use crate::session::Listener;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

/// The lines of `/proc/PID/status` that count here, with ids as our own user namespace sees them.
#[derive(Debug, PartialEq, Eq)]
pub struct Status {
    /// Real, effective, saved and file system uid.
    pub uids: [u32; 4],
    /// The same of its group.
    pub gids: [u32; 4],
    /// Its other groups.
    pub groups: Vec<u32>,
    /// It is pid 1 of a PID namespace below ours, and no mere thread.
    pub is_first: bool,
    /// A seccomp filter is in force.
    pub filtered: bool,
    /// No program that it becomes raises its privileges.
    pub no_new_privs: bool,
}

impl Status {
    pub fn of(pid: i32) -> io::Result<Self> {
        Self::parse(&read(&format!("/proc/{pid}/status"))?, pid).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// proc_pid_status(5). The first line's name is the process's own choice, but has no line of its own in it: the
    /// kernel escapes them.
    fn parse(text: &str, pid: i32) -> Option<Self> {
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let ids = |name: &str| -> Option<[u32; 4]> { numbers(line(name)?)?.try_into().ok() };
        let levels: Vec<u32> = numbers(line("NSpid")?)?;
        let own: u32 = line("Tgid")?.trim().parse().ok()?;
        Some(Self {
            uids: ids("Uid")?,
            gids: ids("Gid")?,
            groups: numbers(line("Groups")?)?,
            is_first: levels.len() > 1 && levels.last() == Some(&1) && i64::from(own) == i64::from(pid),
            filtered: line("Seccomp")?.trim() == FILTER,
            no_new_privs: line("NoNewPrivs")?.trim() == "1",
        })
    }
}

/// The namespaces of a process, by device and inode.
#[derive(Debug, PartialEq, Eq)]
pub struct Namespaces([(u64, u64); KINDS.len()]);

impl Namespaces {
    pub fn own() -> io::Result<Self> {
        Self::at("self")
    }

    /// Needs the right to look at the process as a tracer would.
    pub fn of(pid: i32) -> io::Result<Self> {
        Self::at(&pid.to_string())
    }

    fn at(process: &str) -> io::Result<Self> {
        let mut found = [(0, 0); KINDS.len()];
        for (place, kind) in found.iter_mut().zip(KINDS) {
            let metadata = fs::metadata(format!("/proc/{process}/ns/{kind}"))?;
            *place = (metadata.dev(), metadata.ino());
        }
        Ok(Self(found))
    }

    /// The first kind that is the same in both.
    pub fn shared_with(&self, other: &Self) -> Option<&'static str> {
        KINDS.into_iter().zip(self.0.iter().zip(&other.0)).find_map(|(kind, (one, two))| (one == two).then_some(kind))
    }
}

/// Whether this socket listens in the network namespace of this process: the kernel lists it there, by its inode.
pub fn listens(pid: i32, listener: &Listener) -> io::Result<bool> {
    let inode = rustix::fs::fstat(&listener.socket)?.st_ino;
    Ok(lists(&read(&format!("/proc/{pid}/net/tcp"))?, listener.address, inode))
}

/// proc_pid_net(5), `tcp`: number, local, remote, state, queues, timer, retransmits, uid, timeout, inode.
fn lists(table: &str, address: SocketAddr, inode: u64) -> bool {
    let SocketAddr::V4(address) = address else { return false };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
        matches!(fields[..], [_, found, _, state, .., last]
            if fields.len() == 10 && found == local && state == LISTEN && last.parse() == Ok(inode))
    })
}

/// Whether packets of this process's network namespace can go anywhere but to itself.
pub fn leads_further(pid: i32) -> io::Result<bool> {
    let routes = read(&format!("/proc/{pid}/net/route"))?;
    // There is none where IPv6 is off.
    let routes6 = match read(&format!("/proc/{pid}/net/ipv6_route")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    Ok(has_way(&routes, &routes6))
}

/// The first table has a head line and the device first, the second has none and the device last.
fn has_way(routes: &str, routes6: &str) -> bool {
    let mut devices = routes.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
    let mut devices6 = routes6.lines().filter_map(|line| line.split_ascii_whitespace().last());
    devices.any(|device| device != LOOPBACK) || devices6.any(|device| device != LOOPBACK)
}

fn numbers(line: &str) -> Option<Vec<u32>> {
    line.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
}

/// A file that is longer is cut: what is looked for is then not found, which refuses.
fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// In the order in which they are asked for.
const KINDS: [&str; 5] = ["pid", "net", "user", "mnt", "ipc"];
/// SECCOMP_MODE_FILTER.
const FILTER: &str = "2";
/// TCP_LISTEN, as the table has it.
const LISTEN: &str = "0A";
const LOOPBACK: &str = "lo";
/// More than a new session has of anything; 65,536 groups fit.
const LONGEST: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Name:\ta\\nUid: 0\nUmask:\t0022\nTgid:\t77\nPid:\t77\nUid:\t1001\t1001\t1001\t1001\n\
        Gid:\t100\t100\t100\t100\nGroups:\t4 27 \nNSpid:\t77\t1\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";

    #[test]
    fn a_status_is_read_by_its_own_lines() {
        let status = Status::parse(TEXT, 77).unwrap();
        let expected = Status {
            uids: [1001; 4],
            gids: [100; 4],
            groups: vec![4, 27],
            is_first: true,
            filtered: true,
            no_new_privs: true,
        };
        assert_eq!(status, expected);
        let with = |from: &str, to: &str| Status::parse(&TEXT.replace(from, to), 77);
        assert!(!with("NSpid:\t77\t1", "NSpid:\t77\t2").unwrap().is_first);
        assert!(!with("NSpid:\t77\t1", "NSpid:\t1").unwrap().is_first, "the first of our own namespace is none below");
        assert!(!Status::parse(TEXT, 78).unwrap().is_first, "a thread");
        assert!(!with("Seccomp:\t2", "Seccomp:\t1").unwrap().filtered);
        assert!(!with("Seccomp:\t2", "Seccomp:\t0").unwrap().filtered);
        assert!(!with("NoNewPrivs:\t1", "NoNewPrivs:\t0").unwrap().no_new_privs);
        for line in ["Uid:\t1001\t1001\t1001\t1001\n", "NSpid:\t77\t1\n", "Seccomp:\t2\n", "NoNewPrivs:\t1\n"] {
            assert_eq!(with(line, ""), None, "what is not there is not guessed: {line}");
        }
        assert_eq!(with("Uid:\t1001\t1001", "Uid:\t1001"), None);
    }

    #[test]
    fn a_listener_is_found_by_address_state_and_inode() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:A3B1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000 100 0\n";
        let here = "127.0.0.1:41905".parse().unwrap();
        assert!(lists(table, here, 4711));
        assert!(!lists(table, here, 4712), "another socket at the same address");
        assert!(!lists(table, "127.0.0.1:41906".parse().unwrap(), 4711));
        assert!(!lists(table, "127.0.0.2:41905".parse().unwrap(), 4711));
        assert!(!lists(&table.replace(" 0A ", " 01 "), here, 4711));
        assert!(!lists(table, "[::1]:41905".parse().unwrap(), 4711));
        assert!(!lists("", here, 4711));
    }

    #[test]
    fn any_route_that_is_not_loopbacks_leads_further() {
        let head = "Iface\tDestination\tGateway \tFlags\n";
        let own = "00000000000000000000000000000001 80 00000000000000000000000000000000 00 0 00000000 1 0 80200001       lo\n";
        assert!(!has_way(head, own) && !has_way(head, ""));
        assert!(has_way(&format!("{head}eth0\t00000000\t0100000A\t0003\n"), own));
        assert!(has_way(head, &format!("{own}{}", own.replace("      lo", "    tap0"))));
    }
}
