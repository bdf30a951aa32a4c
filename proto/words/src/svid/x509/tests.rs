//! The tester holds all keys and mints whatever it likes. Every row has a control that differs in one thing.

use super::*;
use crate::{TrustDomain, X509Authority};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType,
};
use time::OffsetDateTime;

const NOW: Millis = Millis(1_800_000_000_000);
const HOUR: i64 = 3600;
const ID: &str = "spiffe://tester.test/agent/a";

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn at(offset: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW.seconds() + offset).unwrap()
}

/// A signing certificate and its key.
struct Ca {
    params: CertificateParams,
    key: KeyPair,
    der: CertificateDer<'static>,
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI("spiffe://tester.test".try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (at(-24 * HOUR), at(24 * HOUR));
    params.serial_number = Some(vec![1, 2, 3, 4, 5, 6, 7, 8, 9].into());
    params
}

impl Ca {
    fn root(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = (ca_params("root"), KeyPair::generate().unwrap());
        change(&mut params);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn intermediate(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = (ca_params(name), KeyPair::generate().unwrap());
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().clone();
        Self { params, key, der }
    }

    fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        self.leaf_of(&KeyPair::generate().unwrap(), change)
    }

    fn leaf_of(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![uri(ID)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (at(-HOUR), at(HOUR));
        params.serial_number = Some(vec![9, 8, 7, 6, 5, 4, 3, 2, 1].into());
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        params.signed_by(key, &self.issuer()).unwrap().der().clone()
    }

    fn authority(&self) -> X509Authority {
        X509Authority(self.der.clone())
    }

    fn bundle(&self, name: &str) -> Bundle {
        Bundle { trust_domain: domain(name), x509: vec![self.authority()], jwt: Vec::new() }
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// DER of one element.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128);
    [&[tag, content.len() as u8], content].concat()
}

fn extension(oid: &[u64], content: Vec<u8>, critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content);
    extension.set_criticality(critical);
    extension
}

fn check(chain: &[CertificateDer<'static>], root: &Ca) -> Result<X509Svid, BadX509Svid> {
    X509Svid::verify(chain, &root.bundle("tester.test").into(), NOW)
}

type Change = fn(&mut CertificateParams);

#[test]
fn a_valid_svid_says_what_it_is() {
    let (root, key) = (Ca::root(|_| {}), KeyPair::generate().unwrap());
    let leaf = root.leaf_of(&key, |_| {});
    let svid = check(std::slice::from_ref(&leaf), &root).unwrap();
    assert_eq!(svid.id().as_str(), ID);
    assert_eq!(svid.serial(), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(svid.public_key(), key.subject_public_key_info());
    assert_eq!(svid.not_after(), Millis(NOW.0 + HOUR * 1000));
    assert_eq!(svid.not_before(), Millis(NOW.0 - HOUR * 1000));
    assert_eq!(svid.chain(), [leaf]);
}

/// X509V-11, and the controls of most rows below.
#[test]
fn what_is_valid_is_accepted() {
    let root = Ca::root(|_| {});
    let cases: [(&str, Change); 6] = [
        ("as we make them", |_| {}),
        ("an extra DNS name", |p| p.subject_alt_names.push(SanType::DnsName("a.test".try_into().unwrap()))),
        ("a subject", |p| p.distinguished_name.push(DnType::CommonName, "db")),
        ("no extended key usage", |p| p.extended_key_usages.clear()),
        ("basic constraints left out", |p| p.is_ca = IsCa::NoCa),
        ("key agreement too", |p| p.key_usages.push(KeyUsagePurpose::KeyAgreement)),
    ];
    for (name, change) in cases {
        assert!(check(&[root.leaf(change)], &root).is_ok(), "{name}");
    }
    let rsa = KeyPair::try_from(&include_bytes!("../../../testdata/tester.rsa.pk8")[..]).unwrap();
    assert!(check(&[root.leaf_of(&rsa, |_| {})], &root).is_ok(), "RSA");
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert!(check(&[root.leaf_of(&p384, |_| {})], &root).is_ok(), "P-384");
}

/// X509V-02 to X509V-08, X509V-10, AMB-05.
#[test]
fn a_leaf_that_breaks_the_profile_is_refused() {
    let root = Ca::root(|_| {});
    let cases: [(&str, Change, BadX509Svid); 16] = [
        ("X509V-02", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), BadX509Svid::Ca),
        ("X509V-03", |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign), BadX509Svid::SigningKeyUsage),
        ("X509V-04", |p| p.key_usages.push(KeyUsagePurpose::CrlSign), BadX509Svid::SigningKeyUsage),
        ("X509-07", |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement], BadX509Svid::NoDigitalSignature),
        ("AMB-05", |p| p.key_usages.clear(), BadX509Svid::NoKeyUsage),
        ("client only", |p| drop(p.extended_key_usages.remove(0)), BadX509Svid::ExtendedKeyUsage),
        ("server only", |p| drop(p.extended_key_usages.remove(1)), BadX509Svid::ExtendedKeyUsage),
        ("any", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any], BadX509Svid::ExtendedKeyUsage),
        ("X509V-05", |p| p.subject_alt_names = vec![uri("https://tester.test/a")], BadSpiffeId::Scheme.into()),
        ("X509V-06", |p| p.subject_alt_names = vec![uri("spiffe://tester.test")], BadX509Svid::RootPath),
        ("X509V-07 two", |p| p.subject_alt_names.push(uri("spiffe://tester.test/b")), BadX509Svid::UriCount(2)),
        ("X509V-07 the same", |p| p.subject_alt_names.push(uri(ID)), BadX509Svid::UriCount(2)),
        ("X509V-07 https", |p| p.subject_alt_names.push(uri("https://a.test/")), BadX509Svid::UriCount(2)),
        ("X509V-07 first https", |p| p.subject_alt_names.insert(0, uri("https://a/")), BadX509Svid::UriCount(2)),
        (
            "X509V-08",
            |p| p.subject_alt_names = vec![SanType::DnsName("tester.test".try_into().unwrap())],
            BadX509Svid::UriCount(0),
        ),
        ("X509V-08 no names", |p| p.subject_alt_names.clear(), BadX509Svid::UriCount(0)),
    ];
    for (name, change, expected) in cases {
        assert_eq!(check(&[root.leaf(change)], &root), Err(expected), "{name}");
    }
    for bad in ["/a?x=1", "/a#f", "/%41", "/a/", "//a", "/a/../b", "/./a", ":8080/a", "/a b", "/~"] {
        let leaf = root.leaf(|p| p.subject_alt_names = vec![uri(&format!("spiffe://tester.test{bad}"))]);
        assert!(matches!(check(&[leaf], &root), Err(BadX509Svid::SpiffeId(_))), "X509V-10 {bad}");
    }
}

