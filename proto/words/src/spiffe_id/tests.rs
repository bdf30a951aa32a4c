//! Every SID row of the conformance checklist.

use super::*;
use BadSpiffeId::{DotSegment, EmptySegment, PathByte, Scheme, TooLong};
use BadTrustDomain::{Byte, Empty};

fn refused(expected: BadSpiffeId, texts: &[&str]) {
    for text in texts {
        assert_eq!(SpiffeId::parse(text), Err(expected), "{text:?}");
    }
}

fn accepted(texts: &[&str]) {
    for text in texts {
        assert_eq!(SpiffeId::parse(text).map(|id| id.to_string()).as_deref(), Ok(*text));
    }
}

#[test]
fn sid_01_the_scheme_is_spiffe_and_an_authority_follows() {
    accepted(&["spiffe://td/a"]);
    refused(
        Scheme,
        &["https://td/a", "spiffe:td/a", "spiffe:/td/a", "td/a", "", "SPIFFE://td/a", " spiffe://td/a", "Spiffe://td"],
    );
}

#[test]
fn sid_02_the_trust_domain_is_not_empty() {
    refused(Empty.into(), &["spiffe://", "spiffe:///a"]);
}

#[test]
fn sid_03_and_04_there_is_no_query_and_no_fragment() {
    refused(PathByte, &["spiffe://td/a?x=1", "spiffe://td/a?", "spiffe://td/a#f", "spiffe://td/a#"]);
    refused(Byte.into(), &["spiffe://td?x=1", "spiffe://td?", "spiffe://td#f", "spiffe://td#"]);
}

#[test]
fn sid_05_and_06_there_is_no_user_and_no_port() {
    refused(
        Byte.into(),
        &["spiffe://u@td/a", "spiffe://u:p@td/a", "spiffe://@td/a", "spiffe://td:8080/a", "spiffe://td:/a"],
    );
}

#[test]
fn sid_07_to_09_the_trust_domain_has_few_bytes() {
    accepted(&["spiffe://abcdefghijklmnopqrstuvwxyz0123456789.-_/a"]);
    refused(
        Byte.into(),
        &[
            "spiffe://Td/a",
            "spiffe://TD",
            "spiffe://t$d/a",
            "spiffe://t~d/a",
            "spiffe://t+d/a",
            "spiffe://t\u{e9}st/a",
            "spiffe://[::1]/a",
            "spiffe://t d/a",
            "spiffe://t\0d/a",
            "spiffe://%74d/a",
            "spiffe://td%2fa",
            "spiffe://td\\a",
        ],
    );
    for byte in 0..=255_u8 {
        let allowed = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        let text = format!("t{}d", char::from(byte));
        assert_eq!(TrustDomain::parse(&text).is_ok(), allowed, "{byte:#x}");
    }
}

#[test]
fn sid_10_names_that_look_like_hosts_mean_nothing() {
    accepted(&[
        "spiffe://10.0.0.1/a",
        "spiffe://my_td/a",
        "spiffe://a..b/a",
        "spiffe://-x-/a",
        "spiffe://1/a",
        "spiffe://./a",
    ]);
}

#[test]
fn sid_11_the_trust_domain_has_at_most_255_bytes() {
    let id = |length: usize| format!("spiffe://{}/a", "t".repeat(length));
    accepted(&[&id(255)]);
    refused(BadTrustDomain::TooLong.into(), &[&id(256), &id(1024)]);
}

#[test]
fn sid_12_and_16_segments_have_few_bytes() {
    accepted(&["spiffe://td/ABCDEFGHIJKLMNOPQRSTUVWXYZ/abcdefghijklmnopqrstuvwxyz/0123456789.-_"]);
    refused(PathByte, &["spiffe://td/a%20b", "spiffe://td/%61"]);
    for byte in 0..=255_u8 {
        let allowed = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/');
        let text = format!("spiffe://td/x{}x", char::from(byte));
        assert_eq!(SpiffeId::parse(&text).is_ok(), allowed, "{byte:#x}");
    }
}

#[test]
fn sid_13_to_15_segments_are_not_empty_and_not_dots() {
    refused(EmptySegment, &["spiffe://td//a", "spiffe://td/a//b", "spiffe://td//", "spiffe://td/a/", "spiffe://td/"]);
    refused(
        DotSegment,
        &["spiffe://td/./a", "spiffe://td/a/..", "spiffe://td/.", "spiffe://td/..", "spiffe://td/a/../b"],
    );
    accepted(&["spiffe://td/...", "spiffe://td/.a", "spiffe://td/a..b", "spiffe://td/a."]);
}

