//! What every key manager must do. A new one is tested by calling [`check`] with two of it that share nothing.

use super::{KeyError, KeyManager, Purpose};
use ring::rand::SecureRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};

/// The longest reference, in bytes; a store row holds it.
pub const MAX_REFERENCE: usize = 4096;

/// Holds `manager` to the contract: what is made opens and signs, and nothing altered, foreign, empty, oversized or
/// meant for another purpose does. The error is the promise that was broken.
pub fn check(manager: &dyn KeyManager, stranger: &dyn KeyManager, rng: &dyn SecureRandom) -> Result<(), String> {
    for purpose in Purpose::ALL {
        one_purpose(manager, stranger, rng, purpose).map_err(|broken| format!("{}: {broken}", purpose.as_str()))?;
    }
    Ok(())
}

fn one_purpose(
    manager: &dyn KeyManager,
    stranger: &dyn KeyManager,
    rng: &dyn SecureRandom,
    purpose: Purpose,
) -> Result<(), String> {
    let key = manager.create(purpose, rng).map_err(|error| format!("create: {error}"))?;
    let other = manager.create(purpose, rng).map_err(|error| format!("create: {error}"))?;
    promise(key.public_key != other.public_key && key.reference != other.reference, "two keys differ")?;
    promise(key.reference.len() <= MAX_REFERENCE, "a reference is short")?;

    let signer = manager.open(purpose, &key.reference, rng).map_err(|error| format!("open: {error}"))?;
    promise(signer.purpose() == purpose, "an opened key knows its purpose")?;
    promise(signer.public_key() == key.public_key, "an opened key is the one that was made")?;
    let message = b"the message that is signed";
    let signature = signer.sign(message, rng).map_err(|error| format!("sign: {error}"))?;
    let public = UnparsedPublicKey::new(algorithm(purpose), &key.public_key);
    promise(public.verify(message, &signature).is_ok(), "a signature verifies under the public key")?;
    promise(public.verify(b"another message", &signature).is_err(), "a signature holds for its message only")?;

    for wrong in Purpose::ALL.into_iter().filter(|wrong| *wrong != purpose) {
        promise(manager.open(wrong, &key.reference, rng).is_err(), "a key opens for its own purpose only")?;
    }
    promise(stranger.open(purpose, &key.reference, rng).is_err(), "another manager cannot open the key")?;
    for at in 0..key.reference.len() {
        let mut altered = key.reference.clone();
        altered[at] ^= 1;
        promise(manager.open(purpose, &altered, rng).is_err(), "an altered reference does not open")?;
    }
    for length in 0..key.reference.len() {
        promise(manager.open(purpose, &key.reference[..length], rng).is_err(), "a cut reference does not open")?;
    }
    let mut longer = key.reference.clone();
    longer.push(0);
    promise(manager.open(purpose, &longer, rng).is_err(), "a lengthened reference does not open")?;
    let oversized = vec![key.reference[0]; MAX_REFERENCE + 1];
    promise(
        matches!(manager.open(purpose, &oversized, rng), Err(KeyError::NotAReference)),
        "an oversized reference is none",
    )
}

fn algorithm(purpose: Purpose) -> &'static dyn VerificationAlgorithm {
    match purpose {
        Purpose::X509Authority => &ECDSA_P256_SHA256_ASN1,
        Purpose::JwtAuthority => &ECDSA_P256_SHA256_FIXED,
        Purpose::Log => &ED25519,
    }
}

fn promise(held: bool, text: &str) -> Result<(), String> {
    if held { Ok(()) } else { Err(text.to_owned()) }
}
