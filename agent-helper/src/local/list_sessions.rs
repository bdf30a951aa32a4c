//! ListSessions: what runs here under `avouch run`.

use super::Desk;
use avouch_wire::local::{ListSessionsReply, Session};

/// Answers one call.
pub fn answer(desk: &Desk) -> ListSessionsReply {
    let mut open = desk.attestor.sessions().list();
    open.sort_by_key(|open| open.session);
    let told = open.into_iter().map(|open| Session {
        session: open.session.to_string(),
        agent: open.agent.to_string(),
        uid: open.uid,
        pid: u32::try_from(open.pid).unwrap_or(0),
        // The identifier was made when the session was opened.
        started_ms: open.session.moment().0,
        contained: open.contained.map(|profile| profile.to_string()).unwrap_or_default(),
    });
    ListSessionsReply { sessions: told.collect() }
}
