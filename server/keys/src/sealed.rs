//! Keys sealed with AES-256-GCM under the key file. A reference is version, key id, nonce, ciphertext and tag; what
//! the key is for and its id are authenticated with it, so that no reference passes for another.

use crate::file::KeyFile;
use crate::software::SoftwareKey;
use avouch_core::keys::conformance::MAX_REFERENCE;
use avouch_core::keys::{CreatedKey, KeyError, KeyManager, Purpose, Signer};
use avouch_words::Secret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::SecureRandom;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Makes keys here and seals them; the store keeps the sealed ones.
#[derive(Debug)]
pub struct SealedKeys {
    key: KeyFile,
}

impl SealedKeys {
    /// Seals under this key file.
    pub fn new(key: KeyFile) -> Self {
        Self { key }
    }

    /// Made for each use, so that only the key file's own bytes, which are wiped, live on.
    fn cipher(&self) -> Result<LessSafeKey, KeyError> {
        UnboundKey::new(&AES_256_GCM, self.key.expose()).map(LessSafeKey::new).map_err(|_| KeyError::Broken)
    }
}

impl KeyManager for SealedKeys {
    fn create(&self, purpose: Purpose, rng: &dyn SecureRandom) -> Result<CreatedKey, KeyError> {
        let pkcs8 = SoftwareKey::generate(purpose, rng)?;
        let public_key = SoftwareKey::read(purpose, &pkcs8, rng)?.public_key().to_vec();
        let mut head = [0; HEAD];
        rng.fill(&mut head[1..]).map_err(|_| KeyError::Broken)?;
        head[0] = VERSION;
        let nonce: [u8; NONCE_LEN] = head[1 + ID..].try_into().map_err(|_| KeyError::Broken)?;
        let mut body = Zeroizing::new(Vec::with_capacity(pkcs8.len() + AES_256_GCM.tag_len()));
        body.extend_from_slice(pkcs8.expose());
        self.cipher()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(purpose, &head), &mut *body)
            .map_err(|_| KeyError::Broken)?;
        Ok(CreatedKey { reference: [&head[..], &body[..]].concat(), public_key })
    }

    fn open(&self, purpose: Purpose, reference: &[u8], rng: &dyn SecureRandom) -> Result<Arc<dyn Signer>, KeyError> {
        if reference.len() <= HEAD + AES_256_GCM.tag_len() || reference.len() > MAX_REFERENCE || reference[0] != VERSION
        {
            return Err(KeyError::NotAReference);
        }
        let (head, sealed) = reference.split_at(HEAD);
        let nonce = Nonce::try_assume_unique_for_key(&head[1 + ID..]).map_err(|_| KeyError::NotAReference)?;
        let mut body = Zeroizing::new(sealed.to_vec());
        let length =
            self.cipher()?.open_in_place(nonce, aad(purpose, head), &mut body).map_err(|_| KeyError::Sealed)?.len();
        let pkcs8 = Secret::new(body[..length].to_vec());
        Ok(Arc::new(SoftwareKey::read(purpose, &pkcs8, rng)?))
    }
}

/// Version, purpose and key id; the nonce is the cipher's own input.
fn aad(purpose: Purpose, head: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([b"avouch sealed key\n", &head[..1], purpose.as_str().as_bytes(), b"\n", &head[1..=ID]].concat())
}

const VERSION: u8 = 1;
/// Random, so that two keys differ in what they are bound to.
const ID: usize = 16;
const HEAD: usize = 1 + ID + NONCE_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Absent;
    use avouch_core::keys::conformance;
    use ring::rand::SystemRandom;

    fn keys() -> SealedKeys {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        SealedKeys::new(KeyFile::open(&dir.path().join("key"), &state, Absent::Make, &SystemRandom::new()).unwrap())
    }

    #[test]
    fn sealed_keys_conform() {
        assert_eq!(conformance::check(&keys(), &keys(), &SystemRandom::new()), Ok(()));
    }

    #[test]
    fn a_reference_holds_no_key_in_the_open() {
        let (keys, rng) = (keys(), SystemRandom::new());
        for purpose in Purpose::ALL {
            let created = keys.create(purpose, &rng).unwrap();
            let point = &created.public_key[1..];
            assert!(!created.reference.windows(point.len()).any(|window| window == point), "not even the public half");
        }
    }

    #[test]
    fn a_reference_of_another_version_is_none() {
        let (keys, rng) = (keys(), SystemRandom::new());
        let mut reference = keys.create(Purpose::Log, &rng).unwrap().reference;
        reference[0] = 2;
        assert_eq!(keys.open(Purpose::Log, &reference, &rng).map(|_| ()), Err(KeyError::NotAReference));
        assert_eq!(keys.open(Purpose::Log, &[], &rng).map(|_| ()), Err(KeyError::NotAReference));
    }

    #[test]
    fn nothing_that_prints_shows_a_key() {
        let (keys, rng) = (keys(), SystemRandom::new());
        let created = keys.create(Purpose::X509Authority, &rng).unwrap();
        let signer = keys.open(Purpose::X509Authority, &created.reference, &rng).unwrap();
        assert_eq!(format!("{keys:?} {signer:?}"), "SealedKeys { key: KeyFile(Secret) } SoftwareKey(x509)");
    }
}
