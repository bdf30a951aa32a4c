//! The certificate authority of one session. Its key is made here, never leaves memory and is gone with the
//! session; it signs only for hosts that have a binding, and nothing but the session's own bundle trusts it (B12).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_policy::Host;
use avouch_words::{Clock, Ulid};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;

/// How long an anchor and its leaves are good: longer than any session, as a change in mid-session breaks clients.
const LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How far a client's clock may be behind.
const SKEW: Duration = Duration::from_secs(3600);
/// The most hosts for which one session keeps a leaf.
const LEAVES_MAX: usize = 256;

/// Certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AnchorFault {
    /// rcgen.
    #[error("the session's certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls.
    #[error("the session's certificate could not be served: {0}")]
    Tls(#[from] rustls::Error),
    /// The clock stands outside the years that certificates know.
    #[error("the clock stands outside the range of certificates")]
    Clock,
}

/// A session's authority and the leaves made with it.
pub struct Anchor {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    leaf_key: KeyPair,
    validity: (time::OffsetDateTime, time::OffsetDateTime),
    leaves: Mutex<HashMap<Host, Arc<ServerConfig>>>,
}

impl Anchor {
    /// A new authority for a session.
    pub fn new(session: Ulid, clock: &dyn Clock) -> Result<Self, AnchorFault> {
        let now = time::OffsetDateTime::from_unix_timestamp(clock.now().seconds()).map_err(|_| AnchorFault::Clock)?;
        let validity = (now - SKEW, now + LIFE);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("avouch session {session}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = validity;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            leaf_key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            validity,
            leaves: Mutex::default(),
        })
    }

    /// The authority's certificate, for the session's bundle.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// How to serve TLS as this host; the caller has seen that a binding names it.
    pub(crate) fn server_config(&self, host: &Host) -> Result<Arc<ServerConfig>, AnchorFault> {
        if let Some(config) = self.leaves.lock().unwrap_or_else(PoisonError::into_inner).get(host) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(host)?);
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if leaves.len() < LEAVES_MAX {
            leaves.insert(host.clone(), Arc::clone(&config));
        }
        Ok(config)
    }

    fn leaf(&self, host: &Host) -> Result<CertificateDer<'static>, AnchorFault> {
        let bare = host.ip().map_or_else(|| host.as_str().to_owned(), |ip| ip.to_string());
        let mut params = CertificateParams::new(vec![bare])?;
        params.distinguished_name = name("avouch session leaf");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Python 3.13 and later refuse a leaf without it.
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = self.validity;
        Ok(params.signed_by(&self.leaf_key, &self.issuer)?.der().clone())
    }

    fn make(&self, host: &Host) -> Result<ServerConfig, AnchorFault> {
        let chain = vec![self.leaf(host)?, self.certificate.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl std::fmt::Debug for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Anchor")
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_words::SystemClock;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::ServerName;

    #[test]
    fn a_leaf_is_good_for_its_host_and_no_other_under_this_anchor_and_no_other() {
        let session = Ulid::new(SystemClock.now(), [7; 10]);
        let (anchor, other) =
            (Anchor::new(session, &SystemClock).unwrap(), Anchor::new(session, &SystemClock).unwrap());
        let host = Host::parse("api.example.test").unwrap();
        let leaf = anchor.leaf(&host).unwrap();
        let verify = |anchor: &Anchor, name: &str| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(anchor.certificate.der().clone()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier =
                rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            let name = ServerName::try_from(name.to_owned()).unwrap();
            verifier.verify_server_cert(&leaf, &[], &name, &[], rustls::pki_types::UnixTime::now()).is_ok()
        };
        assert!(verify(&anchor, "api.example.test"));
        assert!(!verify(&anchor, "other.example.test"));
        assert!(!verify(&other, "api.example.test"));
    }

    #[test]
    fn a_leaf_has_both_key_identifiers_and_serves_http_1_1_only() {
        let anchor = Anchor::new(Ulid::new(SystemClock.now(), [7; 10]), &SystemClock).unwrap();
        let host = Host::parse("api.example.test").unwrap();
        let leaf = anchor.leaf(&host).unwrap();
        // id-ce-subjectKeyIdentifier and id-ce-authorityKeyIdentifier, RFC 5280 §4.2.1.
        for oid in [[0x55, 0x1d, 0x0e], [0x55, 0x1d, 0x23]] {
            assert!(leaf.windows(3).any(|bytes| bytes == oid), "{oid:?}");
        }
        let config = anchor.server_config(&host).unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
        assert!(Arc::ptr_eq(&config, &anchor.server_config(&host).unwrap()), "made once");
    }
}
