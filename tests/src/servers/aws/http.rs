//! Enough HTTP/1.1 over TLS for the SDK's requests, blocking.

use super::SILENCE;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A request.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What is answered to it.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
}

impl Asked {
    /// A header's value; none if it is not there, or there twice.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, kind: "application/x-amz-json-1.1", body: body.to_string().into_bytes() }
    }

    pub(super) fn xml(status: u16, body: String) -> Self {
        Self { status, kind: "text/xml", body: body.into_bytes() }
    }
}

/// Answers what comes over one connection, until it ends.
pub(super) fn serve(stream: TcpStream, config: Arc<ServerConfig>, answer: impl Fn(&Asked) -> Answer) {
    stream.set_read_timeout(Some(SILENCE)).ok();
    let Ok(connection) = ServerConnection::new(config) else { return };
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(asked) = read(&mut stream) {
        let Answer { status, kind, body } = answer(&asked);
        let length = body.len();
        // For redirects; harmless elsewhere.
        let head = format!(
            "HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nRetry-After: 7\r\nLocation: /elsewhere\r\n\
             Content-Length: {length}\r\nx-amzn-RequestId: 0\r\n\r\n"
        );
        let out = stream.get_mut();
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(&body)).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let mut asked = Asked { method, path, headers, body: Vec::new() };
    let length = asked.header("content-length").map_or(Some(0), |length| length.parse().ok())?;
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).ok()?;
    Some(asked)
}
