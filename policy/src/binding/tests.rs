//! A binding that could never match is refused when it is written, not when a tool fails.

use super::*;
use crate::address::{AddressRefused, Class};
use crate::origin::BadOrigin;
use crate::request::{BadRequest, Body};

const CA: &str = include_str!("tests/ca.pem");

fn spec(to: &str) -> BindingSpec {
    BindingSpec {
        to: to.to_owned(),
        methods: vec!["GET".to_owned()],
        paths: vec!["/repos/**".to_owned()],
        query: Vec::new(),
        slot: SlotSpec::Bearer,
        plain: None,
        address: None,
        ca: None,
        environment: None,
        requires: Vec::new(),
        placeholder_in_body: None,
        reveal: false,
        rotate: None,
    }
}

fn faults(spec: &BindingSpec) -> Vec<BindingFault> {
    match spec.check() {
        Err(BadBinding::Faults(faults)) => faults,
        other => panic!("{other:?}"),
    }
}

fn request(method: &str, url: &str) -> CanonicalRequest {
    CanonicalRequest::from_absolute_form(method.as_bytes(), url.as_bytes(), Body::None).unwrap()
}

#[test]
fn a_binding_has_one_text_and_one_digest() {
    let one = Binding::parse(
        br#"{"slot":"bearer","paths":["/b","/a","/b"],"methods":["POST","GET"],"to":"https://a.test","query":["z","a"]}"#,
    )
    .unwrap();
    let other = Binding::parse(
        br#" {"to":"https://a.test:443", "query":["a","z"],"methods":["GET","POST"], "paths":["/a","/b"], "slot":"bearer"}"#,
    )
    .unwrap();
    let text =
        r#"{"methods":["GET","POST"],"paths":["/a","/b"],"query":["a","z"],"slot":"bearer","to":"https://a.test:443"}"#;
    assert_eq!(std::str::from_utf8(one.canonical_json()), Ok(text));
    assert_eq!((one.digest(), one.digest()), (other.digest(), Digest::of(&[text.as_bytes()])));
    assert_eq!(Binding::parse(one.canonical_json()).unwrap(), one);
}

#[test]
fn every_field_survives_the_canonical_text() {
    let full = BindingSpec {
        query: vec!["page".to_owned()],
        slot: SlotSpec::Header { name: "X-Api-Key".to_owned(), prefix: Some("Token ".to_owned()) },
        address: Some("[fd00::7]:8443".to_owned()),
        ca: Some(CA.to_owned()),
        ..spec("https://tools.test")
    };
    let binding = full.check().unwrap();
    let again = Binding::parse(binding.canonical_json()).unwrap();
    assert_eq!(again, binding);
    assert_eq!(again.slot().header(), "x-api-key");
    assert_eq!(again.address().unwrap().to_string(), "[fd00::7]:8443");
    assert_eq!(again.ca().unwrap().len(), 1);
    let other = BindingSpec { address: Some("[fd00::8]:8443".to_owned()), ..full }.check().unwrap();
    assert_ne!(other.digest(), binding.digest());
}

#[test]
fn a_binding_written_before_there_were_variables_keeps_its_digest() {
    let text = br#"{"methods":["GET"],"paths":["/a"],"slot":"bearer","to":"https://a.test:443"}"#;
    let binding = Binding::parse(text).unwrap();
    assert_eq!((binding.canonical_json(), binding.digest()), (&text[..], Digest::of(&[text])));
    assert!(binding.environment().is_none() && binding.searches_bodies());
    assert_eq!(binding.accepts(&BTreeSet::new()), Ok(()));
}

