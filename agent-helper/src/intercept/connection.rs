//! One client connection: heads are read one after another, each is refused, sent, or opens a tunnel.

use std::time::Duration;

use avouch_policy::request::split_absolute_form;
use avouch_policy::{Body as Declared, CanonicalRequest, Origin, RefusalCode, placeholder};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::exchange::{Client, Exchange};
use super::h1::{Body, BodyFault, Framing, HeadFault, Io, RequestHead};
use super::{Proxy, Serving, fields, refuse, tunnel};
use crate::broker::{End, Refusal};

/// How long a connection may wait for its next request.
const KEEP_ALIVE: Duration = Duration::from_secs(300);
/// How much of a request's body is taken in before the decision, where it has come already.
const EARLY_MAX: usize = 16 * 1024;
/// How long the rest of a refused request is read, so that the client gets to read the refusal.
const LINGER: Duration = Duration::from_secs(1);
/// How much of it.
const LINGER_MAX: u64 = 1024 * 1024;

/// Where a connection's requests come from.
pub(super) enum Place {
    /// The session's port: absolute-form and CONNECT.
    Port,
    /// A tunnel that is intercepted: origin-form for this origin.
    Tunnel {
        /// What CONNECT named.
        origin: Origin,
        /// Whether the name in the TLS hello is that host.
        name_agrees: bool,
    },
}

/// What becomes of the connection.
enum Next {
    Keep,
    Close,
    /// CONNECT was admitted: the connection is a tunnel to this origin.
    Tunnel(Origin),
}

/// A request that is not taken.
struct Unfit {
    code: RefusalCode,
    why: &'static str,
}

/// Serves a connection until it ends. Boxed where it calls itself: a tunnel holds a connection within a connection.
pub(super) async fn serve(proxy: &Proxy, serving: &Serving, io: Io, place: Place) {
    let (input, output) = io.halves();
    let mut client = Client { input, output, out: Vec::new() };
    let mut head = RequestHead::default();
    loop {
        let read = tokio::select! {
            biased;
            () = serving.ended.cancelled() => return,
            read = head.read(&mut client.input, KEEP_ALIVE) => read,
        };
        let code = match read {
            Ok(()) => match one(proxy, serving, &mut client, &head, &place).await {
                Next::Keep => continue,
                Next::Close => break,
                Next::Tunnel(origin) => {
                    let io = Io::join(client.input, client.output);
                    return Box::pin(tunnel::run(proxy, serving, io, origin)).await;
                }
            },
            Err(HeadFault::Closed | HeadFault::Cut(_)) => return,
            Err(HeadFault::TooLarge) => RefusalCode::TooLarge,
            Err(fault @ (HeadFault::Slow | HeadFault::Malformed(_))) => {
                tracing::info!(session = %serving.caller.session, %fault, "intercept.head.refused");
                RefusalCode::BadRequest
            }
        };
        let refusal = proxy.broker.refuse(&serving.caller, code).await;
        answer(&mut client, refusal, false, true).await;
        break;
    }
    close(client).await;
}

async fn one(proxy: &Proxy, serving: &Serving, client: &mut Client, head: &RequestHead, place: &Place) -> Next {
    let head_only = head.method() == "HEAD";
    let mut early = Vec::new();
    let (request, mut body) = match understand(proxy, client, head, place, &mut early) {
        Ok(Understood::Request(request, body)) => (request, body),
        Ok(Understood::Connect(origin)) => return Next::Tunnel(origin),
        Err(unfit) => {
            tracing::info!(session = %serving.caller.session, code = unfit.code.as_str(), why = unfit.why, "intercept.request.refused");
            let refusal = proxy.broker.refuse(&serving.caller, unfit.code).await;
            // What follows such a head is not certain.
            answer(client, refusal, head_only, true).await;
            return Next::Close;
        }
    };
    let (mut may_reuse, mut may_renew) = (true, true);
    loop {
        let mut keep = false;
        let exchange = Exchange {
            client: &mut *client,
            head,
            body: &mut body,
            early: &mut early,
            room: &serving.room,
            held: None,
            watch: None,
            may_continue: true,
            pool: &serving.pool,
            dialer: &proxy.dialer,
            kept: None,
            may_reuse,
            may_renew,
            keep: &mut keep,
        };
        match proxy.broker.call(&serving.caller, &serving.ended, request.clone(), exchange).await {
            Ok(End::Done) if keep => return Next::Keep,
            // The whole walk again, with a connection of its own: a decision and an intent for each request sent.
            Ok(End::ConnectionGone) if may_reuse => may_reuse = false,
            // And again with the value that took the place of the one refused: once, whatever the tool says then.
            Ok(End::Outdated) if may_renew => may_renew = false,
            Ok(End::Done | End::Broken | End::Cut | End::ConnectionGone | End::Outdated | End::Refused(_)) => {
                return Next::Close;
            }
            Err(refusal) => {
                let close =
                    refuse::closes(refusal.code) || head.closes() || !body.is_done() || client.input.has_leftover();
                answer(client, refusal, head_only, close).await;
                return if close { Next::Close } else { Next::Keep };
            }
        }
    }
}

