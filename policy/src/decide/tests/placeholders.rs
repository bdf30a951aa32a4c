//! A placeholder chooses among what is granted, and refuses everything else.

use super::*;
use crate::placeholder::{KEY_FIELDS, in_field};

fn send(parts: &StateParts, agent: &str, url: &str, fields: &[(&str, &str)]) -> Verdict {
    let placed = fields.iter().filter_map(|(name, value)| in_field(name, value.as_bytes())).collect();
    let request = CanonicalRequest::from_absolute_form(b"GET", url.as_bytes(), Body::None).unwrap();
    decide(&PolicyState::new(parts.clone()), &caller(agent), request.with_placed(placed), NOW, id(99))
}

/// `researcher` may also use `second` in the header that `github` fills, and `away` at another host.
fn two_for_one() -> StateParts {
    let mut parts = parts();
    parts.credentials.push(credential("second", &spec(header("Authorization"), "/repos/**")));
    let away = BindingSpec { to: "https://away.test".to_owned(), ..spec(SlotSpec::Bearer, "/**") };
    parts.credentials.push(credential("away", &away));
    parts.credentials.push(credential("others", &spec(SlotSpec::Bearer, "/repos/**")));
    parts.grants.extend([grant(12, "researcher", "second"), grant(13, "researcher", "away")]);
    parts.grants.push(grant(14, "intruder", "others"));
    parts
}

#[test]
fn the_named_one_of_two_is_filled() {
    let parts = two_for_one();
    assert_eq!(denied(send(&parts, "researcher", URL, &[])).refusal(), RefusalCode::AmbiguousCredential);
    for (written, other) in [("Bearer avouch:github", "github"), ("token avouch:second", "second")] {
        let permit = allowed(send(&parts, "researcher", URL, &[("Authorization", written), ("accept", "*/*")]));
        let fills: Vec<_> = permit.fills().iter().map(|fill| fill.credential().as_str()).collect();
        assert_eq!(fills, ["extra", other]);
    }
    // Named twice is named; two names for one slot are none.
    let twice = [("authorization", "Bearer avouch:github"), ("Authorization", "token avouch:github")];
    assert_eq!(allowed(send(&parts, "researcher", URL, &twice)).fills().len(), 2);
    let both = [("authorization", "Bearer avouch:github"), ("authorization", "avouch:second")];
    assert_eq!(denied(send(&parts, "researcher", URL, &both)).refusal(), RefusalCode::AmbiguousCredential);
    // The other slot is named too, each in its own.
    let each = [("authorization", "Bearer avouch:github"), ("x-extra", "avouch:extra")];
    assert_eq!(allowed(send(&parts, "researcher", URL, &each)).fills().len(), 2);
}

#[test]
fn a_key_may_be_named_in_the_other_field_that_services_take_keys_in() {
    let mut parts = parts();
    let key = BindingSpec { to: "https://models.test".to_owned(), ..spec(header("x-api-key"), "/**") };
    parts.credentials.push(credential("model", &key));
    parts.grants.push(grant(12, "researcher", "model"));
    let url = "https://models.test/v1/messages";
    let bearer = ("authorization", "Bearer avouch:model");
    for fields in [&[bearer][..], &[("x-api-key", "avouch:model")], &[bearer, ("x-api-key", "avouch:model")]] {
        let permit = allowed(send(&parts, "researcher", url, fields));
        let fills: Vec<_> =
            permit.fills().iter().map(|fill| (fill.credential().as_str(), fill.slot().header())).collect();
        assert_eq!(fills, [("model", "x-api-key")], "{fields:?}");
    }
    // Not in any other field, and not if it is a slot of this request.
    let elsewhere = denied(send(&parts, "researcher", url, &[("x-token", "avouch:model")]));
    assert_eq!(elsewhere.reason(), &Reason::Misplaced { place: Place::Header });
    let bearer_too = BindingSpec { to: "https://models.test".to_owned(), ..spec(SlotSpec::Bearer, "/**") };
    parts.credentials.push(credential("session", &bearer_too));
    parts.grants.push(grant(13, "researcher", "session"));
    let miss = Some(Miss { credential: name("model"), mismatch: Mismatch::Slot });
    assert_eq!(denied(send(&parts, "researcher", url, &[bearer])).reason(), &Reason::Placeholder { miss });
}

#[test]
fn a_name_that_is_not_granted_is_refused_as_one_that_is_not_there() {
    let parts = two_for_one();
    let away = Some(Miss { credential: name("away"), mismatch: Mismatch::Origin });
    let extra = Some(Miss { credential: name("extra"), mismatch: Mismatch::Slot });
    for (written, miss) in [("others", None), ("nowhere", None), ("away", away), ("extra", extra)] {
        let denial = denied(send(&parts, "researcher", URL, &[("authorization", &format!("Bearer avouch:{written}"))]));
        assert_eq!(
            (denial.reason(), denial.refusal()),
            (&Reason::Placeholder { miss }, RefusalCode::Denied),
            "{written}"
        );
    }
    // Nothing is granted here at all, or nothing that goes: the same text again.
    for (agent, url) in [
        ("intruder", "https://api.test/admin"),
        ("researcher", "https://other.test/x"),
        ("researcher", "https://api.test/admin"),
    ] {
        for name in ["second", "nowhere", "github"] {
            let denial = denied(send(&parts, agent, url, &[("x-anything", &format!("avouch:{name}"))]));
            assert_eq!(
                (denial.refusal(), denial.reason().rule()),
                (RefusalCode::Denied, "placeholder"),
                "{agent} {url}"
            );
        }
    }
}

