//! Nodes: the token one joins with, what the issuer verified about it, and the line of its SVIDs.

use crate::issue::{Rule, X509Permit};
use crate::refusal::{Denial, Invalid};
use avouch_words::{Digest, Millis, Name, Selector, SpiffeId, TrustDomain};
use std::fmt;
use std::time::Duration;

/// A certificate's serial number: 16 bytes, of which 126 bits are random.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(pub [u8; 16]);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A machine or pod with a helper on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// How it was attested.
    pub attestor: Name,
    /// Its SPIFFE ID.
    pub id: SpiffeId,
    /// What the issuer itself verified about it.
    pub selectors: Vec<Selector>,
    /// When it joined.
    pub joined: Millis,
    /// Serial of its newest SVID.
    pub serial: Serial,
    /// Whether that one was seen in use.
    pub serial_seen: bool,
    /// The one before, until the newest is seen.
    pub previous: Option<Serial>,
    /// When its newest SVID expires.
    pub svid_expires: Millis,
    /// When it was banned, if it was.
    pub banned: Option<Millis>,
}

/// What the issuer knows of a join token: never the token, only the digest of its secret part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the secret part.
    pub digest: Digest,
    /// Name of the node that may join with it.
    pub node: Name,
    /// When it was made.
    pub created: Millis,
    /// When it ends.
    pub expires: Millis,
    /// Digest of the public key it was used with, once used.
    pub used_with: Option<Digest>,
}

impl JoinToken {
    /// A new token for a node, checked; 0 seconds for [`DEFAULT_TOKEN_LIFE`].
    pub fn check(digest: Digest, node: &str, ttl_seconds: u32, now: Millis) -> Result<Self, Invalid> {
        let life = if ttl_seconds == 0 { DEFAULT_TOKEN_LIFE } else { Duration::from_secs(ttl_seconds.into()) };
        if life > MAX_TOKEN_LIFE {
            return Err(Invalid::new("ttl_seconds", format!("at most {} seconds", MAX_TOKEN_LIFE.as_secs())));
        }
        let node = Name::parse(node).map_err(|fault| Invalid::new("node", fault))?;
        Ok(Self { digest, node, created: now, expires: now.plus(life), used_with: None })
    }
}

/// What came of showing a join token. The store finds out in one step, so that of many at once one is first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// This is its first use; it is now used.
    First(Name),
    /// Used before with the very same key, within its life: the answer was lost, and is given again.
    Again(Name),
    /// Used before with another key: an event.
    Replayed(Name),
    /// Its time is over.
    Expired(Name),
    /// There is no such token.
    Unknown,
}

impl TokenUse {
    /// The node that may join, or why not.
    pub fn admit(self) -> Result<Name, Denial> {
        match self {
            Self::First(node) | Self::Again(node) => Ok(node),
            Self::Replayed(_) => Err(Denial::TokenReplayed),
            Self::Expired(_) => Err(Denial::TokenExpired),
            Self::Unknown => Err(Denial::TokenUnknown),
        }
    }
}

/// Permits a node SVID for a node that has just been attested.
pub fn join(trust_domain: &TrustDomain, attestor: &Name, node: &Name, ttl: Duration) -> X509Permit {
    X509Permit::new(trust_domain.node(attestor, node), ttl, Rule::NodeJoin)
}

/// What a renewal shows about the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Asked with the newest SVID.
    Next,
    /// Asked with the one before, and the newest was never seen: its answer was lost, or the helper died before
    /// it was stored. The newest is replaced.
    AfterLoss,
}

/// Permits a fresh node SVID, asked for with the SVID of this serial (rule H06). An SVID that was superseded and
/// whose successor is in use, or one from further back, means that the node's state exists twice.
pub fn renew(node: &Node, shown: Serial, ttl: Duration) -> Result<(Renewal, X509Permit), Denial> {
    admit(node)?;
    let renewal = if shown == node.serial {
        Renewal::Next
    } else if node.previous == Some(shown) && !node.serial_seen {
        Renewal::AfterLoss
    } else {
        return Err(Denial::NodeCloned);
    };
    Ok((renewal, X509Permit::new(node.id.clone(), ttl, Rule::NodeRenewal)))
}

