//! One request to a tool's server: the head written anew, the body passed on piece by piece, the answer waited for.

use std::time::Duration;

use avouch_policy::{Body as Declared, CanonicalRequest, Permit, Placed, RefusalCode, Watch};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::answer::read_answer;
use super::fields;
use super::h1::{BODY_IDLE, Body, Input, Output, RequestHead, ResponseHead, write};
use super::pool::{Dialer, Pool, Upstream};
use super::upload::{Pump, Upload, told};
use crate::broker::{Cleared, End, Forward, Progress, Values, crash_point};

/// How long either side may refuse to take what is written to it.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// How long a server that stopped reading the request may take to say why.
const LAST_WORD: Duration = Duration::from_secs(5);
/// What a tool answers that does not take a credential (RFC 9110 §15.5.2).
const UNAUTHORIZED: u16 = 401;
/// How much of a body is held back and searched before anything goes to the server; of a longer one the rest is
/// searched as it goes.
pub(super) const HELD_MAX: usize = 1024 * 1024;
/// How much of a body is written together with the head.
pub(super) const INLINE_MAX: usize = 64 * 1024;

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
    /// What of the body has come before anything was sent.
    pub(super) early: &'a mut Vec<u8>,
    /// Room for more of it.
    pub(super) room: &'a Semaphore,
    /// A place in it.
    pub(super) held: Option<SemaphorePermit<'a>>,
    /// What looks for placeholders in the rest.
    pub(super) watch: Option<Watch>,
    /// Whether the client may still be told to go on with the body.
    pub(super) may_continue: bool,
    pub(super) pool: &'a Pool,
    pub(super) dialer: &'a Dialer,
    /// A kept connection that is used again.
    pub(super) kept: Option<Upstream>,
    /// Whether kept connections are looked for.
    pub(super) may_reuse: bool,
    /// Whether another value is looked for if the tool refuses this one.
    pub(super) may_renew: bool,
    /// Set when the client's connection can take another request.
    pub(super) keep: &'a mut bool,
}

/// Why an exchange ended early.
pub(super) enum Fault {
    /// The client's side; nothing can be told it.
    Client,
    /// The server's side broke, or what it sent is not to be passed on.
    Refused(RefusalCode),
    /// A kept connection that had gone.
    Gone,
    /// The credential was refused, and there is another value of it.
    Outdated,
}

