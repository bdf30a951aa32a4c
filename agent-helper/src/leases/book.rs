//! What is owed, in memory: what each obligation is for, whether it may still be used, and if not, why and when it is
//! given back next. It asks nobody and waits for nothing.

use super::held::Marks;
use super::journal::Key;
use super::taking::{Issue, Taking};
use crate::identity::schedule;
use crate::ids;
use avouch_audit::field::Code;
use avouch_policy::{AgentState, PolicyState};
use avouch_sources::{Entrant, Obligation, ObligationKind, SourceFault};
use avouch_words::{Clock, Millis, Name, Ulid};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Why something is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nobody uses it any more.
    Released,
    /// The read that it was made for was given up.
    Abandoned,
    /// It could not be recorded.
    NotRecorded,
    /// Its instance has ended.
    Ended,
    /// Its agent is locked.
    Locked,
    /// Its agent may not act here any more, or not use the credential.
    Withdrawn,
    /// The credential is another one now.
    Changed,
    /// An operator said so.
    Operator,
    /// A helper before this one had taken it.
    Restarted,
    /// The helper ends.
    Stopped,
}

impl Why {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Abandoned => "abandoned",
            Self::NotRecorded => "not_recorded",
            Self::Ended => "ended",
            Self::Locked => "locked",
            Self::Withdrawn => "withdrawn",
            Self::Changed => "changed",
            Self::Operator => "operator",
            Self::Restarted => "restarted",
            Self::Stopped => "stopped",
        }
    }

    /// As records say it.
    pub(super) fn code(self) -> Code {
        Code::of(self.as_str())
    }

    /// Whether the agent's logins go with it, whatever else they serve.
    fn takes_logins(self) -> bool {
        match self {
            Self::Locked | Self::Withdrawn | Self::Restarted | Self::Stopped => true,
            Self::Released | Self::Abandoned | Self::NotRecorded | Self::Ended | Self::Changed | Self::Operator => {
                false
            }
        }
    }
}

/// One obligation.
pub(super) struct Owed {
    pub(super) what: Obligation,
    pub(super) taken: Millis,
    /// Since when it lasts until its end: when it was taken or renewed last.
    pub(super) since: Duration,
    pub(super) marks: Arc<Marks>,
    pub(super) state: State,
    /// For which issue of the credential; none for logins and what an earlier helper took.
    issue: Option<Issue>,
    entrant: Option<Arc<dyn Entrant>>,
}

impl Owed {
    /// When half of its term is over.
    fn half(&self) -> Duration {
        self.since + self.marks.until().saturating_sub(self.since) / 2
    }
}

/// Whether it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Held,
    Due(Due),
}

/// How it stands with giving it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) why: Why,
    pub(super) tries: u32,
    pub(super) next: Duration,
    pub(super) busy: bool,
    pub(super) fault: Option<SourceFault>,
}

/// Something to renew, for whom.
pub(super) struct Renewal {
    pub(super) what: Obligation,
    pub(super) entrant: Arc<dyn Entrant>,
}

#[derive(Default)]
pub(super) struct Book {
    owed: HashMap<Key, Owed>,
    /// Agents that have entered a source.
    entered: HashMap<Name, HashSet<Name>>,
    /// Agents whose logins have to go.
    leaving: HashMap<Name, HashSet<Name>>,
}

impl Book {
    pub(super) fn len(&self) -> usize {
        self.owed.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Owed)> {
        self.owed.iter()
    }

    /// Something that was taken just now, for this read; or a new term of something that is known.
    pub(super) fn enter(&mut self, what: Obligation, of: Option<&Taking>, clock: &dyn Clock) {
        let key = (what.source.clone(), what.id.clone());
        let (until, since) = (boot_at(what.expires, clock), clock.boot());
        if let Some(agent) = &what.agent {
            self.entered.entry(what.source.clone()).or_default().insert(agent.clone());
        }
        if let Some(known) = self.owed.get_mut(&key) {
            known.marks.last_until(until);
            (known.what, known.since) = (what, since);
            return;
        }
        let issue = of.filter(|_| what.kind == ObligationKind::Lease).map(|of| of.issue().clone());
        let owed = Owed {
            taken: clock.now(),
            since,
            marks: Arc::new(Marks::new(until)),
            state: State::Held,
            issue,
            entrant: of.map(Taking::entrant),
            what,
        };
        self.owed.insert(key, owed);
    }

