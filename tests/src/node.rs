//! A node that is none: it joins as a helper does, and then asks the issuer for whatever a test or a bench wants.

use crate::Installation;
use avouch_wire::issuer;
use avouch_wire::tls::{self, Identity};
use avouch_wire::tonic::transport::Channel;
use avouch_words::{Bundle, Bundles, Digest, SystemClock, TrustDomain, X509Authority};
use rustls::pki_types::CertificateDer;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// A node that has joined.
#[derive(Debug)]
pub struct Joined {
    /// To the issuer, as this node.
    pub channel: Channel,
    /// The node's own certificate, DER.
    pub leaf: Vec<u8>,
    /// The authorities of the trust domain, DER.
    pub bundle: Vec<Vec<u8>>,
}

/// A fresh key, and a request for a certificate that it signed.
pub fn request() -> io::Result<(rcgen::KeyPair, Vec<u8>)> {
    let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(io::Error::other)?.der().to_vec();
    Ok((key, request))
}

/// Joins as a node of this name.
pub async fn join(made: &Installation, name: &str) -> io::Result<Joined> {
    let text = made.run(&["token", "create", "--node", name, "--out", "-"])?.stdout;
    let mut parts = text.trim().splitn(4, '.').skip(1);
    let mut part = || parts.next().ok_or_else(|| io::Error::other("no join token"));
    let secret = decode(part()?)?;
    let pin: [u8; 32] = decode(part()?)?.try_into().map_err(|_| io::Error::other("no pin"))?;
    let domain = TrustDomain::parse(part()?).map_err(io::Error::other)?;
    let (config, _) = tls::first_contact_config(Digest::from_bytes(pin), domain.clone(), Arc::new(SystemClock))
        .map_err(io::Error::other)?;
    let channel = tls::dial(made.listen(), config).await.map_err(io::Error::other)?;
    let (key, csr) = request()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
    let request = issuer::EnrolRequest {
        attestor: "join_token".to_owned(),
        evidence: secret,
        csr,
        trust_domain: domain.to_string(),
        helper_time_ms: i64::try_from(now.as_millis()).map_err(io::Error::other)?,
    };
    let joined = issuer::enrolment_client::EnrolmentClient::new(channel)
        .enrol(request)
        .await
        .map_err(io::Error::other)?
        .into_inner();
    let leaf = joined.chain.first().cloned().unwrap_or_default();
    let chain = joined.chain.into_iter().map(CertificateDer::from).collect();
    let identity = Identity::new(chain, &key.serialize_der()).map_err(io::Error::other)?;
    let x509 = joined.bundle.iter().cloned().map(|der| X509Authority(CertificateDer::from(der))).collect();
    let bundles = Bundles::from_iter([Bundle { trust_domain: domain.clone(), x509, jwt: Vec::new() }]);
    let (_, identity) = watch::channel(Some(identity));
    let (_, bundles) = watch::channel(Arc::new(bundles));
    let config =
        tls::client_config(identity, bundles, domain.issuer(), Arc::new(SystemClock)).map_err(io::Error::other)?;
    let channel = tls::dial(made.listen(), config).await.map_err(io::Error::other)?;
    Ok(Joined { channel, leaf, bundle: joined.bundle })
}

fn decode(text: &str) -> io::Result<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).map_err(io::Error::other)
}
