//! An AWS account with the roles of `docs/sources.md`.

use avouch_sources::aws::{Binary, Login};
use avouch_sources::{AwsSettings, AwsSource, Entrant, Wanted};
use avouch_tests::Authority;
use avouch_tests::servers::Aws;
use avouch_tests::servers::aws::{IdentityProvider, ProviderKeys, REGION};
use avouch_words::{Clock, Digest, Name, Reference, SystemClock};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::sync::Arc;

/// What lies at `ci/github`.
pub const VALUE: &str = "correct-horse-battery-github";
/// The client id that the page names.
pub const AUDIENCE: &str = "avouch.aws";

const PAGE: &str = include_str!("../../../docs/sources.md");
/// The issuer that the page names, as policies do.
const ISSUER: &str = "id.example.com/avouch";

pub struct Rig {
    pub aws: Aws,
    pub authority: Arc<Authority>,
    pub role_arn: String,
}

impl Rig {
    pub fn start() -> Self {
        let (aws, authority) = (Aws::start().expect("an account"), Authority::new());
        let public: String = authority.public_pem().lines().filter(|line| !line.starts_with('-')).collect();
        let public = STANDARD.decode(public).expect("a key");
        // The point is what a P-256 key in DER ends with.
        let point = public[public.len() - 65..].to_vec();
        aws.trust(IdentityProvider {
            issuer: format!("spiffe://{}", Authority::DOMAIN),
            audiences: vec![AUDIENCE.to_owned()],
            keys: ProviderKeys::Point(point),
        });
        let trust = page("trust", Authority::DOMAIN);
        let role_arn = aws.role("avouch-researcher", &trust, &page("permissions", ISSUER));
        aws.moto.create("ci/github", VALUE).expect("a secret");
        Self { aws, authority, role_arn: role_arn.replace("researcher", "{agent}") }
    }

    pub fn web_identity(&self) -> Login {
        Login::WebIdentity {
            role_arn: self.role_arn.clone(),
            audience: AUDIENCE.to_owned(),
            sts_endpoint: Some(self.aws.address()),
        }
    }

    pub fn source(&self, login: Login) -> AwsSource {
        self.source_with(login, Binary::Text, Arc::new(SystemClock))
    }

    pub fn source_with(&self, login: Login, binary: Binary, clock: Arc<dyn Clock>) -> AwsSource {
        let settings = AwsSettings {
            region: REGION.to_owned(),
            endpoint: Some(self.aws.address()),
            ca_pem: Some(std::fs::read(self.aws.ca()).expect("a file")),
            login,
            binary,
        };
        AwsSource::new(Name::parse("aws").expect("a name"), settings, None, clock).expect("a source")
    }
}

/// A policy of the page, with another issuer.
pub fn page(what: &str, issuer: &str) -> Value {
    let fence = format!("```json aws {what}\n");
    let block = PAGE.split(&fence).nth(1).and_then(|rest| rest.split("```").next()).expect("a policy on the page");
    serde_json::from_str(&block.replace(ISSUER, issuer)).expect("JSON on the page")
}

pub fn wanted(reference: &str, entrant: &Arc<dyn Entrant>) -> Wanted {
    Wanted {
        credential: Name::parse("credential").expect("a name"),
        binding: Digest::of(&[b"binding"]),
        reference: Reference::parse(reference).expect("a reference"),
        entrant: Arc::clone(entrant),
        fresh: false,
    }
}
