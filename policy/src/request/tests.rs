//! Cases A13 and A14: a target has one reading, or none.

use super::*;
use proptest::prelude::*;

fn absolute(target: &str) -> Result<CanonicalRequest, BadRequest> {
    CanonicalRequest::from_absolute_form(b"GET", target.as_bytes(), Body::None)
}

fn origin_form(target: &[u8]) -> Result<CanonicalRequest, BadRequest> {
    CanonicalRequest::from_origin_form(Origin::parse("https://a.test").unwrap(), b"GET", target, Body::None)
}

#[test]
fn what_was_judged_is_what_is_sent() {
    let targets = [
        "/",
        "/a",
        "/a/",
        "/a/b.c/d-e_f~g",
        "/.well-known/x",
        "/...",
        "/a:b@c/d!$&'()*+,=e",
        "/%20",
        "/%C3%BC/%F0%9F%98%80",
        "/a%40b%3Ac%2Bd",
        "/a?b",
        "/a?b=",
        "/a?b=c&b=d&e",
        "/a?b=/x?y=z",
        "/a?b=%2e%2E%2f%0A&c%5Bd%5D=1",
        "/a?filter[x]=1",
    ];
    for target in targets {
        assert_eq!(origin_form(target.as_bytes()).unwrap().target(), target);
        let whole = absolute(&format!("http://a.test{target}")).unwrap();
        assert_eq!((whole.target(), whole.origin().to_string().as_str()), (target, "http://a.test:80"));
    }
}

#[test]
fn the_parts_of_a_target_are_its_own_bytes() {
    let request = absolute("http://a.test:8080/x/y?b=1&a&b=%32&c=d=e").unwrap();
    let pairs: Vec<_> = request.query().map(|pair| (pair.key, pair.value)).collect();
    assert_eq!(request.path(), "/x/y");
    assert_eq!(pairs, [("b", Some("1")), ("a", None), ("b", Some("%32")), ("c", Some("d=e"))]);
    assert_eq!((request.method().as_str(), request.body()), ("GET", Body::None));
}

#[test]
fn targets_with_two_readings_are_refused() {
    use BadOrigin as O;
    use BadRequest as B;
    let table: &[(&str, BadRequest)] = &[
        // Which host?
        ("http://u@a.test/", B::UserInfo),
        ("http://u:p@a.test/", B::UserInfo),
        ("http://good.test@a.test/", B::UserInfo),
        ("http://good.test:80@a.test/", B::UserInfo),
        ("http://good.test%40a.test/", B::Origin(O::HostName)),
        ("http://a.test#@good.test/", B::Fragment),
        ("http://a.test\\@good.test/", B::PathStart),
        ("http://a.test\\.good.test/", B::PathStart),
        ("http:\\\\a.test/", B::Origin(O::Scheme)),
        ("http:///a.test/", B::Origin(O::HostLength)),
        ("http:/a.test/", B::Origin(O::Scheme)),
        ("HTTP://a.test/", B::Origin(O::Scheme)),
        ("http://A.test/", B::Origin(O::HostName)),
        ("http://a.test./", B::Origin(O::HostName)),
        ("http://a%2etest/", B::Origin(O::HostName)),
        ("http://a.te\tst/", B::Origin(O::HostName)),
        ("http://a.test\r/", B::Origin(O::HostName)),
        (" http://a.test/", B::Origin(O::Scheme)),
        ("http:// a.test/", B::Origin(O::HostName)),
        ("http://a.test:080/", B::Origin(O::Port)),
        ("http://a.test:/", B::Origin(O::Port)),
        ("http://a.test:80:80/", B::Origin(O::Port)),
        ("http://[::1%25lo]/", B::Origin(O::Ipv6)),
        ("http://[::ffff:7f00:1]/", B::Origin(O::Ipv6)),
        ("http://0x7f.1/", B::Origin(O::Ipv4)),
        ("http://2130706433/", B::Origin(O::Ipv4)),
        ("http://017700000001/", B::Origin(O::Ipv4)),
        ("ftp://a.test/", B::Origin(O::Scheme)),
        ("/x", B::Origin(O::Scheme)),
        ("*", B::Origin(O::Scheme)),
        ("a.test:80", B::Origin(O::Scheme)),
        // Which path?
        ("http://a.test", B::PathStart),
        ("http://a.test?x=1", B::PathStart),
        ("http://a.test/..", B::DotSegment),
        ("http://a.test/a/../b", B::DotSegment),
        ("http://a.test/./a", B::DotSegment),
        ("http://a.test/a/.", B::DotSegment),
        ("http://a.test//a", B::EmptySegment),
        ("http://a.test/a//b", B::EmptySegment),
        ("http://a.test/a//", B::EmptySegment),
        ("http://a.test/a%2Fb", B::PathEscaped),
        ("http://a.test/a%2fb", B::PathEscape),
        ("http://a.test/%2E%2E/a", B::PathEscaped),
        ("http://a.test/%2e%2e/a", B::PathEscape),
        ("http://a.test/.%2E/a", B::PathEscaped),
        ("http://a.test/%252E%252E/a", B::PathEscaped),
        ("http://a.test/%252e", B::PathEscaped),
        ("http://a.test/a%5Cb", B::PathEscaped),
        ("http://a.test/a\\b", B::PathByte),
        ("http://a.test/a;b", B::PathByte),
        ("http://a.test/..;/a", B::PathByte),
        ("http://a.test/a%3Bb", B::PathEscaped),
        ("http://a.test/a%3Fb", B::PathEscaped),
        ("http://a.test/a%23b", B::PathEscaped),
        ("http://a.test/a#b", B::Fragment),
        ("http://a.test/a%00", B::PathEscaped),
        ("http://a.test/a\0", B::PathByte),
        ("http://a.test/a%0D%0Ab", B::PathEscaped),
        ("http://a.test/a%7F", B::PathEscaped),
        ("http://a.test/%41", B::PathEscaped),
        ("http://a.test/%7E", B::PathEscaped),
        ("http://a.test/%c3%bc", B::PathEscape),
        ("http://a.test/%", B::PathEscape),
        ("http://a.test/%4", B::PathEscape),
        ("http://a.test/%zz", B::PathEscape),
        ("http://a.test/%u002e", B::PathEscape),
        ("http://a.test/%C0%AE", B::PathUtf8),
        ("http://a.test/%C0%AF", B::PathUtf8),
        ("http://a.test/%E0%80%AF", B::PathUtf8),
        ("http://a.test/%F0%80%80%AF", B::PathUtf8),
        ("http://a.test/%ED%A0%80", B::PathUtf8),
        ("http://a.test/%C3", B::PathUtf8),
        ("http://a.test/%C3a%BC", B::PathUtf8),
        ("http://a.test/%FF", B::PathUtf8),
        ("http://a.test/ü", B::PathByte),
        ("http://a.test/a b", B::PathByte),
        ("http://a.test/a\"b", B::PathByte),
        ("http://a.test/a|b", B::PathByte),
        ("http://a.test/[a]", B::PathByte),
        ("http://a.test/{a}", B::PathByte),
        // Which query?
        ("http://a.test/?", B::EmptyQuery),
        ("http://a.test/?&", B::EmptyQuery),
        ("http://a.test/?a=1&", B::EmptyQuery),
        ("http://a.test/?a=1&&b=2", B::EmptyQuery),
        ("http://a.test/?=1", B::EmptyQuery),
        ("http://a.test/?a=1;b=2", B::QueryByte),
        ("http://a.test/?a=b\\c", B::QueryByte),
        ("http://a.test/?a=b c", B::QueryByte),
        ("http://a.test/?a=ü", B::QueryByte),
        ("http://a.test/?a=%", B::QueryEscape),
        ("http://a.test/?a=%4", B::QueryEscape),
        ("http://a.test/?a=%zz", B::QueryEscape),
        ("http://a.test/?a=%00", B::QueryEscape),
        ("http://a.test/?a=b#c", B::Fragment),
    ];
    assert!(table.len() >= 60);
    for (target, fault) in table {
        assert_eq!(absolute(target), Err(*fault), "{target:?}");
    }
    assert_eq!(CanonicalRequest::from_absolute_form(b"GET", b"http://a.test/\xc0\xae", Body::None), Err(B::PathByte));
    assert_eq!(origin_form(b"/\xc0\xae"), Err(B::PathByte));
    assert_eq!(origin_form(b"http://a.test/"), Err(B::PathStart));
}