impl Forward for Exchange<'_> {
    fn reuse(&mut self, permit: &Permit) -> bool {
        if self.may_reuse {
            self.kept = self.pool.take(&permit.pool_key());
        }
        self.kept.is_some()
    }

    async fn search(&mut self) -> Result<(), RefusalCode> {
        let mut watch = Watch::new();
        if watch.sees(self.early) {
            return Err(RefusalCode::PlaceholderMisplaced);
        }
        if !self.body.is_done() {
            self.hold(&mut watch).await?;
            self.watch = Some(watch);
        }
        Ok(())
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
            Err(Fault::Outdated) => End::Outdated,
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
        let inline = self.body.is_done() && self.early.len() <= INLINE_MAX;
        let gone = match reused && inline && is_safe(request.method().as_str()) {
            true => || Fault::Gone,
            false => || Fault::Refused(RefusalCode::UpstreamUnreachable),
        };
        let head = self.request_head(request, values, cleared.progress)?;
        timed(upstream.output.write_all(&head)).await.map_err(|()| gone())?;
        timed(upstream.output.flush()).await.map_err(|()| gone())?;
        drop(head);
        if self.early.len() <= INLINE_MAX {
            self.held = None;
        }
        crash_point("after-upstream-write");
        let mut response = ResponseHead::default();
        if inline {
            attended(&mut self.client.input, read_answer(&mut response, &mut upstream.input, gone)).await?;
        } else {
            self.upload(upstream, &mut response, request).await?;
        }
        cleared.progress.status(response.status());
        if values.is_some() && fields::hides(&response) {
            return Err(Fault::Refused(RefusalCode::UpstreamUnclean));
        }
        if self.is_outdated(&response, cleared).await? {
            return Err(Fault::Outdated);
        }
        let needles = values.map(|values| &values.needles);
        self.deliver(upstream, &response, request.method().as_str(), needles, cleared.progress).await
    }

    /// Whether the tool refused a credential of which there is another value. Only where the same request can be made
    /// again without harm: a safe method, and no body.
    async fn is_outdated(&mut self, response: &ResponseHead, cleared: &Cleared<'_>) -> Result<bool, Fault> {
        let repeatable = is_safe(cleared.request.method().as_str()) && cleared.request.body() == Declared::None;
        match &cleared.another {
            Some(another) if self.may_renew && repeatable && response.status() == UNAUTHORIZED => {
                attended(&mut self.client.input, async { Ok(another.is_there().await) }).await
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Takes in the body, up to what is held back.
    async fn hold(&mut self, watch: &mut Watch) -> Result<(), RefusalCode> {
        // A session that keeps its bodies waiting waits for itself.
        let room = self.room;
        self.held = Some(room.acquire().await.map_err(|_| RefusalCode::Denied)?);
        self.go_on().await.map_err(|()| RefusalCode::BadRequest)?;
        while self.early.len() < HELD_MAX {
            let piece = self.body.next(&mut self.client.input, BODY_IDLE).await.map_err(|fault| told(&fault))?;
            let Some(piece) = piece else { break };
            if watch.sees(&piece) {
                return Err(RefusalCode::PlaceholderMisplaced);
            }
            self.early.extend_from_slice(&piece);
        }
        match self.body.is_done() && self.client.input.has_leftover() {
            true => Err(RefusalCode::BadRequest),
            false => Ok(()),
        }
    }

    /// Tells a client that waits for it to send the body.
    async fn go_on(&mut self) -> Result<(), ()> {
        const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        if std::mem::take(&mut self.may_continue) && matches!(self.head.expects_continue(), Ok(true)) {
            timed(self.client.output.write_all(GO_ON)).await?;
            timed(self.client.output.flush()).await?;
        }
        Ok(())
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
        let early = if self.early.len() <= INLINE_MAX { &self.early[..] } else { &[] };
        let size = ROOM + request.target().len() + client + ours + early.len();
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
            } else if values.is_some() && (ours(name) || fields::is_credential(name)) && !is_placed(request, name) {
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
                write::chunk(&mut out, early);
                if self.body.is_done() && early.len() == self.early.len() {
                    write::last_chunk(&mut out);
                }
            }
            Declared::None | Declared::Length(_) => out.extend_from_slice(early),
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
        if !self.body.is_done() {
            self.go_on().await.map_err(|()| Fault::Client)?;
        }
        let unreachable = || Fault::Refused(RefusalCode::UpstreamUnreachable);
        let chunked = request.body() == Declared::Streamed;
        let answering = read_answer(response, &mut upstream.input, unreachable);
        tokio::pin!(answering);
        let held = if self.early.len() > INLINE_MAX { std::mem::take(self.early) } else { Vec::new() };
        let held = (held, self.held.take());
        let client = &mut *self.client;
        let pump = Pump { body: self.body, watch: self.watch.as_mut(), out: &mut client.out, chunked };
        let uploaded = tokio::select! {
            answered = &mut answering => return answered,
            uploaded = pump.run(held, &mut client.input, &mut upstream.output) => uploaded,
        };
        match uploaded {
            Ok(()) => attended(&mut self.client.input, answering).await,
            Err(Upload::Client(fault)) => Err(Fault::Refused(fault)),
            // It may have said why before it stopped to read.
            Err(Upload::Server) => timeout(LAST_WORD, answering).await.unwrap_or_else(|_| Err(unreachable())),
        }
    }
}

/// Whether a field of this name holds a placeholder: no credential of the client's own.
fn is_placed(request: &CanonicalRequest, name: &str) -> bool {
    request
        .placed()
        .iter()
        .any(|placed| matches!(placed, Placed::Value { header, .. } if header.eq_ignore_ascii_case(name)))
}

/// Methods of which a second try changes nothing (RFC 9110 §9.2.1).
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// Waits for a server as long as the client does: nobody else notices that it has gone while the server is silent.
pub(super) async fn attended<T>(
    client: &mut Input,
    server: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::select! {
        biased;
        said = server => said,
        () = client.abandoned() => Err(Fault::Client),
    }
}

/// Bounds a write.
pub(super) async fn timed<T>(write: impl Future<Output = std::io::Result<T>>) -> Result<T, ()> {
    timeout(WRITE_STALL, write).await.map_err(|_| ())?.map_err(|_| ())
}