impl Renewal {
    /// The node after its renewal, with the new SVID's serial and end.
    pub fn apply(self, node: &Node, serial: Serial, svid_expires: Millis) -> Node {
        let previous = match self {
            Self::Next => Some(node.serial),
            Self::AfterLoss => node.previous,
        };
        Node { serial, serial_seen: false, previous, svid_expires, ..node.clone() }
    }
}

/// Whether the node may ask for anything at all.
pub fn admit(node: &Node) -> Result<(), Denial> {
    if node.banned.is_some() { Err(Denial::Node) } else { Ok(()) }
}

/// Whether everything that `wanted` lists was verified about the node. An empty list matches no node (rule H01).
pub fn matches(node: &Node, wanted: &[Selector]) -> bool {
    !wanted.is_empty() && wanted.iter().all(|selector| node.selectors.contains(selector))
}

/// Life of a node SVID if the settings do not say.
pub const DEFAULT_NODE_TTL: Duration = Duration::from_secs(60 * 60);
/// Life of a join token if nobody says.
pub const DEFAULT_TOKEN_LIFE: Duration = Duration::from_secs(10 * 60);
/// The longest life of a join token.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn node(name: &str) -> Node {
        let domain = TrustDomain::parse("example.test").unwrap();
        let (attestor, name) = (Name::parse("join_token").unwrap(), Name::parse(name).unwrap());
        Node {
            id: domain.node(&attestor, &name),
            selectors: vec![Selector::parse(&format!("node:name:{name}")).unwrap()],
            name,
            attestor,
            joined: Millis(0),
            serial: serial(1),
            serial_seen: false,
            previous: None,
            svid_expires: Millis(3_600_000),
            banned: None,
        }
    }

    fn serial(n: u8) -> Serial {
        Serial([n; 16])
    }

    fn renewed(node: &Node, shown: u8, fresh: u8) -> Result<Node, Denial> {
        let (renewal, _) = renew(node, serial(shown), DEFAULT_NODE_TTL)?;
        Ok(renewal.apply(node, serial(fresh), Millis(1)))
    }

    #[test]
    fn a_crash_between_renewal_and_storing_is_no_clone() {
        let mut node = renewed(&node("laptop"), 1, 2).unwrap();
        for fresh in 3..20 {
            node = renewed(&node, 1, fresh).unwrap();
        }
        node = renewed(&node, 19, 20).unwrap();
        assert_eq!((node.serial, node.previous), (serial(20), Some(serial(19))));
    }

    #[test]
    fn a_copied_state_is_found_at_the_next_renewal() {
        let original = renewed(&node("laptop"), 1, 2).unwrap();
        let in_use = Node { serial_seen: true, ..original.clone() };
        assert_eq!(renewed(&in_use, 1, 3), Err(Denial::NodeCloned), "the copy renews while the original's is in use");
        let stolen = renewed(&original, 1, 3).unwrap();
        assert_eq!(renewed(&stolen, 2, 4), Err(Denial::NodeCloned), "the original renews after the copy did");
        assert_eq!(renewed(&node("laptop"), 9, 3), Err(Denial::NodeCloned));
    }

    #[test]
    fn a_banned_node_renews_nothing() {
        let banned = Node { banned: Some(Millis(1)), ..node("laptop") };
        assert_eq!(renewed(&banned, 1, 2), Err(Denial::Node));
    }

    #[test]
    fn no_selectors_match_no_node() {
        let node = node("laptop");
        let selector = |text: &str| Selector::parse(text).unwrap();
        assert!(matches(&node, &[selector("node:name:laptop")]));
        assert!(!matches(&node, &[]));
        assert!(!matches(&node, &[selector("node:name:laptop"), selector("node:attestor:tpm")]));
        assert!(!matches(&node, &[selector("node:name:lap")]));
    }

    #[test]
    fn a_token_lives_ten_minutes_and_at_most_a_day() {
        let token = |ttl| JoinToken::check(Digest::of(&[b"x"]), "laptop", ttl, Millis(0));
        assert_eq!(token(0).unwrap().expires, Millis(600_000));
        assert!(token(86_400).is_ok());
        assert_eq!(token(86_401).map_err(|invalid| invalid.field), Err("ttl_seconds"));
    }
}