/// Names hidden from one of two readers.
#[test]
fn names_that_cannot_be_read_or_stand_twice_are_refused() {
    let root = Ca::root(|_| {});
    let san = |names: Vec<u8>| extension(&[2, 5, 29, 17], tlv(0x30, &names), true);
    let alone = |names: Vec<u8>| {
        check(
            &[root.leaf(|p| {
                p.subject_alt_names.clear();
                p.custom_extensions = vec![san(names.clone())];
            })],
            &root,
        )
    };
    let good = tlv(0x86, ID.as_bytes());
    assert!(alone(good.clone()).is_ok(), "the control");
    let invalid = [good.clone(), tlv(0x86, &[0xff, 0xfe])].concat();
    assert_eq!(alone(invalid), Err(BadX509Svid::Malformed));
    assert!(alone(tlv(0x86, format!("{ID}\0").as_bytes())).is_err());
    assert!(alone(tlv(0x86, b"spiffe://tester.test/\xc3\xa9")).is_err());
    let twice = root.leaf(|p| p.custom_extensions = vec![san(good.clone())]);
    assert_eq!(check(&[twice], &root), Err(BadX509Svid::Malformed));
    let usage = extension(&[2, 5, 29, 15], vec![0x03, 0x02, 0x07, 0x80], true);
    let twice = root.leaf(|p| p.custom_extensions = vec![usage]);
    assert_eq!(check(&[twice], &root), Err(BadX509Svid::Malformed));
}

