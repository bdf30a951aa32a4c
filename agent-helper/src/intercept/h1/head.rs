//! Heads of messages: read up to the empty line, linted as bytes, then parsed.

use std::ops::Range;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::io::Input;

/// The longest head, in bytes.
pub(crate) const HEAD_MAX: usize = 64 * 1024;
/// The most header fields of one head.
pub(crate) const FIELDS_MAX: usize = 100;
/// How long a head may take from its first byte to its last.
pub(crate) const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// Why a head is not taken. Each of them closes the connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadFault {
    /// The other side closed before the first byte: the ordinary end of a connection.
    #[error("closed between messages")]
    Closed,
    /// It closed or broke within the head.
    #[error("cut short: {0}")]
    Cut(std::io::ErrorKind),
    /// It did not come in time.
    #[error("not sent in time")]
    Slow,
    /// More bytes or fields than allowed.
    #[error("too large")]
    TooLarge,
    /// Not HTTP/1 as this proxy accepts it; the text names the rule.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// How the end of a message's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection is closed; responses only.
    UntilClose,
}

type Span = Range<usize>;

/// A head's own copy of its bytes and where its fields lie in them.
#[derive(Default)]
pub(crate) struct Fields {
    raw: Vec<u8>,
    spans: Vec<(Span, Span)>,
}

/// The head of a request.
#[derive(Default)]
pub(crate) struct RequestHead {
    fields: Fields,
    method: Span,
    target: Span,
    minor: u8,
}

/// The head of a response. Its reason phrase is not kept.
#[derive(Default)]
pub(crate) struct ResponseHead {
    fields: Fields,
    status: u16,
    minor: u8,
}

impl Fields {
    /// All fields in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.spans.iter().map(|(name, value)| (text(&self.raw[name.clone()]), &self.raw[value.clone()]))
    }

    /// The values of one name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of a name that may stand once: none, or one, or a fault.
    pub(crate) fn one(&self, name: &str, fault: &'static str) -> Result<Option<&[u8]>, HeadFault> {
        let mut found = None;
        for (have, value) in self.iter() {
            if have.eq_ignore_ascii_case(name) && found.replace(value).is_some() {
                return Err(HeadFault::Malformed(fault));
            }
        }
        Ok(found)
    }

    /// The comma-separated members of every field of one name, without the blanks around them.
    pub(crate) fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
    }

    /// The framing that the fields tell, if they tell one.
    fn framing(&self, minor: u8) -> Result<Option<Framing>, HeadFault> {
        let length = self.one("content-length", "two content-lengths")?;
        let coding = self.one("transfer-encoding", "two transfer-encodings")?;
        match (length, coding) {
            (Some(_), Some(_)) => Err(HeadFault::Malformed("content-length with transfer-encoding")),
            (None, Some(_)) if minor == 0 => Err(HeadFault::Malformed("HTTP/1.0 with transfer-encoding")),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
            (None, Some(_)) => Err(HeadFault::Malformed("transfer-encoding other than chunked")),
            (Some(length), None) => decimal(length)
                .map(|length| Some(Framing::Length(length)))
                .ok_or(HeadFault::Malformed("content-length is no number")),
            (None, None) => Ok(None),
        }
    }

    fn take(&mut self, raw: &[u8], parsed: &[httparse::Header<'_>]) {
        self.spans.clear();
        self.spans.extend(parsed.iter().map(|field| (span(raw, field.name.as_bytes()), span(raw, field.value))));
        self.raw.clear();
        self.raw.extend_from_slice(raw);
    }
}

impl RequestHead {
    /// Reads the next head. `idle` bounds the wait for its first byte, [`HEAD_DEADLINE`] the rest.
    pub(crate) async fn read(&mut self, input: &mut Input, idle: Duration) -> Result<(), HeadFault> {
        let length = whole(input, Instant::now() + idle).await?;
        let raw = &input.buffer[..length];
        let mut storage = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut storage);
        match parsed.parse(raw) {
            Ok(httparse::Status::Complete(end)) if end == length => {}
            Ok(_) => return Err(HeadFault::Malformed("request line or field")),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::TooLarge),
            Err(_) => return Err(HeadFault::Malformed("request line or field")),
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(HeadFault::Malformed("request line"));
        };
        self.method = span(raw, method.as_bytes());
        self.target = span(raw, target.as_bytes());
        self.minor = minor;
        self.fields.take(raw, parsed.headers);
        bytes::Buf::advance(&mut input.buffer, length);
        Ok(())
    }

    /// The method, as sent.
    pub(crate) fn method(&self) -> &str {
        text(&self.fields.raw[self.method.clone()])
    }

    /// The request target, as sent.
    pub(crate) fn target(&self) -> &str {
        text(&self.fields.raw[self.target.clone()])
    }

    /// The header fields.
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Whether the connection is to be closed after the answer.
    pub(crate) fn closes(&self) -> bool {
        self.minor == 0 || self.fields.tokens("connection").any(|token| token.eq_ignore_ascii_case(b"close"))
    }

    /// Whether the client speaks HTTP/1.1, and so understands chunks.
    pub(crate) fn understands_chunks(&self) -> bool {
        self.minor == 1
    }

    /// The one `Host`. Two of them, or none, are refused whatever the version.
    pub(crate) fn host(&self) -> Result<&[u8], HeadFault> {
        self.host_or_none()?.ok_or(HeadFault::Malformed("no Host"))
    }

    /// The one `Host`, if there is one; two are refused.
    pub(crate) fn host_or_none(&self) -> Result<Option<&[u8]>, HeadFault> {
        self.fields.one("host", "two Host fields")
    }

    /// How the body ends.
    pub(crate) fn framing(&self) -> Result<Framing, HeadFault> {
        Ok(self.fields.framing(self.minor)?.unwrap_or(Framing::None))
    }

    /// Whether the client waits for `100 Continue`; any other expectation is refused.
    pub(crate) fn expects_continue(&self) -> Result<bool, HeadFault> {
        match self.fields.one("expect", "two Expect fields")? {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) => Err(HeadFault::Malformed("Expect other than 100-continue")),
        }
    }
}

