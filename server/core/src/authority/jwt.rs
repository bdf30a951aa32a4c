//! JWT authorities. A token is ES256, or RS256 under a key that was brought from elsewhere, over canonical JSON, made by
//! hand: nothing that a general serializer writes is ever signed.

use super::{AuthorityError, der};
use crate::issue::JwtPermit;
use crate::keys::{Purpose, Signer};
use avouch_words::{Digest, JwtAuthority, Millis, Secret, SpiffeId, Ulid};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom;
use serde::Serialize;
use std::sync::Arc;

/// A signed token.
#[derive(Debug)]
pub struct IssuedJwt {
    /// Whose it is.
    pub id: SpiffeId,
    /// JWS compact serialization; who holds it is believed, so it is a secret.
    pub token: Secret,
    /// Its `jti`.
    pub jti: Ulid,
    /// Its `exp`.
    pub expires: Millis,
}

/// A JWT authority with its key at hand.
#[derive(Debug)]
pub struct JwtSigner {
    id: Ulid,
    issuer: String,
    header: String,
    not_after: Millis,
    public_key: Vec<u8>,
    signer: Arc<dyn Signer>,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    avouch_instance: Option<String>,
    exp: i64,
    iat: i64,
    iss: &'a str,
    jti: &'a str,
    sub: &'a str,
}

impl JwtSigner {
    /// An authority as it was stored. Its `kid` is its identifier; `issuer` is the `iss` of its tokens.
    pub fn open(issuer: &str, id: Ulid, not_after: Millis, signer: Arc<dyn Signer>) -> Result<Self, AuthorityError> {
        if signer.purpose() != Purpose::JwtAuthority {
            return Err(AuthorityError::Mismatch(id));
        }
        let header = Header { alg: "ES256", kid: &id.to_string(), typ: "JWT" };
        let public_key = der::p256_spki(signer.public_key());
        Ok(Self { id, issuer: issuer.to_owned(), header: part(&header)?, not_after, public_key, signer })
    }

    /// An RSA key that was brought from elsewhere. It is known by its public half, and ends when it is taken away.
    pub fn imported(issuer: &str, signer: Arc<dyn Signer>) -> Result<Self, AuthorityError> {
        let public_key = der::rsa_spki(signer.public_key());
        let digest = Digest::of(&[&public_key]);
        let (mut moment, mut rest) = ([0; 8], [0; 10]);
        moment[2..].copy_from_slice(&digest.as_bytes()[..6]);
        rest.copy_from_slice(&digest.as_bytes()[6..16]);
        let id = Ulid::new(Millis(i64::from_be_bytes(moment)), rest);
        if signer.purpose() != Purpose::JwtAuthority {
            return Err(AuthorityError::Mismatch(id));
        }
        let header = Header { alg: "RS256", kid: &id.to_string(), typ: "JWT" };
        let not_after = Millis(i64::MAX);
        Ok(Self { id, issuer: issuer.to_owned(), header: part(&header)?, not_after, public_key, signer })
    }

    /// Its identifier.
    pub fn id(&self) -> Ulid {
        self.id
    }

    /// What verifies its tokens.
    pub fn public(&self) -> JwtAuthority {
        JwtAuthority { kid: self.id.to_string(), public_key: self.public_key.clone() }
    }

    /// When it ends.
    pub fn not_after(&self) -> Millis {
        self.not_after
    }

    /// Signs a token, as permitted. It never outlives the authority.
    pub fn sign(&self, permit: &JwtPermit, now: Millis, rng: &dyn SecureRandom) -> Result<IssuedJwt, AuthorityError> {
        let expires = now.plus(permit.ttl()).min(self.not_after).seconds();
        if expires <= now.seconds() {
            return Err(AuthorityError::EndsTooSoon);
        }
        let mut random = [0; 10];
        rng.fill(&mut random).map_err(|_| AuthorityError::Random)?;
        let jti = Ulid::new(now, random);
        let claims = Claims {
            aud: permit.audience(),
            avouch_instance: permit.instance().map(|instance| instance.to_string()),
            exp: expires,
            iat: now.seconds(),
            iss: &self.issuer,
            jti: &jti.to_string(),
            sub: permit.id().as_str(),
        };
        let claims = part(&claims)?;
        let mut token = String::with_capacity(self.header.len() + claims.len() + 2 + SIGNATURE);
        token.push_str(&self.header);
        token.push('.');
        token.push_str(&claims);
        let signature = self.signer.sign(token.as_bytes(), rng)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(IssuedJwt {
            id: permit.id().clone(),
            token: Secret::new(token.into_bytes()),
            jti,
            expires: Millis(expires * 1000),
        })
    }
}

fn part(value: &impl Serialize) -> Result<String, AuthorityError> {
    serde_json_canonicalizer::to_vec(value).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| AuthorityError::Build)
}

/// The claim that names the instance.
pub const INSTANCE_CLAIM: &str = "avouch_instance";
/// 64 bytes in base64url without padding.
const SIGNATURE: usize = 86;

#[cfg(test)]
mod tests;
