//! The only device of a session's network.

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use std::io;
use std::os::fd::AsRawFd as _;

/// Sets loopback up in this network namespace, where it is always the first device (rtnetlink(7), RTM_NEWLINK).
pub(crate) fn set_up() -> io::Result<()> {
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut message = Vec::with_capacity(usize::from(LENGTH));
    message.extend(u32::from(LENGTH).to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    // Sequence and sender.
    message.extend([0; 8]);
    // Family and device type: any.
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    sendto(netlink.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 128];
    let got = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let error = answer[..got].get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok());
    match error.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("the kernel's answer is too short")),
    }
}

/// Length of a message's header.
const HEADER: usize = 16;
/// Header and body together.
const LENGTH: u16 = 32;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
/// In a new namespace loopback is made first.
const LOOPBACK: i32 = 1;
const IFF_UP: u32 = 1;