/// X509V-01.
#[test]
fn only_a_valid_path_to_the_authority_counts() {
    let root = Ca::root(|_| {});
    let refused = |name: &str, chain: &[CertificateDer<'static>]| {
        let result = check(chain, &root);
        assert!(matches!(result, Err(BadX509Svid::Path(_))), "{name}: {result:?}");
    };
    refused("unknown CA", &[Ca::root(|_| {}).leaf(|_| {})]);
    refused("expired", &[root.leaf(|p| p.not_after = at(-1))]);
    refused("not yet valid", &[root.leaf(|p| p.not_before = at(60))]);
    let unknown = extension(&[1, 2, 3, 4], vec![5, 0], true);
    refused("unknown critical extension", &[root.leaf(|p| p.custom_extensions = vec![unknown.clone()])]);
    let harmless = extension(&[1, 2, 3, 4], vec![5, 0], false);
    assert!(check(&[root.leaf(|p| p.custom_extensions = vec![harmless])], &root).is_ok());

    let middle = root.intermediate("middle", |_| {});
    let leaf = middle.leaf(|_| {});
    assert!(check(&[leaf.clone(), middle.der.clone()], &root).is_ok(), "leaf and intermediate");
    assert!(check(&[leaf.clone(), middle.der.clone(), root.der.clone()], &root).is_ok(), "and the root");
    refused("missing intermediate", &[leaf]);
    let cases: [(&str, Change); 5] = [
        ("expired intermediate", |p| p.not_after = at(-1)),
        ("intermediate that is no CA", |p| p.is_ca = IsCa::ExplicitNoCa),
        ("intermediate without keyCertSign", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
        ("intermediate without key usage", |p| p.key_usages.clear()),
        ("intermediate with an unknown critical extension", |p| {
            p.custom_extensions = vec![extension(&[1, 2, 3, 4], vec![5, 0], true)];
        }),
    ];
    for (name, change) in cases {
        let middle = root.intermediate("middle", change);
        refused(name, &[middle.leaf(|_| {}), middle.der.clone()]);
    }
    let same_name = Ca::root(|_| {});
    refused("another root of the same name, sent along", &[same_name.leaf(|_| {}), same_name.der.clone()]);
}

#[test]
fn a_leaf_issues_nothing() {
    let (root, key) = (Ca::root(|_| {}), KeyPair::generate().unwrap());
    let der = root.leaf_of(&key, |p| p.distinguished_name.push(DnType::CommonName, "leaf"));
    assert!(check(std::slice::from_ref(&der), &root).is_ok(), "the control");
    let mut params = ca_params("leaf");
    params.key_usages.clear();
    let leaf = Ca { params, key, der };
    assert!(check(&[leaf.leaf(|_| {}), leaf.der.clone()], &root).is_err());
}

#[test]
fn a_flipped_bit_is_found() {
    let root = Ca::root(|_| {});
    let good = root.leaf(|_| {});
    assert!(check(std::slice::from_ref(&good), &root).is_ok());
    let at_id = good.windows(ID.len()).position(|window| window == ID.as_bytes()).unwrap() + ID.len() - 1;
    let at_key = good.windows(4).position(|window| window == [0x03, 0x42, 0x00, 0x04]).unwrap() + 10;
    for position in [at_id, at_key, good.len() - 1] {
        let mut bytes = good.to_vec();
        bytes[position] ^= 1;
        assert!(check(&[bytes.into()], &root).is_err(), "byte {position}");
    }
}

#[test]
fn path_lengths_count_also_on_the_authority() {
    let constrained = |length| Ca::root(move |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(length)));
    for (length, accepted) in [(0, false), (1, true)] {
        let root = constrained(length);
        let middle = root.intermediate("middle", |_| {});
        assert_eq!(check(&[middle.leaf(|_| {}), middle.der.clone()], &root).is_ok(), accepted, "authority {length}");
        assert!(check(&[root.leaf(|_| {})], &root).is_ok());
    }
    let root = Ca::root(|_| {});
    for (length, accepted) in [(0, false), (1, true)] {
        let upper = root.intermediate("upper", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(length)));
        let lower = upper.intermediate("lower", |_| {});
        let chain = [lower.leaf(|_| {}), lower.der.clone(), upper.der.clone()];
        assert_eq!(check(&chain, &root).is_ok(), accepted, "intermediate {length}");
    }
}

