//! What `run` and the helper say to each other on the session socket, before the program starts.

use crate::failure::{Exit, Failure};
use avouch_wire::Message as _;
use avouch_wire::local::session_answer::Kind;
use avouch_wire::local::{
    Containment, OpenSession, SessionAnswer, SessionHello, SessionOpened, SessionRefused, SessionTerms,
};
use avouch_words::Name;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection to the helper; the session lives as long as it is open.
pub struct Talk(UnixStream);

impl Talk {
    /// Connects.
    pub fn begin(socket: &Path) -> Result<Self, Failure> {
        let connection = UnixStream::connect(socket).map_err(|error| {
            let sentence = format!("the helper does not answer at {}: {error}", socket.display());
            Failure::new(Exit::Unreachable, sentence).then("See whether it runs, and whether this user may use it.")
        })?;
        let timed = connection.set_read_timeout(Some(DEADLINE)).and(connection.set_write_timeout(Some(DEADLINE)));
        timed.map_err(|error| failed(&error))?;
        Ok(Self(connection))
    }

    /// Says whom it is about, and hears the terms.
    pub fn hello(&mut self, agent: &Name) -> Result<SessionTerms, Failure> {
        let hello = SessionHello { agent: agent.to_string() };
        match self.exchange(&hello.encode_to_vec(), &[])? {
            Kind::Terms(terms) => Ok(terms),
            other => Err(unexpected(other)),
        }
    }

    /// Hands over the listener and, of a contained session, the pidfd of its init.
    pub fn open(
        &mut self,
        agent: &Name,
        profile: Option<&str>,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<SessionOpened, Failure> {
        let contained = profile.map(|profile| Containment { profile: profile.to_owned() });
        let request = OpenSession { agent: agent.to_string(), contained };
        match self.exchange(&request.encode_to_vec(), descriptors)? {
            Kind::Opened(opened) => Ok(opened),
            other => Err(unexpected(other)),
        }
    }

    /// One message there, with descriptors, and one back.
    fn exchange(&mut self, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Kind, Failure> {
        let answer = self.send(body, descriptors).and_then(|()| self.receive()).map_err(|error| failed(&error))?;
        answer
            .kind
            .ok_or_else(|| Failure::new(Exit::Failure, "the helper's answer cannot be read: is it of another version?"))
    }

    fn send(&mut self, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let frame = [&length.to_be_bytes()[..], body].concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("no room for the descriptors"));
        }
        let sent = sendmsg(&self.0, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL)?;
        self.0.write_all(&frame[sent..])
    }

    fn receive(&mut self) -> io::Result<SessionAnswer> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_ANSWER {
            return Err(io::Error::other("its answer is too long"));
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        SessionAnswer::decode(body.as_slice()).map_err(io::Error::other)
    }
}

impl From<Talk> for OwnedFd {
    fn from(talk: Talk) -> Self {
        talk.0.into()
    }
}

fn failed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::new(Exit::Timeout, "the helper took too long to open a session").then("See `avouch status`.")
        }
        _ => Failure::new(Exit::Unreachable, format!("the helper did not open a session: {error}"))
            .then("See `avouch status`, and the helper's log."),
    }
}

fn unexpected(kind: Kind) -> Failure {
    match kind {
        Kind::Refused(refused) => refusal(refused),
        Kind::Opened(_) | Kind::Terms(_) => {
            Failure::new(Exit::Failure, "the helper answered something else: is it of another version?")
        }
    }
}

fn refusal(refused: SessionRefused) -> Failure {
    let exit = match refused.code.as_str() {
        "not_ready" => Exit::Unreachable,
        "bad_request" | "too_many_sessions" => Exit::Failure,
        _ => Exit::Denied,
    };
    Failure::new(exit, format!("{} ({})", refused.message, refused.code)).then(refused.action)
}

/// The listener, and the pidfd of the session's init.
const MOST_DESCRIPTORS: usize = 2;
/// How long the helper may take to answer.
const DEADLINE: Duration = Duration::from_secs(15);
/// The longest answer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;
