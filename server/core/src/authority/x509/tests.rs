use super::*;
use crate::authority::own_key;
use crate::issue::{Rule, issuer_itself};
use crate::keys::KeyError;
use avouch_words::svid::x509::X509Svid;
use avouch_words::{Bundle, Bundles};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use std::sync::atomic::{AtomicUsize, Ordering};
use x509_parser::prelude::ParsedExtension;

/// Counts how often the real key is used.
#[derive(Debug)]
struct Counting {
    pair: EcdsaKeyPair,
    used: AtomicUsize,
}

impl Counting {
    fn new() -> Arc<Self> {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &rng).unwrap();
        Arc::new(Self { pair, used: AtomicUsize::new(0) })
    }
}

impl Signer for Counting {
    fn purpose(&self) -> Purpose {
        Purpose::X509Authority
    }

    fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn sign(&self, message: &[u8], rng: &dyn SecureRandom) -> Result<Vec<u8>, KeyError> {
        self.used.fetch_add(1, Ordering::SeqCst);
        self.pair.sign(rng, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyError::Broken)
    }
}

const NOW: Millis = Millis(1_700_000_000_123);
const LIFE: Duration = Duration::from_secs(10 * 86_400);

fn domain() -> TrustDomain {
    TrustDomain::parse("example.test").unwrap()
}

fn authority(signer: &Arc<Counting>, life: Duration) -> X509Signer {
    let id = Ulid::new(NOW, [1; 10]);
    let certificate = make_certificate(&domain(), id, signer.as_ref(), life, NOW, &SystemRandom::new()).unwrap();
    X509Signer::open(&domain(), id, certificate, signer.clone()).unwrap()
}

fn permit(id: &str, seconds: u64) -> X509Permit {
    X509Permit::new(SpiffeId::parse(id).unwrap(), Duration::from_secs(seconds), Rule::AgentOnNode)
}

fn bundles(authority: &X509Signer) -> Bundles {
    Bundles::from_iter([Bundle {
        trust_domain: domain(),
        x509: vec![authority.certificate().clone()],
        jwt: Vec::new(),
    }])
}

/// Rows X509-20 to X509-29.
#[test]
fn an_authority_certificate_keeps_the_profile() {
    let authority = authority(&Counting::new(), LIFE);
    assert_eq!(lint_ca(&authority.certificate().0, &domain()), []);
    let (_, ca) = x509_parser::parse_x509_certificate(&authority.certificate().0).unwrap();
    assert!(ca.verify_signature(None).is_ok(), "self-signed");
    assert_eq!(ca.subject(), ca.issuer());
    assert!(ca.subject().to_string().contains(&authority.id().to_string()), "two authorities have two names");
    assert_eq!(ca.key_usage().unwrap().unwrap().value.flags, 1 << 5 | 1 << 6);
    assert!(ca.extended_key_usage().unwrap().is_none());
}

/// Rows X509-01 to X509-13, against the verifier that relying parties use.
#[test]
fn a_leaf_keeps_the_profile_and_verifies() {
    let authority = authority(&Counting::new(), LIFE);
    let (_, key) = own_key(&SystemRandom::new()).unwrap();
    let issued =
        authority.sign(&permit("spiffe://example.test/agent/a", 900), &key, NOW, &SystemRandom::new()).unwrap();
    let svid = X509Svid::verify(std::slice::from_ref(&issued.certificate), &bundles(&authority), NOW).unwrap();
    assert_eq!((svid.id(), svid.serial(), svid.not_after()), (&issued.id, &issued.serial.0[..], issued.not_after));
    assert!(svid.public_key().ends_with(key.point()));
    assert_eq!(issued.not_after.0, 1_700_000_900_000);
    assert_eq!(issued.not_before.0, 1_699_999_970_000);

    let (_, leaf) = x509_parser::parse_x509_certificate(&issued.certificate).unwrap();
    assert_eq!(leaf.subject().iter().count(), 0);
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical, "the subject is empty");
    assert_eq!(names.value.general_names.len(), 1);
    let constraints = leaf.basic_constraints().unwrap().unwrap();
    assert!(!constraints.value.ca);
    assert_eq!(leaf.key_usage().unwrap().unwrap().value.flags, 1);
    let has = |wanted: fn(&ParsedExtension<'_>) -> bool| leaf.extensions().iter().any(|e| wanted(e.parsed_extension()));
    assert!(has(|e| matches!(e, ParsedExtension::SubjectKeyIdentifier(_))));
    assert!(has(|e| matches!(e, ParsedExtension::AuthorityKeyIdentifier(_))));
}

