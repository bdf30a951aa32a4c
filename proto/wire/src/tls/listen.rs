//! The accepting side: handshakes run beside each other, each with a deadline, under a connection cap; nothing a peer
//! does ends the loop (N01, N07).

use super::HANDSHAKE_DEADLINE;
use super::config::ServerTls;
use avouch_words::Millis;
use avouch_words::svid::x509::X509Svid;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::server;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Who is on a TLS connection, as far as its handshake told: a request extension of every call on it.
#[derive(Clone, Debug)]
pub struct TlsPeer {
    address: SocketAddr,
    svid: Option<Arc<X509Svid>>,
}

impl TlsPeer {
    /// Where the peer connected from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the peer showed and the handshake verified, if it is still valid `now`: a connection outlives its
    /// certificate.
    pub fn svid(&self, now: Millis) -> Option<&X509Svid> {
        self.svid.as_deref().filter(|svid| now <= svid.not_after())
    }
}

/// One TLS connection, counted until it is dropped.
pub struct TlsStream {
    io: server::TlsStream<TcpStream>,
    peer: TlsPeer,
    /// When a connection without a certificate ends.
    end: Option<Pin<Box<Sleep>>>,
    _anonymous: Option<OwnedSemaphorePermit>,
    _slot: OwnedSemaphorePermit,
}

/// Accepts TLS connections for `serve_with_incoming`. Connections in handshake or without a client certificate have a
/// small cap of their own and end after a minute, so that they cannot take the places of nodes.
pub fn incoming(listener: TcpListener, tls: ServerTls) -> impl Stream<Item = io::Result<TlsStream>> {
    incoming_within(listener, tls, LIMITS)
}

pub(super) fn incoming_within(
    listener: TcpListener,
    tls: ServerTls,
    limits: Limits,
) -> impl Stream<Item = io::Result<TlsStream>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(accept_all(listener, Arc::new(tls), limits, sender));
    ReceiverStream::new(receiver)
}

async fn accept_all(
    listener: TcpListener,
    tls: Arc<ServerTls>,
    limits: Limits,
    ready: mpsc::Sender<io::Result<TlsStream>>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let anonymous = Arc::new(Semaphore::new(limits.anonymous));
    loop {
        let (stream, address) = tokio::select! {
            () = ready.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                    continue;
                }
            },
        };
        let permits = (Arc::clone(&slots).try_acquire_owned(), Arc::clone(&anonymous).try_acquire_owned());
        let (Ok(slot), Ok(anonymous)) = permits else {
            tracing::warn!(%address, "a connection was refused: too many");
            continue;
        };
        let (tls, ready) = (Arc::clone(&tls), ready.clone());
        tokio::spawn(async move {
            match handshake(stream, address, &tls, limits, anonymous, slot).await {
                // Fails only when the server has stopped.
                Ok(stream) => drop(ready.send(Ok(stream)).await),
                Err(error) => tracing::info!(%address, %error, "a TLS handshake failed"),
            }
        });
    }
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    tls: &ServerTls,
    limits: Limits,
    anonymous: OwnedSemaphorePermit,
    slot: OwnedSemaphorePermit,
) -> io::Result<TlsStream> {
    stream.set_nodelay(true)?;
    let io = tokio::time::timeout(limits.handshake, tls.acceptor().accept(stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let svid = tls.shown(io.get_ref().1.peer_certificates()).map_err(io::Error::other)?.map(Arc::new);
    let known = svid.is_some();
    let peer = TlsPeer { address, svid };
    let end = (!known).then(|| Box::pin(tokio::time::sleep(limits.anonymous_life)));
    Ok(TlsStream { io, peer, end, _anonymous: (!known).then_some(anonymous), _slot: slot })
}

impl Connected for TlsStream {
    type ConnectInfo = TlsPeer;

    fn connect_info(&self) -> TlsPeer {
        self.peer.clone()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
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

/// What peers may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Of these, connections in handshake or without a client certificate.
    pub anonymous: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long a connection without a client certificate may last: enough to enrol.
    pub anonymous_life: Duration,
}

pub(super) const LIMITS: Limits = Limits {
    connections: 4096,
    anonymous: 256,
    handshake: HANDSHAKE_DEADLINE,
    anonymous_life: Duration::from_secs(60),
};
/// How long to wait after a failed accept, so that a full descriptor table does not spin.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
