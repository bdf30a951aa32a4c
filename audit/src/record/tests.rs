use super::*;
use crate::canonical::{decode, encode};
use crate::field::{Code, Count, Outside};
use avouch_words::{Millis, Name, Ulid};
use std::collections::BTreeSet;

fn denied(path: &str) -> HelperEvent {
    HelperEvent::Denied {
        decision: Ulid::new(Millis(1), [1; 10]),
        caller: Caller {
            agent: Name::parse("intruder").unwrap(),
            instance: Ulid::new(Millis(1), [2; 10]),
            session: None,
        },
        refusal: Code::of("denied"),
        reason: Code::of("not_granted"),
        mismatch: None,
        lock: None,
        credentials: Vec::new(),
        request: Some(Request {
            scheme: Code::of("http"),
            host: Outside::of("127.0.0.1"),
            port: 80,
            method: Outside::of("GET"),
            path: Outside::of(path),
            query_keys: Outside::of(""),
        }),
        policy_version: Count(1),
    }
}

#[test]
fn codes_are_unique_and_stable_in_form() {
    for codes in [HelperEvent::CODES, IssuerEvent::CODES] {
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
        for code in codes {
            let (family, event) = code.split_once('.').unwrap();
            let fits = |part: &str| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            };
            assert!(fits(family) && fits(event), "{code}");
        }
    }
}

#[test]
fn the_code_is_what_is_written_and_unknown_ones_are_refused() {
    let event = denied("/x");
    let text = String::from_utf8(encode(&event).unwrap()).unwrap();
    assert!(text.contains(&format!("\"code\":\"{}\"", event.code())), "{text}");
    assert_eq!(decode::<HelperEvent>(text.as_bytes()), Ok(event));
    assert!(decode::<HelperEvent>(text.replace("broker.denied", "broker.allowed").as_bytes()).is_err());
    assert!(decode::<HelperEvent>(br#"{"code":"helper.stopped"}"#).is_ok());
    assert!(decode::<HelperEvent>(br#"{"code":"helper.stopped","why":"x"}"#).is_err());
    assert!(decode::<HelperEvent>(br#"{"code":"helper.started"}"#).is_err());
    assert!(decode::<IssuerEvent>(br#"{"code":"helper.stopped"}"#).is_err());
}

#[test]
fn a_session_says_its_walls_and_records_from_before_walls_are_read_as_they_were() {
    let id = "01HF7YAT00ZZZZZZZZZZZZZZZZ";
    let old = format!(
        r#"{{"agent":"a","code":"session.opened","listener_alone":false,"root_pid":7,"session":"{id}","uid":1001}}"#
    );
    let read: HelperEvent = decode(old.as_bytes()).unwrap();
    let HelperEvent::SessionOpened { contained: None, within: None, .. } = &read else { panic!("{read:?}") };
    assert_eq!(encode(&read).unwrap(), old.as_bytes());
    let new = old.replace(r#""listener_alone""#, r#""contained":"work","listener_alone""#);
    let new = new.replace(r#""uid":1001"#, &format!(r#""uid":1001,"within":"{id}""#));
    let read: HelperEvent = decode(new.as_bytes()).unwrap();
    assert!(matches!(&read, HelperEvent::SessionOpened { contained: Some(_), within: Some(_), .. }));
    assert_eq!(encode(&read).unwrap(), new.as_bytes());
}

#[test]
fn hostile_names_stay_one_valid_json_line() {
    let hostile = format!("/\u{1b}[2J\n{}\u{202e}\"}}{}", '\0', "x".repeat(1_000_000));
    let bytes = encode(&denied(&hostile)).unwrap();
    assert!(bytes.len() < 4096);
    assert!(bytes.iter().all(|b| b.is_ascii_graphic() || *b == b' '));
    assert!(decode::<HelperEvent>(&bytes).is_ok());
}

#[test]
fn outcomes_are_told_apart() {
    for (outcome, text) in [
        (Outcome::Ok { status: 200 }, r#"{"end":"ok","status":200}"#),
        (
            Outcome::Error { kind: Code::of("upstream_unclean"), status: None },
            r#"{"end":"error","kind":"upstream_unclean"}"#,
        ),
        (Outcome::Cut { status: Some(206) }, r#"{"end":"cut","status":206}"#),
        (Outcome::Unknown {}, r#"{"end":"unknown"}"#),
    ] {
        assert_eq!(encode(&outcome).unwrap(), text.as_bytes());
        assert_eq!(decode::<Outcome>(text.as_bytes()), Ok(outcome));
    }
    assert!(decode::<Outcome>(br#"{"end":"unknown","status":200}"#).is_err());
}

#[test]
fn every_alarm_names_its_node_and_spool() {
    let node = avouch_words::SpiffeId::parse("spiffe://td/node/join_token/one").unwrap();
    let (spool, digest, n) = (crate::spool::SpoolId([7; 16]), avouch_words::Digest::of(&[]), Count(1));
    let agent = Name::parse("a").unwrap();
    let at = || node.clone();
    for alarm in [
        IssuerEvent::SpoolForked { node: at(), spool, seq: n, held: digest, shown: digest },
        IssuerEvent::SpoolGap { node: at(), spool, expected: n, shown: n },
        IssuerEvent::SpoolUnclosed { node: at(), end: SpoolEnd { spool, records: n }, opened: spool },
        IssuerEvent::SpoolForeignAgent { node: at(), spool, seq: n, agent },
        IssuerEvent::SpoolMalformed { node: at(), spool, expected: n },
    ] {
        assert_eq!(alarm.alarm(), Some((&node, spool)));
    }
    assert_eq!(IssuerEvent::SpoolOpened { node: at(), spool }.alarm(), None);
}
