//! The open sessions, as operators see them.

use super::{Session, Sessions};
use avouch_words::{Name, Ulid};
use std::sync::PoisonError;

/// What is told of an open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Which.
    pub session: Ulid,
    /// Whose.
    pub agent: Name,
    /// The user that opened it.
    pub uid: u32,
    /// The process that all of it descends from.
    pub pid: i32,
    /// The profile of its walls, if it is contained.
    pub contained: Option<Name>,
}

impl Sessions {
    /// Those that are open, in no order.
    pub fn list(&self) -> Vec<Open> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().map(|session| told(session)).collect()
    }
}

fn told(session: &Session) -> Open {
    Open {
        session: session.member.session,
        agent: session.member.agent.clone(),
        uid: session.uid,
        pid: session.root().pid,
        contained: session.walls.as_ref().map(|walls| walls.profile.clone()),
    }
}
