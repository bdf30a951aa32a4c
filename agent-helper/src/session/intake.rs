//! What `avouch run` says on the session socket: length-prefixed messages, the second with descriptors. Everything that
//! comes with one and is not taken is closed.

use avouch_wire::Message;
use avouch_wire::local::{OpenSession, SessionAnswer, SessionHello};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// What was said to open a session, with what was handed over.
#[derive(Debug)]
pub struct Opening {
    /// The message.
    pub said: OpenSession,
    /// The session's listener, if it is one.
    pub listener: OwnedFd,
    /// A pidfd of the process that is pid 1 inside, if it is one; there exactly if the session is said to be contained.
    pub init: Option<OwnedFd>,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BadIntake {
    /// It did not come in time (U16).
    #[error("nothing was said in time")]
    Slow,
    /// The other end went away, or the socket failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// Longer than an opening can be.
    #[error("the message is too long")]
    TooLong,
    /// It cannot be read.
    #[error("the message cannot be read")]
    Unreadable,
    /// More or fewer than belong to it.
    #[error("other descriptors came with the message than belong to it")]
    Descriptors,
    /// Another process than the one that connected wrote it (U03, U04).
    #[error("another process wrote than the one that connected")]
    OtherWriter,
}

/// Reads the first message. The kernel has to name `writer` as the writer of every part of it, so `SO_PASSCRED` has to
/// be on.
pub async fn hello(stream: &UnixStream, writer: i32) -> Result<SessionHello, BadIntake> {
    match message(stream, writer).await? {
        (said, descriptors) if descriptors.is_empty() => Ok(said),
        _ => Err(BadIntake::Descriptors),
    }
}

/// Reads the second, of the same writer.
pub async fn opening(stream: &UnixStream, writer: i32) -> Result<Opening, BadIntake> {
    let (said, descriptors): (OpenSession, _) = message(stream, writer).await?;
    let mut descriptors = descriptors.into_iter();
    match (descriptors.next(), descriptors.next(), descriptors.next(), said.contained.is_some()) {
        (Some(listener), init, None, contained) if init.is_some() == contained => Ok(Opening { said, listener, init }),
        _ => Err(BadIntake::Descriptors),
    }
}

/// Sends the answer.
pub async fn answer(stream: &mut UnixStream, answer: &SessionAnswer) -> io::Result<()> {
    let body = answer.encode_to_vec();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    tokio::time::timeout(DEADLINE, stream.write_all(&frame)).await.map_err(io::Error::other)?
}

async fn message<M: Message + Default>(stream: &UnixStream, writer: i32) -> Result<(M, Vec<OwnedFd>), BadIntake> {
    tokio::time::timeout(DEADLINE, read_whole(stream, writer)).await.map_err(|_| BadIntake::Slow)?
}

async fn read_whole<M: Message + Default>(stream: &UnixStream, writer: i32) -> Result<(M, Vec<OwnedFd>), BadIntake> {
    let mut taken = Taken { bytes: Vec::new(), descriptors: Vec::new(), cut: false, foreign: false };
    loop {
        let missing = match taken.length()? {
            Some(whole) if taken.bytes.len() == whole => break,
            Some(whole) => whole - taken.bytes.len(),
            None => PREFIX - taken.bytes.len(),
        };
        let before = taken.bytes.len();
        stream.async_io(Interest::READABLE, || taken.receive(stream, missing, writer)).await?;
        if taken.foreign {
            return Err(BadIntake::OtherWriter);
        }
        if taken.bytes.len() == before {
            return Err(BadIntake::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    if taken.cut {
        return Err(BadIntake::Descriptors);
    }
    let message = M::decode(&taken.bytes[PREFIX..]).map_err(|_| BadIntake::Unreadable)?;
    Ok((message, taken.descriptors))
}

struct Taken {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    /// The kernel had more descriptors than we take, and closed those.
    cut: bool,
    /// Another process wrote a part of it.
    foreign: bool,
}

impl Taken {
    fn length(&self) -> Result<Option<usize>, BadIntake> {
        let Some(prefix) = self.bytes.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > LONGEST {
            return Err(BadIntake::TooLong);
        }
        Ok(Some(PREFIX + length))
    }

    fn receive(&mut self, stream: &UnixStream, missing: usize, writer: i32) -> io::Result<()> {
        let mut buffer = vec![0; missing];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = recvmsg(stream, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags)?;
        let mut named = None;
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(rights) => self.descriptors.extend(rights),
                RecvAncillaryMessage::ScmCredentials(sender) => named = Some(sender.pid.as_raw_nonzero().get()),
                _ => {}
            }
        }
        self.foreign |= received.bytes > 0 && named != Some(writer);
        self.cut |= received.flags.contains(ReturnFlags::CTRUNC);
        self.bytes.extend_from_slice(&buffer[..received.bytes]);
        Ok(())
    }
}

const PREFIX: usize = 4;
/// The longest message, in bytes.
const LONGEST: usize = 1024;
/// Descriptors looked at in one message; two are taken at most.
const DESCRIPTORS: usize = 8;
/// From the connection to the whole first message, and from the terms to the whole second.
const DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_wire::local::Containment;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::io::IoSlice;
    use std::os::fd::{AsFd, BorrowedFd};

    fn send(to: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    }

    fn me() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        rustix::net::sockopt::set_socket_passcred(&ours, true).unwrap();
        (ours, theirs)
    }

