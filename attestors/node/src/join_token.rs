//! A one-time token that an operator carries to the node. It holds the hash of an authority, so the helper knows whom to
//! give the secret part to, before it trusts anything (N13).

use avouch_words::{Digest, Millis, Name, Secret, Selector, SpiffeId, TrustDomain};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The attestor's name, in IDs, selectors and messages.
pub const NAME: &str = "join_token";

/// A join token as text: `avouch-join.<32 bytes, base64url>.<SHA-256 of an authority, base64url>.<trust domain>`.
#[derive(Debug)]
pub struct JoinToken {
    secret: Secret,
    pin: Digest,
    trust_domain: TrustDomain,
}

/// Why a text is no join token. Never repeats any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Longer than any token.
    #[error("the join token is too long")]
    TooLong,
    /// Not four parts behind `avouch-join`.
    #[error("this is not a join token: it has to be avouch-join.<secret>.<pin>.<trust domain> in one line")]
    Form,
    /// The secret part is not 32 bytes in base64url.
    #[error("the join token's secret part is damaged")]
    Secret,
    /// The pin is not 32 bytes in base64url.
    #[error("the join token's pin is damaged")]
    Pin,
    /// The trust domain is not one.
    #[error("the join token's trust domain is not valid: {0}")]
    TrustDomain(avouch_words::BadTrustDomain),
}

impl JoinToken {
    /// A new token around 32 random bytes.
    pub fn new(secret: [u8; SECRET_LEN], pin: Digest, trust_domain: TrustDomain) -> Self {
        Self { secret: Secret::new(secret.to_vec()), pin, trust_domain }
    }

    /// Reads the text of a token file; one line end at its end is not part of it.
    pub fn parse(text: &Secret) -> Result<Self, BadToken> {
        let text = text.expose();
        if text.len() > MAX_TEXT {
            return Err(BadToken::TooLong);
        }
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let text = std::str::from_utf8(text).map_err(|_| BadToken::Form)?;
        let mut parts = text.splitn(4, '.');
        let mut part = || parts.next().ok_or(BadToken::Form);
        let (prefix, secret, pin, trust_domain) = (part()?, part()?, part()?, part()?);
        if prefix != PREFIX {
            return Err(BadToken::Form);
        }
        let secret = Secret::new(URL_SAFE_NO_PAD.decode(secret).map_err(|_| BadToken::Secret)?);
        if secret.len() != SECRET_LEN {
            return Err(BadToken::Secret);
        }
        let pin = URL_SAFE_NO_PAD.decode(pin).ok().and_then(|pin| <[u8; 32]>::try_from(pin).ok());
        Ok(Self {
            secret,
            pin: Digest::from_bytes(pin.ok_or(BadToken::Pin)?),
            trust_domain: TrustDomain::parse(trust_domain).map_err(BadToken::TrustDomain)?,
        })
    }

    /// The text, for the one who carries it.
    pub fn text(&self) -> Secret {
        let pin = URL_SAFE_NO_PAD.encode(self.pin.as_bytes());
        let mut text = String::with_capacity(MAX_TEXT);
        text.push_str(PREFIX);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(self.secret.expose(), &mut text);
        for part in [&pin, self.trust_domain.as_str()] {
            text.push('.');
            text.push_str(part);
        }
        Secret::new(text.into_bytes())
    }

    /// SHA-256 of the authority under which the issuer has to show itself.
    pub fn pin(&self) -> Digest {
        self.pin
    }

    /// The trust domain to join.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What the helper sends once the issuer has shown the pinned authority: the secret part, raw.
    pub fn evidence(&self) -> &Secret {
        &self.secret
    }

    /// What the issuer keeps of the token.
    pub fn digest(&self) -> Digest {
        Digest::of(&[self.secret.expose()])
    }
}

/// The key under which the issuer finds the token that this evidence is of. None if it can be no token's.
pub fn digest_of(evidence: &[u8]) -> Option<Digest> {
    (evidence.len() == SECRET_LEN).then(|| Digest::of(&[evidence]))
}

/// What the issuer has kept about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The node that may join with it.
    pub node: Name,
    /// When it ends.
    pub expires: Millis,
    /// SHA-256 of the public key that it was used with, if it was.
    pub used_by: Option<Digest>,
}

/// How the token may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// For the first time: now it has to be marked as used, in the same transaction.
    Fresh,
    /// Again with the same key, as after a reply that got lost: the same node is answered again.
    Retry,
}

/// Why the token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such token.
    #[error("no such join token")]
    Unknown,
    /// Its time is over, also for a retry.
    #[error("the join token has expired")]
    Expired,
    /// It was used with another key: two have it. An event.
    #[error("the join token was used before with another key")]
    Replayed,
}

/// Judges a token by its record and the SHA-256 of the public key in the request. A time that equals the end is past it.
pub fn check(record: Option<&Record>, key: Digest, now: Millis) -> Result<Verdict, Refused> {
    let record = record.ok_or(Refused::Unknown)?;
    match record.used_by {
        // Reported even when it is too late: it tells that the token leaked.
        Some(used_by) if used_by != key => Err(Refused::Replayed),
        _ if now >= record.expires => Err(Refused::Expired),
        Some(_) => Ok(Verdict::Retry),
        None => Ok(Verdict::Fresh),
    }
}

