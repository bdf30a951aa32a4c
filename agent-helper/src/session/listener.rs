//! Is this descriptor a session's proxy listener? (U23)

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, libc, sockopt_impl};
use rustix::net::sockopt::{socket_acceptconn, socket_cookie, socket_domain, socket_protocol, socket_type};
use rustix::net::{AddressFamily, SocketType, ipproto};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

/// Why it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoListener {
    /// A file, a pipe, a Unix socket, UDP.
    #[error("the descriptor is no TCP socket")]
    NotTcp,
    /// Connected, or not yet listening.
    #[error("the socket does not listen")]
    NotListening,
    /// Others than this machine could reach it.
    #[error("the socket listens on another address than loopback")]
    NotLoopback,
    /// The same socket already is the listener of another session.
    #[error("the socket is another session's listener")]
    Taken,
}

/// A socket that may be a session's listener.
#[derive(Debug)]
pub struct Listener {
    /// The socket, not blocking.
    pub socket: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
    /// The kernel's name for the socket: the same for every descriptor of it.
    pub cookie: u64,
    /// The kernel's name for the network namespace that it is in; none before Linux 5.14.
    pub network: Option<u64>,
}

/// Takes the descriptor, or closes it. `taken` says whether a socket is another session's.
pub fn check(descriptor: OwnedFd, taken: impl FnOnce(u64) -> bool) -> Result<Listener, NoListener> {
    let domain = socket_domain(&descriptor).map_err(|_| NoListener::NotTcp)?;
    let inet = domain == AddressFamily::INET || domain == AddressFamily::INET6;
    let stream = socket_type(&descriptor).map_err(|_| NoListener::NotTcp)? == SocketType::STREAM;
    let tcp = socket_protocol(&descriptor).map_err(|_| NoListener::NotTcp)? == Some(ipproto::TCP);
    if !(inet && stream && tcp) {
        return Err(NoListener::NotTcp);
    }
    if !socket_acceptconn(&descriptor).map_err(|_| NoListener::NotListening)? {
        return Err(NoListener::NotListening);
    }
    let cookie = socket_cookie(&descriptor).map_err(|_| NoListener::NotListening)?;
    let socket = TcpListener::from(descriptor);
    let address = socket.local_addr().map_err(|_| NoListener::NotListening)?;
    if !address.ip().is_loopback() {
        return Err(NoListener::NotLoopback);
    }
    if taken(cookie) {
        return Err(NoListener::Taken);
    }
    socket.set_nonblocking(true).map_err(|_| NoListener::NotListening)?;
    let network = getsockopt(&socket, NetworkCookie).ok();
    Ok(Listener { socket, address, cookie, network })
}

/// The network namespace that we are in.
pub fn own_network() -> io::Result<u64> {
    Ok(getsockopt(&UnixDatagram::unbound()?, NetworkCookie)?)
}

sockopt_impl!(
    /// SO_NETNS_COOKIE (socket(7)), since Linux 5.14.
    NetworkCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    fn refused(descriptor: impl Into<OwnedFd>) -> Option<NoListener> {
        check(descriptor.into(), |_| false).err()
    }

    #[test]
    fn only_a_listening_loopback_tcp_socket_is_taken() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let taken = check(listener.into(), |_| false).unwrap();
            assert!(taken.address.ip().is_loopback() && taken.address.port() != 0);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(refused(client), Some(NoListener::NotListening));
        assert_eq!(refused(listener.accept().unwrap().0), Some(NoListener::NotListening));
        assert_eq!(refused(TcpListener::bind("0.0.0.0:0").unwrap()), Some(NoListener::NotLoopback));
        assert_eq!(refused(TcpListener::bind("[::]:0").unwrap()), Some(NoListener::NotLoopback));
        assert_eq!(refused(UdpSocket::bind("127.0.0.1:0").unwrap()), Some(NoListener::NotTcp));
        assert_eq!(refused(std::fs::File::open("/dev/null").unwrap()), Some(NoListener::NotTcp));
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(refused(UnixListener::bind(directory.path().join("s")).unwrap()), Some(NoListener::NotTcp));
        let (pipe, _) = std::io::pipe().unwrap();
        assert_eq!(refused(pipe), Some(NoListener::NotTcp));
    }

    #[test]
    fn a_listener_names_the_network_it_is_in() {
        let listener = check(TcpListener::bind("127.0.0.1:0").unwrap().into(), |_| false).unwrap();
        assert_eq!(listener.network, Some(own_network().unwrap()), "ours");
    }

    #[test]
    fn a_second_descriptor_of_the_same_socket_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = check(listener.try_clone().unwrap().into(), |_| false).unwrap();
        assert_eq!(check(listener.into(), |cookie| cookie == first.cookie).err(), Some(NoListener::Taken));
    }
}