#[test]
fn sid_17_and_18_an_id_has_at_most_2048_bytes() {
    let id = |length: usize| format!("spiffe://td/{}", "a".repeat(length - 12));
    assert_eq!(id(2048).len(), 2048);
    accepted(&[&id(2048)]);
    refused(TooLong, &[&id(2049), &id(100_000)]);
}

#[test]
fn sid_19_ids_are_the_same_if_their_bytes_are() {
    let id = |text: &str| SpiffeId::parse(text).unwrap();
    assert_ne!(id("spiffe://td/A"), id("spiffe://td/a"));
    assert_ne!(id("spiffe://td/a"), id("spiffe://td/ab"));
    assert_ne!(id("spiffe://td/a"), id("spiffe://t/d/a"));
    assert_eq!(id("spiffe://td/a"), id("spiffe://td/a"));
}

#[test]
fn sid_20_the_path_is_optional() {
    let id = SpiffeId::parse("spiffe://td").unwrap();
    assert_eq!((id.path(), id.trust_domain().as_str()), ("", "td"));
    assert_eq!(id.trust_domain().id(), id);
    let id = SpiffeId::parse("spiffe://td/a/b").unwrap();
    assert_eq!((id.path(), id.trust_domain().as_str()), ("/a/b", "td"));
}

#[test]
fn sid_21_nothing_is_normalised() {
    refused(DotSegment, &["spiffe://td/a/../b"]);
    refused(PathByte, &["spiffe://td/%2e%2e/b", "spiffe://td/a\\..\\b", "spiffe://td/a\t", "spiffe://td/a\n"]);
}

#[test]
fn sid_22_some_paths_are_reserved() {
    let reserved = |text: &str| SpiffeId::parse(text).unwrap().is_reserved();
    for path in ["node", "node/x/y", "brokered", "brokered/agent/a", "issuer", "issuer/x", "avouch", "avouch/x"] {
        assert!(reserved(&format!("spiffe://td/{path}")), "{path}");
    }
    for path in ["agent/a", "nodes/x", "Node/x", "agent/node", "brokered2", "_node"] {
        assert!(!reserved(&format!("spiffe://td/{path}")), "{path}");
    }
    assert!(!reserved("spiffe://node"));
    assert!(SpiffeId::parse("spiffe://td/brokered/agent/a").unwrap().is_brokered());
    assert!(!SpiffeId::parse("spiffe://td/agent/brokered").unwrap().is_brokered());
}

#[test]
fn membership_is_of_the_whole_name() {
    let td = |name: &str| TrustDomain::parse(name).unwrap();
    let id = SpiffeId::parse("spiffe://example.test/agent/a").unwrap();
    assert!(id.is_member_of(&td("example.test")));
    for other in ["example.tes", "xexample.test", "test", "example.test.evil", "example"] {
        assert!(!id.is_member_of(&td(other)), "{other}");
    }
}

#[test]
fn our_own_ids_read_back() {
    let td = TrustDomain::parse("example.test").unwrap();
    let name = |text: &str| crate::Name::parse(text).unwrap();
    let ids = [
        (td.agent(&name("researcher")), "spiffe://example.test/agent/researcher"),
        (td.node(&name("join_token"), &name("laptop")), "spiffe://example.test/node/join_token/laptop"),
        (td.brokered_agent(&name("researcher")), "spiffe://example.test/brokered/agent/researcher"),
        (td.brokered_node(&name("laptop")), "spiffe://example.test/brokered/node/laptop"),
        (td.issuer(), "spiffe://example.test/issuer"),
        (td.id(), "spiffe://example.test"),
    ];
    for (id, text) in ids {
        assert_eq!(SpiffeId::parse(text).as_ref(), Ok(&id));
    }
    assert_eq!(td.agent(&name("researcher")).agent_name(), Some(name("researcher")));
    for other in ["spiffe://td/agent/a/b", "spiffe://td/node/a", "spiffe://td/agent", "spiffe://td/agent/A"] {
        assert_eq!(SpiffeId::parse(other).unwrap().agent_name(), None, "{other}");
    }
}
