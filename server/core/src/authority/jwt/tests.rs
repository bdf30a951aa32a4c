use super::*;
use crate::agent::Registration;
use crate::issue::{Asked, ReservedAudiences, jwt};
use crate::keys::KeyError;
use avouch_words::{TrustDomain, Ulid};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug)]
struct Key(EcdsaKeyPair, Purpose);

impl Signer for Key {
    fn purpose(&self) -> Purpose {
        self.1
    }

    fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn sign(&self, message: &[u8], rng: &dyn SecureRandom) -> Result<Vec<u8>, KeyError> {
        self.0.sign(rng, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyError::Broken)
    }
}

const NOW: Millis = Millis(1_700_000_000_999);

fn key(purpose: Purpose) -> Arc<Key> {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
    Arc::new(Key(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap(), purpose))
}

fn domain() -> TrustDomain {
    TrustDomain::parse("example.test").unwrap()
}

fn permit() -> JwtPermit {
    let registration = Registration {
        name: "researcher".into(),
        owner: "me@example.test".into(),
        nodes: vec!["node:name:laptop".into()],
        selectors: vec!["unix:uid:1".into()],
        ..Registration::default()
    };
    let asked = Asked {
        node: &crate::node::tests::node("laptop"),
        agent: Some(&registration.check(NOW).unwrap()),
        instance: Ulid::new(NOW, [7; 10]),
        known: None,
        locks: &[],
        now: NOW,
    };
    let audience = ["https://b.test".to_owned(), "a\"ü".to_owned()];
    jwt(&domain(), &asked, &audience, &ReservedAudiences::new(&domain(), []), &[]).unwrap()
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Rows JWT-01 to JWT-10.
#[test]
fn a_token_keeps_the_profile_and_verifies() {
    let key = key(Purpose::JwtAuthority);
    let id = Ulid::new(NOW, [1; 10]);
    let signer = JwtSigner::open("https://id.test/a", id, NOW.plus(Duration::from_secs(86_400)), key.clone()).unwrap();
    let issued = signer.sign(&permit(), NOW, &SystemRandom::new()).unwrap();
    let token = std::str::from_utf8(issued.token.expose()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(decoded(parts[0]), json!({ "alg": "ES256", "kid": id.to_string(), "typ": "JWT" }));
    let expected = json!({
        "sub": "spiffe://example.test/agent/researcher",
        "aud": ["https://b.test", "a\"ü"],
        "iss": "https://id.test/a",
        "iat": 1_700_000_000,
        "exp": 1_700_000_300,
        "jti": issued.jti.to_string(),
        INSTANCE_CLAIM: Ulid::new(NOW, [7; 10]).to_string(),
    });
    assert_eq!(decoded(parts[1]), expected);
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let message = token.rsplit_once('.').unwrap().0;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key());
    assert!(public.verify(message.as_bytes(), &signature).is_ok());
    assert!(signer.public().public_key.ends_with(key.public_key()));
    assert!(!format!("{issued:?}").contains(token));
}

#[test]
fn a_token_never_outlives_its_authority() {
    let end = NOW.plus(Duration::from_secs(10));
    let signer =
        JwtSigner::open("https://id.test/a", Ulid::new(NOW, [1; 10]), end, key(Purpose::JwtAuthority)).unwrap();
    assert!(signer.sign(&permit(), NOW, &SystemRandom::new()).unwrap().expires <= end);
    let refused = signer.sign(&permit(), end, &SystemRandom::new()).map(|_| ());
    assert_eq!(refused, Err(AuthorityError::EndsTooSoon));
}

#[test]
fn a_key_for_certificates_signs_no_tokens() {
    let id = Ulid::new(NOW, [1; 10]);
    let opened = JwtSigner::open("https://id.test/a", id, NOW, key(Purpose::X509Authority)).map(|_| ());
    assert_eq!(opened, Err(AuthorityError::Mismatch(id)));
}
