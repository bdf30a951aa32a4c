//! What has to hold before an SVID becomes current: chain, key and ID (STYLE 7).

use super::HeldSvid;
use super::key::NodeMadeKey;
use avouch_words::svid::x509::{BadX509Svid, X509Svid};
use avouch_words::{Bundle, Bundles, Millis, SpiffeId};
use rustls_pki_types::CertificateDer;

/// Why what the issuer sent is not published.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inadmissible {
    /// The chain, the profile or the time.
    #[error(transparent)]
    Svid(#[from] BadX509Svid),
    /// It says that we are somebody else.
    #[error("the SVID carries the ID {0} and not the one asked for")]
    OtherId(SpiffeId),
    /// It was made for a key that is not ours.
    #[error("the SVID is for another key")]
    OtherKey,
}

/// Checks a chain for this ID and this key.
pub fn check(
    id: &SpiffeId,
    chain: &[CertificateDer<'static>],
    key: &NodeMadeKey,
    bundle: &Bundle,
    now: Millis,
) -> Result<X509Svid, Inadmissible> {
    let svid = X509Svid::verify(chain, &Bundles::from(bundle.clone()), now)?;
    if svid.id() != id {
        return Err(Inadmissible::OtherId(svid.id().clone()));
    }
    if svid.public_key() != key.public_key_info() {
        return Err(Inadmissible::OtherKey);
    }
    Ok(svid)
}

/// Checks a chain and joins it with its key.
pub fn admit(
    id: &SpiffeId,
    chain: &[CertificateDer<'static>],
    key: &NodeMadeKey,
    bundle: &Bundle,
    now: Millis,
) -> Result<HeldSvid, Inadmissible> {
    Ok(HeldSvid { svid: check(id, chain, key, bundle, now)?, key: key.pkcs8() })
}

/// Whether what is held still leads to an authority of this bundle.
pub fn still_verifies(held: &HeldSvid, bundle: &Bundle, now: Millis) -> bool {
    X509Svid::verify(held.svid.chain(), &Bundles::from(bundle.clone()), now).is_ok()
}
