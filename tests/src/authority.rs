//! An authority that signs for whomever a test wants: what the issuer and the helper do together, in one place, for
//! tests of sources alone.

use avouch_sources::{Credentials509, Doing, Entrant, SourceFault, Who};
use avouch_words::{Millis, Name, Secret, Ulid};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Signs JWT-SVIDs and X.509-SVIDs of [`Self::DOMAIN`].
pub struct Authority {
    public_pem: String,
    ca_pem: String,
    jwt: EcdsaKeyPair,
    ca: rcgen::Issuer<'static, KeyPair>,
}

impl Authority {
    /// The trust domain.
    pub const DOMAIN: &str = "example.test";

    /// One of new keys.
    pub fn new() -> Arc<Self> {
        let jwt = KeyPair::generate().expect("a key");
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let ca = params.self_signed(&ca_key).expect("a certificate");
        let rng = SystemRandom::new();
        let signs = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &jwt.serialize_der(), &rng);
        Arc::new(Self {
            public_pem: jwt.public_key_pem(),
            ca_pem: ca.pem(),
            jwt: signs.expect("the same key"),
            ca: rcgen::Issuer::new(params, ca_key),
        })
    }

    /// What JWT-SVIDs are verified with, PEM.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// What X.509-SVIDs are verified with, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A JWT-SVID.
    pub fn jwt(&self, subject: &str, audience: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = serde_json::json!({
            "iss": format!("spiffe://{}", Self::DOMAIN), "sub": subject, "aud": [audience], "iat": now, "exp": now + 300,
        });
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let signed = format!("{}.{}", part(r#"{"alg":"ES256","typ":"JWT"}"#), part(&claims.to_string()));
        let signature = self.jwt.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// An X.509-SVID of five minutes.
    pub fn x509(&self, subject: &str) -> Credentials509 {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        let name = subject.try_into().expect("a URI");
        params.subject_alt_names = vec![SanType::URI(name)];
        let now = SystemTime::now();
        params.not_before = (now - Duration::from_secs(10)).into();
        params.not_after = (now + Duration::from_secs(300)).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let made = params.signed_by(&key, &self.ca).expect("a certificate");
        Credentials509 { chain: vec![made.der().to_vec()], key: Arc::new(Secret::new(key.serialize_der())) }
    }

    /// The brokered identity of an agent's instance.
    pub fn agent(self: &Arc<Self>, agent: &str) -> Arc<dyn Entrant> {
        let name = Name::parse(agent).expect("a name");
        let who = Who::Agent { agent: name, instance: Ulid::new(Millis(0), [1; 10]) };
        self.entrant(who, &format!("brokered/agent/{agent}"))
    }

    /// The brokered identity of the node.
    pub fn node(self: &Arc<Self>) -> Arc<dyn Entrant> {
        self.entrant(Who::Node, "brokered/node/n1")
    }

    /// Somebody whose documents say this path.
    pub fn entrant(self: &Arc<Self>, who: Who, path: &str) -> Arc<dyn Entrant> {
        Arc::new(Signed { authority: Arc::clone(self), who, subject: format!("spiffe://{}/{path}", Self::DOMAIN) })
    }
}

struct Signed {
    authority: Arc<Authority>,
    who: Who,
    subject: String,
}

impl Entrant for Signed {
    fn who(&self) -> &Who {
        &self.who
    }

    fn jwt<'a>(&'a self, audience: &'a str) -> Doing<'a, Secret> {
        let token = self.authority.jwt(&self.subject, audience);
        Box::pin(async move { Ok::<_, SourceFault>(Secret::new(token.into_bytes())) })
    }

    fn x509(&self) -> Doing<'_, Credentials509> {
        Box::pin(async { Ok(self.authority.x509(&self.subject)) })
    }
}
