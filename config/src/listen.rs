//! Takes ports and sockets; one that is taken fails with the name of whoever has it, where the system tells.

use crate::start_error::{Owner, StartError};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Listens on a TCP address; port 0 takes a free one. The listener is non-blocking.
pub fn listen_tcp(address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortTaken { address, owner: port_owner(address.port()) },
        _ => StartError::Listen { place: address.to_string(), error },
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Listens on a Unix socket of this mode. A socket that a dead process left behind is replaced; a live one is taken,
/// and anything else at the path is left alone. The listener is non-blocking.
pub fn listen_unix(path: &Path, mode: u32) -> Result<UnixListener, StartError> {
    let failed = |error| StartError::Listen { place: path.display().to_string(), error };
    match UnixStream::connect(path) {
        Ok(stream) => {
            let pid = getsockopt(&stream, PeerCredentials).ok().map(|peer| peer.pid());
            let owner = pid.filter(|pid| *pid > 0).map(|pid| Owner { pid, program: program(pid) });
            return Err(StartError::SocketTaken { path: path.to_owned(), owner });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
            if !is_socket {
                return Err(failed(io::Error::from(io::ErrorKind::AlreadyExists)));
            }
            fs::remove_file(path).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Who listens on a TCP port, if `/proc` tells us.
fn port_owner(port: u16) -> Option<Owner> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|table| {
            let inodes = table.lines().skip(1).filter_map(|line| listening_inode(line, port));
            inodes.map(|inode| format!("socket:[{inode}]")).collect::<Vec<_>>()
        })
        .collect();
    if inodes.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(entry.path().join("fd")).ok()?.flatten().any(|fd| {
            fs::read_link(fd.path()).is_ok_and(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
        });
        holds.then(|| Owner { pid, program: program(pid) })
    })
}

/// The inode in a line of `/proc/net/tcp`, if the line is a listener on the port.
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, local_port) = fields.next()?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    (state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port) && inode != "0").then_some(inode)
}

fn program(pid: i32) -> String {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let comm: String = comm.trim().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if comm.is_empty() { "another process".to_owned() } else { comm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_owner() {
        let first = listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        match listen_tcp(address) {
            Err(error @ StartError::PortTaken { .. }) => {
                assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
                assert_eq!((error.code(), error.exit_code()), ("port_taken", 1));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_taken_socket_names_its_owner_and_a_dead_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let first = listen_unix(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = listen_unix(&path, 0o600).unwrap_err();
        assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
        assert_eq!(error.code(), "socket_taken");
        drop(first);
        listen_unix(&path, 0o600).unwrap();
    }

    #[test]
    fn what_is_not_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        fs::write(&path, b"precious").unwrap();
        assert!(matches!(listen_unix(&path, 0o600), Err(StartError::Listen { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn only_listeners_on_the_port_are_found() {
        let line =
            "   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0";
        assert_eq!(listening_inode(line, 8443), Some("4242"));
        assert_eq!(listening_inode(line, 8444), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 8443), None);
    }
}
