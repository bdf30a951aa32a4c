//! Who is on a connection of one of our sockets, with what was found out about it, so that a second call on the same
//! connection costs a check and no attestation.

use crate::attest::Attested;
use avouch_wire::unix::{self, Peer, Unattested};
use futures_util::Stream;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::StreamExt;
use tonic::transport::server::Connected;

/// The process on a connection.
pub struct Caller {
    peer: Peer,
    found: Mutex<Option<Arc<Attested>>>,
}

impl Caller {
    /// A caller of whom only the connection is known.
    pub fn new(peer: Peer) -> Self {
        Self { peer, found: Mutex::default() }
    }

    /// The process.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Its uid at the connection, which still has to hold at each check.
    pub fn uid(&self) -> u32 {
        self.peer.uid()
    }

    /// Whether it still is the process that connected (U02, U05).
    pub fn recheck(&self) -> Result<(), Unattested> {
        self.peer.recheck()
    }

    /// Waits until it has ended.
    pub async fn exited(&self) {
        self.peer.exited().await;
    }

    /// What was found out about it before.
    pub fn found(&self) -> Option<Arc<Attested>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what was found out.
    pub fn keep(&self, attested: Arc<Attested>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(attested);
    }
}

/// A connection that carries its caller to every call on it.
pub struct Connection {
    io: unix::Attested,
    caller: Arc<Caller>,
}

/// The connections of a listener, for `serve_with_incoming`.
pub fn connections(listener: unix::Listener) -> impl Stream<Item = io::Result<Connection>> {
    let carry = |io: unix::Attested| Connection { caller: Arc::new(Caller::new(io.peer().clone())), io };
    listener.incoming().map(move |accepted| accepted.map(carry))
}

impl Connected for Connection {
    type ConnectInfo = Arc<Caller>;

    fn connect_info(&self) -> Arc<Caller> {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
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
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
