//! Which instance of an agent a process belongs to: one per session, and outside sessions one per uid.

use super::IdentityKey;
use crate::ids::{self, NoRandomness};
use avouch_words::{Clock, Name, Ulid};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What holds an instance together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Processes of one session.
    Session(Ulid),
    /// Processes of one uid outside every session.
    Uid(u32),
}

/// The instances that run here.
#[derive(Default)]
pub struct Instances {
    live: Mutex<HashMap<(Name, Holder), Ulid>>,
}

impl Instances {
    /// The instance of this agent in this holder; begun if there is none.
    pub fn of(&self, agent: &Name, holder: Holder, clock: &dyn Clock) -> Result<IdentityKey, NoRandomness> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = match live.get(&(agent.clone(), holder)) {
            Some(instance) => *instance,
            None => {
                let instance = ids::ulid(clock)?;
                live.insert((agent.clone(), holder), instance);
                instance
            }
        };
        Ok(IdentityKey { agent: agent.clone(), instance })
    }

    /// The session has ended: so have these.
    pub fn end_session(&self, session: Ulid) -> Vec<IdentityKey> {
        self.end_where(|_, holder, _| holder == Holder::Session(session))
    }

    /// Agents that may not run here any more: so have these.
    pub fn end_others(&self, entitled: impl Fn(&Name) -> bool) -> Vec<IdentityKey> {
        self.end_where(|agent, _, _| !entitled(agent))
    }

    /// This one instance fell out of use.
    pub fn end(&self, whose: &IdentityKey) {
        self.end_where(|_, _, instance| instance == whose.instance);
    }

    fn end_where(&self, ended: impl Fn(&Name, Holder, Ulid) -> bool) -> Vec<IdentityKey> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        live.retain(|(agent, holder), instance| {
            let ends = ended(agent, *holder, *instance);
            if ends {
                gone.push(IdentityKey { agent: agent.clone(), instance: *instance });
            }
            !ends
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_words::SystemClock;

    #[test]
    fn an_instance_is_one_per_agent_and_session_and_ends_with_it() {
        let (instances, clock) = (Instances::default(), SystemClock);
        let agent = Name::parse("researcher").unwrap();
        let session = ids::ulid(&clock).unwrap();
        let inside = instances.of(&agent, Holder::Session(session), &clock).unwrap();
        let outside = instances.of(&agent, Holder::Uid(1000), &clock).unwrap();
        assert_eq!(instances.of(&agent, Holder::Session(session), &clock).unwrap(), inside);
        assert_ne!(inside, outside);
        assert_ne!(instances.of(&agent, Holder::Uid(1001), &clock).unwrap(), outside);

        assert_eq!(instances.end_session(session), std::slice::from_ref(&inside));
        assert_ne!(instances.of(&agent, Holder::Session(session), &clock).unwrap(), inside);
        assert_eq!(instances.end_others(|_| false).len(), 3);
    }
}
