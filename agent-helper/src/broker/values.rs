//! Values for a permit: rendered for their slots, with the scrubber that knows every form they were sent in. Kept for
//! a short time in wiped memory, per agent, and dropped when the agent is locked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_policy::{Fill, Permit, PolicyState, Slot};
use avouch_sources::{Source, SourceFault};
use avouch_words::{Clock, Digest, Millis, Name, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::timeout;
use zeroize::Zeroizing;

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
    kept: Mutex<HashMap<(Name, Digest), Kept>>,
    clock: Arc<dyn Clock>,
}

struct Kept {
    values: Arc<Values>,
    /// On the boot clock, so that a changed wall clock keeps nothing longer.
    until: Duration,
}

impl Vault {
    pub(crate) fn new(sources: Vec<Arc<dyn Source>>, clock: Arc<dyn Clock>) -> Self {
        let sources = sources.into_iter().map(|source| (source.name().clone(), source)).collect();
        Self { sources, kept: Mutex::default(), clock }
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
        for fill in permit.fills() {
            let source = self.sources.get(fill.source()).ok_or(SourceFault::Unavailable)?;
            let lease = timeout(SOURCE_DEADLINE, source.read(fill)).await.map_err(|_| SourceFault::Unavailable)??;
            filled.push(render(fill, &lease.value, &mut needles)?);
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
