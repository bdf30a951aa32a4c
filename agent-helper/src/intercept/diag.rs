//! Kernel socket diagnostics (sock_diag(7)): whose is the other end of a loopback connection? A second fence behind
//! the session's own listener (case U22), never the attestation: it tells the uid and not the process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The connection's other end is not shown to be the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotShown {
    /// The kernel could not be asked.
    #[error("socket diagnostics failed: {0}")]
    Ask(Errno),
    /// There is no such socket in this network namespace.
    #[error("no such socket")]
    NoEntry,
    /// It is being closed, or is a listener.
    #[error("not established (state {0})")]
    State(u8),
    /// It belongs to no file any more: the client has sent and gone.
    #[error("orphaned")]
    Orphan,
    /// uid 0 is no evidence of root: the kernel reports it for sockets that are gone.
    #[error("uid 0 is never believed")]
    Root,
    /// Another user's.
    #[error("of uid {0}")]
    Foreign(u32),
}

impl NotShown {
    /// A stable word for records.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Ask(_) => "diagnostics_failed",
            Self::NoEntry => "no_entry",
            Self::State(_) => "not_established",
            Self::Orphan => "orphaned",
            Self::Root => "uid_0",
            Self::Foreign(_) => "foreign_uid",
        }
    }
}

/// Which fence stands behind a session's listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// The kernel has to show the session's uid at the other end of each connection.
    Uid(u32),
    /// The listener alone: the session runs as uid 0, or in a network namespace of its own, into which nobody
    /// outside it can dial.
    ListenerAlone,
}

impl Fence {
    /// The fence for a listener that a session of this uid handed over. Where the kernel shows us the listener
    /// itself, it is in our network namespace, and so are the clients that can reach it.
    pub fn for_listener(listener: &std::net::TcpListener, uid: u32) -> Self {
        match uid != 0 && shares_namespace(listener) {
            true => Self::Uid(uid),
            false => Self::ListenerAlone,
        }
    }
}

/// Whether the client's end of a connection is established, held by a file, and of this uid. `client` is the
/// accepted connection's peer address, `here` its local one.
pub(crate) fn check(client: SocketAddr, here: SocketAddr, uid: u32) -> Result<(), NotShown> {
    let entry = ask(client, here)?.ok_or(NotShown::NoEntry)?;
    match entry {
        Entry { state, .. } if state != ESTABLISHED => Err(NotShown::State(state)),
        Entry { inode: 0, .. } => Err(NotShown::Orphan),
        Entry { uid: 0, .. } => Err(NotShown::Root),
        Entry { uid: found, .. } if found != uid => Err(NotShown::Foreign(found)),
        Entry { .. } => Ok(()),
    }
}

fn shares_namespace(listener: &std::net::TcpListener) -> bool {
    let (Ok(here), Ok(stat)) = (listener.local_addr(), nix::sys::stat::fstat(listener)) else {
        return false;
    };
    let nowhere = match here {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
    };
    matches!(ask(here, nowhere), Ok(Some(Entry { state: LISTEN, inode, .. })) if u64::from(inode) == stat.st_ino)
}

const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const IPPROTO_TCP: u8 = 6;
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const REPLY: usize = HEADER + 72;
/// The kernel answers within the call; this bounds a kernel that does not.
const WAIT: i64 = 1;

#[derive(Debug, Clone, Copy)]
struct Entry {
    state: u8,
    uid: u32,
    inode: u32,
}

/// Asks for the one TCP socket whose own end is `local` and whose other end is `remote`.
fn ask(local: SocketAddr, remote: SocketAddr) -> Result<Option<Entry>, NotShown> {
    let netlink: OwnedFd =
        socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)
            .map_err(NotShown::Ask)?;
    setsockopt(&netlink, ReceiveTimeout, &TimeVal::seconds(WAIT)).map_err(NotShown::Ask)?;
    send(netlink.as_raw_fd(), &request(local, remote), MsgFlags::empty()).map_err(NotShown::Ask)?;
    let mut reply = [0; 512];
    let read = recv(netlink.as_raw_fd(), &mut reply, MsgFlags::empty()).map_err(NotShown::Ask)?;
    let reply = &reply[..read];
    let kind = reply.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    match kind {
        Some(SOCK_DIAG_BY_FAMILY) => entry(reply, local, remote).map(Some),
        Some(NLMSG_ERROR) => match word(reply, HEADER) {
            Some(code) if Errno::from_raw((code as i32).wrapping_neg()) == Errno::ENOENT => Ok(None),
            Some(code) => Err(NotShown::Ask(Errno::from_raw((code as i32).wrapping_neg()))),
            None => Err(NotShown::Ask(Errno::EBADMSG)),
        },
        _ => Err(NotShown::Ask(Errno::EBADMSG)),
    }
}