#[test]
fn name_constraints_are_kept() {
    let permitted = GeneralSubtree::DnsName("inside.test".to_owned());
    let root = Ca::root(|p| {
        p.name_constraints =
            Some(NameConstraints { permitted_subtrees: vec![permitted], excluded_subtrees: Vec::new() });
    });
    let with = |name: &'static str| {
        let leaf = root.leaf(|p| p.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap())));
        check(&[leaf], &root).is_ok()
    };
    assert!(with("a.inside.test"));
    assert!(!with("a.outside.test"));
}

#[test]
fn an_authority_must_be_a_valid_ca_itself() {
    let cases: [(&str, Change); 4] = [
        ("expired", |p| p.not_after = at(-1)),
        ("not yet valid", |p| p.not_before = at(1)),
        ("without keyCertSign", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
        ("no CA", |p| p.is_ca = IsCa::ExplicitNoCa),
    ];
    for (name, change) in cases {
        let root = Ca::root(change);
        assert!(matches!(check(&[root.leaf(|_| {})], &root), Err(BadX509Svid::Path(_))), "{name}");
    }
}

/// X509V-09, X509V-12, BND-09, GEN-05.
#[test]
fn each_trust_domain_has_its_own_authorities() {
    let (a, b) = (Ca::root(|_| {}), Ca::root(|_| {}));
    let both: Bundles = [a.bundle("tester.test"), b.bundle("other.test")].into_iter().collect();
    let of = |ca: &Ca, id: &str| {
        let leaf = ca.leaf(|p| p.subject_alt_names = vec![uri(id)]);
        X509Svid::verify(&[leaf], &both, NOW)
    };
    assert!(of(&a, "spiffe://tester.test/x").is_ok());
    assert!(of(&b, "spiffe://other.test/x").is_ok());
    assert!(matches!(of(&a, "spiffe://other.test/x"), Err(BadX509Svid::Path(_))));
    assert!(matches!(of(&b, "spiffe://tester.test/x"), Err(BadX509Svid::Path(_))));
    assert_eq!(of(&a, "spiffe://third.test/x"), Err(BadX509Svid::NoBundle(domain("third.test"))));
    let mut empty = a.bundle("tester.test");
    empty.x509.clear();
    empty.jwt = vec![crate::JwtAuthority { kid: "a".to_owned(), public_key: a.key.subject_public_key_info() }];
    assert!(matches!(X509Svid::verify(&[a.leaf(|_| {})], &empty.into(), NOW), Err(BadX509Svid::Path(_))));
}

#[test]
fn rotation_trusts_old_and_new() {
    let (old, new) = (Ca::root(|_| {}), Ca::root(|_| {}));
    let mut bundle = old.bundle("tester.test");
    bundle.x509.push(new.authority());
    let bundles: Bundles = bundle.into();
    for ca in [&old, &new] {
        assert!(X509Svid::verify(&[ca.leaf(|_| {})], &bundles, NOW).is_ok());
    }
}

/// N08: one over the line.
#[test]
fn chains_and_certificates_have_limits_before_any_cryptography() {
    let root = Ca::root(|_| {});
    let mut chain = vec![root.leaf(|_| {})];
    chain.resize(X509Svid::MAX_CHAIN, root.der.clone());
    assert!(check(&chain, &root).is_ok());
    chain.push(root.der.clone());
    assert_eq!(check(&chain, &root), Err(BadX509Svid::ChainTooLong));
    chain.resize(100, root.der.clone());
    assert_eq!(check(&chain, &root), Err(BadX509Svid::ChainTooLong));
    assert_eq!(check(&[], &root), Err(BadX509Svid::Empty));

    let padded = |size: usize| root.leaf(|p| p.custom_extensions = vec![extension(&[1, 2, 3], vec![0; size], false)]);
    // A signature's length differs by a few bytes, so the line is met within these.
    let overhead = padded(10_000).len() - 10_000;
    assert_eq!(check(&[padded(X509Svid::MAX_CERTIFICATE - overhead - 8)], &root).map(|_| ()), Ok(()));
    let over = padded(X509Svid::MAX_CERTIFICATE - overhead + 8);
    assert_eq!(check(&[over], &root), Err(BadX509Svid::TooLarge));
    let giant = CertificateDer::from(vec![0x30; 1 << 20]);
    assert_eq!(check(&[root.leaf(|_| {}), giant], &root), Err(BadX509Svid::TooLarge));
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let root = Ca::root(|_| {});
    let good = root.leaf(|_| {});
    let trailing = [&good[..], &[0]].concat();
    for bad in [Vec::new(), vec![0x30], b"-----BEGIN CERTIFICATE-----".to_vec(), trailing] {
        assert_eq!(check(&[bad.into()], &root), Err(BadX509Svid::Malformed));
    }
    for length in 0..good.len() {
        assert!(check(&[good[..length].to_vec().into()], &root).is_err());
    }
}

/// X509-01 to X509-13: each broken rule is named, and nothing else is.
#[test]
fn the_lint_names_what_a_leaf_breaks() {
    let root = Ca::root(|_| {});
    let id = SpiffeId::parse(ID).unwrap();
    let lint = |change: Change| lint_leaf(&root.leaf(change), &id, &root.authority());
    assert_eq!(lint(|_| {}), []);
    assert_eq!(lint(|p| p.subject_alt_names.push(SanType::DnsName("a.test".try_into().unwrap()))), []);
    assert_eq!(lint(|p| p.distinguished_name.push(DnType::CommonName, "db")), []);
    let cases: [(Change, Violation); 17] = [
        (|p| p.subject_alt_names.push(uri(ID)), Violation::UriCount),
        (|p| p.subject_alt_names = vec![uri("spiffe://tester.test/agent/b")], Violation::OtherId),
        (|p| p.is_ca = IsCa::NoCa, Violation::BasicConstraints),
        (|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), Violation::BasicConstraints),
        (|p| p.key_usages.clear(), Violation::KeyUsageAbsent),
        (|p| p.key_usages.push(KeyUsagePurpose::KeyEncipherment), Violation::Encipherment),
        (|p| p.key_usages.push(KeyUsagePurpose::KeyAgreement), Violation::Encipherment),
        (|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign), Violation::SigningKeyUsage),
        (|p| p.key_usages.push(KeyUsagePurpose::CrlSign), Violation::SigningKeyUsage),
        (|p| p.extended_key_usages.clear(), Violation::ExtendedKeyUsage),
        (|p| drop(p.extended_key_usages.pop()), Violation::ExtendedKeyUsage),
        (|p| p.not_after = at(25 * HOUR), Violation::OutlivesAuthority),
        (|p| p.not_before = at(-25 * HOUR), Violation::OutlivesAuthority),
        (|p| p.not_after = at(-2 * HOUR), Violation::Validity),
        (|p| p.serial_number = Some(vec![1].into()), Violation::Serial),
        (|p| p.serial_number = Some(vec![1; 21].into()), Violation::Serial),
        (|p| p.custom_extensions = vec![extension(&[1, 2, 3, 4], vec![5, 0], true)], Violation::UnknownCritical),
    ];
    for (change, expected) in cases {
        assert_eq!(lint(change), [expected]);
    }
    assert_eq!(
        lint(|p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
        [Violation::NoDigitalSignature, Violation::Encipherment]
    );
    let not_critical = extension(&[2, 5, 29, 17], tlv(0x30, &tlv(0x86, ID.as_bytes())), false);
    let found = lint_leaf(
        &root.leaf(|p| {
            p.subject_alt_names.clear();
            p.custom_extensions = vec![not_critical];
        }),
        &id,
        &root.authority(),
    );
    assert_eq!(found, [Violation::NamesNotCritical]);
    let usage = extension(&[2, 5, 29, 15], vec![0x03, 0x02, 0x07, 0x80], false);
    let found = lint_leaf(
        &root.leaf(|p| {
            p.key_usages.clear();
            p.custom_extensions = vec![usage];
        }),
        &id,
        &root.authority(),
    );
    assert_eq!(found, [Violation::KeyUsageNotCritical]);
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(lint_leaf(&root.leaf_of(&p384, |_| {}), &id, &root.authority()), [Violation::KeyType]);
    let domain_id = domain("tester.test").id();
    let found = lint_leaf(
        &root.leaf(|p| p.subject_alt_names = vec![uri("spiffe://tester.test")]),
        &domain_id,
        &root.authority(),
    );
    assert_eq!(found, [Violation::RootPath]);
    let other = Ca::root(|_| {});
    assert_eq!(lint_leaf(&other.leaf(|_| {}), &id, &root.authority()), [Violation::Issuer]);
    assert_eq!(lint_leaf(b"nonsense", &id, &root.authority()), [Violation::Malformed]);
}

