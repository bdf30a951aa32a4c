//! The two halves of a connection, plain or under TLS, and the bytes read but not yet understood.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// How much is asked of a connection at once.
const READ_SIZE: usize = 16 * 1024;

/// A connection.
pub(crate) enum Io {
    /// As it is.
    Plain(TcpStream),
    /// Under TLS, from either end.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The half of a connection that is written to.
pub(crate) type Output = WriteHalf<Io>;

/// The half of a connection that is read from, with what was read ahead.
pub(crate) struct Input {
    io: ReadHalf<Io>,
    pub(super) buffer: BytesMut,
}

impl Io {
    /// Both halves.
    pub(crate) fn halves(self) -> (Input, Output) {
        let (read, write) = tokio::io::split(self);
        (Input { io: read, buffer: BytesMut::with_capacity(READ_SIZE) }, write)
    }

    /// The connection again; the halves have to be of one connection.
    pub(crate) fn join(input: Input, output: Output) -> Self {
        input.io.unsplit(output)
    }
}

impl Input {
    /// Reads more; 0 is the end of the stream.
    pub(crate) async fn fill(&mut self) -> Result<usize> {
        self.buffer.reserve(READ_SIZE);
        self.io.read_buf(&mut self.buffer).await
    }

    /// Reads and drops up to so many bytes.
    pub(crate) async fn drain(&mut self, most: u64) -> Result<()> {
        let mut dropped = 0;
        while dropped < most {
            self.buffer.clear();
            match self.fill().await? {
                0 => break,
                read => dropped += read as u64,
            }
        }
        Ok(())
    }

    /// Waits until the other side has closed, or has sent more than it may while it waits for an answer. What it
    /// sends until then is kept.
    pub(crate) async fn abandoned(&mut self) {
        while self.buffer.len() <= READ_SIZE && matches!(self.fill().await, Ok(1..)) {}
    }

    /// Whether bytes were read that no message has claimed.
    pub(crate) fn has_leftover(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether the other side has closed or sent something, asked without waiting. An idle pooled connection for
    /// which this is true must not be used again: what it holds was sent for no request.
    pub(crate) fn has_news(&mut self) -> bool {
        if self.has_leftover() {
            return true;
        }
        self.buffer.reserve(READ_SIZE);
        let mut byte = [0; 1];
        let mut read = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(std::task::Waker::noop());
        Pin::new(&mut self.io).poll_read(&mut context, &mut read).is_ready()
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Io::Plain",
            Self::Tls(_) => "Io::Tls",
        })
    }
}

/// An end of stream where a message was not yet whole.
pub(super) fn cut_short() -> Error {
    Error::from(ErrorKind::UnexpectedEof)
}
