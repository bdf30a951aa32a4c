//! Values for a permit: rendered for their slots, with the scrubber that knows every form they were sent in, and with
//! the leases that they came with. As long as anybody uses them, those are held.

use std::sync::Arc;
use std::time::Duration;

use avouch_policy::Slot;
use avouch_sources::{Source, SourceFault};
use avouch_words::{Reference, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::leases::Held;
use crate::scrub::Needles;

/// One header field with a credential in it.
#[derive(PartialEq, Eq)]
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
    held: Vec<Held>,
    versions: Vec<Version>,
}

/// Which version of what was read, of a source that counts them.
pub(crate) struct Version {
    /// From where.
    pub(crate) source: Arc<dyn Source>,
    /// What.
    pub(crate) reference: Reference,
    /// Which.
    pub(crate) version: String,
}

/// Values on their way into fields.
#[derive(Default)]
pub(crate) struct Rendering {
    filled: Vec<Filled>,
    needles: Vec<Secret>,
}

impl Values {
    /// Whether every lease that they came with still holds.
    pub(crate) fn is_live(&self, boot: Duration) -> bool {
        self.held.iter().all(|held| held.is_live(boot))
    }

    /// Whether no source knows of a newer one than what was read.
    pub(crate) fn is_current(&self) -> bool {
        self.versions.iter().all(|read| read.source.is_current(&read.reference, &read.version))
    }

    /// When the first of their leases ends; none if nothing is owed for them.
    pub(crate) fn leased_until(&self) -> Option<Duration> {
        self.held.iter().map(Held::until).min()
    }

    /// They are being used.
    pub(crate) fn touch(&self) {
        self.held.iter().for_each(Held::touch);
    }

    /// Whether the same would be sent.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.filled == other.filled
    }
}

impl Rendering {
    /// The field that a slot is filled with; every form of the value that is sent becomes a needle.
    pub(crate) fn fill(&mut self, slot: &Slot, value: &Secret) -> Result<(), SourceFault> {
        let value = value.expose();
        // Sources promise it; a head is too dangerous a place to take a promise for it (case T08).
        if !value.iter().all(|b| (b' '..=b'~').contains(b)) {
            return Err(SourceFault::Garbage);
        }
        self.needles.push(Secret::new(value.to_vec()));
        let value = match slot {
            Slot::Bearer => join(b"Bearer ", value),
            Slot::Header { prefix, .. } => join(prefix.as_bytes(), value),
            Slot::Basic { username } => {
                let pair = join(&[username.as_bytes(), b":"].concat(), value);
                let mut coded = Zeroizing::new(vec![0; pair.len().div_ceil(3) * 4]);
                let length = STANDARD.encode_slice(pair.as_slice(), &mut coded).map_err(|_| SourceFault::Garbage)?;
                coded.truncate(length);
                self.needles.push(Secret::new(coded.to_vec()));
                self.needles.push(Secret::new(pair.to_vec()));
                join(b"Basic ", &coded)
            }
        };
        self.filled.push(Filled { header: slot.header().to_owned(), value });
        Ok(())
    }

    /// All of them, with what they were leased by and which versions they are.
    pub(crate) fn done(self, held: Vec<Held>, versions: Vec<Version>) -> Result<Values, SourceFault> {
        let needles = Needles::new(self.needles.iter().map(Secret::expose)).map_err(|_| SourceFault::Garbage)?;
        Ok(Values { filled: self.filled, needles: Arc::new(needles), held, versions })
    }
}

/// In one buffer that does not grow, as growing leaves a copy behind.
fn join(first: &[u8], second: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(first.len() + second.len()));
    out.extend_from_slice(first);
    out.extend_from_slice(second);
    out
}
