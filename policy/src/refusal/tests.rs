//! Every refusal is read by a model.

use super::*;
use avouch_words::Millis;

fn decision() -> Ulid {
    Ulid::new(Millis(1_700_000_000_000), [7; 10])
}

#[test]
fn a_model_can_act_on_every_refusal() {
    for code in RefusalCode::ALL {
        let json = code.json(decision());
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let error = &value["error"];
        assert_eq!(error["code"], code.as_str());
        assert_eq!(error["decision"], decision().to_string());
        assert!(["never", "after", "when_approved"].contains(&error["retry"].as_str().unwrap()), "{json}");
        assert_eq!(error["retry"] == "after", error["retry_after_seconds"].is_u64(), "{json}");
        assert!(code.message().len() + code.action().len() <= 300, "{json}");
        for text in [code.message(), code.action()] {
            assert!(text.ends_with('.') && text.is_ascii() && !text.contains(['{', '\n', '"']), "{text}");
        }
        assert_eq!(code.message().matches(". ").count(), 0, "one sentence: {}", code.message());
    }
}

#[test]
fn codes_are_stable_and_distinct() {
    let codes: Vec<_> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(
        codes,
        [
            "denied",
            "ambiguous_credential",
            "unbound_host",
            "bad_request",
            "misdirected",
            "stale",
            "audit_unavailable",
            "source_unavailable",
            "upstream_unreachable",
            "upstream_unclean",
            "address_refused",
            "too_large",
            "browser_request",
            "placeholder_misplaced",
        ]
    );
}

#[test]
fn denied_says_nothing_about_what_exists() {
    let text = format!("{} {}", RefusalCode::Denied.message(), RefusalCode::Denied.action()).to_lowercase();
    for telling in ["exist", "unknown", "no such", "not found", "lock", "grant", "credential", "secret", "policy"] {
        assert!(!text.contains(telling), "{telling}");
    }
}