/// struct nlmsghdr and struct inet_diag_req_v2.
fn request(local: SocketAddr, remote: SocketAddr) -> [u8; REQUEST] {
    const ALL_STATES: u32 = u32::MAX;
    const NO_COOKIE: u32 = u32::MAX;
    let mut out = [0; REQUEST];
    out[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    out[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    let family = match local {
        SocketAddr::V4(_) => nix::libc::AF_INET,
        SocketAddr::V6(_) => nix::libc::AF_INET6,
    };
    out[HEADER] = family as u8;
    out[HEADER + 1] = IPPROTO_TCP;
    out[HEADER + 4..HEADER + 8].copy_from_slice(&ALL_STATES.to_ne_bytes());
    let id = HEADER + 8;
    out[id..id + 2].copy_from_slice(&local.port().to_be_bytes());
    out[id + 2..id + 4].copy_from_slice(&remote.port().to_be_bytes());
    address(&mut out[id + 4..id + 20], local.ip());
    address(&mut out[id + 20..id + 36], remote.ip());
    out[id + 40..id + 44].copy_from_slice(&NO_COOKIE.to_ne_bytes());
    out[id + 44..id + 48].copy_from_slice(&NO_COOKIE.to_ne_bytes());
    out
}

fn address(out: &mut [u8], ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => out[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.copy_from_slice(&ip.octets()),
    }
}

/// struct inet_diag_msg, believed only if it is about the ports asked for.
fn entry(reply: &[u8], local: SocketAddr, remote: SocketAddr) -> Result<Entry, NotShown> {
    let bad = NotShown::Ask(Errno::EBADMSG);
    let port = |at: usize| reply.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes);
    if reply.len() < REPLY || port(HEADER + 4) != Some(local.port()) {
        return Err(bad);
    }
    let state = reply[HEADER + 1];
    if state == ESTABLISHED && port(HEADER + 6) != Some(remote.port()) {
        return Err(bad);
    }
    let (uid, inode) = (word(reply, HEADER + 64).ok_or(bad)?, word(reply, HEADER + 68).ok_or(bad)?);
    Ok(Entry { state, uid, inode })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    fn our_uid() -> u32 {
        nix::unistd::getuid().as_raw()
    }

    #[test]
    fn the_kernel_shows_our_own_end_of_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let found = check(peer, server.local_addr().unwrap(), our_uid());
        match our_uid() {
            0 => assert_eq!(found, Err(NotShown::Root), "uid 0 is no evidence"),
            _ => assert_eq!(found, Ok(())),
        }
        let entry = ask(peer, server.local_addr().unwrap()).unwrap().unwrap();
        assert_eq!((entry.state, entry.uid), (ESTABLISHED, our_uid()));
        assert_ne!(entry.inode, 0);
        drop(client);
    }

    #[test]
    fn a_client_that_sends_and_goes_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        client.write_all(b"GET").unwrap();
        drop(client);
        let refused = check(peer, server.local_addr().unwrap(), our_uid()).unwrap_err();
        assert!(matches!(refused, NotShown::State(_) | NotShown::Orphan | NotShown::NoEntry), "{refused:?}");
    }

    #[test]
    fn another_uid_and_a_socket_that_is_not_there_are_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let client = TcpStream::connect(here).unwrap();
        let peer = client.local_addr().unwrap();
        let found = check(peer, here, our_uid() + 1).unwrap_err();
        assert!(matches!(found, NotShown::Foreign(_) | NotShown::Root), "{found:?}");
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(check(free, here, our_uid()), Err(NotShown::NoEntry));
        // A lookup that finds no connection falls back to a listener of that port: no proof either.
        assert_eq!(check(here, peer.ip_with_port(1), our_uid()), Err(NotShown::State(LISTEN)));
    }

    #[test]
    fn the_fence_stands_where_the_listener_is_in_our_namespace_and_not_for_root() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(Fence::for_listener(&listener, 1001), Fence::Uid(1001));
        assert_eq!(Fence::for_listener(&listener, 0), Fence::ListenerAlone);
    }

    trait WithPort {
        fn ip_with_port(&self, port: u16) -> SocketAddr;
    }

    impl WithPort for SocketAddr {
        fn ip_with_port(&self, port: u16) -> SocketAddr {
            SocketAddr::new(self.ip(), port)
        }
    }
}
