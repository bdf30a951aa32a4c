//! One request to a tool's server and its answer back: heads written anew, the body passed on piece by piece, every
//! part of the answer scrubbed.

use std::sync::Arc;
use std::time::Duration;

use avouch_policy::{Body as Declared, CanonicalRequest, Permit, RefusalCode};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::fields;
use super::h1::{BODY_IDLE, Body, BodyFault, Framing, HeadFault, Input, Output, RequestHead, ResponseHead, write};
use super::pool::{Dialer, Pool, Upstream};
use crate::broker::{Cleared, End, Forward, Progress, Values, crash_point};
use crate::scrub::{Needles, Scrubber};

/// How long a server may take to begin its answer: a model thinks for minutes.
const ANSWER_WAIT: Duration = Duration::from_secs(600);
/// How long a server may be silent within an answer.
const ANSWER_IDLE: Duration = Duration::from_secs(300);
/// How long either side may refuse to take what is written to it.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// How long a server that stopped reading the request may take to say why.
const LAST_WORD: Duration = Duration::from_secs(5);
/// The most interim responses before the answer (case T14).
const INTERIM_MAX: usize = 8;
/// An answer of a known length up to this is taken whole before its head is written.
const WHOLE_MAX: u64 = 64 * 1024;

/// A client's connection.
pub(super) struct Client {
    pub(super) input: Input,
    pub(super) output: Output,
    /// Reused for what is written.
    pub(super) out: Vec<u8>,
}

/// A request on its way, and where its answer goes.
pub(super) struct Exchange<'a> {
    pub(super) client: &'a mut Client,
    pub(super) head: &'a RequestHead,
    pub(super) body: &'a mut Body,
    /// What of the body came together with the head.
    pub(super) early: &'a [u8],
    pub(super) pool: &'a Pool,
    pub(super) dialer: &'a Dialer,
    /// A kept connection that is used again.
    pub(super) kept: Option<Upstream>,
    /// Whether kept connections are looked for.
    pub(super) may_reuse: bool,
    /// Set when the client's connection can take another request.
    pub(super) keep: &'a mut bool,
}

/// Why an exchange ended early.
enum Fault {
    /// The client's side; nothing can be told it.
    Client,
    /// The server's side broke, or what it sent is not to be passed on.
    Refused(RefusalCode),
    /// A kept connection that had gone.
    Gone,
}

impl Forward for Exchange<'_> {
    fn reuse(&mut self, permit: &Permit) -> bool {
        if self.may_reuse {
            self.kept = self.pool.take(&permit.pool_key());
        }
        self.kept.is_some()
    }

    async fn forward(mut self, cleared: Cleared<'_>) -> End {
        let reused = self.kept.is_some();
        let ca = cleared.filled.as_ref().and_then(|(permit, _)| permit.ca());
        let upstream = match self.kept.take() {
            Some(upstream) => Ok(upstream),
            None => self.dialer.dial(&cleared.addresses, cleared.request.origin(), ca).await,
        };
        let mut upstream = match upstream {
            Ok(upstream) => upstream,
            Err(code) => return End::Refused(code),
        };
        match self.run(&mut upstream, &cleared, reused).await {
            Ok(reusable) => {
                if let Some((permit, _)) = &cleared.filled
                    && reusable
                {
                    self.pool.put(permit.pool_key(), upstream);
                }
                End::Done
            }
            Err(Fault::Gone) => End::ConnectionGone,
            Err(_) if cleared.progress.is_answered() => End::Broken,
            Err(Fault::Client) => End::Broken,
            Err(Fault::Refused(code)) => End::Refused(code),
        }
    }
}