#[test]
fn variables_facts_and_bodies_are_a_part_of_the_binding() {
    let base = spec("https://a.test");
    let environment = EnvironmentSpec { name: "A_TOKEN".to_owned(), prefix: Some("a-".to_owned()) };
    let facts = ["session:contained:work", "unix:uid:7", "unix:uid:7"].map(str::to_owned).to_vec();
    let full = BindingSpec {
        environment: Some(environment),
        requires: facts,
        placeholder_in_body: Some(PlaceholderInBody::Data),
        ..base.clone()
    };
    let binding = full.check().unwrap();
    let again = Binding::parse(binding.canonical_json()).unwrap();
    assert_eq!((&again, again.digest()), (&binding, binding.digest()));
    let text = std::str::from_utf8(binding.canonical_json()).unwrap();
    for part in [
        r#""environment":{"name":"A_TOKEN","prefix":"a-"}"#,
        r#""placeholder_in_body":"data""#,
        r#""requires":["session:contained:work","unix:uid:7"]"#,
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!again.searches_bodies() && again.environment().unwrap().name() == "A_TOKEN");
    let fact = |text: &str| Selector::parse(text).unwrap();
    let some = BTreeSet::from([fact("unix:uid:7"), fact("session:contained:open")]);
    assert_eq!(again.accepts(&some), Err(Mismatch::Requires));
    let all = BTreeSet::from([fact("unix:uid:7"), fact("session:contained:open"), fact("session:contained:work")]);
    assert_eq!(again.accepts(&all), Ok(()));
    for (bad, fault) in [
        (BindingSpec { requires: vec!["work".to_owned()], ..base.clone() }, BindingFault::Requires("work".to_owned())),
        (
            BindingSpec { requires: vec!["a:b".to_owned(); MAX_REQUIRES + 1], ..base.clone() },
            BindingFault::TooManyRequires,
        ),
        (
            BindingSpec {
                environment: Some(EnvironmentSpec { name: "PATH".to_owned(), prefix: None }),
                ..base.clone()
            },
            BindingFault::Environment(BadEnvironment::Reserved("PATH".to_owned())),
        ),
    ] {
        assert_eq!(faults(&bad), [fault]);
    }
}