enum Understood {
    Request(CanonicalRequest, Body),
    Connect(Origin),
}

/// From a head to the one reading it has, or the rule that it breaks.
fn understand(
    proxy: &Proxy,
    client: &mut Client,
    head: &RequestHead,
    place: &Place,
    early: &mut Vec<u8>,
) -> Result<Understood, Unfit> {
    let bad = |why| Unfit { code: RefusalCode::BadRequest, why };
    let malformed = |fault| match fault {
        HeadFault::Malformed(why) => bad(why),
        HeadFault::Closed | HeadFault::Cut(_) | HeadFault::Slow | HeadFault::TooLarge => bad("head"),
    };
    fields::lint(head).map_err(bad)?;
    let framing = head.framing().map_err(malformed)?;
    head.expects_continue().map_err(malformed)?;
    if head.method() == "CONNECT" {
        if !matches!(place, Place::Port) || framing != Framing::None || client.input.has_leftover() {
            return Err(bad("CONNECT inside a tunnel, with a body, or with bytes after it"));
        }
        let origin = Origin::from_connect(head.target().as_bytes()).map_err(|_| bad("CONNECT target"))?;
        match head.host_or_none().map_err(malformed)? {
            Some(host) => agree(&origin, host)?,
            // Python before 3.12 opens tunnels so, and there is nothing that could disagree.
            None if !head.understands_chunks() => {}
            None => return Err(bad("no Host")),
        }
        return Ok(Understood::Connect(origin));
    }
    let host = head.host().map_err(malformed)?;
    let (origin, target) = match place {
        Place::Port => {
            let (origin, target) =
                split_absolute_form(head.target().as_bytes()).map_err(|_| bad("not absolute-form"))?;
            agree(&origin, host)?;
            (origin, target)
        }
        Place::Tunnel { origin, name_agrees } => {
            agree(origin, host)?;
            if !name_agrees {
                return Err(Unfit { code: RefusalCode::Misdirected, why: "name in TLS" });
            }
            (origin.clone(), head.target().as_bytes())
        }
    };
    if proxy.broker.is_bound(&origin) && fields::is_browser(head, &origin) {
        return Err(Unfit { code: RefusalCode::BrowserRequest, why: "of a web page" });
    }
    let declared = match framing {
        Framing::None | Framing::UntilClose => Declared::None,
        Framing::Length(length) => Declared::Length(length),
        Framing::Chunked => Declared::Streamed,
    };
    let request =
        CanonicalRequest::from_origin_form(origin, head.method().as_bytes(), target, declared).map_err(|fault| {
            tracing::debug!(%fault, "intercept.request.canonical");
            bad("no canonical form")
        })?;
    let placed = head.fields().iter().filter_map(|(name, value)| placeholder::in_field(name, value)).collect();
    let request = request.with_placed(placed);
    let body = Body::of_request(framing)
        .and_then(|mut body| body.ready(&mut client.input, early, EARLY_MAX).map(|()| body))
        .map_err(|fault| match fault {
            BodyFault::TooLarge => Unfit { code: RefusalCode::TooLarge, why: "body" },
            BodyFault::Cut(_) | BodyFault::Slow | BodyFault::Malformed(_) => bad("body"),
        })?;
    if body.is_done() && client.input.has_leftover() {
        return Err(bad("bytes after the message"));
    }
    Ok(Understood::Request(request, body))
}

/// `Host` has to be the target, after one parse of each (case A11).
fn agree(origin: &Origin, host: &[u8]) -> Result<(), Unfit> {
    match Origin::from_authority(origin.scheme(), host) {
        Ok(named) if &named == origin => Ok(()),
        _ => Err(Unfit { code: RefusalCode::Misdirected, why: "Host" }),
    }
}

/// Writes a refusal.
pub(super) async fn answer(client: &mut Client, refusal: Refusal, head_only: bool, close: bool) {
    client.out.clear();
    refuse::response(&mut client.out, refusal, head_only, close);
    // A client that does not read it has nothing else to be told.
    let _ = timeout(LINGER, async {
        client.output.write_all(&client.out).await?;
        client.output.flush().await
    })
    .await;
}

/// Ends a connection so that what was written last is read: closing over unread bytes would reset it.
pub(super) async fn close(client: Client) {
    let Client { mut input, mut output, .. } = client;
    let _ = timeout(LINGER, async {
        output.shutdown().await?;
        input.drain(LINGER_MAX).await
    })
    .await;
}
