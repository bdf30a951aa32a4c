//! A server's answer on its way back: its head written anew, every part of it scrubbed.

use std::borrow::Cow::{Borrowed, Owned};
use std::sync::Arc;
use std::time::Duration;

use avouch_policy::RefusalCode;
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::exchange::{Exchange, Fault, attended, timed};
use super::fields;
use super::h1::{Body, Framing, HeadFault, Input, ResponseHead, write};
use super::pool::Upstream;
use crate::broker::Progress;
use crate::scrub::{Needles, Scrubber};

/// How long a server may take to begin its answer: a model thinks for minutes.
const ANSWER_WAIT: Duration = Duration::from_secs(600);
/// How long a server may be silent within an answer.
const ANSWER_IDLE: Duration = Duration::from_secs(300);
/// The most interim responses before the answer (case T14).
const INTERIM_MAX: usize = 8;
/// An answer of a known length up to this is taken whole before its head is written.
const WHOLE_MAX: u64 = 64 * 1024;

impl Exchange<'_> {
    /// Passes the answer on. Whether the server's connection can be used again.
    pub(super) async fn deliver(
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
                let whole = take_whole(&mut body, upstream, scrub.as_mut(), progress);
                Some(attended(&mut self.client.input, whole).await?)
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
        let mut clean = Vec::new();
        loop {
            let next = next_piece(body, &mut upstream.input);
            let piece = attended(&mut self.client.input, next).await?;
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

/// The final response's head; interim ones are swallowed, and no protocol is switched to.
pub(super) async fn read_answer(
    response: &mut ResponseHead,
    input: &mut Input,
    gone: impl Fn() -> Fault,
) -> Result<(), Fault> {
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
    while let Some(piece) = next_piece(body, &mut upstream.input).await? {
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

async fn next_piece(body: &mut Body, from: &mut Input) -> Result<Option<Bytes>, Fault> {
    body.next(from, ANSWER_IDLE).await.map_err(|_| Fault::Refused(RefusalCode::UpstreamUnclean))
}

/// The server's fields that go back, each scrubbed; a field whose name shows a credential does not.
fn copy_back(out: &mut Vec<u8>, response: &ResponseHead, needles: Option<&Arc<Needles>>, progress: &Progress) {
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
