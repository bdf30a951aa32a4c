//! Case A13: one spelling, or none.

use super::*;

#[test]
fn origins_have_one_text() {
    let table = [
        ("https://api.example.test:443", "https://api.example.test:443", "api.example.test"),
        ("https://api.example.test", "https://api.example.test:443", "api.example.test"),
        ("http://localhost", "http://localhost:80", "localhost"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("https://[fd00::7]:8443", "https://[fd00::7]:8443", "[fd00::7]:8443"),
        ("https://xn--bcher-kva.test", "https://xn--bcher-kva.test:443", "xn--bcher-kva.test"),
        ("http://api.example.test:443", "http://api.example.test:443", "api.example.test:443"),
        ("https://my_service:1", "https://my_service:1", "my_service:1"),
        ("https://1password.test:65535", "https://1password.test:65535", "1password.test:65535"),
    ];
    for (text, canonical, header) in table {
        let origin = Origin::parse(text).unwrap();
        assert_eq!((origin.to_string().as_str(), origin.host_header().as_str()), (canonical, header), "{text}");
        assert_eq!(Origin::parse(canonical), Ok(origin));
    }
}

#[test]
fn what_has_a_second_spelling_is_refused() {
    let table = [
        ("HTTPS://a.test", BadOrigin::Scheme),
        ("ftp://a.test", BadOrigin::Scheme),
        ("//a.test", BadOrigin::Scheme),
        ("https:/a.test", BadOrigin::Scheme),
        ("a.test:443", BadOrigin::Scheme),
        ("https://", BadOrigin::HostLength),
        ("https://:443", BadOrigin::HostLength),
        ("https://A.test", BadOrigin::HostName),
        ("https://a.test.", BadOrigin::HostName),
        ("https://a..test", BadOrigin::HostName),
        ("https://.a.test", BadOrigin::HostName),
        ("https://-a.test", BadOrigin::HostName),
        ("https://a-.test", BadOrigin::HostName),
        ("https://u@a.test", BadOrigin::HostName),
        ("https://a%2etest", BadOrigin::HostName),
        ("https://a\t.test", BadOrigin::HostName),
        ("https://a.test\r", BadOrigin::HostName),
        ("https://a .test", BadOrigin::HostName),
        ("https://bücher.test", BadOrigin::HostName),
        ("https://a。test", BadOrigin::HostName),
        ("https://a\\test", BadOrigin::HostName),
        ("https://a,b.test", BadOrigin::HostName),
        ("https://*.test", BadOrigin::HostName),
        ("https://a.test/", BadOrigin::Trailing),
        ("https://a.test?", BadOrigin::Trailing),
        ("https://a.test#", BadOrigin::Trailing),
        ("https://a.test:", BadOrigin::Port),
        ("https://a.test:0", BadOrigin::Port),
        ("https://a.test:0443", BadOrigin::Port),
        ("https://a.test:+443", BadOrigin::Port),
        ("https://a.test:65536", BadOrigin::Port),
        ("https://a.test:443:443", BadOrigin::Port),
        ("https://a.test:443 ", BadOrigin::Port),
        ("https://2130706433", BadOrigin::Ipv4),
        ("https://0x7f000001", BadOrigin::Ipv4),
        ("https://0x", BadOrigin::Ipv4),
        ("https://127.1", BadOrigin::Ipv4),
        ("https://127.0.0.01", BadOrigin::Ipv4),
        ("https://0177.0.0.1", BadOrigin::Ipv4),
        ("https://127.0.0.0x1", BadOrigin::Ipv4),
        ("https://1.2.3.4.5", BadOrigin::Ipv4),
        ("https://256.0.0.1", BadOrigin::Ipv4),
        ("https://a.test.1", BadOrigin::Ipv4),
        ("https://[::1%eth0]", BadOrigin::Ipv6),
        ("https://[::1%25eth0]", BadOrigin::Ipv6),
        ("https://[0:0:0:0:0:0:0:1]", BadOrigin::Ipv6),
        ("https://[FD00::7]", BadOrigin::Ipv6),
        ("https://[fd00::0007]", BadOrigin::Ipv6),
        ("https://[::1", BadOrigin::Ipv6),
        ("https://[a.test]", BadOrigin::Ipv6),
        ("https://[::1]x", BadOrigin::HostName),
        ("https://fd00::7", BadOrigin::Port),
        ("https://::1", BadOrigin::HostLength),
    ];
    for (text, fault) in table {
        assert_eq!(Origin::parse(text), Err(fault), "{text:?}");
    }
}

#[test]
fn lengths_end_where_they_should() {
    let label = "a".repeat(Host::MAX_LABEL);
    assert!(Host::parse(&label).is_ok());
    assert_eq!(Host::parse(&format!("{label}a")), Err(BadOrigin::HostName));
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), Host::MAX);
    assert!(Host::parse(&longest).is_ok());
    assert_eq!(Host::parse(&format!("{longest}a")), Err(BadOrigin::HostLength));
}

#[test]
fn a_connect_says_its_port() {
    assert_eq!(Origin::from_connect(b"a.test:443"), Origin::parse("https://a.test"));
    assert_eq!(Origin::from_connect(b"a.test"), Err(BadOrigin::PortMissing));
    assert_eq!(Origin::from_connect(b"https://a.test:443"), Err(BadOrigin::Port));
    assert_eq!(Origin::from_connect(b"a.test:443/"), Err(BadOrigin::Port));
    assert_eq!(Origin::from_connect(b"u:p@a.test:443"), Err(BadOrigin::Port));
    assert_eq!(Origin::from_connect(b"a.test\0:443"), Err(BadOrigin::HostName));
    assert_eq!(Origin::from_connect(b"\xff.test:443"), Err(BadOrigin::HostName));
}

#[test]
fn addresses_are_known_as_such() {
    assert_eq!(Host::parse("[::1]").unwrap().ip(), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    assert_eq!(Host::parse("127.0.0.1").unwrap().ip(), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert_eq!(Host::parse("localhost").unwrap().ip(), None);
}