impl ResponseHead {
    /// Reads the next head. `wait` bounds the time to its first byte.
    pub(crate) async fn read(&mut self, input: &mut Input, wait: Duration) -> Result<(), HeadFault> {
        let length = whole(input, Instant::now() + wait).await?;
        let raw = &input.buffer[..length];
        let mut storage = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut storage);
        match parsed.parse(raw) {
            Ok(httparse::Status::Complete(end)) if end == length => {}
            Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::TooLarge),
            Ok(_) | Err(_) => return Err(HeadFault::Malformed("status line or field")),
        }
        let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(HeadFault::Malformed("status line"));
        };
        self.status = status;
        self.minor = minor;
        self.fields.take(raw, parsed.headers);
        bytes::Buf::advance(&mut input.buffer, length);
        Ok(())
    }

    /// The status code.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The header fields.
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Whether the server closes the connection after this response.
    pub(crate) fn closes(&self) -> bool {
        self.minor == 0 || self.fields.tokens("connection").any(|token| token.eq_ignore_ascii_case(b"close"))
    }

    /// How the body ends, for the answer to a request with this method.
    pub(crate) fn framing(&self, method: &str) -> Result<Framing, HeadFault> {
        let told = self.fields.framing(self.minor)?;
        match self.status {
            204 if !matches!(told, None | Some(Framing::Length(0))) => Err(HeadFault::Malformed("204 with a body")),
            100..=199 | 204 | 304 => Ok(Framing::None),
            _ if method == "HEAD" => Ok(Framing::None),
            _ => Ok(told.unwrap_or(Framing::UntilClose)),
        }
    }
}

/// Reads until the empty line is there, and gives the head's length with it. The lint runs as the bytes come, so
/// that a head which can never end is refused at its first wrong byte.
async fn whole(input: &mut Input, first_byte: Instant) -> Result<usize, HeadFault> {
    let mut deadline = match input.has_leftover() {
        true => Instant::now() + HEAD_DEADLINE,
        false => first_byte,
    };
    let mut seen = 0;
    loop {
        if let Some(length) = lint(&input.buffer, seen)? {
            return match length <= HEAD_MAX {
                true => Ok(length),
                false => Err(HeadFault::TooLarge),
            };
        }
        seen = input.buffer.len();
        if seen > HEAD_MAX {
            return Err(HeadFault::TooLarge);
        }
        let began = seen > 0;
        match timeout_at(deadline, input.fill()).await {
            Err(_) if began => return Err(HeadFault::Slow),
            Err(_) => return Err(HeadFault::Closed),
            Ok(Ok(0)) if began => return Err(HeadFault::Cut(super::io::cut_short().kind())),
            Ok(Ok(0)) => return Err(HeadFault::Closed),
            Ok(Err(error)) => return Err(HeadFault::Cut(error.kind())),
            Ok(Ok(_)) if !began => deadline = Instant::now() + HEAD_DEADLINE,
            Ok(Ok(_)) => {}
        }
    }
}

/// Looks at the bytes from `seen` on, and gives the head's length when the empty line is among them.
fn lint(bytes: &[u8], seen: usize) -> Result<Option<usize>, HeadFault> {
    if bytes.first().is_some_and(|b| !b.is_ascii_alphabetic()) {
        return Err(HeadFault::Malformed("does not begin with a letter"));
    }
    // A line end may have been cut in two by the last read.
    for at in seen.saturating_sub(3)..bytes.len() {
        match bytes[at] {
            0 => return Err(HeadFault::Malformed("NUL")),
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(HeadFault::Malformed("bare LF")),
            b'\n' if bytes[..at].ends_with(b"\r\n\r") => return Ok(Some(at + 1)),
            b' ' | b'\t' if at > 0 && bytes[at - 1] == b'\n' => return Err(HeadFault::Malformed("obs-fold")),
            other if other != b'\n' && at > 0 && bytes[at - 1] == b'\r' => {
                return Err(HeadFault::Malformed("bare CR"));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Where `part`, a piece of `raw`, lies in it.
fn span(raw: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr().addr().saturating_sub(raw.as_ptr().addr()).min(raw.len());
    start..(start + part.len()).min(raw.len())
}

/// Names, methods and targets: httparse has seen that they are ASCII or UTF-8.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// 1 to 18 digits and nothing else.
fn decimal(bytes: &[u8]) -> Option<u64> {
    const DIGITS_MAX: usize = 18;
    if bytes.is_empty() || bytes.len() > DIGITS_MAX || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
