//! A placeholder is found wherever a tool may write one, and nothing else is taken for one.

use super::*;
use crate::request::Body;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn coded(pair: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

fn value(header: &str, value: &str) -> Option<Option<Name>> {
    match in_field(header, value.as_bytes()) {
        Some(Placed::Value { header: found, credential }) => {
            assert_eq!(found, header.to_ascii_lowercase());
            Some(credential)
        }
        Some(Placed::Name) => panic!("{header}"),
        None => None,
    }
}

#[test]
fn what_tools_write_around_a_placeholder_names_a_credential() {
    for written in [
        "avouch:git-hub.2_x",
        "Bearer avouch:git-hub.2_x",
        "token avouch:git-hub.2_x",
        "Bot xoxb-avouch:git-hub.2_x",
        "Token token=avouch:git-hub.2_x",
        &coded("me:avouch:git-hub.2_x"),
        &coded(":avouch:git-hub.2_x"),
        &coded("avouch:git-hub.2_x:"),
        &coded("avouch:git-hub.2_x:x-oauth-basic"),
        &coded("avouch:git-hub.2_x"),
        &coded("me:xoxb-avouch:git-hub.2_x").replace("Basic", "bASIC "),
        coded("me:avouch:git-hub.2_x").trim_end_matches('='),
    ] {
        assert_eq!(value("Authorization", written), Some(Some(name("git-hub.2_x"))), "{written}");
    }
}

#[test]
fn where_it_is_not_clear_what_to_replace_nothing_is_named() {
    for written in [
        "Bearer avouch:github and more",
        "avouch:github,avouch:gitlab",
        "avouch:github/x",
        "avouch:github ",
        "Bearer avouch%3Agithub",
        r"avouch\u003agithub",
        &format!("avouch:{}", "a".repeat(65)),
        &coded("avouch:github:avouch:gitlab"),
        &coded("me:avouch:github/x"),
        &coded("avouch%3Agithub:"),
    ] {
        assert_eq!(value("authorization", written), Some(None), "{written}");
    }
}

#[test]
fn what_is_no_placeholder_is_none() {
    for written in [
        "",
        "avouch",
        "avouch:",
        "avouch: github",
        "avouch:-x",
        "avouch:.x",
        "avouch:GITHUB",
        "Avouch:x",
        "Basic !",
        "Basic",
    ] {
        assert_eq!(in_field("x-key", written.as_bytes()), None, "{written}");
    }
    assert_eq!(in_field("Host", b"avouch:8080"), None);
    assert_eq!(in_field("authorization", coded("me:avouch").as_bytes()), None);
}

#[test]
fn a_field_cannot_be_named_by_one() {
    for header in ["avouch", "Avouch", "x-avouch", "avouch%3agithub"] {
        assert_eq!(in_field(header, b"github"), Some(Placed::Name), "{header}");
    }
    assert_eq!(in_field("avouched", b"github"), None);
}

#[test]
fn a_target_shows_one_in_every_spelling() {
    let ask = |target: &str| {
        let url = format!("https://a.test{target}");
        in_target(&CanonicalRequest::from_absolute_form(b"GET", url.as_bytes(), Body::None).unwrap())
    };
    for target in ["/avouch:github", "/x/avouch%3Agithub/y", "/bot-avouch:x"] {
        assert_eq!(ask(target), Some(Place::Path), "{target}");
    }
    for target in [
        "/?key=avouch:github",
        "/?avouch:github",
        "/?key=avouch%3Agithub",
        "/?key=avouch%3agithub",
        "/?key=%61vouch%3a%67ithub",
        "/?key=avouch%253Agithub",
        "/?key=%2561vouch%253agithub&x=avouch%253a0",
    ] {
        assert_eq!(ask(target), Some(Place::Query), "{target}");
    }
    for target in ["/avouch", "/avouch:", "/avouch:/github", "/?q=avouch&x=:github", "/?avouch=1", "/?q=%"] {
        if target != "/?q=%" {
            assert_eq!(ask(target), None, "{target}");
        }
    }
}

#[test]
fn the_longest_form_is_the_longest() {
    assert!(FORM_TEXTS.iter().all(|form| form.len() < LONGEST && form.starts_with(MARK)));
    assert!(FORM_TEXTS.iter().any(|form| form.len() + 1 == LONGEST));
}

/// Bytes among which placeholders and their beginnings are common.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(&b"avouch"[..]),
        Just(&b":"[..]),
        Just(&b"%3A"[..]),
        Just(&b"\\u003a"[..]),
        Just(&b"github"[..]),
        Just(&b"av"[..]),
        Just(&b" "[..]),
        Just(&b"%25"[..]),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_hide_nothing(body in any_body(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let mut watch = Watch::new();
        let seen = cuts.windows(2).any(|pair| watch.sees(&body[pair[0]..pair[1]]));
        prop_assert_eq!(seen, find(&body).is_some());
        let mut watch = Watch::new();
        prop_assert_eq!(body.iter().any(|byte| watch.sees(&[*byte])), find(&body).is_some());
    }

    #[test]
    fn no_field_or_target_panics(header in "[ -~]{0,20}", value in prop::collection::vec(any::<u8>(), 0..60), target in "/[a-z%:?&=A3]{0,40}") {
        let _ = in_field(&header, &value);
        if let Ok(request) = CanonicalRequest::from_absolute_form(b"GET", format!("https://a.test{target}").as_bytes(), Body::None) {
            let _ = in_target(&request);
        }
    }
}
