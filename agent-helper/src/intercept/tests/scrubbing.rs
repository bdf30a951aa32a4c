//! Cases A02 to A08: what comes back shows no credential in any form.

use super::*;

fn forms() -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    [
        SECRET.to_owned(),
        STANDARD.encode(SECRET),
        STANDARD.encode(format!("x{SECRET}")),
        STANDARD.encode(format!("xx{SECRET}")),
        URL_SAFE.encode(SECRET),
        SECRET.replace('/', "%2F").replace('+', "%2B"),
        SECRET.replace('/', "\\/").replace('s', "\\u0073"),
        format!("Bearer {SECRET}"),
    ]
    .join(" | ")
}

#[tokio::test]
async fn a08_head_fields_and_the_reason_phrase_show_nothing() {
    let tool = Tool::plain(|_| {
        let fields = ["Location", "Set-Cookie", "WWW-Authenticate", "X-Echo", "ETag"];
        let fields: String = fields.iter().map(|name| format!("{name}: {}\r\n", forms())).collect();
        let named = SECRET.replace(['/', '+'], "-");
        Answer::Keep(
            format!("HTTP/1.1 200 {SECRET}\r\n{fields}X-{named}: y\r\nContent-Length: 2\r\n\r\nok").into_bytes(),
        )
    })
    .await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let response = once(&world.session("researcher"), get(&tool, "/ok/x")).await;
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    assert!(!shows_secret(&response.head), "{}", response.head);
    assert!(response.head.starts_with("HTTP/1.1 200 \r\n"));
    world.open(0).await;
    let reflected = |event: &HelperEvent| matches!(event, HelperEvent::Outcome { reflected: true, .. });
    assert!(world.ledger.events.lock().unwrap().iter().any(reflected));
}

#[tokio::test]
async fn a02_and_a03_bodies_show_nothing_wherever_they_are_cut() {
    for size in [1, 7, 16, 1000] {
        let tool = Tool::plain(move |request| {
            let body = format!("before {} after", forms());
            if request.contains("/ok/length") {
                return ok(&body);
            }
            let mut pieces = vec![b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()];
            pieces.extend(
                body.as_bytes()
                    .chunks(size)
                    .map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()),
            );
            pieces.push(format!("0\r\nX-Trailer: {SECRET}\r\n\r\n").into_bytes());
            Answer::Pieces(pieces)
        })
        .await;
        let world = World::new(&[], Unbound::Deny);
        world.bind_plain(&tool);
        let mut conn = connect(world.session("researcher").address).await;
        for path in ["/ok/chunked", "/ok/length"] {
            let response = conn.call(get(&tool, path)).await;
            assert!(response.body.starts_with("before ") && response.body.ends_with(" after"), "{}", response.body);
            assert!(!shows_secret(&response.body), "{size}: {}", response.body);
            assert!(!response.body.contains("canary"), "{}", response.body);
        }
    }
}

#[tokio::test]
async fn a05_and_a06_what_cannot_be_searched_is_withheld() {
    for head in [
        "200 OK\r\nContent-Encoding: gzip",
        "200 OK\r\nContent-Encoding: br",
        "200 OK\r\nContent-Encoding: identity, zstd",
        "200 OK\r\nContent-Encoding: x-unknown",
        "206 Partial Content\r\nContent-Range: bytes 0-0/9",
        "206 Partial Content",
        "200 OK\r\nContent-Type: multipart/byteranges; boundary=x",
    ] {
        let tool = Tool::plain(move |_| {
            Answer::Keep(format!("HTTP/1.1 {head}\r\nContent-Length: 4\r\n\r\nbody").into_bytes())
        })
        .await;
        let world = World::new(&[], Unbound::Deny);
        world.bind_plain(&tool);
        let request = get(&tool, "/ok/x")
            .replace("\r\n\r\n", "\r\nRange: bytes=0-0\r\nIf-Range: x\r\nAccept-Encoding: gzip\r\n\r\n");
        let response = once(&world.session("researcher"), request).await;
        assert_eq!((response.status, response.code().as_str()), (502, "upstream_unclean"), "{head}");
        assert!(!response.body.contains("body\""));
        let sent = tool.last().to_ascii_lowercase();
        assert!(
            !sent.contains("range") && sent.contains("accept-encoding: identity\r\n") && !sent.contains("gzip"),
            "{sent}"
        );
    }
}

/// Case A35: every refusal after the value was read.
#[tokio::test]
async fn no_refusal_and_no_record_shows_the_secret() {
    let tool = Tool::plain(|request| match request.split(' ').nth(1).unwrap() {
        "/ok/coded" => {
            Answer::Keep(format!("HTTP/1.1 200 {SECRET}\r\nContent-Encoding: {SECRET}\r\n\r\n").into_bytes())
        }
        "/ok/crooked" => Answer::Close(format!("{SECRET} {SECRET}\r\n\r\n").into_bytes()),
        _ => Answer::Close(Vec::new()),
    })
    .await;
    let world = World::new(&[], Unbound::Deny);
    world.bind("tool", &plain_binding(&tool, r#"{"basic":{"username":"user"}}"#));
    let agents = world.session("researcher");
    for path in ["/ok/coded", "/ok/crooked", "/ok/closed", "/no/x"] {
        let response = once(&agents, get(&tool, path)).await;
        assert!(response.status >= 400 && !shows_secret(&response.head) && !shows_secret(&response.body), "{path}");
    }
    world.open(0).await;
    assert!(!shows_secret(&format!("{:?}", world.ledger.events.lock().unwrap())));
    assert_eq!(world.codes().len(), 7);
}
