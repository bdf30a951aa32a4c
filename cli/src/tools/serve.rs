//! HTTP/1.1, as much as a tool needs: requests with a length, answers with a length or in chunks, keep-alive.

use super::{Seen, ToolLog, echo};
use avouch_words::Secret;
use base64::Engine as _;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Serves one connection to its end.
pub(super) async fn serve<S>(mut stream: S, tls: bool, demanded: &Secret, log: &ToolLog) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        let authorized = shows(&request.credential, demanded);
        log.add(Seen { tls, authorized, ..request.seen });
        let text = String::from_utf8_lossy(&request.credential).into_owned();
        match (authorized, request.mode.as_deref()) {
            (false, _) => {
                let body = b"{\"error\":\"this tool wants its credential\"}\n";
                plain(&mut stream, "401 Unauthorized", "www-authenticate: Bearer\r\n", body).await?;
            }
            (true, None) => {
                plain(&mut stream, "200 OK", "", b"{\"answer\":42,\"said\":\"the tool has done it\"}\n").await?
            }
            (true, Some("echo")) => echo::answer(&mut stream, &text).await?,
            (true, Some("stream")) => return ticks(&mut stream).await,
            (true, Some(_)) => plain(&mut stream, "404 Not Found", "", b"{\"error\":\"no such mode\"}\n").await?,
        }
        stream.flush().await?;
    }
    Ok(())
}

struct Request {
    seen: Seen,
    mode: Option<String>,
    /// The value of `Authorization`, all of it.
    credential: Vec<u8>,
}

/// The next request; none when the client is done.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let head = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if buffer.len() > HEAD_MAX {
            return Err(bad("the head is too long"));
        }
        if fill(stream, buffer).await? == 0 {
            return Ok(None);
        }
    };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(&buffer[..head]).map_err(io::Error::other)?;
    let value = |name: &str| {
        parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let text = |name: &str| value(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default();
    let length = match value("content-length") {
        None if value("transfer-encoding").is_some() => return Err(bad("chunked requests are not taken")),
        None => 0,
        Some(length) => std::str::from_utf8(length).ok().and_then(|length| length.parse().ok()).unwrap_or(usize::MAX),
    };
    if length > BODY_MAX {
        return Err(bad("the body is too long"));
    }
    let target = parsed.path.unwrap_or_default().to_owned();
    let mode = target.split_once("?mode=").map(|(_, mode)| mode.to_owned());
    let request = Request {
        seen: Seen {
            tls: false,
            method: parsed.method.unwrap_or_default().to_owned(),
            target,
            host: text("host"),
            authorized: false,
        },
        mode,
        credential: value("authorization").unwrap_or_default().to_vec(),
    };
    while buffer.len() < head + length {
        if fill(stream, buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    buffer.drain(..head + length);
    Ok(Some(request))
}

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> io::Result<usize> {
    tokio::time::timeout(IDLE, stream.read_buf(buffer)).await.map_err(io::Error::other)?
}

/// As a bearer token, as the password of `Basic`, or bare.
fn shows(credential: &[u8], demanded: &Secret) -> bool {
    let wanted = demanded.expose();
    let bare = credential.strip_prefix(b"Bearer ").unwrap_or(credential);
    let basic =
        credential.strip_prefix(b"Basic ").and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    let password = basic.as_deref().and_then(|pair| pair.iter().position(|b| *b == b':').map(|at| &pair[at + 1..]));
    bare == wanted || password == Some(wanted)
}

async fn plain<S: AsyncWrite + Unpin>(stream: &mut S, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

/// A stream that goes on until the client is gone.
async fn ticks<S: AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    for number in 0..TICKS_MAX {
        let event = format!("data: tick {number}\n\n");
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        stream.flush().await?;
        tokio::time::sleep(TICK).await;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// The longest head, in bytes.
const HEAD_MAX: usize = 32 * 1024;
/// The most headers.
const HEADERS_MAX: usize = 64;
/// The longest body, in bytes.
const BODY_MAX: usize = 1024 * 1024;
/// How long a connection may be silent.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// How often a stream says something.
const TICK: Duration = Duration::from_millis(20);
/// When a stream ends by itself: after 2 minutes.
const TICKS_MAX: u32 = 6_000;