#[test]
fn unknown_fields_and_values_are_refused() {
    let good = r#"{"to":"https://a.test","methods":["GET"],"paths":["/a"],"slot":"bearer"}"#;
    assert!(Binding::parse(good.as_bytes()).is_ok());
    for (from, to) in [
        (r#""slot":"bearer""#, r#""slot":"bearer","revealed":true"#),
        (r#""slot":"bearer""#, r#""slot":"bearer","reveal":"yes""#),
        (r#""slot":"bearer""#, r#""slot":"cookie""#),
        (r#""slot":"bearer""#, r#""slot":"bearer","plain":"anywhere""#),
        (r#""slot":"bearer""#, r#""slot":"bearer","placeholder_in_body":"fill""#),
        (r#""slot":"bearer""#, r#""slot":"bearer","environment":{"name":"A","value":"b"}"#),
        (r#""slot":"bearer""#, r#""slot":"bearer","slot":"bearer""#),
        (r#","slot":"bearer""#, ""),
        ("}", "} x"),
    ] {
        let json = good.replace(from, to);
        assert!(matches!(Binding::parse(json.as_bytes()), Err(BadBinding::Json(_))), "{json}");
    }
    assert_eq!(Binding::parse(&vec![b' '; MAX_BINDING + 1]), Err(BadBinding::TooLong));
}

#[test]
fn a_binding_that_could_never_match_says_what_to_do() {
    let base = spec("https://a.test");
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let with = |change: &dyn Fn(&mut BindingSpec)| {
        let mut changed = base.clone();
        change(&mut changed);
        faults(&changed)
    };
    let header = |name: &str| SlotSpec::Header { name: name.to_owned(), prefix: None };
    let table: Vec<(Vec<BindingFault>, BindingFault)> = vec![
        (faults(&spec("a.test")), BindingFault::To(BadOrigin::Scheme)),
        (faults(&spec("https://a.test/x")), BindingFault::To(BadOrigin::Trailing)),
        (faults(&spec("http://a.test")), BindingFault::PlainMissing),
        (faults(&spec("http://127.0.0.1:80")), BindingFault::PlainMissing),
        (with(&|b| b.plain = Some(Plain::Loopback)), BindingFault::PlainWithTls),
        (with(&|b| b.methods.clear()), BindingFault::NoMethods),
        (with(&|b| b.methods = vec!["GET".to_owned(); MAX_METHODS + 1]), BindingFault::TooManyMethods),
        (
            with(&|b| b.methods = strings(&["get"])),
            BindingFault::Method { method: "get".to_owned(), fault: BadRequest::Method },
        ),
        (
            with(&|b| b.methods = strings(&["TRACE"])),
            BindingFault::Method { method: "TRACE".to_owned(), fault: BadRequest::MethodRefused },
        ),
        (
            with(&|b| b.methods = strings(&["CONNECT"])),
            BindingFault::Method { method: "CONNECT".to_owned(), fault: BadRequest::MethodRefused },
        ),
        (with(&|b| b.paths.clear()), BindingFault::NoPaths),
        (with(&|b| b.paths = vec!["/a".to_owned(); MAX_PATHS + 1]), BindingFault::TooManyPaths),
        (
            with(&|b| b.paths = strings(&["repos"])),
            BindingFault::Path { path: "repos".to_owned(), fault: BadPattern::Path(BadRequest::PathStart) },
        ),
        (
            with(&|b| b.paths = strings(&["/a/../b"])),
            BindingFault::Path { path: "/a/../b".to_owned(), fault: BadPattern::Path(BadRequest::DotSegment) },
        ),
        (
            with(&|b| b.paths = strings(&["/**/b"])),
            BindingFault::Path { path: "/**/b".to_owned(), fault: BadPattern::RestInside },
        ),
        (
            with(&|b| b.query = strings(&["a=b"])),
            BindingFault::QueryKey { key: "a=b".to_owned(), fault: BadRequest::QueryByte },
        ),
        (
            with(&|b| b.query = strings(&[""])),
            BindingFault::QueryKey { key: String::new(), fault: BadRequest::EmptyQuery },
        ),
        (with(&|b| b.query = vec!["a".repeat(MAX_QUERY_KEY + 1)]), BindingFault::QueryLimits),
        (with(&|b| b.query = vec!["a".to_owned(); MAX_QUERY_KEYS + 1]), BindingFault::QueryLimits),
        (with(&|b| b.slot = header("Host")), BindingFault::Slot(BadSlot::HeaderReserved("host".to_owned()))),
        (with(&|b| b.slot = header("Cookie")), BindingFault::Slot(BadSlot::HeaderReserved("cookie".to_owned()))),
        (with(&|b| b.slot = header("x y")), BindingFault::Slot(BadSlot::HeaderName)),
        (with(&|b| b.address = Some("tool".to_owned())), BindingFault::Address("tool".to_owned())),
        (with(&|b| b.address = Some("10.0.0.1:0".to_owned())), BindingFault::Address("10.0.0.1:0".to_owned())),
        (with(&|b| b.address = Some("fe80::1%lo".to_owned())), BindingFault::Address("fe80::1%lo".to_owned())),
        (with(&|b| b.ca = Some("none".to_owned())), BindingFault::Ca),
        (with(&|b| b.ca = Some(CA.replace("MIIB", "MIIC"))), BindingFault::Ca),
        (with(&|b| b.ca = Some(CA.repeat(MAX_CA_CERTIFICATES + 1))), BindingFault::Ca),
        (with(&|b| b.ca = Some(" ".repeat(MAX_CA + 1))), BindingFault::Ca),
        (with(&|b| b.ca = Some(CA.replace("CERTIFICATE", "EC PRIVATE KEY"))), BindingFault::CaPrivateKey),
    ];
    let mut sentences = BTreeSet::new();
    for (found, expected) in table {
        assert_eq!(found, std::slice::from_ref(&expected));
        sentences.insert(expected.to_string());
        assert!(expected.to_string().contains(": "), "{expected}");
    }
    assert!(sentences.len() >= 25);
}

#[test]
fn all_faults_are_told_at_once() {
    let bad = BindingSpec { methods: vec!["get".to_owned()], paths: vec!["x".to_owned()], ..spec("http://a.test") };
    assert_eq!(faults(&bad).len(), 3);
    assert_eq!(bad.check().unwrap_err().to_string().lines().count(), 3);
}

#[test]
fn plain_http_is_for_this_machine() {
    let plain = |to: &str| BindingSpec { plain: Some(Plain::Loopback), ..spec(to) };
    for good in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080"] {
        assert!(plain(good).check().is_ok(), "{good}");
    }
    assert_eq!(faults(&plain("http://10.0.0.1:80")), [BindingFault::PlainElsewhere("10.0.0.1".to_owned())]);
    assert_eq!(faults(&plain("http://8.8.8.8")), [BindingFault::PlainElsewhere("8.8.8.8".to_owned())]);
    let elsewhere = BindingSpec { address: Some("10.0.0.1".to_owned()), ..plain("http://tool.test") };
    let fault = AddressRefused::NotLoopback;
    assert_eq!(
        faults(&elsewhere),
        [BindingFault::AddressRefused { field: "address", ip: "10.0.0.1".parse().unwrap(), fault }]
    );
    assert_eq!(
        faults(&BindingSpec { ca: Some(CA.to_owned()), ..plain("http://localhost") }),
        [BindingFault::CaWithPlain]
    );
}

#[test]
fn private_addresses_are_named_and_metadata_is_never() {
    let named = |to: &str, address: &str| BindingSpec { address: Some(address.to_owned()), ..spec(to) };
    for good in ["10.0.0.1", "127.0.0.1:8443", "fd00::7", "[fd00::7]:8443", "8.8.8.8"] {
        assert!(named("https://tool.test", good).check().is_ok(), "{good}");
    }
    assert!(named("https://10.0.0.1", "10.0.0.1").check().is_ok());
    assert_eq!(faults(&named("https://10.0.0.1", "10.0.0.2")), [BindingFault::AddressDiffers]);
    let refused = |field, ip: &str, fault| BindingFault::AddressRefused { field, ip: ip.parse().unwrap(), fault };
    assert_eq!(faults(&spec("https://10.0.0.1")), [refused("to", "10.0.0.1", AddressRefused::Private(Class::Private))]);
    for never in ["169.254.169.254", "fd00:ec2::254"] {
        assert_eq!(faults(&named("https://tool.test", never)), [refused("address", never, AddressRefused::Metadata)]);
    }
    assert_eq!(faults(&spec("https://169.254.169.254")), [refused("to", "169.254.169.254", AddressRefused::Metadata)]);
    let wrapped = "::ffff:169.254.169.254";
    assert_eq!(faults(&named("https://tool.test", wrapped)), [refused("address", wrapped, AddressRefused::Metadata)]);
}

#[test]
fn a_binding_admits_its_own_requests_and_no_others() {
    let binding = BindingSpec { query: vec!["page".to_owned()], ..spec("https://a.test") }.check().unwrap();
    let table = [
        ("GET", "https://a.test/repos/x", Ok(())),
        ("GET", "https://a.test:443/repos/x/y?page=2&page=3", Ok(())),
        ("GET", "http://a.test:443/repos/x", Err(Mismatch::Origin)),
        ("GET", "https://a.test:8443/repos/x", Err(Mismatch::Origin)),
        ("GET", "https://b.a.test/repos/x", Err(Mismatch::Origin)),
        ("GET", "https://a.test.evil.test/repos/x", Err(Mismatch::Origin)),
        ("GET", "https://a.test/repos", Err(Mismatch::Path)),
        ("GET", "https://a.test/Repos/x", Err(Mismatch::Path)),
        ("POST", "https://a.test/repos/x", Err(Mismatch::Method)),
        ("HEAD", "https://a.test/repos/x", Err(Mismatch::Method)),
        ("GET", "https://a.test/repos/x?page=1&_method=DELETE", Err(Mismatch::Query)),
        ("GET", "https://a.test/repos/x?p%61ge=1", Err(Mismatch::Query)),
        ("GET", "https://a.test/repos/x?PAGE=1", Err(Mismatch::Query)),
    ];
    for (method, url, expected) in table {
        assert_eq!(binding.admits(&request(method, url)), expected, "{method} {url}");
    }
}
