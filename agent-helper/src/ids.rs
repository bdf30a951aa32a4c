//! Identifiers that this helper makes.

use avouch_words::{Clock, Ulid};
use ring::rand::{SecureRandom, SystemRandom};

/// The system's random generator gave nothing: nothing may be named, so nothing may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no randomness")]
pub struct NoRandomness;

/// A new identifier of this moment.
pub fn ulid(clock: &dyn Clock) -> Result<Ulid, NoRandomness> {
    Ok(Ulid::new(clock.now(), random()?))
}

/// Random bytes of the system's generator.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A random share from 0 to 1, so that many do not act in the same moment; a half where there is no randomness.
pub fn share() -> f64 {
    f64::from(random::<2>().map_or(u16::MAX / 2, u16::from_be_bytes)) / f64::from(u16::MAX)
}
