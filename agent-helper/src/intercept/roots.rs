//! The roots that upstream servers are verified against.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Where Linux distributions keep their bundle, most common first.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What this machine trusts.
pub struct SystemRoots {
    /// To verify with.
    pub store: Arc<RootCertStore>,
    /// The bundle as it lies on disk, to be repeated in a session's bundle; empty where there is none.
    pub pem: String,
}

impl SystemRoots {
    /// Reads the machine's bundle; where there is none, the roots compiled in are used.
    pub fn load() -> Self {
        Self::from_files(BUNDLES.iter().map(Path::new))
    }

    fn from_files<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        for file in files {
            let Ok(pem) = std::fs::read_to_string(file) else { continue };
            let store = store(pem.as_bytes());
            if !store.is_empty() {
                return Self { store: Arc::new(store), pem };
            }
        }
        let compiled = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self { store: Arc::new(compiled), pem: String::new() }
    }
}

impl std::fmt::Debug for SystemRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SystemRoots({})", self.store.len())
    }
}

/// The certificates of a PEM text that can be roots; others are left out, as distributions ship a few odd ones.
pub(crate) fn store(pem: &[u8]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bundle_the_compiled_roots_are_used() {
        let roots = SystemRoots::from_files([Path::new("/nonexistent")].into_iter());
        assert!(roots.store.len() > 50 && roots.pem.is_empty());
    }

    #[test]
    fn a_file_without_certificates_trusts_nobody() {
        assert!(store(b"-----BEGIN NONSENSE-----\n").is_empty());
    }
}