#[test]
fn methods_that_echo_or_tunnel_cannot_be_made() {
    for good in ["GET", "POST", "PATCH", "PROPFIND", "M-SEARCH"] {
        assert!(Method::parse(good.as_bytes()).is_ok(), "{good}");
    }
    for refused in ["TRACE", "TRACK", "CONNECT", "PRI"] {
        assert_eq!(Method::parse(refused.as_bytes()), Err(BadRequest::MethodRefused), "{refused}");
    }
    for bad in ["", "get", "Get", "GET ", "GE T", "GET\r", "-GET", "GÉT", &"A".repeat(MAX_METHOD + 1)] {
        assert_eq!(Method::parse(bad.as_bytes()), Err(BadRequest::Method), "{bad:?}");
    }
}

#[test]
fn one_over_each_limit_is_refused() {
    let target = format!("/{}", "a".repeat(MAX_TARGET - 1));
    assert!(origin_form(target.as_bytes()).is_ok());
    assert_eq!(origin_form(format!("{target}a").as_bytes()), Err(BadRequest::TargetLength));
    assert_eq!(absolute(&format!("http://a.test{target}")), Err(BadRequest::TargetLength));
    let pairs = vec!["a=1"; MAX_QUERY_PAIRS].join("&");
    assert!(origin_form(format!("/?{pairs}").as_bytes()).is_ok());
    assert_eq!(origin_form(format!("/?{pairs}&a=1").as_bytes()), Err(BadRequest::QueryPairs));
    let path = "/a".repeat(MAX_SEGMENTS);
    assert!(origin_form(path.as_bytes()).is_ok());
    assert_eq!(origin_form(format!("{path}/a").as_bytes()), Err(BadRequest::Segments));
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_and_what_is_accepted_is_kept(
        target in prop::collection::vec(prop::sample::select(&b"/.%2eEfFaAcC03?&=;:@#[]\\\x00\xc0 -xX~"[..]), 0..24),
        method in prop::collection::vec(any::<u8>(), 0..5),
    ) {
        let target = [b"/", &target[..]].concat();
        let whole = [b"http://a.test", &target[..]].concat();
        let absolute = CanonicalRequest::from_absolute_form(b"GET", &whole, Body::None);
        for request in [origin_form(&target), absolute].into_iter().flatten() {
            prop_assert_eq!(request.target().as_bytes(), &target[..]);
            let path = request.path();
            prop_assert!(!path.contains("//") && !path.contains(['\\', ';', '#', '?']));
            prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
            let pairs: Vec<_> = request.query().map(|pair| (pair.key, pair.value)).collect();
            let query = pairs.iter().map(|(key, value)| match value {
                Some(value) => format!("{key}={value}"),
                None => (*key).to_owned(),
            });
            let query = query.collect::<Vec<_>>().join("&");
            let again = if pairs.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
            prop_assert_eq!(again, request.target());
        }
        let _ = CanonicalRequest::from_absolute_form(&method, &target[1..], Body::None);
        let _ = Origin::from_connect(&target[1..]);
    }
}
