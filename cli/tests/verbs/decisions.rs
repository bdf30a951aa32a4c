//! Decisions that the fake issuer has on record, and what is printed of them.

use crate::fake::Daemons;
use avouch_audit::entry::{Body, Log};
use avouch_audit::field::{Code, Count, Outside};
use avouch_audit::record::{Caller, HelperEvent, Mode, Outcome, Request, Use};
use avouch_audit::spool::{Chain, SpoolId, SpoolRecord};
use avouch_wire::admin::change::Kind;
use avouch_wire::admin::{self, Change, Judgement, Miss, WhyReply};
use avouch_words::{Clock as _, Millis, Name, SpiffeId, SystemClock, Ulid};
use serde_json::{Value, json};
use std::time::Duration;

const NOW: Millis = Millis(1_700_000_000_000);

fn id(n: u8) -> Ulid {
    Ulid::new(NOW, [n; 10])
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn caller() -> Caller {
    Caller { agent: name("researcher"), instance: id(90), session: Some(id(91)) }
}

fn call(method: &str, path: &str, keys: &str) -> Request {
    Request {
        scheme: Code::of("https"),
        host: Outside::of("api.example.test"),
        port: 443,
        method: Outside::of(method),
        path: Outside::of(path),
        query_keys: Outside::of(keys),
    }
}

fn denied(n: u8, reason: &'static str, lock: Option<Ulid>, request: Option<Request>) -> HelperEvent {
    HelperEvent::Denied {
        decision: id(n),
        caller: caller(),
        refusal: Code::of(if request.is_some() { "denied" } else { "bad_request" }),
        reason: Code::of(reason),
        mismatch: (lock.is_none() && request.is_some()).then(|| Code::of("path")),
        lock,
        credentials: if lock.is_none() && request.is_some() { vec![name("github")] } else { Vec::new() },
        request,
        policy_version: Count(9),
    }
}

fn intent(n: u8) -> HelperEvent {
    HelperEvent::Intent {
        decision: id(n),
        caller: caller(),
        request: call("GET", "/repos/x", ""),
        uses: vec![Use { credential: name("github"), grants: vec![id(80)] }],
        policy_version: Count(9),
        mode: Mode::Each,
    }
}

fn ended(n: u8, outcome: Outcome) -> HelperEvent {
    HelperEvent::Outcome {
        decision: id(n),
        agent: name("researcher"),
        outcome,
        reflected: false,
        stripped: false,
        bytes: Count(2),
        duration_us: Count(3),
    }
}

fn entries(events: Vec<HelperEvent>) -> Vec<Vec<u8>> {
    let (mut chain, mut log) = (Chain::start(SpoolId([1; 16])), Log::new());
    let node = SpiffeId::parse("spiffe://t.test/node/join_token/here").unwrap();
    let entry = |event| {
        let record = SpoolRecord::decode(&chain.seal(event, NOW).unwrap().bytes).unwrap();
        log.seal(Body::Record(Box::new(record)), node.clone(), NOW).unwrap().bytes
    };
    events.into_iter().map(entry).collect()
}

fn refused_now(rule: &str, changes: Vec<Kind>) -> Judgement {
    let binding = br#"{"methods":["GET"],"paths":["/repos/**"],"slot":"bearer","to":"https://api.example.test:443"}"#;
    let miss = Miss { credential: "github".into(), granted: true, mismatch: "path".into(), binding: binding.to_vec() };
    Judgement {
        verdict: "denied".into(),
        rule: rule.into(),
        reason: "no granted credential goes with this request".into(),
        misses: vec![miss],
        enough: !changes.is_empty(),
        changes: changes.into_iter().map(|kind| Change { kind: Some(kind) }).collect(),
    }
}

/// A decision that is on record.
pub fn known() -> String {
    id(1).to_string()
}

/// What the fake issuer knows of a decision.
pub fn why(decision: &str) -> Option<WhyReply> {
    let allowed = || Judgement { verdict: "allowed".into(), enough: true, ..Default::default() };
    let narrow = br#"{"methods":["GET"],"paths":["/orgs/x"],"slot":"bearer","to":"https://api.example.test:443"}"#;
    let bind =
        admin::Bind { credential: "github-2".into(), binding: narrow.to_vec(), replaces: false, ..Default::default() };
    let lock = Ulid::parse("01K9ZQ3M6X5T8W4V2R7N1C0BDE").unwrap();
    let (events, now) = match Ulid::parse(decision).ok()? {
        decision if decision == id(1) => {
            let changes = vec![Kind::Bind(bind), Kind::Grant("github-2".into())];
            let event = denied(1, "not_granted", None, Some(call("GET", "/orgs/x", "page")));
            (vec![event], Some(refused_now("not_granted", changes)))
        }
        decision if decision == id(2) => {
            let event = denied(2, "locked", Some(lock), Some(call("GET", "/repos/x", "")));
            (vec![event], Some(refused_now("locked", vec![Kind::ReleaseLock(lock.to_string())])))
        }
        decision if decision == id(3) => (vec![intent(3), ended(3, Outcome::Ok { status: 200 })], Some(allowed())),
        decision if decision == id(4) => {
            let missing = Outcome::Error { kind: Code::of("source_unavailable"), status: None };
            (vec![intent(4), ended(4, missing)], Some(allowed()))
        }
        decision if decision == id(5) => (vec![denied(5, "bad_request", None, None)], None),
        decision if [id(11), id(12)].contains(&decision) => {
            let (method, path) = if decision == id(11) { ("TUNNEL", "/") } else { ("POST", "/user/repos") };
            let request = Request { host: Outside::of("api.github.com"), ..call(method, path, "") };
            let binding = format!(
                r#"{{"methods":["POST"],"paths":["{path}"],"slot":"bearer","to":"https://api.github.com:443"}}"#
            );
            let bind = admin::Bind {
                credential: "github".into(),
                binding: binding.into_bytes(),
                replaces: false,
                ..Default::default()
            };
            let changes = vec![Kind::Bind(bind), Kind::Grant("github".into())];
            let now = Judgement { misses: Vec::new(), ..refused_now("not_granted", changes) };
            (vec![denied(if method == "TUNNEL" { 11 } else { 12 }, "unbound_host", None, Some(request))], Some(now))
        }
        decision if decision == id(10) => {
            let event = denied(10, "ambiguous_slot", None, Some(call("GET", "/repos/x", "")));
            (vec![event], Some(refused_now("ambiguous_slot", vec![Kind::DeleteGrant(id(80).to_string())])))
        }
        decision if decision == id(6) => {
            let change = Kind::Require("session:contained:work".into());
            let event = denied(6, "not_granted", None, Some(call("GET", "/repos/x", "")));
            (vec![event], Some(refused_now("not_granted", vec![change])))
        }
        decision if decision == id(7) || decision == id(8) => {
            let n = if decision == id(7) { 7 } else { 8 };
            let place = if n == 7 { "header_name" } else { "body" };
            let request = Some(call("POST", "/repos/x", ""));
            let mut event = denied(n, "placeholder_misplaced", None, request);
            if let HelperEvent::Denied { refusal, mismatch, credentials, .. } = &mut event {
                (*refusal, *mismatch) = (Code::of("placeholder_misplaced"), Some(Code::of(place)));
                credentials.clear();
            }
            (vec![event], Some(allowed()))
        }
        decision if decision == id(9) => {
            (vec![denied(9, "placeholder", None, Some(call("GET", "/repos/x", "")))], Some(allowed()))
        }
        _ => return None,
    };
    Some(WhyReply { entries: entries(events), now, contained: "work".into() })
}

fn text(daemons: &Daemons, n: u8) -> String {
    let output = daemons.run(&format!("why {}", id(n)));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn parsed(daemons: &Daemons, n: u8) -> Value {
    let output = daemons.run(&format!("why {} -o json", id(n)));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn why_tells_request_rule_nearest_miss_and_the_commands() {
    let daemons = Daemons::start();
    let said = text(&daemons, 1);
    for line in [
        "was refused",
        "agent     researcher on spiffe://t.test/node/join_token/here",
        "contained (work)",
        "request   GET https://api.example.test:443/orgs/x?page=…",
        "rule      not_granted: the nearest granted was github, which did not fit in path (state version 9)",
        "told      This call is not permitted. (denied)",
        "nearest   github: not the path (it has /repos/**)",
        "now       the same",
        "  avouch secret put github-2 --value-stdin --to https://api.example.test:443 --method GET --path /orgs/x --as bearer\n",
        "  avouch grant create --agent researcher --credential github-2\n",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    let json = parsed(&daemons, 1);
    assert_eq!(
        (&json["verdict"], &json["rule"], &json["request"]["query"]),
        (&json!("refused"), &json!("not_granted"), &json!(["page"]))
    );
    assert_eq!(json["commands"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["now"]["nearest"][0]["mismatch"], "path");
}

#[test]
fn why_tells_the_lock_with_its_author_and_how_to_release_it() {
    let daemons = Daemons::start();
    let said = text(&daemons, 2);
    assert!(said.contains("locked: lock 01K9ZQ3M6X5T8W4V2R7N1C0BDE by me") && said.contains("odd calls"), "{said}");
    assert!(said.contains("  avouch lock release 01K9ZQ3M6X5T8W4V2R7N1C0BDE\n") && !said.contains("nearest"), "{said}");
}

#[test]
fn why_works_for_what_was_allowed_and_for_what_failed_behind_a_permit() {
    let daemons = Daemons::start();
    let said = text(&daemons, 3);
    let rule = format!("rule      github by grant {} (state version 9)", id(80));
    assert!(said.contains("was allowed") && said.contains(&rule) && said.contains("answered, HTTP 200"), "{said}");
    let json = parsed(&daemons, 3);
    assert_eq!((&json["outcome"]["status"], &json["commands"]), (&json!(200), &json!([])));
    let said = text(&daemons, 4);
    assert!(said.contains("was refused") && said.contains("(source_unavailable)"), "{said}");
    assert!(said.contains("avouch secret put github --value-stdin --to https://api.example.test:443"), "{said}");
}

#[test]
fn why_says_when_no_command_would_do_and_when_another_run_would() {
    let daemons = Daemons::start();
    let said = text(&daemons, 5);
    assert!(said.contains("No grant or binding changes this") && !said.contains("To let it through"), "{said}");
    let said = text(&daemons, 11);
    assert!(said.contains("  avouch secret put github --preset github --value-stdin\n"), "{said}");
    let said = text(&daemons, 12);
    let narrow = "  avouch secret put github --preset github --value-stdin --method POST --path /user/repos\n";
    assert!(said.contains(narrow), "{said}");
    let said = text(&daemons, 10);
    assert!(said.contains(&format!("To let it through:\n  avouch grant delete {}\n", id(80))), "{said}");
    assert!(said.contains("Or let the request say which of them it means"), "{said}");
    let said = text(&daemons, 6);
    assert!(said.contains("  avouch run --contain=work --agent researcher -- COMMAND\n"), "{said}");
}

#[test]
fn why_tells_where_a_placeholder_stood_and_never_that_all_is_well_with_it() {
    let daemons = Daemons::start();
    for (n, rule, advice) in [
        (7, "placeholder_misplaced: in the header's name", "To the agent: Put the placeholder only where"),
        (8, "placeholder_misplaced: in the body", "put the credential anew with --placeholder-in-body data"),
        (9, "placeholder: the nearest granted was github, which did not fit in path", "  avouch grant list\n"),
    ] {
        let said = text(&daemons, n);
        assert!(said.contains(&format!("rule      {rule} (state")) && said.contains(advice), "{said}");
        assert!(said.contains("now       without the placeholder it would be let through"), "{said}");
        assert!(!said.contains("To let it through"), "{said}");
    }
}

#[test]
fn a_decision_without_a_record_names_the_nodes_that_may_still_hold_it() {
    let daemons = Daemons::start();
    let output = daemons.run(&format!("why {}", id(77)));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("has arrived") && said.contains("look at the id again"), "{said}");
    // One of just now is waited for.
    let begun = SystemClock.boot();
    let output = daemons.run(&format!("why {}", Ulid::new(SystemClock.now(), [7; 10])));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && SystemClock.boot() - begun >= Duration::from_secs(3), "{said}");
    assert_eq!(daemons.run("why denied").status.code(), Some(2));
}
