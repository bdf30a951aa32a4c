//! Messages between `run` and the stages of a contained session: a kind, a length, fields, and descriptors beside
//! them. Both ends are the same program file.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// `run` or a stage to the next: what to build.
    Order = 1,
    /// The init to `run`: everything stands.
    Ready = 2,
    /// A stage to `run`: why it does not.
    Failed = 3,
    /// `run` to the init: what to start.
    Launch = 4,
    /// The first stage to `run`: the init runs; and the init to `run`: the program does.
    Started = 6,
    /// The init to `run`: the program has stopped.
    Stopped = 5,
}

impl Kind {
    fn of(byte: u8) -> io::Result<Self> {
        [Self::Order, Self::Ready, Self::Failed, Self::Launch, Self::Stopped, Self::Started]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
            .ok_or_else(|| io::Error::other("a message of no known kind"))
    }
}

/// A message that came in.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) fields: Fields,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Sends one message.
pub(crate) fn send(to: &UnixStream, kind: Kind, fields: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let length = u32::try_from(fields.len()).map_err(io::Error::other)?;
    let mut head = [0; HEAD];
    head[0] = kind as u8;
    head[1..].copy_from_slice(&length.to_be_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let sent = sendmsg(to, &[IoSlice::new(&head)], &mut control, SendFlags::NOSIGNAL)?;
    let mut stream = to;
    stream.write_all(&head[sent..])?;
    stream.write_all(fields)
}

/// Takes one message; `None` if the other end is gone.
pub(crate) fn receive(from: &UnixStream) -> io::Result<Option<Frame>> {
    let mut head = [0; HEAD];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let mut into = [IoSliceMut::new(&mut head)];
        match recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => break 0,
            Err(error) => return Err(error.into()),
        }
    };
    if got == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    let mut stream = from;
    stream.read_exact(&mut head[got..])?;
    let kind = Kind::of(head[0])?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > LONGEST {
        return Err(io::Error::other("a message is too long"));
    }
    let mut fields = vec![0; length];
    stream.read_exact(&mut fields)?;
    Ok(Some(Frame { kind, fields: Fields { bytes: fields, at: 0 }, descriptors }))
}

/// The fields of a message, one after the other.
#[derive(Debug)]
pub(crate) struct Fields {
    bytes: Vec<u8>,
    at: usize,
}

impl Fields {
    pub(crate) fn number(&mut self) -> io::Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(crate) fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let length = self.number()? as usize;
        Ok(self.take(length)?.to_vec())
    }

    pub(crate) fn os(&mut self) -> io::Result<OsString> {
        Ok(OsString::from_vec(self.bytes()?))
    }

    pub(crate) fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?).map_err(io::Error::other)
    }

    /// Many of one kind.
    pub(crate) fn many<T>(&mut self, one: impl Fn(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.number()?;
        (0..count).map(|_| one(self)).collect()
    }

    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| io::Error::other("a message ends too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }
}

/// Writes fields.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn number(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        // What does not fit in 32 bits is over the limit of a whole message, and is refused there.
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend(bytes);
        self
    }

    pub(crate) fn os(&mut self, text: impl AsRef<OsStr>) -> &mut Self {
        self.bytes(text.as_ref().as_bytes())
    }

    pub(crate) fn many<T>(&mut self, all: &[T], one: impl for<'a> Fn(&'a mut Self, &T) -> &'a mut Self) -> &mut Self {
        self.number(u32::try_from(all.len()).unwrap_or(u32::MAX));
        for each in all {
            one(self, each);
        }
        self
    }

    pub(crate) fn fields(&self) -> &[u8] {
        &self.0
    }
}

/// Kind and length.
const HEAD: usize = 5;
/// At most so many descriptors beside one message.
const MOST_DESCRIPTORS: usize = 8;
/// The longest message, in bytes: an environment and arguments of the kernel's own limit, and CA bundles.
const LONGEST: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn a_message_arrives_with_its_fields_and_descriptors() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut fields = Writer::default();
        fields.number(7).os("/a\u{fffd}").many(&["x", "y"], |to, each| to.os(each));
        send(&one, Kind::Launch, fields.fields(), &[std::io::stdin().as_fd(), one.as_fd()]).unwrap();
        let mut frame = receive(&other).unwrap().unwrap();
        assert_eq!((frame.kind, frame.descriptors.len()), (Kind::Launch, 2));
        assert_eq!((frame.fields.number().unwrap(), frame.fields.os().unwrap()), (7, "/a\u{fffd}".into()));
        assert_eq!(frame.fields.many(Fields::text).unwrap(), ["x", "y"]);
        assert!(frame.fields.number().is_err(), "nothing is left");
        drop((one, frame));
        assert!(receive(&other).unwrap().is_none());
    }

    #[test]
    fn a_message_one_over_the_limit_is_refused() {
        let (mut one, other) = UnixStream::pair().unwrap();
        let length = u32::try_from(LONGEST + 1).unwrap().to_be_bytes();
        one.write_all(&[&[Kind::Order as u8], &length[..]].concat()).unwrap();
        assert!(receive(&other).is_err());
    }
}
