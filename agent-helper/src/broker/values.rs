//! Values for a permit: rendered for their slots, with the scrubber that knows every form they were sent in. Kept for
//! a short time in wiped memory, per agent, and dropped when the agent is locked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_policy::{Fill, Permit, PolicyState, Slot};
use avouch_sources::{Obligations, Part, Source, SourceFault, Wanted};
use avouch_words::{Clock, Digest, Millis, Name, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::entrance::Entrances;
use crate::scrub::Needles;

/// How long a value is kept.
pub(crate) const VALUE_LIFE: Duration = Duration::from_secs(30);
/// How long a source may take.
pub(crate) const SOURCE_DEADLINE: Duration = Duration::from_secs(10);
/// The most sets of values kept at once; with more, the oldest are read anew.
pub(crate) const VALUES_MAX: usize = 1024;

/// One header field with a credential in it.
pub(crate) struct Filled {
    /// The field's name in lower case.
    pub(crate) header: String,
    /// The field's value.
    pub(crate) value: Zeroizing<Vec<u8>>,
}

/// All that a permit fills.
pub(crate) struct Values {
    /// The fields.
    pub(crate) filled: Vec<Filled>,
    /// What must not come back.
    pub(crate) needles: Arc<Needles>,
}

/// The sources by name, and what was read from them lately.
pub(crate) struct Vault {
    sources: HashMap<Name, Arc<dyn Source>>,
    entrances: Arc<dyn Entrances>,
    owed: Arc<dyn Obligations>,
    kept: Mutex<HashMap<(Name, Digest), Kept>>,
    clock: Arc<dyn Clock>,
}

struct Kept {
    values: Arc<Values>,
    /// On the boot clock, so that a changed wall clock keeps nothing longer.
    until: Duration,
}

impl Vault {
    pub(crate) fn new(
        sources: Vec<Arc<dyn Source>>,
        entrances: Arc<dyn Entrances>,
        owed: Arc<dyn Obligations>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let sources = sources.into_iter().map(|source| (source.name().clone(), source)).collect();
        Self { sources, entrances, owed, kept: Mutex::default(), clock }
    }

    /// The values that a permit fills.
    pub(crate) async fn values(&self, permit: &Permit) -> Result<Arc<Values>, SourceFault> {
        let key = (permit.caller().agent.clone(), permit.pool_key());
        let now = self.clock.boot();
        if let Some(kept) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && now < kept.until
        {
            return Ok(Arc::clone(&kept.values));
        }
        let mut filled = Vec::with_capacity(permit.fills().len());
        let mut needles = Vec::new();
        let entrant = self.entrances.of(permit.caller());
        for fill in permit.fills() {
            let source = self.sources.get(fill.source()).ok_or(SourceFault::Unavailable)?;
            let wanted = Wanted {
                credential: fill.credential().clone(),
                binding: fill.binding(),
                reference: fill.reference().clone(),
                entrant: Arc::clone(&entrant),
                fresh: false,
            };
            let reading = timeout(SOURCE_DEADLINE, source.read(&wanted, self.owed.as_ref()));
            let lease = reading.await.map_err(|_| SourceFault::Unavailable)??;
            filled.push(render(fill, lease.part(Part::Value).ok_or(SourceFault::Garbage)?, &mut needles)?);
        }
        let needles = Needles::new(needles.iter().map(Secret::expose)).map_err(|_| SourceFault::Garbage)?;
        let values = Arc::new(Values { filled, needles: Arc::new(needles) });
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, kept| now < kept.until);
        if all.len() < VALUES_MAX {
            all.insert(key, Kept { values: Arc::clone(&values), until: now + VALUE_LIFE });
        }
        Ok(values)
    }

    /// Drops what is kept for agents that a lock stops, and what is too old.
    pub(crate) fn forget(&self, state: &PolicyState, now: Millis) {
        let boot = self.clock.boot();
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(agent, _), kept| boot < kept.until && state.lock_on(agent, now).is_none());
    }

    /// Drops what is too old, so that it does not lie in memory until somebody asks for it.
    pub(crate) fn sweep(&self) {
        let boot = self.clock.boot();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, kept| boot < kept.until);
    }

    /// Drops everything that is kept, as when a value was put anew.
    pub(crate) fn forget_all(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The field that a slot is filled with; every form of the value that is sent becomes a needle.
fn render(fill: &Fill, value: &Secret, needles: &mut Vec<Secret>) -> Result<Filled, SourceFault> {
    let value = value.expose();
    // Sources promise it; a head is too dangerous a place to take a promise for it (case T08).
    if !value.iter().all(|b| (b' '..=b'~').contains(b)) {
        return Err(SourceFault::Garbage);
    }
    needles.push(Secret::new(value.to_vec()));
    let value = match fill.slot() {
        Slot::Bearer => join(b"Bearer ", value),
        Slot::Header { prefix, .. } => join(prefix.as_bytes(), value),
        Slot::Basic { username } => {
            let pair = join(&[username.as_bytes(), b":"].concat(), value);
            let mut coded = Zeroizing::new(vec![0; pair.len().div_ceil(3) * 4]);
            let length = STANDARD.encode_slice(pair.as_slice(), &mut coded).map_err(|_| SourceFault::Garbage)?;
            coded.truncate(length);
            needles.push(Secret::new(coded.to_vec()));
            needles.push(Secret::new(pair.to_vec()));
            join(b"Basic ", &coded)
        }
    };
    Ok(Filled { header: fill.slot().header().to_owned(), value })
}

/// In one buffer that does not grow, as growing leaves a copy behind.
fn join(first: &[u8], second: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(first.len() + second.len()));
    out.extend_from_slice(first);
    out.extend_from_slice(second);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::NothingOwed;
    use crate::testing::NoEntrance;
    use avouch_policy::request::Body;
    use avouch_policy::{
        Agent, AgentState, Binding, Caller, CanonicalRequest, Credential, Grant, Lock, LockTarget, StateParts, Verdict,
        decide,
    };
    use avouch_sources::{Doing, Lease};
    use avouch_words::{Reference, Ulid};
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    #[derive(Default)]
    struct Boot(AtomicU64);

    impl Clock for Boot {
        fn now(&self) -> Millis {
            Millis(1)
        }

        fn boot(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    struct Counting(Name, AtomicUsize, &'static [u8]);

    impl Source for Counting {
        fn name(&self) -> &Name {
            &self.0
        }

        fn kind(&self) -> &'static str {
            "counting"
        }

        fn check_reference(&self, _: &Reference) -> Result<(), String> {
            Ok(())
        }

        fn read<'a>(&'a self, _: &'a Wanted, _: &'a dyn Obligations) -> Doing<'a, Lease> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(Lease::of(Secret::new(self.2.to_vec()))) })
        }
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn state(locks: Vec<Lock>) -> PolicyState {
        let binding = br#"{"to":"https://a.test","methods":["GET"],"paths":["/**"],"slot":"bearer"}"#;
        let credential = Credential {
            name: name("c"),
            source: name("s"),
            reference: Reference::default(),
            binding: Binding::parse(binding).unwrap(),
        };
        let id = Ulid::new(Millis(1), [1; 10]);
        PolicyState::new(StateParts {
            agents: ["x", "y"].map(|agent| Agent { name: name(agent), state: AgentState::Active }).into(),
            credentials: vec![credential],
            grants: ["x", "y"].map(|agent| Grant { id, agent: name(agent), credential: name("c") }).into(),
            locks,
            ..StateParts::default()
        })
    }

    fn permit(agent: &str) -> Permit {
        let id = Ulid::new(Millis(1), [1; 10]);
        let caller = Caller { agent: name(agent), instance: id, session: id, facts: Arc::default(), contained: false };
        let request = CanonicalRequest::from_absolute_form(b"GET", b"https://a.test/", Body::None).unwrap();
        match decide(&state(Vec::new()), &caller, request, Millis(1), id) {
            Verdict::Allow(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn vault(value: &'static [u8]) -> (Vault, Arc<Counting>, Arc<Boot>) {
        let (source, clock) = (Arc::new(Counting(name("s"), AtomicUsize::new(0), value)), Arc::new(Boot::default()));
        let (entrances, owed) = (Arc::new(NoEntrance), Arc::new(NothingOwed));
        (Vault::new(vec![source.clone()], entrances, owed, clock.clone()), source, clock)
    }

    fn kept(vault: &Vault) -> usize {
        vault.kept.lock().unwrap().len()
    }

    #[tokio::test]
    async fn values_are_kept_for_a_moment_per_agent_and_swept_when_it_is_over() {
        let (vault, source, clock) = vault(b"long-enough");
        for _ in 0..3 {
            vault.values(&permit("x")).await.unwrap();
        }
        assert_eq!(source.1.load(Ordering::SeqCst), 1);
        vault.values(&permit("y")).await.unwrap();
        assert_eq!((source.1.load(Ordering::SeqCst), kept(&vault)), (2, 2), "never shared between agents");
        clock.0.store(VALUE_LIFE.as_secs() - 1, Ordering::SeqCst);
        vault.sweep();
        assert_eq!(kept(&vault), 2);
        clock.0.store(VALUE_LIFE.as_secs(), Ordering::SeqCst);
        vault.sweep();
        assert_eq!(kept(&vault), 0);
        vault.values(&permit("x")).await.unwrap();
        assert_eq!(source.1.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_lock_drops_the_agents_values_and_no_others() {
        let (vault, ..) = vault(b"long-enough");
        vault.values(&permit("x")).await.unwrap();
        vault.values(&permit("y")).await.unwrap();
        let lock = Lock { id: Ulid::new(Millis(1), [2; 10]), target: LockTarget::Agent(name("x")), expires: None };
        vault.forget(&state(vec![lock]), Millis(1));
        let left: Vec<_> = vault.kept.lock().unwrap().keys().map(|(agent, _)| agent.clone()).collect();
        assert_eq!(left, [name("y")]);
    }

    /// Case T08.
    #[tokio::test]
    async fn a_value_that_could_leave_its_field_or_not_be_scrubbed_is_refused() {
        for bad in
            [&b"long\r\nenough"[..], b"long\0enough", b"long-enough\n", b"short", b"", "l\u{f6}ng-enough".as_bytes()]
        {
            let refused = vault(bad).0.values(&permit("x")).await.err();
            assert_eq!(refused, Some(SourceFault::Garbage), "{bad:?}");
        }
    }
}