impl Exchange<'_> {
    /// Whether the connection can be used again.
    async fn run(&mut self, upstream: &mut Upstream, cleared: &Cleared<'_>, reused: bool) -> Result<bool, Fault> {
        let request = cleared.request;
        let values = cleared.filled.as_ref().map(|(_, values)| values.as_ref());
        let gone = match reused && self.body.is_done() && is_safe(request.method().as_str()) {
            true => || Fault::Gone,
            false => || Fault::Refused(RefusalCode::UpstreamUnreachable),
        };
        let head = self.request_head(request, values, cleared.progress)?;
        timed(upstream.output.write_all(&head)).await.map_err(|()| gone())?;
        timed(upstream.output.flush()).await.map_err(|()| gone())?;
        drop(head);
        crash_point("after-upstream-write");
        let mut response = ResponseHead::default();
        if self.body.is_done() {
            read_answer(&mut response, &mut upstream.input, gone).await?;
        } else {
            self.upload(upstream, &mut response, request).await?;
        }
        cleared.progress.status(response.status());
        if values.is_some() && fields::hides(&response) {
            return Err(Fault::Refused(RefusalCode::UpstreamUnclean));
        }
        let needles = values.map(|values| &values.needles);
        self.deliver(upstream, &response, request.method().as_str(), needles, cleared.progress).await
    }

    /// The head to the server, and the part of the body that is here already. In a buffer that does not grow, and
    /// that is wiped.
    fn request_head(
        &self,
        request: &CanonicalRequest,
        values: Option<&Values>,
        progress: &Progress,
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        const ROOM: usize = 1024;
        let filled = values.map_or(&[][..], |values| &values.filled);
        let client: usize = self.head.fields().iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let ours: usize = filled.iter().map(|filled| filled.header.len() + filled.value.len() + 4).sum();
        let size = ROOM + request.target().len() + client + ours + self.early.len();
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        out.extend_from_slice(request.method().as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(request.target().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let ours = |name: &str| filled.iter().any(|filled| filled.header.eq_ignore_ascii_case(name));
        let mut all = write::field(&mut out, "host", request.origin().host_header().as_bytes());
        for (name, value) in self.head.fields().iter() {
            let goes = match values {
                Some(_) => fields::goes_to_bound(name) && !ours(name),
                None => fields::goes_to_unbound(name),
            };
            if goes {
                all &= write::field(&mut out, name, value);
            } else if values.is_some() && (ours(name) || fields::is_credential(name)) {
                progress.stripped();
            }
        }
        for filled in filled {
            all &= write::field(&mut out, &filled.header, &filled.value);
        }
        if values.is_some() {
            all &= write::field(&mut out, "accept-encoding", b"identity");
        } else {
            all &= write::field(&mut out, "connection", b"close");
        }
        match request.body() {
            Declared::None if matches!(request.method().as_str(), "POST" | "PUT" | "PATCH") => {
                write::number_field(&mut out, "content-length", 0);
            }
            Declared::None => {}
            Declared::Length(length) => write::number_field(&mut out, "content-length", length),
            Declared::Streamed => all &= write::field(&mut out, "transfer-encoding", b"chunked"),
        }
        out.extend_from_slice(b"\r\n");
        match request.body() {
            Declared::Streamed => {
                write::chunk(&mut out, self.early);
                if self.body.is_done() {
                    write::last_chunk(&mut out);
                }
            }
            Declared::None | Declared::Length(_) => out.extend_from_slice(self.early),
        }
        if all { Ok(out) } else { Err(Fault::Refused(RefusalCode::BadRequest)) }
    }

    /// Passes the rest of the body on while the answer is waited for. A server that answers before it has read the
    /// request ends the request.
    async fn upload(
        &mut self,
        upstream: &mut Upstream,
        response: &mut ResponseHead,
        request: &CanonicalRequest,
    ) -> Result<(), Fault> {
        if matches!(self.head.expects_continue(), Ok(true)) {
            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
            timed(self.client.output.write_all(go_on)).await.map_err(|()| Fault::Client)?;
            timed(self.client.output.flush()).await.map_err(|()| Fault::Client)?;
        }
        let unreachable = || Fault::Refused(RefusalCode::UpstreamUnreachable);
        let chunked = request.body() == Declared::Streamed;
        let uploading = pump(self.body, &mut self.client.input, &mut upstream.output, &mut self.client.out, chunked);
        let answering = read_answer(response, &mut upstream.input, unreachable);
        tokio::pin!(uploading, answering);
        let uploaded = tokio::select! {
            answered = &mut answering => return answered,
            uploaded = &mut uploading => uploaded,
        };
        match uploaded {
            Ok(()) => answering.await,
            Err(Upload::Client(fault)) => Err(Fault::Refused(fault)),
            // It may have said why before it stopped to read.
            Err(Upload::Server) => timeout(LAST_WORD, answering).await.unwrap_or_else(|_| Err(unreachable())),
        }
    }

    async fn deliver(
        &mut self,
        upstream: &mut Upstream,
        response: &ResponseHead,
        method: &str,
        needles: Option<&Arc<Needles>>,
        progress: &Progress,
    ) -> Result<bool, Fault> {
        let unclean = |_| Fault::Refused(RefusalCode::UpstreamUnclean);
        let framing = response.framing(method).map_err(|_| Fault::Refused(RefusalCode::UpstreamUnclean))?;
        let mut body = Body::of_response(framing).map_err(unclean)?;
        let mut scrub = needles.map(|needles| Scrubber::new(Arc::clone(needles)));
        let whole = match framing {
            Framing::Length(length) if length <= WHOLE_MAX => {
                Some(take_whole(&mut body, upstream, scrub.as_mut(), progress).await?)
            }
            Framing::None | Framing::Length(_) | Framing::Chunked | Framing::UntilClose => None,
        };
        let chunks = self.head.understands_chunks();
        let must_close = self.head.closes()
            || !self.body.is_done()
            || self.client.input.has_leftover()
            || framing == Framing::UntilClose
            || (whole.is_none() && framing != Framing::None && !chunks);
        let out = &mut self.client.out;
        out.clear();
        write::status_line(out, response.status());
        copy_back(out, response, needles, progress);
        if must_close {
            let _ = write::field(out, "connection", b"close");
        }
        match &whole {
            Some(whole) => write::number_field(out, "content-length", whole.len() as u64),
            None if framing == Framing::None => {
                let length = response.fields().all("content-length").next();
                if let Some(length) = length.filter(|_| response.status() != 204) {
                    let _ = write::field(out, "content-length", length);
                }
            }
            None if chunks => {
                let _ = write::field(out, "transfer-encoding", b"chunked");
            }
            None => {}
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(whole.as_deref().unwrap_or_default());
        progress.answered();
        timed(self.client.output.write_all(out)).await.map_err(|()| Fault::Client)?;
        timed(self.client.output.flush()).await.map_err(|()| Fault::Client)?;
        if whole.is_none() && framing != Framing::None {
            self.stream(&mut body, upstream, scrub.as_mut(), chunks, progress).await?;
        }
        if scrub.as_ref().is_some_and(Scrubber::reflected) {
            progress.reflected();
        }
        *self.keep = !must_close;
        let clean = framing != Framing::UntilClose && !response.closes() && !upstream.input.has_leftover();
        Ok(clean && self.body.is_done())
    }

    /// Passes the answer's body on as it comes.
    async fn stream(
        &mut self,
        body: &mut Body,
        upstream: &mut Upstream,
        mut scrub: Option<&mut Scrubber>,
        chunks: bool,
        progress: &Progress,
    ) -> Result<(), Fault> {
        let unclean = |_| Fault::Refused(RefusalCode::UpstreamUnclean);
        let mut clean = Vec::new();
        loop {
            let piece = body.next(&mut upstream.input, ANSWER_IDLE).await.map_err(unclean)?;
            progress.received(piece.as_ref().map_or(0, |piece| piece.len() as u64));
            clean.clear();
            match (&piece, scrub.as_mut()) {
                (Some(piece), Some(scrub)) => scrub.push(piece, &mut clean),
                (None, Some(scrub)) => scrub.finish(&mut clean),
                (_, None) => {}
            }
            let plain = match scrub {
                Some(_) => &clean[..],
                None => piece.as_deref().unwrap_or_default(),
            };
            let out = &mut self.client.out;
            out.clear();
            match chunks {
                true => write::chunk(out, plain),
                false => out.extend_from_slice(plain),
            }
            if piece.is_none() && chunks {
                write::last_chunk(out);
            }
            timed(self.client.output.write_all(out)).await.map_err(|()| Fault::Client)?;
            timed(self.client.output.flush()).await.map_err(|()| Fault::Client)?;
            if piece.is_none() {
                return Ok(());
            }
        }
    }
}

/// Which side ended an upload early.
enum Upload {
    Client(RefusalCode),
    Server,
}

/// Passes a request's body on until it ends.
async fn pump(
    body: &mut Body,
    from: &mut Input,
    to: &mut Output,
    out: &mut Vec<u8>,
    chunked: bool,
) -> Result<(), Upload> {
    loop {
        let piece = body.next(from, BODY_IDLE).await.map_err(|fault| match fault {
            BodyFault::TooLarge => Upload::Client(RefusalCode::TooLarge),
            BodyFault::Cut(_) | BodyFault::Slow | BodyFault::Malformed(_) => Upload::Client(RefusalCode::BadRequest),
        })?;
        // Bytes after the message: whose they are is not certain, so the request is not completed.
        if body.is_done() && from.has_leftover() {
            return Err(Upload::Client(RefusalCode::BadRequest));
        }
        out.clear();
        match &piece {
            Some(piece) if chunked => write::chunk(out, piece),
            Some(piece) => out.extend_from_slice(piece),
            None if chunked => write::last_chunk(out),
            None => {}
        }
        timed(to.write_all(out)).await.map_err(|()| Upload::Server)?;
        timed(to.flush()).await.map_err(|()| Upload::Server)?;
        if piece.is_none() {
            return Ok(());
        }
    }
}

/// The final response's head; interim ones are swallowed, and no protocol is switched to.
async fn read_answer(response: &mut ResponseHead, input: &mut Input, gone: impl Fn() -> Fault) -> Result<(), Fault> {
    for _ in 0..=INTERIM_MAX {
        match response.read(input, ANSWER_WAIT).await {
            Ok(()) => {}
            Err(HeadFault::Closed) => return Err(gone()),
            Err(fault) => {
                tracing::debug!(%fault, "intercept.answer.read");
                return Err(Fault::Refused(RefusalCode::UpstreamUnclean));
            }
        }
        match response.status() {
            101 => break,
            100..=199 => {}
            200..=599 => return Ok(()),
            _ => break,
        }
    }
    Err(Fault::Refused(RefusalCode::UpstreamUnclean))
}

/// Reads a short body whole, and scrubs it.
async fn take_whole(
    body: &mut Body,
    upstream: &mut Upstream,
    mut scrub: Option<&mut Scrubber>,
    progress: &Progress,
) -> Result<Vec<u8>, Fault> {
    let mut clean = Vec::new();
    while let Some(piece) =
        body.next(&mut upstream.input, ANSWER_IDLE).await.map_err(|_| Fault::Refused(RefusalCode::UpstreamUnclean))?
    {
        progress.received(piece.len() as u64);
        match &mut scrub {
            Some(scrub) => scrub.push(&piece, &mut clean),
            None => clean.extend_from_slice(&piece),
        }
    }
    if let Some(scrub) = scrub {
        scrub.finish(&mut clean);
    }
    Ok(clean)
}

/// The server's fields that go back, each scrubbed; a field whose name shows a credential does not.
fn copy_back(out: &mut Vec<u8>, response: &ResponseHead, needles: Option<&Arc<Needles>>, progress: &Progress) {
    use std::borrow::Cow::{Borrowed, Owned};
    for (name, value) in response.fields().iter().filter(|(name, _)| fields::goes_back(name)) {
        let Some(needles) = needles else {
            let _ = write::field(out, name, value);
            continue;
        };
        match (needles.scrub_value(name.as_bytes()), needles.scrub_value(value)) {
            (Owned(_), _) => progress.reflected(),
            (Borrowed(_), Owned(clean)) => {
                progress.reflected();
                let _ = write::field(out, name, &clean);
            }
            (Borrowed(_), Borrowed(clean)) => {
                let _ = write::field(out, name, clean);
            }
        }
    }
}

/// Methods of which a second try changes nothing (RFC 9110 §9.2.1).
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// Bounds a write.
async fn timed<T>(write: impl Future<Output = std::io::Result<T>>) -> Result<T, ()> {
    timeout(WRITE_STALL, write).await.map_err(|_| ())?.map_err(|_| ())
}