    /// Something that an earlier helper took.
    pub(super) fn inherit(&mut self, what: Obligation, clock: &dyn Clock) {
        let key = (what.source.clone(), what.id.clone());
        self.enter(what, None, clock);
        self.end(&key, Why::Restarted, clock);
    }

    pub(super) fn entered(&mut self, source: &Name, agent: &Name) {
        self.entered.entry(source.clone()).or_default().insert(agent.clone());
    }

    pub(super) fn marks(&self, key: &Key) -> Option<Arc<Marks>> {
        self.owed.get(key).map(|owed| owed.marks.clone())
    }

    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let gone = self.owed.remove(key);
        gone.inspect(|gone| gone.marks.die()).is_some()
    }

    /// Why it is given back; none if it is held, or not known.
    pub(super) fn why(&self, key: &Key) -> Option<Why> {
        match self.owed.get(key)?.state {
            State::Held => None,
            State::Due(due) => Some(due.why),
        }
    }

    /// Whether it was held until now.
    pub(super) fn end(&mut self, key: &Key, why: Why, clock: &dyn Clock) -> bool {
        let Some(owed) = self.owed.get_mut(key).filter(|owed| owed.state == State::Held) else { return false };
        owed.marks.die();
        owed.state = State::Due(Due { why, tries: 0, next: clock.boot(), busy: false, fault: None });
        let source = owed.what.source.clone();
        if let Some(agent) = owed.what.agent.clone() {
            let held = |other: &Owed| other.state == State::Held && other.what.agent.as_ref() == Some(&agent);
            // What is only a login is held by nothing.
            let uses = |other: &Owed| held(other) && other.what.kind == ObligationKind::Lease;
            let is_last = || !self.owed.values().any(|other| other.what.source == source && uses(other));
            if why.takes_logins() || (why == Why::Ended && is_last()) {
                self.leaving.entry(source).or_default().insert(agent);
            }
        }
        true
    }

    pub(super) fn end_all(&mut self, why: Why, clock: &dyn Clock) {
        let keys: Vec<Key> = self.owed.keys().cloned().collect();
        for key in &keys {
            self.end(key, why, clock);
        }
    }

    /// Ends what has no reason any more. How many.
    pub(super) fn judge(&mut self, state: &PolicyState, is_live: &dyn Fn(Ulid) -> bool, clock: &dyn Clock) -> usize {
        let now = clock.now();
        let ends = |owed: &Owed| match owed.state {
            State::Due(_) => None,
            State::Held => reason(owed, state, is_live, now),
        };
        let ended: Vec<(Key, Why)> =
            self.owed.iter().filter_map(|(key, owed)| Some((key.clone(), ends(owed)?))).collect();
        for (key, why) in &ended {
            self.end(key, *why, clock);
        }
        let mut gone = 0;
        for (source, agents) in &mut self.entered {
            let locked = |agent: &Name| state.lock_on(agent, now).is_some() || state.agent(agent).is_none();
            let leave: Vec<Name> = agents.iter().filter(|agent| locked(agent)).cloned().collect();
            for agent in leave {
                agents.remove(&agent);
                self.leaving.entry(source.clone()).or_default().insert(agent);
                gone += 1;
            }
        }
        ended.len() + gone
    }

    /// Agents whose logins at this source have to go.
    pub(super) fn take_leaving(&mut self, source: &Name) -> HashSet<Name> {
        self.leaving.remove(source).unwrap_or_default()
    }

    /// Up to so many that are to be given back now; they are busy until [`Self::put_off`] or until they are removed.
    pub(super) fn take_due(&mut self, source: &Name, most: usize, boot: Duration) -> Vec<(Key, Obligation)> {
        let mut taken = Vec::new();
        for (key, owed) in &mut self.owed {
            if let State::Due(due) = &mut owed.state
                && &key.0 == source
                && !due.busy
                && due.next <= boot
            {
                if taken.len() == most {
                    break;
                }
                due.busy = true;
                taken.push((key.clone(), owed.what.clone()));
            }
        }
        taken
    }

    /// It could not be given back now.
    pub(super) fn put_off(&mut self, key: &Key, fault: SourceFault, boot: Duration) {
        if let Some(Owed { state: State::Due(due), .. }) = self.owed.get_mut(key) {
            due.tries = due.tries.saturating_add(1);
            let pause = match fault {
                SourceFault::Busy(patience) => patience.clamp(schedule::backoff(1, 0.0), LONGEST_PAUSE),
                _ => schedule::backoff(due.tries, ids::share()),
            };
            *due = Due { next: boot + pause, busy: false, fault: Some(fault), ..*due };
        }
    }

    /// What ended by itself, at this source: the source has taken it back.
    pub(super) fn expired(&self, source: &Name, boot: Duration) -> Vec<Key> {
        let over = |owed: &Owed| boot > owed.marks.until() + SLACK;
        self.owed.iter().filter(|(key, owed)| &key.0 == source && over(owed)).map(|(key, _)| key.clone()).collect()
    }

    /// What is half over and was used since it began. What was not is left to end.
    pub(super) fn take_renewals(&mut self, source: &Name, boot: Duration) -> Vec<Renewal> {
        // A login is used as long as anything that was leased with it.
        let parents: HashSet<String> = self.owed.values().filter_map(parent_in_use).collect();
        let mut renewals = Vec::new();
        for (key, owed) in &mut self.owed {
            let half = owed.half();
            let ours = &key.0 == source && owed.state == State::Held && owed.what.renewable;
            let in_term = half <= boot && boot < owed.marks.until();
            if ours && in_term && (owed.marks.take_used() || parents.contains(&key.1)) {
                // Asked again at half of what is left, should this fail.
                owed.since = boot;
                if let Some(entrant) = owed.entrant.clone() {
                    renewals.push(Renewal { what: owed.what.clone(), entrant });
                }
            }
        }
        renewals
    }

    /// Whether nothing of this source waits to be given back.
    pub(super) fn is_paid(&self, source: &Name) -> bool {
        !self.owed.keys().any(|key| &key.0 == source)
    }

    /// When there is something to do for this source next, as far as it is known now.
    pub(super) fn next(&self, source: &Name, boot: Duration) -> Option<Duration> {
        let end = |owed: &Owed| owed.marks.until() + SLACK;
        let next = |owed: &Owed| match &owed.state {
            State::Due(due) if due.busy => end(owed),
            State::Due(due) => due.next,
            // Whether it is used after its half is seen in time without being waited for.
            State::Held => Some(owed.half()).filter(|half| owed.what.renewable && *half > boot).unwrap_or(end(owed)),
        };
        self.owed.iter().filter(|(key, _)| &key.0 == source).map(|(_, owed)| next(owed)).min()
    }
}

