//! What `avouch run` says on the session socket: one length-prefixed message with one descriptor. Everything that
//! comes with it and is not taken is closed.

use avouch_wire::Message;
use avouch_wire::local::{OpenSession, SessionAnswer};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

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
    /// None, or more than one.
    #[error("exactly one descriptor has to come with the message")]
    Descriptors,
    /// Another process than the one that connected wrote it (U03, U04).
    #[error("another process wrote than the one that connected")]
    OtherWriter,
}

/// Reads the opening and its one descriptor. The kernel has to name `writer` as the writer of every part of it, so
/// `SO_PASSCRED` has to be on.
pub async fn read(stream: &UnixStream, writer: i32) -> Result<(OpenSession, OwnedFd), BadIntake> {
    tokio::time::timeout(DEADLINE, read_whole(stream, writer)).await.map_err(|_| BadIntake::Slow)?
}

/// Sends the answer.
pub async fn answer(stream: &mut UnixStream, answer: &SessionAnswer) -> io::Result<()> {
    let body = answer.encode_to_vec();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    tokio::time::timeout(DEADLINE, stream.write_all(&frame)).await.map_err(io::Error::other)?
}

async fn read_whole(stream: &UnixStream, writer: i32) -> Result<(OpenSession, OwnedFd), BadIntake> {
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
    let message = OpenSession::decode(&taken.bytes[PREFIX..]).map_err(|_| BadIntake::Unreadable)?;
    let mut descriptors = taken.descriptors.into_iter();
    match (descriptors.next(), descriptors.next(), taken.cut) {
        (Some(only), None, false) => Ok((message, only)),
        _ => Err(BadIntake::Descriptors),
    }
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
/// The longest opening, in bytes.
const LONGEST: usize = 1024;
/// Descriptors looked at in one message; one is taken.
const DESCRIPTORS: usize = 8;
/// From the connection to the whole message.
const DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
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

    fn opening(agent: &str) -> Vec<u8> {
        let body = OpenSession { agent: agent.to_owned() }.encode_to_vec();
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    }

    #[tokio::test]
    async fn an_opening_in_pieces_with_one_descriptor_is_taken() {
        let (ours, theirs) = pair();
        let file = std::fs::File::open("/dev/null").unwrap();
        let bytes = opening("researcher");
        let sender = async {
            send(&theirs, &bytes[..2], &[file.as_fd()]);
            tokio::task::yield_now().await;
            send(&theirs, &bytes[2..], &[]);
        };
        let (read, ()) = tokio::join!(read(&ours, me()), sender);
        assert_eq!(read.unwrap().0.agent, "researcher");
    }

    #[tokio::test]
    async fn none_two_or_very_many_descriptors_are_refused_and_none_is_kept() {
        for count in [0, 2, DESCRIPTORS, DESCRIPTORS + 1, 30] {
            let (ours, theirs) = pair();
            let (reader, writer) = std::io::pipe().unwrap();
            send(&theirs, &opening("researcher"), &vec![writer.as_fd(); count]);
            assert!(matches!(read(&ours, me()).await, Err(BadIntake::Descriptors)), "{count}");
            drop(writer);
            // The pipe hangs up once its last descriptor is closed.
            let mut hung = [nix::poll::PollFd::new(reader.as_fd(), nix::poll::PollFlags::POLLIN)];
            assert_eq!(nix::poll::poll(&mut hung, 2000_u16), Ok(1), "of {count} descriptors one is still open");
        }
    }

    #[tokio::test]
    async fn what_another_process_writes_is_refused() {
        let (ours, theirs) = pair();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&theirs, &opening("researcher"), &[file.as_fd()]);
        assert!(matches!(read(&ours, me() + 1).await, Err(BadIntake::OtherWriter)));
    }

    #[tokio::test]
    async fn one_byte_too_long_nonsense_and_an_early_end_are_refused() {
        let (ours, theirs) = pair();
        send(&theirs, &u32::try_from(LONGEST + 1).unwrap().to_be_bytes(), &[]);
        assert!(matches!(read(&ours, me()).await, Err(BadIntake::TooLong)));

        let (ours, theirs) = pair();
        send(&theirs, &[0, 0, 0, 2, 0xff, 0xff], &[]);
        assert!(matches!(read(&ours, me()).await, Err(BadIntake::Unreadable)));

        let (ours, theirs) = pair();
        send(&theirs, &[0, 0], &[]);
        drop(theirs);
        assert!(matches!(read(&ours, me()).await, Err(BadIntake::Io(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_not_waited_for() {
        let (ours, _theirs) = pair();
        assert!(matches!(read(&ours, me()).await, Err(BadIntake::Slow)));
    }
}
