//! Cases A21 and A22: a placeholder goes nowhere but into its own slot, place by place, each with what the tool's
//! server sees of it.

use super::*;
use crate::intercept::{HELD_BODIES, exchange::HELD_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

fn post(tool: &Tool, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST http://{0}/ok/x HTTP/1.1\r\nHost: {0}\r\n{fields}Content-Length: {length}\r\n\r\n{body}",
        tool.address
    )
}

fn with(tool: &Tool, field: &str) -> String {
    format!("GET http://{0}/ok/x HTTP/1.1\r\nHost: {0}\r\n{field}\r\n\r\n", tool.address)
}

/// What was recorded of the last refusal: its reason, and the place.
fn refused(world: &World) -> (String, Option<String>) {
    let events = world.ledger.events.lock().unwrap();
    match events.last() {
        Some(HelperEvent::Denied { reason, mismatch, .. }) => {
            (reason.as_str().to_owned(), mismatch.as_ref().map(|code| code.as_str().to_owned()))
        }
        other => panic!("{other:?}"),
    }
}

fn placed(place: &str) -> (String, Option<String>) {
    ("placeholder_misplaced".to_owned(), Some(place.to_owned()))
}

#[tokio::test]
async fn a_placeholder_in_its_slot_is_replaced() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    for field in [
        "Authorization: Bearer avouch:tool".to_owned(),
        "authorization: token xyz-avouch:tool".to_owned(),
        format!("Authorization: Basic {}", STANDARD.encode("me:avouch:tool")),
        format!("Authorization: Basic {}", STANDARD.encode("avouch:tool:")),
    ] {
        let response = once(&agents, with(&tool, &field)).await;
        assert_eq!(response.status, 200, "{field}");
        let sent = tool.last();
        assert!(sent.contains(&format!("authorization: Bearer {SECRET}\r\n")) && !sent.contains("avouch:"), "{sent}");
        assert_eq!(sent.to_ascii_lowercase().matches("authorization").count(), 1);
    }
    // It is nobody's own credential that was taken away.
    world.open(0).await;
    let events = world.ledger.events.lock().unwrap();
    assert!(events.iter().any(|event| matches!(event, HelperEvent::Outcome { stripped: false, .. })));
    assert!(!events.iter().any(|event| matches!(event, HelperEvent::Outcome { stripped: true, .. })));
}