    fn frame(message: &impl Message) -> Vec<u8> {
        let body = message.encode_to_vec();
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    }

    fn plain() -> OpenSession {
        OpenSession { agent: "researcher".to_owned(), contained: None }
    }

    fn contained() -> OpenSession {
        OpenSession { contained: Some(Containment { profile: "work".to_owned() }), ..plain() }
    }

    #[tokio::test]
    async fn an_opening_in_pieces_with_its_descriptors_is_taken() {
        for (said, count) in [(plain(), 1), (contained(), 2)] {
            let (ours, theirs) = pair();
            let file = std::fs::File::open("/dev/null").unwrap();
            let bytes = frame(&said);
            let sender = async {
                send(&theirs, &bytes[..2], &vec![file.as_fd(); count]);
                tokio::task::yield_now().await;
                send(&theirs, &bytes[2..], &[]);
            };
            let (read, ()) = tokio::join!(opening(&ours, me()), sender);
            let read = read.unwrap();
            assert_eq!((read.said.agent.as_str(), read.init.is_some()), ("researcher", count == 2));
        }
    }

    #[tokio::test]
    async fn fewer_or_more_descriptors_than_belong_to_it_are_refused_and_none_is_kept() {
        let many = [DESCRIPTORS, DESCRIPTORS + 1, 30];
        let greeting = SessionHello { agent: "researcher".to_owned() };
        for (bytes, counts) in [(frame(&plain()), [0, 2]), (frame(&contained()), [0, 1]), (frame(&contained()), [3, 4])]
        {
            for count in counts.into_iter().chain(many) {
                let refused = |opened: Result<Opening, BadIntake>| matches!(opened, Err(BadIntake::Descriptors));
                let (ours, reader) = handed(&bytes, count);
                assert!(refused(opening(&ours, me()).await), "{count}");
                hung_up(&reader, count);
            }
        }
        for count in [1, 2].into_iter().chain(many) {
            let (ours, reader) = handed(&frame(&greeting), count);
            assert!(matches!(hello(&ours, me()).await, Err(BadIntake::Descriptors)), "{count}");
            hung_up(&reader, count);
        }
        let (ours, _reader) = handed(&frame(&greeting), 0);
        assert_eq!(hello(&ours, me()).await.unwrap().agent, "researcher");
    }

    /// A connection on which this was said, with so many descriptors of a pipe.
    fn handed(bytes: &[u8], count: usize) -> (UnixStream, std::io::PipeReader) {
        let (ours, theirs) = pair();
        let (reader, writer) = std::io::pipe().unwrap();
        send(&theirs, bytes, &vec![writer.as_fd(); count]);
        (ours, reader)
    }

    /// The pipe hangs up once its last descriptor is closed.
    fn hung_up(reader: &std::io::PipeReader, count: usize) {
        let mut hung = [nix::poll::PollFd::new(reader.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut hung, 2000_u16), Ok(1), "of {count} descriptors one is still open");
    }

    #[tokio::test]
    async fn what_another_process_writes_is_refused() {
        let (ours, theirs) = pair();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&theirs, &frame(&plain()), &[file.as_fd()]);
        assert!(matches!(opening(&ours, me() + 1).await, Err(BadIntake::OtherWriter)));
        let (ours, theirs) = pair();
        send(&theirs, &frame(&SessionHello { agent: "researcher".to_owned() }), &[]);
        assert!(matches!(hello(&ours, me() + 1).await, Err(BadIntake::OtherWriter)));
    }

    #[tokio::test]
    async fn one_byte_too_long_nonsense_and_an_early_end_are_refused() {
        let (ours, theirs) = pair();
        send(&theirs, &u32::try_from(LONGEST + 1).unwrap().to_be_bytes(), &[]);
        assert!(matches!(hello(&ours, me()).await, Err(BadIntake::TooLong)));

        let (ours, theirs) = pair();
        send(&theirs, &[0, 0, 0, 2, 0xff, 0xff], &[]);
        assert!(matches!(hello(&ours, me()).await, Err(BadIntake::Unreadable)));

        let (ours, theirs) = pair();
        send(&theirs, &[0, 0], &[]);
        drop(theirs);
        assert!(matches!(hello(&ours, me()).await, Err(BadIntake::Io(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_not_waited_for() {
        let (ours, _theirs) = pair();
        assert!(matches!(hello(&ours, me()).await, Err(BadIntake::Slow)));
    }
}
