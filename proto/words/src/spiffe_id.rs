//! SPIFFE IDs and trust domain names (SPIFFE-ID.md §2), read byte by byte: no URI library ever sees one, because
//! such libraries normalise, and a normalised ID is another ID (SID-21).

use std::fmt;

/// The name of a trust domain: 1 to 255 bytes of `a-z 0-9 . - _` (SID-07, SID-08, SID-11). Looks that remind of
/// DNS or IP addresses mean nothing (SID-10).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(String);

/// Why a text is not a trust domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTrustDomain {
    /// SID-02.
    #[error("the trust domain is empty")]
    Empty,
    /// SID-11.
    #[error("the trust domain is longer than 255 bytes")]
    TooLong,
    /// SID-07, SID-08, SID-09, also user names and ports (SID-05, SID-06).
    #[error("the trust domain holds a byte other than a-z, 0-9, '.', '-' and '_'")]
    Byte,
}

impl TrustDomain {
    /// The longest name, in bytes.
    pub const MAX: usize = 255;

    /// Reads a bare name, as it stands after `spiffe://`.
    pub fn parse(text: &str) -> Result<Self, BadTrustDomain> {
        if text.is_empty() {
            return Err(BadTrustDomain::Empty);
        }
        if text.len() > Self::MAX {
            return Err(BadTrustDomain::TooLong);
        }
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if !text.bytes().all(allowed) {
            return Err(BadTrustDomain::Byte);
        }
        Ok(Self(text.to_owned()))
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ID of the trust domain itself, `spiffe://<name>`: what its authorities carry, and no workload.
    pub fn id(&self) -> SpiffeId {
        SpiffeId { text: format!("{SCHEME}{}", self.0), path_at: SCHEME.len() + self.0.len() }
    }

    /// The ID of a registered agent whose registration says nothing else.
    pub fn agent(&self, name: &crate::Name) -> SpiffeId {
        self.with_path(&format!("/agent/{name}"))
    }

    /// The ID of a node, as its attestor names it.
    pub fn node(&self, attestor: &crate::Name, node: &crate::Name) -> SpiffeId {
        self.with_path(&format!("/node/{attestor}/{node}"))
    }

    /// What a helper's broker shows to a source on an agent's behalf; never served to a workload.
    pub fn brokered_agent(&self, name: &crate::Name) -> SpiffeId {
        self.with_path(&format!("/brokered/agent/{name}"))
    }

    /// What a helper shows to a source as itself, to give back what is owed there.
    pub fn brokered_node(&self, node: &crate::Name) -> SpiffeId {
        self.with_path(&format!("/brokered/node/{node}"))
    }

    /// The ID the issuer itself serves TLS with.
    pub fn issuer(&self) -> SpiffeId {
        self.with_path("/issuer")
    }

    /// Both halves are valid and short, so the whole is.
    pub(crate) fn with_path(&self, path: &str) -> SpiffeId {
        SpiffeId { text: format!("{SCHEME}{}{path}", self.0), path_at: SCHEME.len() + self.0.len() }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A SPIFFE ID of at most 2048 bytes. Two IDs are the same if their bytes are (SID-19).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: String,
    path_at: usize,
}

/// Why a text is not a SPIFFE ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSpiffeId {
    /// SID-01.
    #[error("it does not begin with spiffe://")]
    Scheme,
    /// SID-02 and SID-05 to SID-11.
    #[error(transparent)]
    TrustDomain(#[from] BadTrustDomain),
    /// SID-17, SID-18.
    #[error("it is longer than 2048 bytes")]
    TooLong,
    /// SID-13, SID-15.
    #[error("its path has an empty segment or ends in a slash")]
    EmptySegment,
    /// SID-14.
    #[error("its path has a segment '.' or '..'")]
    DotSegment,
    /// SID-03, SID-04, SID-12, SID-16.
    #[error("its path holds a byte other than a-z, A-Z, 0-9, '.', '-' and '_'")]
    PathByte,
}

impl SpiffeId {
    /// The longest ID, in bytes (SID-17).
    pub const MAX: usize = 2048;

    /// Reads an ID; every rule of SPIFFE-ID.md §2 is checked on the bytes as they are.
    pub fn parse(text: &str) -> Result<Self, BadSpiffeId> {
        let rest = text.strip_prefix(SCHEME).ok_or(BadSpiffeId::Scheme)?;
        if text.len() > Self::MAX {
            return Err(BadSpiffeId::TooLong);
        }
        let domain_len = rest.find('/').unwrap_or(rest.len());
        TrustDomain::parse(&rest[..domain_len])?;
        check_path(&rest[domain_len..])?;
        Ok(Self { text: text.to_owned(), path_at: SCHEME.len() + domain_len })
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path with its leading slash; empty for the ID of a trust domain.
    pub fn path(&self) -> &str {
        &self.text[self.path_at..]
    }

    /// The trust domain that the ID belongs to.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.text[SCHEME.len()..self.path_at].to_owned())
    }

    /// Whether the ID is in this trust domain.
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        &self.text[SCHEME.len()..self.path_at] == trust_domain.as_str()
    }

    /// Whether the path is one that no registration may produce: `/brokered`, `/node`, `/issuer`, `/avouch` and
    /// all below them (SID-22).
    pub fn is_reserved(&self) -> bool {
        let first = self.path().split('/').nth(1).unwrap_or_default();
        RESERVED.contains(&first)
    }

    /// Whether this is what a broker shows to a source; as a peer it is always refused.
    pub fn is_brokered(&self) -> bool {
        self.path().split('/').nth(1) == Some("brokered")
    }

    /// The agent's name, if the ID is a registered agent's.
    pub fn agent_name(&self) -> Option<crate::Name> {
        crate::Name::parse(self.path().strip_prefix("/agent/")?).ok()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn check_path(path: &str) -> Result<(), BadSpiffeId> {
    let Some(segments) = path.strip_prefix('/') else {
        return Ok(());
    };
    for segment in segments.split('/') {
        match segment {
            "" => return Err(BadSpiffeId::EmptySegment),
            "." | ".." => return Err(BadSpiffeId::DotSegment),
            _ => {}
        }
        if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
            return Err(BadSpiffeId::PathByte);
        }
    }
    Ok(())
}

const SCHEME: &str = "spiffe://";
const RESERVED: [&str; 4] = ["brokered", "node", "issuer", "avouch"];

#[cfg(test)]
mod tests;