/// The ID of a node that joined with a token.
pub fn node_id(trust_domain: &TrustDomain, node: &Name) -> Option<SpiffeId> {
    Name::parse(NAME).ok().map(|attestor| trust_domain.node(&attestor, node))
}

/// What is known about such a node because the issuer checked it.
pub fn selectors(node: &Name) -> Vec<Selector> {
    let facts = [format!("node:attestor:{NAME}"), format!("node:name:{node}")];
    facts.iter().filter_map(|fact| Selector::parse(fact).ok()).collect()
}

const PREFIX: &str = "avouch-join";
const SECRET_LEN: usize = 32;
/// Prefix, two times 43 characters, the longest trust domain, dots and a line end.
const MAX_TEXT: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken::new([7; 32], Digest::of(&[b"authority"]), TrustDomain::parse("example.test").unwrap())
    }

    fn text(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_token_reads_back_and_shows_nothing() {
        let token = token();
        let written = token.text();
        for end in ["", "\n", "\r\n"] {
            let with_end = [written.expose(), end.as_bytes()].concat();
            let read = JoinToken::parse(&Secret::new(with_end)).unwrap();
            assert_eq!(read.evidence().expose(), [7; 32]);
            assert_eq!((read.pin(), read.trust_domain()), (token.pin(), token.trust_domain()));
            assert_eq!(Some(read.digest()), digest_of(&[7; 32]));
        }
        let debug = format!("{token:?}");
        assert!(debug.contains("Secret") && !debug.contains("7, 7"), "{debug}");
    }

    #[test]
    fn a_damaged_token_is_refused_without_being_repeated() {
        let good = String::from_utf8(token().text().expose().to_vec()).unwrap();
        let parts: Vec<&str> = good.splitn(4, '.').collect();
        let join = |parts: [&str; 4]| text(&parts.join("."));
        let [prefix, secret, pin, domain] = parts[..] else { panic!() };
        assert!(JoinToken::parse(&join([prefix, secret, pin, domain])).is_ok());
        let cases = [
            (join(["other", secret, pin, domain]), BadToken::Form),
            (text(&format!("{prefix}.{secret}.{pin}")), BadToken::Form),
            (text(""), BadToken::Form),
            (text(&format!("{good}\n\n")), BadToken::TrustDomain(avouch_words::BadTrustDomain::Byte)),
            (text(&format!(" {good}")), BadToken::Form),
            (join([prefix, &secret[1..], pin, domain]), BadToken::Secret),
            (join([prefix, &format!("{secret}="), pin, domain]), BadToken::Secret),
            (join([prefix, "", pin, domain]), BadToken::Secret),
            (join([prefix, secret, &pin[2..], domain]), BadToken::Pin),
            (join([prefix, secret, "", domain]), BadToken::Pin),
            (join([prefix, secret, pin, ""]), BadToken::TrustDomain(avouch_words::BadTrustDomain::Empty)),
            (join([prefix, secret, pin, "Example.test"]), BadToken::TrustDomain(avouch_words::BadTrustDomain::Byte)),
            (text(&"a.".repeat(1_000_000)), BadToken::TooLong),
        ];
        for (bad, expected) in cases {
            let error = JoinToken::parse(&bad).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains(secret));
        }
        assert!(JoinToken::parse(&Secret::new(vec![0xff; 40])).is_err());
    }

    #[test]
    fn the_longest_trust_domain_fits() {
        let longest = TrustDomain::parse(&"d".repeat(TrustDomain::MAX)).unwrap();
        let written = JoinToken::new([255; 32], Digest::of(&[b"x"]), longest.clone()).text();
        assert_eq!(JoinToken::parse(&written).unwrap().trust_domain(), &longest);
    }

    #[test]
    fn a_token_works_once_and_again_only_with_the_same_key_in_its_time() {
        let (key, other) = (Digest::of(&[b"key"]), Digest::of(&[b"other"]));
        let fresh = Record { node: Name::parse("laptop").unwrap(), expires: Millis(1000), used_by: None };
        let used = Record { used_by: Some(key), ..fresh.clone() };
        assert_eq!(check(Some(&fresh), key, Millis(999)), Ok(Verdict::Fresh));
        assert_eq!(check(Some(&used), key, Millis(999)), Ok(Verdict::Retry));
        assert_eq!(check(Some(&used), other, Millis(999)), Err(Refused::Replayed));
        assert_eq!(check(Some(&used), other, Millis(2000)), Err(Refused::Replayed));
        assert_eq!(check(Some(&fresh), key, Millis(1000)), Err(Refused::Expired));
        assert_eq!(check(Some(&used), key, Millis(1000)), Err(Refused::Expired));
        assert_eq!(check(None, key, Millis(0)), Err(Refused::Unknown));
    }

    #[test]
    fn evidence_of_another_size_is_no_tokens() {
        for len in [0, 31, 33, 1 << 20] {
            assert_eq!(digest_of(&vec![7; len]), None, "{len}");
        }
    }

    #[test]
    fn what_is_said_about_a_node_is_what_was_checked() {
        let node = Name::parse("laptop").unwrap();
        let facts: Vec<String> = selectors(&node).iter().map(ToString::to_string).collect();
        assert_eq!(facts, ["node:attestor:join_token", "node:name:laptop"]);
        let id = node_id(&TrustDomain::parse("example.test").unwrap(), &node).unwrap();
        assert_eq!(id.as_str(), "spiffe://example.test/node/join_token/laptop");
    }
}
