//! JWT-SVIDs: what is checked before a token counts as somebody's identity (JWT-SVID.md). The key comes from the
//! bundle of the subject's trust domain and from nowhere else; nothing in the token names one.

mod signature;

use crate::{BadSpiffeId, Bundles, Millis, SpiffeId, TrustDomain};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use signature::Algorithm;
use std::fmt;
use std::time::Duration;

/// A JWT-SVID whose signature, audience and time were found good.
#[derive(Clone, PartialEq)]
pub struct JwtSvid {
    id: SpiffeId,
    audience: Vec<String>,
    expires: Millis,
    claims: Map<String, Value>,
}

/// Why a token is not a valid JWT-SVID. Never repeats any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadJwtSvid {
    /// N10.
    #[error("the token is longer than 16 KiB")]
    TooLarge,
    /// JWTV-12: not three parts of base64url with JSON objects in the first two.
    #[error("the token is not a compact JWS of JSON objects")]
    Malformed,
    /// JWTV-01.
    #[error("the token's algorithm is not one of the nine of JWT-SVIDs")]
    Algorithm,
    /// JWTV-07.
    #[error("the token's typ is neither JWT nor JOSE")]
    Type,
    /// JWTV-09, AMB-06.
    #[error("the token's header demands an extension")]
    Critical,
    /// JWTV-10.
    #[error("the token's subject is not a SPIFFE ID: {0}")]
    Subject(#[from] BadSpiffeId),
    /// JWTV-10: absent, not text, or the ID of a trust domain.
    #[error("the token has no workload as its subject")]
    NoSubject,
    /// A broker shows it to a source; as a peer it is nobody (SID-22).
    #[error("the token is of a brokered identity, which is for sources alone")]
    Brokered,
    /// A broker's own token was wanted.
    #[error("the token is not of a brokered identity")]
    NotBrokered,
    /// JWTV-11.
    #[error("there is no bundle of trust domain {0}")]
    NoBundle(TrustDomain),
    /// JWTV-03, JWTV-12, JWTV-15.
    #[error("no key of the trust domain verifies the token")]
    Signature,
    /// JWTV-04.
    #[error("the token is for another audience")]
    Audience,
    /// JWTV-05.
    #[error("the token has no expiry")]
    NoExpiry,
    /// JWTV-05.
    #[error("the token has expired")]
    Expired,
    /// JWTV-06.
    #[error("the token is not valid yet")]
    NotYet,
}

impl JwtSvid {
    /// The longest token, in bytes.
    pub const MAX: usize = 16 * 1024;
    /// The largest allowance for clocks that differ (SIL-06); more is not given whatever is asked.
    pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

    /// Checks a token that must be for one of `audiences` (JWTV-01 to JWTV-15). Who wants it for nobody else besides
    /// looks at [`JwtSvid::audience`]. Brokered identities are nobody's, whoever asks (SID-22).
    pub fn parse_and_verify(
        token: &str,
        audiences: &[&str],
        bundles: &Bundles,
        now: Millis,
        leeway: Duration,
    ) -> Result<Self, BadJwtSvid> {
        let svid = Self::verify(token, audiences, bundles, now, leeway)?;
        if svid.id.is_brokered() { Err(BadJwtSvid::Brokered) } else { Ok(svid) }
    }

    /// Checks a token that a broker is about to show to a source, by the same rules, and takes nothing else.
    pub fn parse_and_verify_brokered(
        token: &str,
        audiences: &[&str],
        bundles: &Bundles,
        now: Millis,
        leeway: Duration,
    ) -> Result<Self, BadJwtSvid> {
        let svid = Self::verify(token, audiences, bundles, now, leeway)?;
        if svid.id.is_brokered() { Ok(svid) } else { Err(BadJwtSvid::NotBrokered) }
    }

