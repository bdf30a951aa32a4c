//! Case A17: whatever two readers could frame differently is refused, the connection closed, and nothing sent on.

use super::*;

#[tokio::test]
async fn a17_nothing_is_smuggled() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let a = tool.address;
    let second = format!("GET http://{a}/ok/second HTTP/1.1\r\nHost: {a}\r\n\r\n");
    let post =
        |fields: &str, body: &str| format!("POST http://{a}/ok/x HTTP/1.1\r\nHost: {a}\r\n{fields}\r\n\r\n{body}");
    let table = [
        ("CL.TE", post("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nX")),
        ("TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4", "5c\r\nX\r\n0\r\n\r\n")),
        ("two CL, equal", post("Content-Length: 5\r\nContent-Length: 5", "hello")),
        ("two CL", post("Content-Length: 5\r\nContent-Length: 6", "hello!")),
        ("CL list", post("Content-Length: 5, 5", "hello")),
        ("CL sign", post("Content-Length: +5", "hello")),
        ("CL hex", post("Content-Length: 0x5", "hello")),
        ("TE twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("TE list", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
        ("TE chunked, identity", post("Transfer-Encoding: chunked, identity", "0\r\n\r\n")),
        ("TE xchunked", post("Transfer-Encoding: xchunked", "0\r\n\r\n")),
        ("TE quoted", post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n")),
        ("TE space before colon", post("Transfer-Encoding : chunked", "0\r\n\r\n")),
        ("TE obs-fold", post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n")),
        ("TE in a fold of X", post("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\n")),
        ("TE after bare CR", post("X: y\rTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("TE after bare LF", post("X: y\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("1.0 with TE", post("Transfer-Encoding: chunked", "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0")),
        ("NUL", post("X: \0", "")),
        ("bytes after a head", get(&tool, "/ok/x") + &second),
        ("one byte after a head", get(&tool, "/ok/x") + "X"),
        ("CRLF after a head", get(&tool, "/ok/x") + "\r\n"),
        ("bytes after a body", post("Content-Length: 5", "hello") + &second),
        ("bytes after chunks", post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n") + &second),
        ("chunk extension", post("Transfer-Encoding: chunked", "5;x\r\nhello\r\n0\r\n\r\n")),
        ("chunk size by LF", post("Transfer-Encoding: chunked", "5\nhello\r\n0\r\n\r\n")),
        ("chunk overlong", post("Transfer-Encoding: chunked", "5\r\nhelloX\r\n0\r\n\r\n")),
        ("chunk size sign", post("Transfer-Encoding: chunked", "+5\r\nhello\r\n0\r\n\r\n")),
        ("chunk size wraps", post("Transfer-Encoding: chunked", "10000000000000005\r\nhello\r\n0\r\n\r\n")),
        ("trailers", post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nAuthorization: x\r\n\r\n")),
        ("CRLF in the target", format!("GET http://{a}/ok/x\r\nX: HTTP/1.1\r\nHost: {a}\r\n\r\n")),
        ("blank in the target", format!("GET http://{a}/ok/x y HTTP/1.1\r\nHost: {a}\r\n\r\n")),
        ("leading CRLF", format!("\r\n{second}")),
        ("expectation", post("Content-Length: 5\r\nExpect: 100-continue, x", "hello")),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
    ];
    let cases = table.len();
    for (what, bytes) in table {
        let mut conn = connect(agents.address).await;
        let response = conn.call(bytes).await;
        assert_eq!((response.status, response.code().as_str()), (400, "bad_request"), "{what}");
        assert!(conn.is_closed().await, "{what}");
    }
    assert_eq!(tool.count(), 0, "{:?}", tool.last());
    assert_eq!(world.codes(), vec!["broker.denied"; cases]);
    assert_eq!(once(&agents, second).await.status, 200);
}

#[tokio::test]
async fn limits_of_heads_and_bodies_are_refused_as_too_large() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let many: String = (0..200).map(|at| format!("X-{at}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(70_000));
    for (what, fields) in [("fields", many.as_str()), ("bytes", &long), ("body", "Content-Length: 2000000000\r\n")] {
        let request = get(&tool, "/ok/x").replace("\r\n\r\n", &format!("\r\n{fields}\r\n"));
        let response = once(&agents, request).await;
        assert_eq!((response.status, response.code().as_str()), (413, "too_large"), "{what}");
    }
    assert_eq!(tool.count(), 0);
}

/// Case T06: what a server sends without being asked is nobody's answer.
#[tokio::test]
async fn a_second_answer_is_never_taken_for_the_next_requests() {
    let tool = Tool::plain(|request| match request.contains("/ok/poison") {
        true => Answer::Keep(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison".to_vec(),
        ),
        false => ok("clean"),
    })
    .await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let mut conn = connect(world.session("researcher").address).await;
    for _ in 0..10 {
        assert_eq!(conn.call(get(&tool, "/ok/poison")).await.body, "a");
        assert_eq!(conn.call(get(&tool, "/ok/x")).await.body, "clean");
    }
}

#[tokio::test]
async fn answers_that_are_not_cleanly_framed_are_withheld_or_close_both_sides() {
    let answers: [(&str, &[u8]); 9] = [
        ("two CL", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        ("CL and TE", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("other TE", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx"),
        ("1.0 with TE", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("obs-fold", b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n"),
        ("bare LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("no HTTP", b"hello\r\n\r\n"),
        ("204 with a body", b"HTTP/1.1 204 X\r\nContent-Length: 1\r\n\r\nx"),
        ("cut short", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"),
    ];
    for (what, answer) in answers {
        let tool = Tool::plain(move |_| Answer::Close(answer.to_vec())).await;
        let world = World::new(&[], Unbound::Deny);
        world.bind_plain(&tool);
        let response = once(&world.session("researcher"), get(&tool, "/ok/x")).await;
        assert_eq!((response.status, response.code().as_str()), (502, "upstream_unclean"), "{what}");
    }
    // A long answer that breaks off has begun already: its end is missing, and the connection closes.
    let tool =
        Tool::plain(|_| Answer::Close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel".to_vec())).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let mut conn = connect(world.session("researcher").address).await;
    conn.write(get(&tool, "/ok/x")).await;
    assert!(conn.response(true).await.is_none() && conn.is_closed().await);
    world.open(0).await;
    assert_eq!(world.codes(), ["broker.intent", "broker.outcome"]);
}

/// Case T14.
#[tokio::test]
async fn a_flood_of_interim_answers_is_ended() {
    let tool = Tool::plain(|_| Answer::Hang(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(50))).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    assert_eq!(once(&world.session("researcher"), get(&tool, "/ok/x")).await.code(), "upstream_unclean");
}
