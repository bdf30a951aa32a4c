//! A stream that carries its peer, and hears only that peer.

use super::authority::Authority;
use super::peer::Peer;
use super::slots::Slot;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg};
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// A connection of a known process. Bytes that another process wrote, one that inherited the descriptor or was sent it,
/// end the connection (U03, U04); so does silence at its beginning (U16).
pub struct Attested {
    io: UnixStream,
    peer: Peer,
    control: Vec<u8>,
    first_byte: Option<Pin<Box<Sleep>>>,
    authority: Authority,
    _slot: Slot,
}

impl Attested {
    pub(super) fn new(io: UnixStream, peer: Peer, slot: Slot, first_byte: Duration) -> Self {
        let first_byte = Some(Box::pin(tokio::time::sleep(first_byte)));
        Self {
            io,
            peer,
            control: nix::cmsg_space!(UnixCredentials),
            first_byte,
            authority: Authority::new(),
            _slot: slot,
        }
    }

    /// Who is connected.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for Attested {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Attested {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(deadline) = &mut this.first_byte
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        loop {
            ready!(this.io.poll_read_ready(cx))?;
            let space = buf.initialize_unfilled();
            let (io, control, pid) = (&this.io, &mut this.control, this.peer.pid());
            match io.try_io(Interest::READABLE, || receive(io, space, control, pid)) {
                Ok(count) => {
                    this.authority.pass(&mut buf.initialize_unfilled()[..count]);
                    buf.advance(count);
                    this.first_byte = None;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Reads what one process wrote: with `SO_PASSCRED` the kernel names the writer and never joins what two have written.
/// Descriptors sent along have no room and are closed by the kernel, which ends the connection too.
fn receive(io: &UnixStream, space: &mut [u8], control: &mut [u8], pid: i32) -> io::Result<usize> {
    let mut parts = [IoSliceMut::new(space)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(io.as_raw_fd(), &mut parts, Some(control), flags)?;
    if message.bytes == 0 {
        return Ok(0);
    }
    let writer = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmCredentials(writer) => Some(writer.pid()),
        _ => None,
    });
    if writer == Some(pid) {
        Ok(message.bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "another process than the one that connected wrote"))
    }
}

impl AsyncWrite for Attested {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// How long a new connection may be silent (U16).
pub(super) const FIRST_BYTE_DEADLINE: Duration = Duration::from_secs(10);
