//! Takes ports; one that is taken fails with the name of whoever has it, where the system tells.

use crate::start_error::{Owner, StartError};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

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
        holds.then(|| Owner::of(pid))
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
    fn only_listeners_on_the_port_are_found() {
        let line =
            "   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0";
        assert_eq!(listening_inode(line, 8443), Some("4242"));
        assert_eq!(listening_inode(line, 8444), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 8443), None);
    }
}
