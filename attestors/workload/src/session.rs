//! `session:agent:<name>`, `session:id:<id>` and `session:uid:<uid>`: which `avouch run` the process belongs to, and which
//! user opened it. Without containment this is a fence between processes of one user, not a wall. Behind walls that were
//! verified, `session:contained:<profile>` too.

use crate::{Refused, Subject, WorkloadAttestor};
use avouch_words::{Name, Selector, Ulid};

/// The session a process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The agent that the session was opened for.
    pub agent: Name,
    /// The session.
    pub session: Ulid,
    /// The uid that opened it.
    pub opener: u32,
    /// The profiles that the walls count as which the process is behind.
    pub walls: Vec<Name>,
}

/// Who knows the sessions of this node.
pub trait Sessions: Send + Sync {
    /// The session of a process, by descent or cgroup. An error refuses: who cannot be placed is in no session and
    /// outside none.
    fn of(&self, subject: &Subject<'_>) -> Result<Option<Membership>, std::io::Error>;
}

/// Attests by session.
pub struct Session<S>(S);

impl<S: Sessions> Session<S> {
    /// With this lookup.
    pub fn new(sessions: S) -> Self {
        Self(sessions)
    }
}

impl<S: Sessions> WorkloadAttestor for Session<S> {
    fn name(&self) -> &'static str {
        "session"
    }

    fn attest(&self, subject: &Subject<'_>) -> Result<Vec<Selector>, Refused> {
        let membership = self.0.of(subject).map_err(Refused::Unreadable)?;
        if !(subject.is_same)() {
            return Err(Refused::Gone);
        }
        let Some(found) = membership else { return Ok(Vec::new()) };
        let plain = [
            format!("session:agent:{}", found.agent),
            format!("session:id:{}", found.session),
            format!("session:uid:{}", found.opener),
        ];
        let walls = found.walls.iter().map(|profile| format!("session:contained:{profile}"));
        Ok(plain.into_iter().chain(walls).filter_map(|fact| Selector::parse(&fact).ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, subject};
    use avouch_words::Millis;

    struct One(i32, Membership);

    impl Sessions for One {
        fn of(&self, subject: &Subject<'_>) -> Result<Option<Membership>, std::io::Error> {
            match subject.pid {
                pid if pid == self.0 => Ok(Some(self.1.clone())),
                pid if std::path::Path::new(&format!("/proc/{pid}")).exists() => Ok(None),
                _ => Err(std::io::ErrorKind::NotFound.into()),
            }
        }
    }

    fn researcher() -> (Session<One>, Membership) {
        let name = |name| Name::parse(name).unwrap();
        let membership = Membership {
            agent: name("researcher"),
            session: Ulid::new(Millis(1), [7; 10]),
            opener: 1001,
            walls: vec![name("work"), name("open")],
        };
        (Session::new(One(std::process::id() as i32, membership.clone())), membership)
    }

    #[test]
    fn it_conforms() {
        let (attestor, membership) = researcher();
        let id = format!("session:id:{}", membership.session);
        let walls = ["session:contained:open", "session:contained:work"];
        conformance::suite(&attestor, &[&["session:agent:researcher", &id, "session:uid:1001"], &walls[..]].concat());
    }

    #[test]
    fn a_process_of_no_session_gets_no_selector() {
        let (attestor, _) = researcher();
        let parent = subject(rustix::process::getppid().unwrap().as_raw_nonzero().get(), &|| true);
        assert_eq!(attestor.attest(&parent).unwrap(), []);
    }
}
