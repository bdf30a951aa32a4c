//! Bodies, taken out of their framing piece by piece.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::timeout;

use super::head::Framing;
use super::io::{Input, cut_short};

/// How long a body may be silent.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(30);
/// The longest request body.
pub(crate) const REQUEST_BODY_MAX: u64 = 1 << 30;
/// The longest response body.
pub(crate) const RESPONSE_BODY_MAX: u64 = 4 << 30;
/// The longest line that gives a chunk's size: 8 hexadecimal digits, so less than 4 GiB. Chunk extensions are refused.
const CHUNK_DIGITS_MAX: usize = 8;
/// The longest trailer section of a response.
const TRAILERS_MAX: usize = 8 * 1024;

/// Why a body is not taken. Each of them closes both sides.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    /// The connection closed or broke within the body.
    #[error("cut short: {0}")]
    Cut(std::io::ErrorKind),
    /// Nothing came for too long.
    #[error("silent for too long")]
    Slow,
    /// More bytes than allowed.
    #[error("too large")]
    TooLarge,
    /// The chunks are not as they must be.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// What decoding the buffer gave.
enum Step {
    Data(Bytes),
    NeedsMore,
    End,
}

#[derive(Clone, Copy)]
enum State {
    Length(u64),
    Size,
    Chunk(u64),
    ChunkEnd,
    Trailers { seen: usize },
    UntilClose,
    End,
}

/// A body on its way.
pub(crate) struct Body {
    state: State,
    taken: u64,
    max: u64,
    trailers: bool,
}

impl Body {
    /// The body of a request: trailers are refused.
    pub(crate) fn of_request(framing: Framing) -> Result<Self, BodyFault> {
        Self::new(framing, REQUEST_BODY_MAX, false)
    }

    /// The body of a response: trailers are read and dropped.
    pub(crate) fn of_response(framing: Framing) -> Result<Self, BodyFault> {
        Self::new(framing, RESPONSE_BODY_MAX, true)
    }

    fn new(framing: Framing, max: u64, trailers: bool) -> Result<Self, BodyFault> {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::End,
            Framing::Length(length) if length > max => return Err(BodyFault::TooLarge),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        Ok(Self { state, taken: 0, max, trailers })
    }

    /// Whether all of it was taken.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// The next piece of content; none at the end.
    pub(crate) async fn next(&mut self, input: &mut Input, idle: Duration) -> Result<Option<Bytes>, BodyFault> {
        loop {
            match self.step(&mut input.buffer)? {
                Step::Data(piece) => return Ok(Some(piece)),
                Step::End => return Ok(None),
                Step::NeedsMore => {}
            }
            let read = timeout(idle, input.fill()).await.map_err(|_| BodyFault::Slow)?;
            match (read, self.state) {
                (Ok(0), State::UntilClose) => self.state = State::End,
                (Ok(0), _) => return Err(BodyFault::Cut(cut_short().kind())),
                (Ok(_), _) => {}
                (Err(error), _) => return Err(BodyFault::Cut(error.kind())),
            }
        }
    }

    /// What of it has already been read, without waiting for more; at most `limit` bytes of content.
    pub(crate) fn ready(&mut self, input: &mut Input, into: &mut Vec<u8>, limit: usize) -> Result<(), BodyFault> {
        while into.len() < limit {
            match self.step(&mut input.buffer)? {
                Step::Data(piece) => into.extend_from_slice(&piece),
                Step::NeedsMore | Step::End => break,
            }
        }
        Ok(())
    }

    fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, BodyFault> {
        loop {
            match self.state {
                State::End => return Ok(Step::End),
                _ if buffer.is_empty() => return Ok(Step::NeedsMore),
                State::UntilClose => {
                    let piece = buffer.split().freeze();
                    return self.data(piece);
                }
                State::Length(left) | State::Chunk(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let piece = buffer.split_to(take).freeze();
                    let left = left - take as u64;
                    self.state = match self.state {
                        State::Length(_) if left == 0 => State::End,
                        State::Length(_) => State::Length(left),
                        _ if left == 0 => State::ChunkEnd,
                        _ => State::Chunk(left),
                    };
                    return self.data(piece);
                }
                State::Size => match size_line(buffer)? {
                    None => return Ok(Step::NeedsMore),
                    Some((line, 0)) => {
                        buffer.advance(line);
                        self.state = State::Trailers { seen: 0 };
                    }
                    Some((line, size)) => {
                        buffer.advance(line);
                        self.state = State::Chunk(size);
                    }
                },
                State::ChunkEnd => match &buffer[..] {
                    [b'\r'] => return Ok(Step::NeedsMore),
                    [b'\r', b'\n', ..] => {
                        buffer.advance(2);
                        self.state = State::Size;
                    }
                    _ => return Err(BodyFault::Malformed("chunk not closed by CRLF")),
                },
                State::Trailers { seen } => match line(buffer, TRAILERS_MAX - seen)? {
                    None => return Ok(Step::NeedsMore),
                    Some(2) => {
                        buffer.advance(2);
                        self.state = State::End;
                    }
                    Some(_) if !self.trailers => return Err(BodyFault::Malformed("trailers in a request")),
                    Some(length) => {
                        buffer.advance(length);
                        self.state = State::Trailers { seen: seen + length };
                    }
                },
            }
        }
    }

    fn data(&mut self, piece: Bytes) -> Result<Step, BodyFault> {
        self.taken += piece.len() as u64;
        if self.taken > self.max {
            return Err(BodyFault::TooLarge);
        }
        Ok(Step::Data(piece))
    }
}

/// The line that gives a chunk's size: its length with the line end, and the size.
fn size_line(buffer: &[u8]) -> Result<Option<(usize, u64)>, BodyFault> {
    let digits = buffer.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits > CHUNK_DIGITS_MAX {
        return Err(BodyFault::Malformed("chunk size too long"));
    }
    match &buffer[digits..] {
        [] | [b'\r'] if digits > 0 => Ok(None),
        [b'\r', b'\n', ..] if digits > 0 => {
            let text = std::str::from_utf8(&buffer[..digits]).unwrap_or_default();
            let size = u64::from_str_radix(text, 16).map_err(|_| BodyFault::Malformed("chunk size"))?;
            Ok(Some((digits + 2, size)))
        }
        _ => Err(BodyFault::Malformed("chunk size")),
    }
}

/// The length of the next line with its CRLF.
fn line(buffer: &[u8], max: usize) -> Result<Option<usize>, BodyFault> {
    match buffer.iter().position(|b| *b == b'\n') {
        Some(at) if at >= max => Err(BodyFault::TooLarge),
        Some(at) if at > 0 && buffer[at - 1] == b'\r' => Ok(Some(at + 1)),
        Some(_) => Err(BodyFault::Malformed("bare LF in the trailers")),
        None if buffer.len() >= max => Err(BodyFault::TooLarge),
        None => Ok(None),
    }
}
