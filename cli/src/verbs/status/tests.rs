use super::*;

const NOW: Millis = Millis(1_700_000_000_000);
const MINUTE: i64 = 60_000;

fn issuer() -> Issuer {
    let key = |purpose: &str, state: &str, minutes: i64| admin::Authority {
        purpose: purpose.into(),
        state: state.into(),
        not_after_ms: NOW.0 + minutes * MINUTE,
    };
    let node = |id: &str, minutes: i64| admin::Node {
        id: id.into(),
        connected: true,
        svid_expires_ms: NOW.0 + minutes * MINUTE,
        ..Default::default()
    };
    let agent = |name: &str| admin::Agent { name: name.into(), owner: "me".into(), ..Default::default() };
    let lock = |agent: &str, minutes: i64| admin::Lock {
        id: format!("L-{agent}"),
        agent: agent.into(),
        expires_ms: if minutes == 0 { 0 } else { NOW.0 + minutes * MINUTE },
        ..Default::default()
    };
    Issuer {
        status: admin::StatusReply {
            trust_domain: "t.test".into(),
            operator: "uid-7".into(),
            authorities: vec![key("x509", "active", 60), key("x509", "old", 1), key("jwt", "active", 3 * 1440)],
            ..Default::default()
        },
        nodes: vec![node("late", 9), node("fine", 11)],
        agents: (0..12).map(|n| agent(&format!("a{n}"))).collect(),
        grants: vec![admin::Grant { agent: "a1".into(), credential: "github".into(), ..Default::default() }],
        locks: vec![lock("a2", 0), lock("a3", 5)],
        instances: vec![admin::Instance { node_id: "fine".into(), ..Default::default() }],
        refusals: vec![admin::Refusal {
            decision: "D".into(),
            time_ms: NOW.0 - MINUTE,
            agent: "a1".into(),
            code: "denied".into(),
            method: "GET".into(),
            origin: "https://api.test:443".into(),
            path: format!("/{}\u{1b}", "p".repeat(60)),
            ..Default::default()
        }],
    }
}

fn helper() -> Helper {
    let session = local::Session {
        session: "S".into(),
        agent: "a1".into(),
        uid: 7,
        pid: 99,
        started_ms: NOW.0 - 2 * MINUTE,
        contained: "work".into(),
    };
    Helper { status: local::StatusReply { held_by: "stale".into(), ..Default::default() }, sessions: vec![session] }
}

#[test]
fn what_ends_soon_is_told_soonest_first_and_what_is_renewed_in_time_is_not() {
    let endings: Vec<_> = issuer().endings(NOW).into_iter().map(|ending| ending.what).collect();
    assert_eq!(
        endings,
        ["the lock on a3 (L-a3)", "the SVID of late, which should have been renewed", "the x509 key that signs"]
    );
}

#[test]
fn the_screen_tells_who_it_is_what_may_be_used_and_what_was_refused() {
    let text = screen::all(&Part::Here(Box::new(issuer())), &Part::Here(Box::new(helper())), NOW);
    for said in [
        "domain   t.test, as operator uid-7\n",
        "helper   not injecting (stale)",
        "S        a1     work       7    99   2m0s ago\n",
        "a1     me     github   active\n",
        "a2     me     nothing  LOCKED: avouch lock release L-a2\n",
        "and 2 more: avouch agent list\n",
        "1m0s ago  a1     GET api.test/ppp",
        "…  denied  avouch why D\n",
        "in 5m0s  the lock on a3 (L-a3)\n",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn either_part_alone_is_told_as_far_as_it_is_known() {
    let text = screen::all(&Part::Absent, &Part::Here(Box::new(helper())), NOW);
    assert!(text.contains("issuer   not here\n") && text.contains("work"), "{text}");
    let silent = Failure::new(crate::failure::Exit::Unreachable, "it sleeps").then("Wake it.");
    let json = script::all(&Part::Silent(silent), &Part::Absent, NOW);
    assert_eq!((&json["issuer"]["error"], &json["helper"]["state"]), (&"it sleeps".into(), &"not here".into()));
    assert!(json["agents"].is_null() && json["sessions"].is_null());
    let json = script::all(&Part::Here(Box::new(issuer())), &Part::Here(Box::new(helper())), NOW);
    assert_eq!((&json["agents"][1]["may_use"][0], &json["agents"][2]["lock"]), (&"github".into(), &"L-a2".into()));
    assert_eq!((&json["sessions"][0]["contained"], &json["refused"][0]["decision"]), (&"work".into(), &"D".into()));
}
