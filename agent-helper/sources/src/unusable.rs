//! Why a source cannot be made of its settings.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// What is wrong with what the settings say of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Its certificates.
    #[error("its CA file holds no certificate in PEM")]
    CaFile,
    /// Its address.
    #[error("its address is neither https:// nor http:// to this machine itself")]
    Address,
    /// The path of a file.
    #[error("the file's path is neither absolute nor below a credentials directory that the helper was given")]
    Path,
    /// The TLS client.
    #[error("no TLS client can be made for it")]
    Tls,
}

/// The certificates of a CA file, all of them good.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| Unusable::CaFile)?).map_err(|_| Unusable::CaFile)?;
    }
    if roots.is_empty() { Err(Unusable::CaFile) } else { Ok(roots) }
}

/// Whether what is sent to this address is either verified to arrive there alone, or stays on this machine.
pub(crate) fn check_address(address: &str) -> Result<(), Unusable> {
    let uri: http::Uri = address.parse().map_err(|_| Unusable::Address)?;
    let authority = uri.authority().ok_or(Unusable::Address)?;
    let plain = uri.scheme_str() == Some("http") && ["127.0.0.1", "[::1]", "localhost"].contains(&authority.host());
    match uri.query().is_none() && !authority.as_str().contains('@') && (plain || uri.scheme_str() == Some("https")) {
        true => Ok(()),
        false => Err(Unusable::Address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_travel_over_tls_or_not_at_all() {
        for good in ["https://vpce-1.example", "https://h:8443/", "http://127.0.0.1:5000", "http://[::1]:1"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in
            ["http://example", "http://127.0.0.1.example", "ftp://h", "h:1", "", "https://u@h", "https://h?q", "/x"]
        {
            assert_eq!(check_address(bad), Err(Unusable::Address), "{bad}");
        }
        assert_eq!(roots(b"").unwrap_err(), Unusable::CaFile);
        let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(roots(bad).unwrap_err(), Unusable::CaFile);
    }
}