/// X509-20 to X509-29.
#[test]
fn the_lint_names_what_a_ca_breaks() {
    let td = domain("tester.test");
    let lint = |change: Change| lint_ca(&Ca::root(change).der, &td);
    assert_eq!(lint(|_| {}), []);
    assert_eq!(lint(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), []);
    let cases: [(Change, Violation); 10] = [
        (|p| p.is_ca = IsCa::ExplicitNoCa, Violation::NotCa),
        (|p| p.key_usages = vec![KeyUsagePurpose::CrlSign], Violation::NoCertSign),
        (|p| p.key_usages.push(KeyUsagePurpose::DigitalSignature), Violation::CaKeyUsage),
        (|p| p.key_usages.push(KeyUsagePurpose::KeyEncipherment), Violation::CaKeyUsage),
        (|p| p.key_usages.clear(), Violation::KeyUsageAbsent),
        (|p| p.subject_alt_names.clear(), Violation::UriCount),
        (|p| p.subject_alt_names = vec![uri("spiffe://tester.test/ca")], Violation::OtherId),
        (|p| p.subject_alt_names = vec![uri("spiffe://tester.test/")], Violation::OtherId),
        (|p| p.subject_alt_names = vec![uri("spiffe://other.test")], Violation::OtherId),
        (|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], Violation::CaExtendedKeyUsage),
    ];
    for (change, expected) in cases {
        assert_eq!(lint(change), [expected]);
    }
    let constrained = |p: &mut CertificateParams| {
        let permitted = GeneralSubtree::DnsName("inside.test".to_owned());
        p.name_constraints =
            Some(NameConstraints { permitted_subtrees: vec![permitted], excluded_subtrees: Vec::new() });
    };
    assert_eq!(lint_ca(&Ca::root(constrained).der, &td), [Violation::NameConstraints]);
    assert_eq!(lint_ca(b"", &td), [Violation::Malformed]);
}

