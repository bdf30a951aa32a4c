//! The public documents of one version of the state.

use crate::state::State;
use avouch_config::{AuthoritySettings, PublicUrl};
use avouch_core::authority::{INSTANCE_CLAIM, Lifetimes};
use avouch_words::{Digest, JwtAuthority};
use bytes::Bytes;
use http::HeaderValue;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is served.
#[derive(Debug)]
pub(crate) struct Documents {
    pages: [Page; 3],
    caching: HeaderValue,
}

/// One document.
#[derive(Debug)]
pub(crate) struct Page {
    path: String,
    pub(crate) body: Bytes,
    pub(crate) tag: HeaderValue,
}

impl Documents {
    /// As this state has them, under this URL.
    pub(crate) fn of(state: &State, url: &PublicUrl, authority: AuthoritySettings) -> Self {
        let bundle = state.signers.bundle();
        let algorithms: BTreeSet<_> = bundle.jwt.iter().filter_map(JwtAuthority::algorithm).collect();
        // What OpenID Discovery 1.0 §3 and the clouds demand of an issuer of tokens that has no pages for people.
        let discovery = json!({
            "issuer": url.as_str(),
            "jwks_uri": format!("{}{KEYS}", url.as_str()),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "jti", INSTANCE_CLAIM],
        });
        let seconds = cache_seconds(authority);
        let page = |path: &str, body: String| Page {
            path: format!("{}{path}", url.prefix()),
            tag: tag(&body),
            body: Bytes::from(body),
        };
        Self {
            pages: [
                page(DISCOVERY, discovery.to_string()),
                page(KEYS, bundle.openid_jwks()),
                page(BUNDLE, bundle.document(state.bundle_sequence, seconds)),
            ],
            caching: HeaderValue::try_from(format!("public, max-age={seconds}"))
                .unwrap_or(HeaderValue::from_static("no-cache")),
        }
    }

    /// The document of exactly this path.
    pub(crate) fn page(&self, path: &str) -> Option<&Page> {
        self.pages.iter().find(|page| page.path == path)
    }

    /// How long any of them may be kept.
    pub(crate) fn caching(&self) -> &HeaderValue {
        &self.caching
    }
}

fn tag(body: &str) -> HeaderValue {
    let digest = Digest::of(&[body.as_bytes()]).to_string();
    HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// How long the documents may be kept, in seconds: a fifth of the time that a key is published before it signs, so that
/// whoever keeps one that long and misses it a few times still has each key before its first use (FED-01, FED-02).
pub(crate) fn cache_seconds(authority: AuthoritySettings) -> u64 {
    let ahead = |life: Duration| {
        let lives = Lifetimes::of(life);
        lives.prepare.saturating_sub(lives.activate)
    };
    let shortest = ahead(authority.x509_ttl).min(ahead(authority.jwt_ttl));
    (shortest.as_secs() / LOOKS_AHEAD).clamp(1, MAX_CACHE)
}

/// Below the issuer's URL, as OpenID Discovery 1.0 §4 says.
const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";
const BUNDLE: &str = "/bundle";
/// How often a verifier can look between a key's publication and its first use, at least.
const LOOKS_AHEAD: u64 = 5;
/// 5 minutes: what the SPIFFE standard has verifiers do without a hint (BND-12).
const MAX_CACHE: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_as_long_as_a_key_is_published_before_its_use() {
        let of = |seconds: u64| {
            let life = Duration::from_secs(seconds);
            let lives = Lifetimes::of(life);
            let kept = cache_seconds(AuthoritySettings { x509_ttl: life, jwt_ttl: Duration::from_secs(86_400_000) });
            assert!(kept * LOOKS_AHEAD <= (lives.prepare - lives.activate).as_secs().max(LOOKS_AHEAD), "{seconds}");
            kept
        };
        assert_eq!((of(60), of(180), of(30 * 86_400)), (2, 6, 300));
    }
}
