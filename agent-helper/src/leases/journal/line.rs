//! One line of the journal.

use super::Key;
use avouch_sources::{Obligation, ObligationKind};
use avouch_words::{Digest, Millis, Name, Ulid};
use serde::{Deserialize, Serialize};

/// What a line says.
pub(super) enum Line {
    Owed(Obligation),
    Settled(Key),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    Owed(Owed),
    Settled { source: Name, id: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owed {
    source: Name,
    kind: Kind,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<Ulid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential: Option<Name>,
    expires_ms: i64,
    renewable: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Token,
    Lease,
}

/// The line of an obligation, its end included.
pub(super) fn owed(owed: &Obligation) -> Option<String> {
    let kind = match owed.kind {
        ObligationKind::Token => Kind::Token,
        ObligationKind::Lease => Kind::Lease,
    };
    summed(&Said::Owed(Owed {
        source: owed.source.clone(),
        kind,
        id: owed.id.clone(),
        parent: owed.parent.clone(),
        agent: owed.agent.clone(),
        instance: owed.instance,
        credential: owed.credential.clone(),
        expires_ms: owed.expires.0,
        renewable: owed.renewable,
    }))
}

/// The line that settles one.
pub(super) fn settled((source, id): &Key) -> Option<String> {
    summed(&Said::Settled { source: source.clone(), id: id.clone() })
}

/// Reads a line; none if it is torn or damaged.
pub(super) fn read(line: &[u8]) -> Option<Line> {
    let (sum, rest) = line.strip_suffix(b"\n")?.split_at_checked(SUM)?;
    let said = rest.strip_prefix(b" ")?;
    if sum != sum_of(said).as_bytes() {
        return None;
    }
    match serde_json::from_slice(said).ok()? {
        Said::Settled { source, id } => Some(Line::Settled((source, id))),
        Said::Owed(owed) => Some(Line::Owed(Obligation {
            source: owed.source,
            kind: match owed.kind {
                Kind::Token => ObligationKind::Token,
                Kind::Lease => ObligationKind::Lease,
            },
            id: owed.id,
            parent: owed.parent,
            agent: owed.agent,
            instance: owed.instance,
            credential: owed.credential,
            expires: Millis(owed.expires_ms),
            renewable: owed.renewable,
        })),
    }
}

fn summed(said: &Said) -> Option<String> {
    let json = serde_json::to_string(said).ok()?;
    Some(format!("{} {json}\n", sum_of(json.as_bytes())))
}

/// Over the bytes as they are written: whoever reads them sums the same ones.
fn sum_of(bytes: &[u8]) -> String {
    let mut sum = Digest::of(&[bytes]).to_string();
    sum.truncate(SUM);
    sum
}

/// Hexadecimal digits of a line's sum.
const SUM: usize = 16;