#[test]
fn outside_a_slot_a_placeholder_refuses_the_request() {
    let parts = two_for_one();
    let misplaced = |verdict, place| {
        let denial = denied(verdict);
        assert_eq!(denial.reason(), &Reason::Misplaced { place });
        assert_eq!(denial.refusal(), RefusalCode::PlaceholderMisplaced);
        assert!(denial.reason().to_string().contains(place.as_str()));
    };
    // Whichever name it is.
    for named in ["github", "others", "nowhere"] {
        let put = |text: &str| text.replace("NAME", named);
        misplaced(send(&parts, "researcher", &put("https://api.test/repos/avouch:NAME"), &[]), Place::Path);
        misplaced(send(&parts, "researcher", &put("https://api.test/repos/x?page=avouch%3aNAME"), &[]), Place::Query);
        for (header, value) in [
            ("accept", "avouch:NAME"),
            ("x-github-key", "Bearer avouch:NAME"),
            ("referer", "https://a.test/?k=avouch%3ANAME"),
            ("proxy-authorization", "Basic OmF2b3VjaDpnaXRodWI="),
            ("authorization", "Bearer avouch:NAME, avouch:NAME"),
            ("x-extra", "avouch:NAME and more"),
        ] {
            misplaced(send(&parts, "researcher", URL, &[(header, &put(value))]), Place::Header);
        }
        misplaced(send(&parts, "researcher", URL, &[("X-avouch", named)]), Place::HeaderName);
        // Nothing binds the target: nothing could be put in anywhere.
        let unbound = "http://unbound.test/x";
        misplaced(send(&parts, "researcher", unbound, &[("authorization", &put("Bearer avouch:NAME"))]), Place::Header);
        misplaced(send(&parts, "researcher", unbound, &[("avouch", named)]), Place::HeaderName);
        misplaced(send(&parts, "researcher", &put("http://unbound.test/?avouch:NAME"), &[]), Place::Query);
    }
    assert!(matches!(send(&parts, "researcher", "http://unbound.test/x", &[("a", "b")]), Verdict::Unbound(_)));
}

fn any_fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let header = prop::sample::select(vec!["authorization", "x-a", "x-b", "accept", "avouch"]);
    let value = prop_oneof![
        (0usize..7).prop_map(|which| format!("Bearer avouch:c{which}")),
        Just("avouch:c0 ".to_owned()),
        Just("text/html".to_owned()),
    ];
    prop::collection::vec((header.prop_map(str::to_owned), value), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_has_every_placeholder_replaced_by_its_own(parts in any_parts(), url in 0usize..6, fields in any_fields()) {
        let fields: Vec<_> = fields.iter().map(|(header, value)| (header.as_str(), value.as_str())).collect();
        let placed: Vec<_> = fields.iter().filter_map(|(header, value)| in_field(header, value.as_bytes())).collect();
        let without = send(&parts, "researcher", URLS[url], &[]);
        match send(&parts, "researcher", URLS[url], &fields) {
            Verdict::Allow(permit) => {
                for placed in placed {
                    let Placed::Value { header, credential } = placed else { panic!("a field's name was let through") };
                    let own = |fill: &Fill| fill.slot().header() == header || KEY_FIELDS.contains(&header.as_str());
                    let replaced = |fill: &Fill| own(fill) && Some(fill.credential()) == credential.as_ref();
                    prop_assert!(permit.fills().iter().any(replaced));
                }
                // A placeholder never adds to what would be filled without it.
                if let Verdict::Allow(before) = without {
                    prop_assert_eq!(permit.fills().len(), before.fills().len());
                    prop_assert_eq!(permit.pool_key(), before.pool_key());
                }
            }
            Verdict::Unbound(_) => prop_assert!(placed.is_empty()),
            Verdict::Deny(_) => prop_assert!(!placed.is_empty() || matches!(without, Verdict::Deny(_))),
        }
    }

    #[test]
    fn a_credential_of_others_shows_nowhere(mut parts in any_parts(), url in 0usize..6, header in 0usize..4) {
        // That a host is bound is told to everybody.
        parts.bound_origins.push(Origin::parse("https://api.test").unwrap());
        parts.grants.retain(|grant| grant.agent == name("researcher") && grant.credential != name("c9"));
        let header = ["authorization", "x-a", "x-b", "accept"][header];
        let ask = |parts: &StateParts| send(parts, "researcher", URLS[url], &[(header, "Bearer avouch:c9")]);
        let there_not = seen(&ask(&parts));
        parts.credentials.push(credential("c9", &spec(SlotSpec::Bearer, "/**")));
        parts.grants.push(grant(40, "intruder", "c9"));
        prop_assert_eq!(there_not, seen(&ask(&parts)));
    }
}