/// Why a lease that is held has to go, if it has.
fn reason(owed: &Owed, state: &PolicyState, is_live: &dyn Fn(Ulid) -> bool, now: Millis) -> Option<Why> {
    // What is the node's own lasts until it ends by itself.
    let agent = owed.what.agent.as_ref()?;
    if state.lock_on(agent, now).is_some() {
        return Some(Why::Locked);
    }
    if state.agent(agent) != Some(AgentState::Active) {
        return Some(Why::Withdrawn);
    }
    if owed.what.instance.is_some_and(|instance| !is_live(instance)) {
        return Some(Why::Ended);
    }
    let issue = owed.issue.as_ref()?;
    if !state.grants(agent).iter().any(|grant| grant.credential == issue.credential) {
        return Some(Why::Withdrawn);
    }
    let same = state.credential(&issue.credential).is_some_and(|credential| {
        credential.source == owed.what.source
            && credential.reference == issue.reference
            && credential.binding.digest() == issue.binding
    });
    (!same).then_some(Why::Changed)
}

fn parent_in_use(owed: &Owed) -> Option<String> {
    owed.what.parent.clone().filter(|_| owed.state == State::Held)
}

/// A moment of the wall clock on the boot clock, which nobody sets.
fn boot_at(moment: Millis, clock: &dyn Clock) -> Duration {
    clock.boot() + moment.since(clock.now())
}

/// So long after its end by our clock a source has surely ended a lease.
const SLACK: Duration = Duration::from_secs(30);
/// However busy a source says that it is, it is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
