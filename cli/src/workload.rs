//! A client of the SPIFFE Workload API, as a workload has it.

use crate::endpoints::{self, Socket};
use crate::failure::{Exit, Failure};
use avouch_wire::tonic::metadata::MetadataValue;
use avouch_wire::tonic::transport::Channel;
use avouch_wire::tonic::{Code, Request, Status};
use avouch_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use avouch_wire::workload::{JwtBundlesRequest, JwtsvidRequest, X509svidRequest};
use avouch_words::svid::jwt::JwtSvid;
use avouch_words::svid::x509::X509Svid;
use avouch_words::{Bundle, Bundles, JwtAuthority, Millis, SpiffeId, X509Authority};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// A connection to the Workload API.
#[derive(Debug)]
pub struct Client(SpiffeWorkloadApiClient<Channel>);

/// An X.509-SVID as it was served, without its key.
#[derive(Debug)]
pub struct Served {
    /// Whose it says it is.
    pub id: String,
    chain: Vec<u8>,
    bundle: Vec<u8>,
    /// Whether a key came with it.
    pub has_key: bool,
}

impl Client {
    /// Connects to a Workload API socket.
    pub async fn connect(socket: &Path) -> Result<Self, Failure> {
        Ok(Self(SpiffeWorkloadApiClient::new(endpoints::connect(socket, Socket::Workload).await?)))
    }

    /// The caller's X.509-SVIDs.
    pub async fn x509(&mut self) -> Result<Vec<Served>, Failure> {
        let mut stream = self.0.fetch_x509svid(with_header(X509svidRequest {})).await.map_err(refused)?.into_inner();
        let reply = stream.message().await.map_err(refused)?;
        let reply = reply.ok_or_else(|| Failure::new(Exit::Failure, "the Workload API ended without an answer"))?;
        let served = |svid: avouch_wire::workload::X509svid| Served {
            has_key: !svid.x509_svid_key.is_empty(),
            id: svid.spiffe_id,
            chain: svid.x509_svid,
            bundle: svid.bundle,
        };
        Ok(reply.svids.into_iter().map(served).collect())
    }

    /// A JWT-SVID for one audience.
    pub async fn jwt(&mut self, audience: &str) -> Result<String, Status> {
        let request = JwtsvidRequest { audience: vec![audience.to_owned()], spiffe_id: String::new() };
        let reply = self.0.fetch_jwtsvid(with_header(request)).await?.into_inner();
        let first = reply.svids.into_iter().next().ok_or_else(|| Status::internal("no JWT-SVID came"))?;
        Ok(first.svid)
    }

    /// Checks a JWT-SVID with the keys that the Workload API serves, and nobody's word besides.
    pub async fn check_jwt(&mut self, token: &str, audience: &str, now: Millis) -> Result<JwtSvid, Failure> {
        let reply = self.0.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await.map_err(refused)?;
        let message = reply.into_inner().message().await.map_err(refused)?.unwrap_or_default();
        let bundle = |(id, jwks): (String, Vec<u8>)| {
            let trust_domain = SpiffeId::parse(&id).ok()?.trust_domain();
            Some(Bundle { trust_domain, x509: Vec::new(), jwt: p256_keys(&jwks) })
        };
        let bundles: Bundles = message.bundles.into_iter().filter_map(bundle).collect();
        JwtSvid::parse_and_verify(token, &[audience], &bundles, now, LEEWAY)
            .map_err(|error| Failure::new(Exit::Failure, format!("the JWT-SVID served is wrong: {error}")))
    }
}

impl Served {
    /// Checks the chain against the bundle it came with, and the ID against the certificate.
    pub fn check(&self, now: Millis) -> Result<X509Svid, Failure> {
        let wrong =
            |why: String| Failure::new(Exit::Failure, format!("what was served for {} is wrong: {why}", self.id));
        let id = SpiffeId::parse(&self.id).map_err(|error| wrong(error.to_string()))?;
        let authorities = certificates(&self.bundle).ok_or_else(|| wrong("its bundle cannot be read".to_owned()))?;
        let bundle = Bundle {
            trust_domain: id.trust_domain(),
            x509: authorities.into_iter().map(X509Authority).collect(),
            jwt: Vec::new(),
        };
        let chain = certificates(&self.chain).ok_or_else(|| wrong("its chain cannot be read".to_owned()))?;
        let bundles = Bundles::from(bundle);
        let svid = X509Svid::verify(&chain, &bundles, now).map_err(|error| wrong(error.to_string()))?;
        if svid.id() != &id {
            return Err(wrong(format!("its certificate is of {}", svid.id())));
        }
        Ok(svid)
    }
}

/// The standard has every request carry this; a browser cannot be made to.
fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

fn refused(status: Status) -> Failure {
    match status.code() {
        Code::PermissionDenied => Failure::new(Exit::NotAttested, "this process has no identity here").then(
            "Register an agent whose selectors it matches (`avouch agent create`), or start it with `avouch run --agent NAME --`.",
        ),
        _ => crate::replies::failure(&status),
    }
}

/// The P-256 keys of a JWK Set, as SubjectPublicKeyInfo.
fn p256_keys(jwks: &[u8]) -> Vec<JwtAuthority> {
    let set: Value = serde_json::from_slice(jwks).unwrap_or_default();
    let read = |key: &Value| {
        let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok().filter(|bytes| bytes.len() == 32);
        let public_key = [P256_SPKI, &part("x")?, &part("y")?].concat();
        (key["crv"] == "P-256").then(|| Some(JwtAuthority { kid: key["kid"].as_str()?.to_owned(), public_key }))?
    };
    set["keys"].as_array().into_iter().flatten().filter_map(read).collect()
}

/// DER certificates one after another.
fn certificates(mut bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = der_length(bytes)?;
        let (one, rest) = bytes.split_at_checked(length)?;
        found.push(CertificateDer::from(one.to_vec()));
        bytes = rest;
    }
    (!found.is_empty()).then_some(found)
}

/// The length of the SEQUENCE that begins here, its header included.
fn der_length(bytes: &[u8]) -> Option<usize> {
    let (&[0x30, first], rest) = bytes.split_first_chunk::<2>()? else { return None };
    if first < 0x80 {
        return Some(2 + usize::from(first));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let length = rest.get(..count)?.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    length.checked_add(2 + count)
}

/// What stands before the two coordinates of a P-256 key in SubjectPublicKeyInfo (RFC 5480).
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// How far two clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_one_after_another_are_told_apart() {
        let short = [0x30, 2, 1, 2];
        let mut long = vec![0x30, 0x82, 1, 0];
        long.extend([7; 256]);
        let both = [&short[..], &long].concat();
        let found = certificates(&both).unwrap();
        assert_eq!(found.iter().map(|one| one.len()).collect::<Vec<_>>(), [4, 260]);
        for bad in [&both[..both.len() - 1], &[0x30], &[0x31, 0], &[0x30, 0x85, 0, 0, 0, 0, 0], &[]] {
            assert!(certificates(bad).is_none());
        }
    }
}