#[tokio::test]
async fn a_placeholder_says_which_of_two_is_filled() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind("one", &plain_binding(&tool, r#""bearer""#));
    world.bind("two", &plain_binding(&tool, r#"{"header":{"name":"authorization","prefix":"Two "}}"#));
    let agents = world.session("researcher");
    assert_eq!(once(&agents, get(&tool, "/ok/x")).await.code(), "ambiguous_credential");
    for (named, scheme) in [("one", "Bearer"), ("two", "Two")] {
        let response = once(&agents, with(&tool, &format!("Authorization: x avouch:{named}"))).await;
        assert_eq!(response.status, 200);
        assert!(tool.last().contains(&format!("authorization: {scheme} {SECRET}\r\n")));
    }
}

#[tokio::test]
async fn a21_a_placeholder_goes_to_its_own_host_only() {
    let (tool, other) = (Tool::plain(|_| ok("")).await, Tool::plain(|_| ok("")).await);
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    world.bind("other", &plain_binding(&other, r#"{"header":{"name":"x-key"}}"#));
    let agents = world.session("researcher");
    // Both are granted; each placeholder is sent to the other's host, in either header.
    for (to, field, code) in [
        (&tool, "Authorization: Bearer avouch:other", "denied"),
        (&other, "X-Key: avouch:tool", "denied"),
        (&tool, "X-Key: avouch:other", "placeholder_misplaced"),
        (&other, "Authorization: Bearer avouch:tool", "denied"),
        (&other, "X-Token: avouch:tool", "placeholder_misplaced"),
    ] {
        let response = once(&agents, with(to, field)).await;
        assert_eq!((response.status, response.code().as_str()), (403, code), "{field}");
    }
    assert_eq!((tool.count(), other.count()), (0, 0));
    assert_eq!(world.codes(), ["broker.denied"; 5]);
    assert_eq!(once(&agents, with(&other, "X-Key: avouch:other")).await.status, 200);
}

#[tokio::test]
async fn a30_a_name_that_is_not_granted_reads_as_one_that_is_not_there() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    world.bind("secret", &plain_binding(&tool, r#""bearer""#));
    world.parts.lock().unwrap().grants.retain(|grant| grant.credential == name("tool"));
    world.publish();
    let agents = world.session("researcher");
    let mut texts = BTreeSet::new();
    for named in ["secret", "nothing"] {
        let response = once(&agents, with(&tool, &format!("Authorization: Bearer avouch:{named}"))).await;
        let mut json: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        assert!(json["error"]["decision"].take().is_string());
        texts.insert(format!("{}{json}", response.head));
        assert_eq!(refused(&world), ("placeholder".to_owned(), None));
    }
    assert_eq!((texts.len(), tool.count()), (1, 0));
}

#[tokio::test]
async fn a22_outside_a_slot_the_request_is_refused_and_recorded() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let basic = STANDARD.encode("me:avouch:tool");
    for (request, place) in [
        (get(&tool, "/ok/avouch:tool"), "path"),
        (get(&tool, "/ok/avouch%3Atool"), "path"),
        (get(&tool, "/ok/x?q=avouch:tool"), "query"),
        (get(&tool, "/ok/x?q=avouch%3atool"), "query"),
        (get(&tool, "/ok/x?q=%61%76ouch%3Atool"), "query"),
        (get(&tool, "/ok/x?q=avouch%253Atool"), "query"),
        (with(&tool, "Accept: avouch:tool"), "header"),
        (with(&tool, "X-Key: Bearer avouch:tool"), "header"),
        (with(&tool, "Cookie: key=avouch%3Atool"), "header"),
        (with(&tool, &format!("X-Auth: Basic {basic}")), "header"),
        (with(&tool, &format!("Proxy-Authorization: Basic {basic}")), "header"),
        (with(&tool, "Authorization: Bearer avouch:tool, avouch:tool"), "header"),
        (with(&tool, "avouch:tool: x"), "header_name"),
        (with(&tool, "x-avouch:tool"), "header_name"),
        (post(&tool, "", "key=avouch:tool"), "body"),
        (post(&tool, "", "key=avouch%3Atool&x=1"), "body"),
        (post(&tool, "Content-Type: application/json\r\n", r#"{"key":"avouch\u003atool"}"#), "body"),
        (
            post(
                &tool,
                "Content-Type: multipart/form-data; boundary=b\r\n",
                "--b\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\navouch:tool\r\n--b--\r\n",
            ),
            "body",
        ),
        // The right slot makes no other place right.
        (post(&tool, "Authorization: Bearer avouch:tool\r\n", "avouch:tool"), "body"),
        // Neither does a name that means nothing here.
        (post(&tool, "", "avouch:nothing"), "body"),
    ] {
        let response = once(&agents, &request).await;
        assert_eq!((response.status, response.code().as_str()), (403, "placeholder_misplaced"), "{request}");
        assert!(response.head.contains("x-should-retry: false"));
        assert_eq!(refused(&world), placed(place), "{request}");
    }
    assert_eq!((tool.count(), tool.connections.load(Ordering::SeqCst)), (0, 0));
    assert_eq!(world.codes(), ["broker.denied"; 20]);
    for request in [get(&tool, "/ok/avouch:?q=avouch"), post(&tool, "", "avouch: github"), with(&tool, "a: Avouch:x")] {
        assert_eq!(once(&agents, &request).await.status, 200, "{request}");
    }
}

#[tokio::test]
async fn a22_nothing_is_sent_where_nothing_could_be_put_in() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[("open.test", &["93.184.215.14"])], Unbound::Tunnel);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let head = "http://open.test/ok HTTP/1.1\r\nHost: open.test\r\n";
    for (request, place) in [
        (format!("GET {head}Authorization: Bearer avouch:tool\r\n\r\n"), "header"),
        (format!("GET {head}avouch: tool\r\n\r\n"), "header_name"),
        (format!("POST {head}Content-Length: 11\r\n\r\navouch:tool"), "body"),
        (format!("POST {head}Transfer-Encoding: chunked\r\n\r\n6\r\navouch\r\n5\r\n:tool\r\n0\r\n\r\n"), "body"),
        (get_unbound("/?k=avouch:tool"), "query"),
    ] {
        let response = once(&agents, &request).await;
        assert_eq!((response.status, response.code().as_str()), (403, "placeholder_misplaced"), "{request}");
        assert_eq!(refused(&world), placed(place), "{request}");
    }
    assert_eq!(world.recorded("broker.intent"), 0);
}

fn get_unbound(target: &str) -> String {
    format!("GET http://open.test{target} HTTP/1.1\r\nHost: open.test\r\n\r\n")
}

#[tokio::test]
async fn a22_a_body_is_searched_before_its_first_byte_is_sent() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    // At the very end of the most that is held back, and cut in two by chunks.
    let long = "x".repeat(HELD_MAX - "avouch:tool".len());
    let (one, other) = (format!("{long}avouc"), "h:tool");
    let chunked = format!(
        "POST http://{0}/ok/x HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n\r\n{1:x}\r\n{one}\r\n{2:x}\r\n{other}\r\n0\r\n\r\n",
        tool.address,
        one.len(),
        other.len()
    );
    for request in [post(&tool, "", &format!("{long}avouch:tool")), chunked] {
        let response = once(&agents, &request).await;
        assert_eq!((response.status, response.code().as_str()), (403, "placeholder_misplaced"));
        assert_eq!(refused(&world), placed("body"));
    }
    assert_eq!((tool.connections.load(Ordering::SeqCst), world.recorded("broker.intent")), (0, 0));
    // What is held back goes on whole, on the same connection as what follows.
    let mut conn = connect(agents.address).await;
    for length in [0, 1, HELD_MAX / 2, HELD_MAX - 1, HELD_MAX, HELD_MAX + 1, 2 * HELD_MAX] {
        let body = "y".repeat(length);
        assert_eq!(conn.call(post(&tool, "", &body)).await.status, 200, "{length}");
        assert!(tool.last().ends_with(&format!("\r\n\r\n{body}")), "{length}");
        let chunked = format!(
            "POST http://{0}/ok/x HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n",
            tool.address
        );
        let chunked = if length == 0 { chunked.replacen("0\r\n\r\n", "", 1) } else { chunked };
        assert_eq!(conn.call(&chunked).await.status, 200, "{length}");
        let sent = tool.last();
        assert_eq!(sent.split_once("\r\n\r\n").unwrap().1.matches('y').count(), length);
    }
}

#[tokio::test]
async fn a22_a_longer_body_is_searched_as_it_goes_and_never_completed() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    for tail in ["avouch:tool", "avouch:tool and so on"] {
        let body = format!("{}{tail}", "x".repeat(3 * HELD_MAX));
        let mut conn = connect(agents.address).await;
        let response = conn.call(post(&tool, "", &body)).await;
        assert_eq!((response.status, response.code().as_str()), (403, "placeholder_misplaced"));
    }
    world.open(0).await;
    // The server never read a whole request.
    assert_eq!((tool.count(), world.recorded("broker.intent"), world.recorded("broker.outcome")), (0, 2, 2));
}

#[tokio::test]
async fn a_body_may_speak_of_placeholders_where_the_binding_says_so() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    let says_so = plain_binding(&tool, r#""bearer""#).replace('}', r#","placeholder_in_body":"data"}"#);
    world.bind("tool", &says_so);
    let agents = world.session("researcher");
    for body in ["what is avouch:github?".to_owned(), format!("{}avouch:tool", "x".repeat(2 * HELD_MAX))] {
        assert_eq!(once(&agents, post(&tool, "", &body)).await.status, 200);
        assert!(tool.last().ends_with(&body));
    }
    // The rest of the request is as strict as ever.
    assert_eq!(once(&agents, get(&tool, "/ok/x?q=avouch:tool")).await.code(), "placeholder_misplaced");
    // One binding that says so does not speak for another.
    world.bind("two", &plain_binding(&tool, r#"{"header":{"name":"x-two"}}"#));
    assert_eq!(once(&agents, post(&tool, "", "avouch:tool")).await.code(), "placeholder_misplaced");
}

#[tokio::test]
async fn a_lock_ends_a_call_whose_body_is_still_awaited() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let mut conn = connect(world.session("researcher").address).await;
    let fields = "Expect: 100-continue\r\n";
    let head = post(&tool, fields, "").replace("Content-Length: 0", "Content-Length: 100");
    conn.write(head).await;
    assert_eq!(conn.head().await.unwrap().0, 100);
    world.open(1).await;
    world.lock("researcher");
    let response = conn.response(true).await.unwrap();
    assert_eq!((response.status, response.code().as_str()), (403, "denied"));
    assert_eq!((tool.connections.load(Ordering::SeqCst), world.recorded("broker.intent")), (0, 0));
    world.open(0).await;
}

#[tokio::test]
async fn a_session_holds_back_so_many_bodies_and_no_more() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let head = post(&tool, "Expect: 100-continue\r\n", "").replace("Content-Length: 0", "Content-Length: 5");
    let mut held = Vec::new();
    for _ in 0..HELD_BODIES {
        let mut conn = connect(agents.address).await;
        conn.write(&head).await;
        assert_eq!(conn.head().await.unwrap().0, 100);
        held.push(conn);
    }
    let mut waits = connect(agents.address).await;
    waits.write(&head).await;
    world.open(HELD_BODIES + 1).await;
    let told = tokio::time::timeout(Duration::from_millis(100), waits.stream.readable()).await;
    assert!(told.is_err(), "it was told to go on");
    // A session beside it has room of its own, and what needs none does not wait.
    let mut beside = connect(world.session("researcher").address).await;
    beside.write(&head).await;
    assert_eq!(beside.head().await.unwrap().0, 100);
    assert_eq!(once(&agents, post(&tool, "", "whole")).await.status, 200);
    let mut first = held.remove(0);
    first.write("hello").await;
    assert_eq!(first.response(true).await.unwrap().status, 200);
    assert_eq!(waits.head().await.unwrap().0, 100);
}
