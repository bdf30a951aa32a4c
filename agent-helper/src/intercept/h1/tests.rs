use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(5);

/// A connection of which we hold the far end, and the proxy's input and output.
async fn pair() -> (TcpStream, Input, Output) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (input, output) = Io::Plain(listener.accept().await.unwrap().0).halves();
    (far, input, output)
}

async fn request(bytes: &[u8]) -> Result<(RequestHead, Input), HeadFault> {
    let (mut far, mut input, _output) = pair().await;
    far.write_all(bytes).await.unwrap();
    drop(far);
    let mut head = RequestHead::default();
    head.read(&mut input, SOON).await?;
    head.host()?;
    head.framing()?;
    head.expects_continue()?;
    Ok((head, input))
}

#[tokio::test]
async fn an_ordinary_head_is_read() {
    let (head, input) =
        request(b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\nConnection: keep-alive\r\n\r\n")
            .await
            .unwrap();
    assert_eq!((head.method(), head.target()), ("GET", "http://a.test/x"));
    assert_eq!(head.host().unwrap(), b"a.test");
    assert_eq!(head.fields().all("x-one").collect::<Vec<_>>(), [b"1"]);
    assert_eq!(head.framing().unwrap(), Framing::None);
    assert!(!head.closes() && !input.has_leftover());
}

#[tokio::test]
async fn what_two_readers_could_read_differently_is_refused() {
    for (what, bytes) in [
        (
            "content-length with transfer-encoding",
            &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
        ),
        ("two content-lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        ("list of content-lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"),
        ("signed content-length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
        ("empty content-length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"),
        ("huge content-length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n"),
        ("two codings", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"),
        (
            "two coding fields",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("xchunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        ("vertical tab in the coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n"),
        ("identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
        ("1.0 with chunks", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("obs-fold", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
        ("obs-fold by tab", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n"),
        ("bare LF", b"GET / HTTP/1.1\nHost: a\n\n"),
        ("bare LF within", b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"),
        ("bare CR", b"GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n"),
        ("NUL", b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
        ("blank before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n"),
        ("blank within a name", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: 5\r\n\r\n"),
        ("no name", b"GET / HTTP/1.1\r\nHost: a\r\n: 5\r\n\r\n"),
        ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n"),
        ("two blanks", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("blank in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("leading empty line", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no host", b"GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("HTTP/0.9", b"GET /\r\n\r\n"),
        ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        ("expectation", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00"),
    ] {
        let refused = request(bytes).await.err();
        assert!(matches!(refused, Some(HeadFault::Malformed(_))), "{what}: {refused:?}");
    }
}

#[tokio::test]
async fn heads_end_at_their_limits() {
    let fields = |count: usize| {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        (1..count).for_each(|at| head.extend_from_slice(format!("X-{at}: 1\r\n").as_bytes()));
        head.extend_from_slice(b"\r\n");
        head
    };
    assert!(request(&fields(head::FIELDS_MAX)).await.is_ok());
    assert!(matches!(request(&fields(head::FIELDS_MAX + 1)).await, Err(HeadFault::TooLarge)));
    let sized = |size: usize| {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        head.resize(size - 4, b'x');
        head.extend_from_slice(b"\r\n\r\n");
        head
    };
    assert!(request(&sized(head::HEAD_MAX)).await.is_ok());
    assert!(matches!(request(&sized(head::HEAD_MAX + 1)).await, Err(HeadFault::TooLarge)));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_given_up() {
    let (mut far, mut input, _output) = pair().await;
    far.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut head = RequestHead::default();
    let began = tokio::time::Instant::now();
    assert!(matches!(head.read(&mut input, Duration::from_secs(300)).await, Err(HeadFault::Slow)));
    assert!(began.elapsed() <= head::HEAD_DEADLINE + SOON);
}

async fn body(bytes: &[u8], framing: Framing, of_request: bool) -> Result<Vec<u8>, BodyFault> {
    let (mut far, mut input, _output) = pair().await;
    let bytes = bytes.to_vec();
    tokio::spawn(async move {
        for byte in bytes {
            far.write_all(&[byte]).await.unwrap();
            far.flush().await.unwrap();
        }
    });
    let mut body = if of_request { Body::of_request(framing)? } else { Body::of_response(framing)? };
    let mut out = Vec::new();
    while let Some(piece) = body.next(&mut input, SOON).await? {
        out.extend_from_slice(&piece);
    }
    Ok(out)
}

#[tokio::test]
async fn bodies_are_read_byte_by_byte() {
    assert_eq!(body(b"hello", Framing::Length(5), true).await.unwrap(), b"hello");
    assert_eq!(
        body(b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n", Framing::Chunked, true).await.unwrap(),
        b"hello0123456789"
    );
    assert_eq!(body(b"hello", Framing::UntilClose, false).await.unwrap(), b"hello");
    assert_eq!(
        body(b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n", Framing::Chunked, false).await.unwrap(),
        b"x",
        "trailers are dropped"
    );
}

#[tokio::test]
async fn crooked_chunks_are_refused() {
    for (what, bytes) in [
        ("cut", &b"5\r\nhel"[..]),
        ("no size", b"\r\nhello\r\n0\r\n\r\n"),
        ("0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("sign", b"+5\r\nhello\r\n0\r\n\r\n"),
        ("blank", b"5 \r\nhello\r\n0\r\n\r\n"),
        ("extension", b"5;a=b\r\nhello\r\n0\r\n\r\n"),
        ("bare LF", b"5\nhello\r\n0\r\n\r\n"),
        ("too long", b"000000005\r\nhello\r\n0\r\n\r\n"),
        ("overlong data", b"5\r\nhelloX\r\n0\r\n\r\n"),
        ("no CR", b"5\r\nhello\n0\r\n\r\n"),
        ("trailers", b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n"),
    ] {
        assert!(body(bytes, Framing::Chunked, true).await.is_err(), "{what}");
    }
    assert!(matches!(body(b"hel", Framing::Length(5), false).await, Err(BodyFault::Cut(_))));
}

#[tokio::test]
async fn bodies_end_at_their_limits() {
    assert!(Body::of_request(Framing::Length(body::REQUEST_BODY_MAX)).is_ok());
    assert!(matches!(Body::of_request(Framing::Length(body::REQUEST_BODY_MAX + 1)), Err(BodyFault::TooLarge)));
}

#[tokio::test]
async fn what_is_ready_is_taken_without_waiting() {
    let (mut far, mut input, _output) = pair().await;
    far.write_all(b"3\r\nabc\r\n0\r\n\r\nGET /").await.unwrap();
    while !input.has_leftover() {
        input.fill().await.unwrap();
    }
    let (mut body, mut out) = (Body::of_request(Framing::Chunked).unwrap(), Vec::new());
    body.ready(&mut input, &mut out, 1024).unwrap();
    assert_eq!((out.as_slice(), body.is_done(), input.has_leftover()), (&b"abc"[..], true, true));
}

#[tokio::test]
async fn responses_tell_their_end() {
    for (bytes, method, framing) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"[..], "GET", Some(Framing::Length(3))),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", Some(Framing::Chunked)),
        (b"HTTP/1.1 200 OK\r\n\r\n", "GET", Some(Framing::UntilClose)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD", Some(Framing::None)),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "GET", Some(Framing::None)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", Some(Framing::None)),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", "GET", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", "GET", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", None),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", None),
    ] {
        let (mut far, mut input, _output) = pair().await;
        far.write_all(bytes).await.unwrap();
        let mut head = ResponseHead::default();
        head.read(&mut input, SOON).await.unwrap();
        assert_eq!(head.framing(method).ok(), framing, "{}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn an_idle_connection_with_news_is_told() {
    let (mut far, mut input, mut output) = pair().await;
    assert!(!input.has_news());
    output.write_all(b"x").await.unwrap();
    far.read_exact(&mut [0]).await.unwrap();
    assert!(!input.has_news());
    far.write_all(b"HTTP/1.1 200").await.unwrap();
    tokio::time::timeout(SOON, async {
        while !input.has_news() {
            tokio::task::yield_now().await
        }
    })
    .await
    .unwrap();
}

#[test]
fn a_field_cannot_end_its_line() {
    let mut out = Vec::new();
    assert!(write::field(&mut out, "x-a", b"plain\tvalue \xff"));
    assert_eq!(out, b"x-a: plain\tvalue \xff\r\n");
    for (name, value) in
        [("x", &b"a\r\nb"[..]), ("x", b"a\nb"), ("x", b"a\0b"), ("x", b"\x7f"), ("x y", b""), ("x:", b""), ("", b"")]
    {
        assert!(!write::field(&mut out, name, value));
    }
    assert_eq!(out.len(), 20);
}

#[test]
fn chunks_and_numbers_are_written() {
    let mut out = Vec::new();
    write::chunk(&mut out, b"");
    write::chunk(&mut out, &[b'x'; 16]);
    write::chunk(&mut out, b"y");
    write::last_chunk(&mut out);
    assert_eq!(out, b"10\r\nxxxxxxxxxxxxxxxx\r\n1\r\ny\r\n0\r\n\r\n");
    out.clear();
    write::number_field(&mut out, "content-length", 0);
    write::number_field(&mut out, "content-length", u64::MAX);
    assert_eq!(out, b"content-length: 0\r\ncontent-length: 18446744073709551615\r\n");
}
