//! What `run` tells the stages to build.

use super::frames::{Fields, Writer};
use super::who::Who;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// One contained session, before anything of it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) who: Who,
    /// Name and text of the profile.
    pub(crate) profile: (String, String),
    /// The Workload API socket of the host.
    pub(crate) socket: PathBuf,
    /// The directory of its identity tokens on the host.
    pub(crate) tokens: Option<PathBuf>,
    /// The work directory, without links.
    pub(crate) work_dir: PathBuf,
    /// Where the program starts, in or below the work directory.
    pub(crate) current_dir: PathBuf,
    /// Home without links, and as its environment names it.
    pub(crate) home: Option<PathBuf>,
    pub(crate) home_named: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR` of the caller.
    pub(crate) runtime_dir: Option<PathBuf>,
    /// What no session may see, without links.
    pub(crate) hide: Vec<PathBuf>,
    /// Which of the first three descriptors is a terminal.
    pub(crate) terminals: [bool; 3],
}

impl Order {
    pub(crate) fn write(&self) -> Writer {
        let mut to = Writer::default();
        to.number(self.who.uid).number(self.who.gid).number(u32::from(self.who.other));
        to.os(&self.profile.0).os(&self.profile.1);
        to.os(&self.socket).os(&self.work_dir).os(&self.current_dir);
        for optional in [&self.tokens, &self.home, &self.home_named, &self.runtime_dir] {
            to.many(optional.as_slice(), |to, path| to.os(path));
        }
        to.many(&self.hide, |to, path| to.os(path));
        to.many(&self.terminals, |to, is| to.number(u32::from(*is)));
        to
    }

    pub(crate) fn read(from: &mut Fields) -> io::Result<Self> {
        let who = Who { uid: from.number()?, gid: from.number()?, other: from.number()? != 0 };
        let profile = (from.text()?, from.text()?);
        let (socket, work_dir, current_dir) = (path(from)?, path(from)?, path(from)?);
        let mut optional = || Ok::<_, io::Error>(from.many(path)?.pop());
        let (tokens, home) = (optional()?, optional()?);
        let (home_named, runtime_dir) = (optional()?, optional()?);
        let hide = from.many(path)?;
        let terminals = from.many(Fields::number)?.into_iter().map(|is| is != 0).collect::<Vec<_>>();
        let terminals = terminals.try_into().map_err(|_| io::Error::other("not three descriptors"))?;
        Ok(Self { who, profile, socket, tokens, work_dir, current_dir, home, home_named, runtime_dir, hide, terminals })
    }
}

/// The program of a session that stands, and the files that only its opening brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) bundle: Vec<u8>,
    pub(crate) extra: Vec<u8>,
}

impl Start {
    pub(crate) fn write(&self) -> Writer {
        let mut to = Writer::default();
        to.os(&self.program).many(&self.args, |to, arg| to.os(arg));
        to.many(&self.environment, |to, (name, value)| to.os(name).os(value));
        to.bytes(&self.bundle).bytes(&self.extra);
        to
    }

    pub(crate) fn read(from: &mut Fields) -> io::Result<Self> {
        Ok(Self {
            program: from.os()?,
            args: from.many(Fields::os)?,
            environment: from.many(|from| Ok((from.os()?, from.os()?)))?,
            bundle: from.bytes()?,
            extra: from.bytes()?,
        })
    }
}

fn path(from: &mut Fields) -> io::Result<PathBuf> {
    Ok(PathBuf::from(from.os()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walls::frames::{Kind, receive, send};
    use std::os::unix::net::UnixStream;

    #[test]
    fn orders_arrive_as_they_were_given() {
        let order = Order {
            who: Who { uid: 1, gid: 2, other: true },
            profile: ("mine".to_owned(), "from = \"work\"".to_owned()),
            socket: "/run/w.sock".into(),
            tokens: Some("/run/tokens".into()),
            work_dir: "/w".into(),
            current_dir: "/w/below".into(),
            home: Some("/home/ann".into()),
            home_named: None,
            runtime_dir: Some("/run/user/1".into()),
            hide: vec!["/a".into(), "/b".into()],
            terminals: [true, false, true],
        };
        let start = Start {
            program: "sh".into(),
            args: vec!["-c".into(), String::new().into()],
            environment: vec![("A".into(), "b".into())],
            bundle: vec![0, 1],
            extra: Vec::new(),
        };
        let (one, other) = UnixStream::pair().unwrap();
        send(&one, Kind::Order, order.write().fields(), &[]).unwrap();
        send(&one, Kind::Launch, start.write().fields(), &[]).unwrap();
        assert_eq!(Order::read(&mut receive(&other).unwrap().unwrap().fields).unwrap(), order);
        assert_eq!(Start::read(&mut receive(&other).unwrap().unwrap().fields).unwrap(), start);
    }
}
