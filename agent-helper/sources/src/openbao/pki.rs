//! The PKI secrets engine: a certificate with its key for each issue.

use serde::Deserialize;
use vaultrs::api::pki::requests::GenerateCertificateRequest;

use avouch_words::{Millis, Secret};

use super::answer::Text;
use super::fault::Asked;
use super::lease::Given;
use super::login::Entered;
use super::reference::{Role, Wishes};
use crate::value::usable_pem;
use crate::{Lease, Part, SourceFault};

const MILLIS: i64 = 1000;

#[derive(Deserialize)]
struct Certificate {
    certificate: Text,
    private_key: Text,
    #[serde(default)]
    ca_chain: Option<Vec<Text>>,
    #[serde(default)]
    issuing_ca: Option<Text>,
    #[serde(default)]
    serial_number: Option<String>,
    #[serde(default)]
    expiration: Option<i64>,
}

/// A certificate of a role.
pub(super) async fn issue(entered: &Entered, role: &Role, wishes: &Wishes) -> Result<Given, SourceFault> {
    let wishes = wishes.clone();
    let asked = GenerateCertificateRequest {
        mount: role.mount.clone(),
        role: role.role.clone(),
        common_name: wishes.common_name,
        alt_names: wishes.alt_names,
        ip_sans: wishes.ip_sans,
        uri_sans: wishes.uri_sans,
        ttl: wishes.ttl,
        format: Some("pem".to_owned()),
        private_key_format: Some("pkcs8".to_owned()),
        ..GenerateCertificateRequest::default()
    };
    let reply = entered.ask(asked, Asked::Role).await?;
    let mut answer = reply.read::<Certificate>()?;
    let made = answer.data()?;
    let above = made.ca_chain.filter(|chain| !chain.is_empty()).or(made.issuing_ca.map(|ca| vec![ca]));
    let mut parts = vec![(Part::Certificate, made.certificate.0), (Part::PrivateKey, made.private_key.0)];
    parts.extend(above.map(|chain| (Part::CaChain, joined(&chain))));
    let is_usable = parts.iter().all(|(_, part)| usable_pem(part));
    let mut lease = Lease::of_parts(parts);
    lease.version = made.serial_number.filter(|serial| serial.len() <= super::answer::ID_MAX);
    lease.expires = made.expiration.map(|seconds| Millis(seconds.saturating_mul(MILLIS)));
    Given::of(answer, lease, is_usable)
}

/// One below the other, each with its line end.
fn joined(chain: &[Text]) -> Secret {
    let mut all = Vec::with_capacity(chain.iter().map(|one| one.0.len() + 1).sum());
    for one in chain {
        all.extend_from_slice(one.0.expose());
        all.push(b'\n');
    }
    Secret::new(all)
}
