//! JWT-SVIDs: fetched when somebody asks, kept until half their life is over, checked before anybody gets one.

use super::IdentityKey;
use super::schedule;
use crate::ids;
use crate::issuer::AskFault;
use avouch_words::svid::jwt::JwtSvid;
use avouch_words::{Bundle, Bundles, Clock, Millis, Name, Secret, SpiffeId};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where tokens are signed: the issuer, or in tests something that can be made to lie.
pub trait SignJwt: Send + Sync + 'static {
    /// A JWT-SVID of this instance for these audiences.
    fn sign_jwt(&self, whose: IdentityKey, audience: Vec<String>) -> BoxFuture<'static, Result<String, AskFault>>;
}

/// A token that was checked.
pub struct Token {
    id: SpiffeId,
    compact: Secret,
    expires: Millis,
}

impl Token {
    /// Whose it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// JWS compact serialization.
    pub fn compact(&self) -> &Secret {
        &self.compact
    }

    /// When it ends.
    pub fn expires(&self) -> Millis {
        self.expires
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// The issuer.
    #[error(transparent)]
    Asked(#[from] AskFault),
    /// What it sent is not what was asked for.
    #[error("the issuer sent a token that is not the one asked for")]
    Inadmissible,
}

/// Fetches tokens, and keeps them for a while.
pub struct JwtSvids {
    signer: Arc<dyn SignJwt>,
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<(IdentityKey, Vec<String>), Kept>>,
}

struct Kept {
    token: Arc<Token>,
    /// When to fetch anew.
    until: Millis,
}

impl JwtSvids {
    /// With nothing kept.
    pub fn new(signer: Arc<dyn SignJwt>, clock: Arc<dyn Clock>) -> Self {
        Self { signer, clock, kept: Mutex::default() }
    }

    /// A token for exactly these audiences, of an instance that has this ID.
    pub async fn fetch(
        &self,
        whose: &IdentityKey,
        id: &SpiffeId,
        audience: &[String],
        bundle: &Bundle,
    ) -> Result<Arc<Token>, NoToken> {
        let key = (whose.clone(), audience.to_vec());
        let now = self.clock.now();
        if let Some(kept) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && now < kept.until
            && kept.token.id() == id
        {
            return Ok(kept.token.clone());
        }
        let compact = self.signer.sign_jwt(whose.clone(), audience.to_vec()).await?;
        let token = Arc::new(self.admit(compact, id, audience, bundle)?);
        let until = schedule::renewal(now, token.expires, ids::share());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, kept| now < kept.until);
        }
        if kept.len() < MOST_KEPT {
            kept.insert(key, Kept { token: token.clone(), until });
        }
        Ok(token)
    }

    /// Forgets tokens of agents that may not have any more.
    pub fn forget_others(&self, entitled: impl Fn(&Name) -> bool) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|(whose, _), _| entitled(&whose.agent));
    }

    /// Forgets tokens of an instance that has ended.
    pub fn forget(&self, ended: &IdentityKey) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|(whose, _), _| whose != ended);
    }

    fn admit(&self, compact: String, id: &SpiffeId, audience: &[String], bundle: &Bundle) -> Result<Token, NoToken> {
        let compact = Secret::new(compact.into_bytes());
        let text = std::str::from_utf8(compact.expose()).map_err(|_| NoToken::Inadmissible)?;
        let wanted: Vec<&str> = audience.iter().map(String::as_str).collect();
        let bundles = Bundles::from(bundle.clone());
        let svid = JwtSvid::parse_and_verify(text, &wanted, &bundles, self.clock.now(), Duration::ZERO);
        let svid = svid.map_err(|error| {
            tracing::warn!(%error, "the issuer sent a token that does not verify");
            NoToken::Inadmissible
        })?;
        if svid.id() != id || svid.audience() != audience {
            return Err(NoToken::Inadmissible);
        }
        let expires = svid.expires();
        Ok(Token { id: svid.id().clone(), compact, expires })
    }
}

/// Tokens kept at most; one more is fetched each time it is asked for.
const MOST_KEPT: usize = 4096;

#[cfg(test)]
mod tests;