    fn verify(
        token: &str,
        audiences: &[&str],
        bundles: &Bundles,
        now: Millis,
        leeway: Duration,
    ) -> Result<Self, BadJwtSvid> {
        if token.len() > Self::MAX {
            return Err(BadJwtSvid::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(BadJwtSvid::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(BadJwtSvid::Malformed)?;
        let header = Header::read(&decoded_object(header)?)?;
        let claims = decoded_object(payload)?;
        let signature = decoded(signature)?;
        let id = subject(&claims)?;
        let bundle = bundles.of(&id.trust_domain()).ok_or_else(|| BadJwtSvid::NoBundle(id.trust_domain()))?;
        let fits = |kid: &str| header.kid.as_deref().is_none_or(|wanted| wanted == kid);
        let verified = bundle
            .jwt
            .iter()
            .filter(|key| fits(&key.kid))
            .take(MAX_KEYS_TRIED)
            .any(|key| header.algorithm.verifies(&key.public_key, signed.as_bytes(), &signature));
        if !verified {
            return Err(BadJwtSvid::Signature);
        }
        let audience = audience(&claims)?;
        if !audience.iter().any(|element| audiences.contains(&element.as_str())) {
            return Err(BadJwtSvid::Audience);
        }
        let expires = check_time(&claims, now, leeway.min(Self::MAX_LEEWAY))?;
        Ok(Self { id, audience, expires, claims })
    }

    /// Whose it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Whom it is for, all of them.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// When it ends.
    pub fn expires(&self) -> Millis {
        self.expires
    }

    /// All claims, as they were signed.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid").field("id", &self.id).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The header members that mean something; all others have no effect (AMB-06).
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

impl Header {
    fn read(members: &Map<String, Value>) -> Result<Self, BadJwtSvid> {
        let algorithm = members.get("alg").and_then(Value::as_str).and_then(Algorithm::named);
        let algorithm = algorithm.ok_or(BadJwtSvid::Algorithm)?;
        if members.contains_key("crit") || members.contains_key("b64") {
            return Err(BadJwtSvid::Critical);
        }
        match members.get("typ") {
            None => {}
            Some(Value::String(kind)) if kind == "JWT" || kind == "JOSE" => {}
            Some(_) => return Err(BadJwtSvid::Type),
        }
        let kid = match members.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(BadJwtSvid::Malformed),
        };
        Ok(Self { algorithm, kid })
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, BadJwtSvid> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| BadJwtSvid::Malformed)
}

fn decoded_object(part: &str) -> Result<Map<String, Value>, BadJwtSvid> {
    super::json::object(&decoded(part)?).ok_or(BadJwtSvid::Malformed)
}

fn subject(claims: &Map<String, Value>) -> Result<SpiffeId, BadJwtSvid> {
    let text = claims.get("sub").and_then(Value::as_str).ok_or(BadJwtSvid::NoSubject)?;
    let id = SpiffeId::parse(text)?;
    if id.path().is_empty() { Err(BadJwtSvid::NoSubject) } else { Ok(id) }
}

/// One text or a list of texts (AMB-04).
fn audience(claims: &Map<String, Value>) -> Result<Vec<String>, BadJwtSvid> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(list)) => list.iter().map(text).collect::<Option<_>>().ok_or(BadJwtSvid::Audience),
        _ => Err(BadJwtSvid::Audience),
    }
}

/// Times are numbers of seconds, perhaps with a fraction (RFC 7519 §2). At `exp` itself the token is no longer valid.
fn check_time(claims: &Map<String, Value>, now: Millis, leeway: Duration) -> Result<Millis, BadJwtSvid> {
    let expires = claims.get("exp").and_then(milliseconds).ok_or(BadJwtSvid::NoExpiry)?;
    if now >= expires.plus(leeway) {
        return Err(BadJwtSvid::Expired);
    }
    match claims.get("nbf") {
        None => Ok(expires),
        Some(begins) => match milliseconds(begins) {
            Some(begins) if begins <= now.plus(leeway) => Ok(expires),
            _ => Err(BadJwtSvid::NotYet),
        },
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float saturates, and no clock reaches the end of the range")]
fn milliseconds(value: &Value) -> Option<Millis> {
    match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) => Some(Millis(seconds.saturating_mul(1000))),
        (None, Some(seconds)) => Some(Millis((seconds * 1000.0) as i64)),
        (None, None) => None,
    }
}

/// Keys that are tried for one token; a token without `kid` tries each that fits (JWTV-08).
const MAX_KEYS_TRIED: usize = 32;

#[cfg(test)]
mod tests;