/// Rule P01.
#[test]
fn what_breaks_the_profile_never_meets_the_real_key() {
    let signer = Counting::new();
    let authority = authority(&signer, LIFE);
    let (_, key) = own_key(&SystemRandom::new()).unwrap();
    let before = signer.used.load(Ordering::SeqCst);
    let root = permit("spiffe://example.test", 900);
    let refused = authority.sign(&root, &key, NOW, &SystemRandom::new());
    assert!(matches!(refused, Err(AuthorityError::Lint(_))), "{refused:?}");
    assert_eq!(signer.used.load(Ordering::SeqCst), before);
    authority.sign(&permit("spiffe://example.test/agent/a", 900), &key, NOW, &SystemRandom::new()).unwrap();
    assert_eq!(signer.used.load(Ordering::SeqCst), before + 1);
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let authority = authority(&Counting::new(), Duration::from_secs(60));
    let (_, key) = own_key(&SystemRandom::new()).unwrap();
    let sign = |now| authority.sign(&permit("spiffe://example.test/agent/a", 900), &key, now, &SystemRandom::new());
    let issued = sign(NOW).unwrap();
    assert_eq!(issued.not_after, authority.not_after());
    assert!(issued.not_before >= Millis(NOW.0 - 31_000));
    assert_eq!(sign(authority.not_after()), Err(AuthorityError::EndsTooSoon));
    assert_eq!(sign(Millis(NOW.0 - 3_600_000)), Err(AuthorityError::EndsTooSoon), "our clock went back an hour");
}

#[test]
fn serials_are_sixteen_bytes_and_differ() {
    let rng = SystemRandom::new();
    let serials: std::collections::BTreeSet<Serial> = (0..1000).map(|_| serial(&rng).unwrap()).collect();
    assert_eq!(serials.len(), 1000);
    assert!(serials.iter().all(|serial| (0x40..0x80).contains(&serial.0[0])));
}

#[test]
fn a_stored_authority_that_does_not_fit_is_refused() {
    let (mine, yours) = (Counting::new(), Counting::new());
    let opened = authority(&mine, LIFE);
    let certificate = || opened.certificate().0.clone();
    let open = |domain: &str, certificate, signer: &Arc<Counting>| {
        X509Signer::open(&TrustDomain::parse(domain).unwrap(), opened.id(), certificate, signer.clone()).map(|_| ())
    };
    let mismatch = Err(AuthorityError::Mismatch(opened.id()));
    assert_eq!(open("example.test", certificate(), &mine), Ok(()));
    assert_eq!(open("example.test", certificate(), &yours), mismatch, "another key");
    assert_eq!(open("other.test", certificate(), &mine), mismatch, "another trust domain");
    let cut = CertificateDer::from(certificate()[..100].to_vec());
    assert_eq!(open("example.test", cut, &mine), mismatch);
}

#[test]
fn the_issuer_signs_its_own_tls_identity() {
    let authority = authority(&Counting::new(), LIFE);
    let (_, key) = own_key(&SystemRandom::new()).unwrap();
    let permit = issuer_itself(&domain(), Duration::from_secs(3600));
    let issued = authority.sign(&permit, &key, NOW, &SystemRandom::new()).unwrap();
    assert_eq!(issued.id.as_str(), "spiffe://example.test/issuer");
}
