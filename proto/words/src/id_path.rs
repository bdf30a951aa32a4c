//! The path of an agent's SPIFFE IDs: `/agent/{agent}`, or what its registration says instead.

use crate::{Name, SpiffeId, TrustDomain, Ulid};
use std::fmt;

/// Fixed segments, of which the first is not reserved, then `{agent}`, then `{instance}` if it is wanted:
/// `/agent/{agent}`, `/team/search/{agent}/{instance}`. As the name stands where it stands in every path, and no name
/// is written like an instance, no two agents can come to the same ID.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdPath {
    text: String,
    per_instance: bool,
}

/// Why a text is not such a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadIdPath {
    /// It ends in something else.
    #[error("an ID path ends in /{{agent}} or in /{{agent}}/{{instance}}")]
    End,
    /// Nothing fixed before the name: a name could make a path of ours.
    #[error("an ID path begins with a fixed segment, as /agent/{{agent}}")]
    Fixed,
    /// A segment that avouch keeps for itself.
    #[error("paths that begin with /brokered, /node, /issuer or /avouch are reserved")]
    Reserved,
    /// A segment that is empty, `.` or `..`, or holds another byte.
    #[error("the segments of an ID path are made of a-z, A-Z, 0-9, '.', '-' and '_', and are neither '.' nor '..'")]
    Segment,
    /// Too long.
    #[error("an ID path is at most 128 bytes")]
    TooLong,
}

impl IdPath {
    /// The longest one, in bytes.
    pub const MAX: usize = 128;

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, BadIdPath> {
        if text.len() > Self::MAX {
            return Err(BadIdPath::TooLong);
        }
        let (rest, per_instance) = match text.strip_suffix(INSTANCE) {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let fixed = rest.strip_suffix(AGENT).ok_or(BadIdPath::End)?;
        if fixed.is_empty() {
            return Err(BadIdPath::Fixed);
        }
        // As a whole ID, so that every rule of SPIFFE IDs holds for what is fixed.
        let whole = SpiffeId::parse(&format!("spiffe://e{fixed}")).map_err(|_| BadIdPath::Segment)?;
        if whole.path() != fixed {
            return Err(BadIdPath::Segment);
        }
        if whole.is_reserved() {
            return Err(BadIdPath::Reserved);
        }
        Ok(Self { text: text.to_owned(), per_instance })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether each instance has an ID of its own.
    pub fn is_per_instance(&self) -> bool {
        self.per_instance
    }

    /// The ID of an instance of an agent.
    pub fn id(&self, trust_domain: &TrustDomain, agent: &Name, instance: Ulid) -> SpiffeId {
        let path = self.text.strip_suffix(INSTANCE).unwrap_or(&self.text);
        let fixed = path.strip_suffix(AGENT).unwrap_or(path);
        match self.per_instance {
            true => trust_domain.with_path(&format!("{fixed}/{agent}/{instance}")),
            false => trust_domain.with_path(&format!("{fixed}/{agent}")),
        }
    }

    /// The ID as it is shown where no instance is meant: with `{instance}` where it stands.
    pub fn shown(&self, trust_domain: &TrustDomain, agent: &Name) -> String {
        format!("{}{}", trust_domain.id(), self.text.replace("{agent}", agent.as_str()))
    }
}

impl Default for IdPath {
    fn default() -> Self {
        Self { text: DEFAULT.to_owned(), per_instance: false }
    }
}

impl fmt::Display for IdPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for IdPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const DEFAULT: &str = "/agent/{agent}";
const AGENT: &str = "/{agent}";
const INSTANCE: &str = "/{instance}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Millis;

    fn id(path: &str, agent: &str) -> SpiffeId {
        let domain = TrustDomain::parse("example.test").unwrap();
        let instance = Ulid::new(Millis(1_700_000_000_000), [7; 10]);
        IdPath::parse(path).unwrap().id(&domain, &Name::parse(agent).unwrap(), instance)
    }

    #[test]
    fn an_id_is_made_by_its_path() {
        assert_eq!(IdPath::parse("/agent/{agent}"), Ok(IdPath::default()));
        assert_eq!(id("/agent/{agent}", "a").as_str(), "spiffe://example.test/agent/a");
        assert_eq!(id("/team/x.Y/{agent}", "a").as_str(), "spiffe://example.test/team/x.Y/a");
        let each = id("/agent/{agent}/{instance}", "a");
        assert_eq!(each.as_str(), "spiffe://example.test/agent/a/01HF7YAT000W3GE1R70W3GE1R7");
        assert_eq!(SpiffeId::parse(each.as_str()), Ok(each));
        let shown = IdPath::parse("/t/{agent}/{instance}").unwrap();
        let domain = TrustDomain::parse("example.test").unwrap();
        assert_eq!(shown.shown(&domain, &Name::parse("a").unwrap()), "spiffe://example.test/t/a/{instance}");
    }

    /// S15: whatever the agent is called.
    #[test]
    fn no_path_leads_to_a_reserved_one() {
        for first in ["brokered", "node", "issuer", "avouch"] {
            for path in [format!("/{first}/{{agent}}"), format!("/{first}/agent/{{agent}}/{{instance}}")] {
                assert_eq!(IdPath::parse(&path), Err(BadIdPath::Reserved), "{path}");
            }
            assert!(!id("/agent/{agent}", first).is_reserved());
        }
        assert_eq!(IdPath::parse("/{agent}"), Err(BadIdPath::Fixed), "an agent may be called node");
        assert_eq!(IdPath::parse("/{agent}/{instance}"), Err(BadIdPath::Fixed));
        assert_eq!(IdPath::parse("/x/../node/{agent}"), Err(BadIdPath::Segment));
    }

    #[test]
    fn what_is_not_fixed_is_the_end_and_nothing_else() {
        for path in ["", "/agent", "/agent/other", "/agent/{instance}", "/agent/{agent}/", "/agent/{agent}/x"] {
            assert_eq!(IdPath::parse(path), Err(BadIdPath::End), "{path}");
        }
        for path in
            ["agent/{agent}", "/a//{agent}", "/./{agent}", "/a b/{agent}", "/{node}/{agent}", "/{agent}/{agent}"]
        {
            assert_eq!(IdPath::parse(path), Err(BadIdPath::Segment), "{path}");
        }
        let longest = format!("/{}/{{agent}}", "x".repeat(IdPath::MAX - 9));
        assert!(IdPath::parse(&longest).is_ok());
        assert_eq!(IdPath::parse(&format!("/x{longest}")), Err(BadIdPath::TooLong));
    }

    /// Otherwise an agent could be registered that is served another's identity.
    #[test]
    fn two_agents_never_share_an_id() {
        let paths = ["/agent/{agent}", "/agent/{agent}/{instance}", "/agent/a/{agent}", "/agent/a/{agent}/{instance}"];
        let agents = ["a", "b", "agent", "01hf7yat000w3ge1r70w3ge1r7"];
        for (one, first) in paths.iter().flat_map(|path| agents.map(|agent| (*path, agent))) {
            for (other, second) in paths.iter().flat_map(|path| agents.map(|agent| (*path, agent))) {
                assert!(first == second || id(one, first) != id(other, second), "{one} {first}, {other} {second}");
            }
        }
    }
}