/// SID-22: what a broker shows to a source is nobody as a peer, even with the profile of one, and serves nobody.
#[test]
fn a_brokered_certificate_is_a_brokers_alone() {
    let root = Ca::root(|_| {});
    let brokered = |chain: &[CertificateDer<'static>]| {
        X509Svid::verify_brokered(chain, &root.bundle("tester.test").into(), NOW).map(|_| ())
    };
    let id = "spiffe://tester.test/brokered/agent/a";
    let with_a_peers_profile = [root.leaf(|p| p.subject_alt_names = vec![uri(id)])];
    assert_eq!(check(&with_a_peers_profile, &root).map(|_| ()), Err(BadX509Svid::Brokered));
    assert_eq!(brokered(&with_a_peers_profile), Err(BadX509Svid::ExtendedKeyUsage));
    let for_sources = |id: &'static str| {
        [root.leaf(move |p| {
            p.subject_alt_names = vec![uri(id)];
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })]
    };
    assert_eq!(brokered(&for_sources(id)), Ok(()));
    assert_eq!(check(&for_sources(id), &root).map(|_| ()), Err(BadX509Svid::Brokered));
    assert_eq!(brokered(&for_sources(ID)), Err(BadX509Svid::NotBrokered));
    assert_eq!(brokered(&[root.leaf(|_| {})]), Err(BadX509Svid::NotBrokered));
    let lint =
        |leaf: &[CertificateDer<'static>; 1]| lint_leaf(&leaf[0], &SpiffeId::parse(id).unwrap(), &root.authority());
    assert_eq!(lint(&for_sources(id)), []);
    assert_eq!(lint(&with_a_peers_profile), [Violation::ExtendedKeyUsage]);
}
