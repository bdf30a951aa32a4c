//! CONNECT: to a bound host the tunnel is opened and looked into, to others bytes pass unseen or not at all.

use std::time::Duration;

use avouch_policy::{Body as Declared, CanonicalRequest, Origin, RefusalCode};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use super::connection::{self, Place};
use super::exchange::Client;
use super::h1::Io;
use super::pool::{CONNECT_DEADLINE, CONNECT_TRIES, connect_plain};
use super::{Proxy, Serving};
use crate::broker::{End, Refusal, Tunnel};

/// How long a client may take for its half of the TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// What answers a CONNECT.
const OPENED: &[u8] = b"HTTP/1.1 200 \r\n\r\n";
/// The method under which a tunnel is decided on and recorded: there is no request in it that could be seen.
const METHOD: &[u8] = avouch_policy::request::TUNNEL.as_bytes();

/// Runs the tunnel that a CONNECT asked for, or tells why not.
pub(super) async fn run(proxy: &Proxy, serving: &Serving, io: Io, origin: Origin) {
    let caller = &serving.caller;
    let request = CanonicalRequest::from_origin_form(origin.clone(), METHOD, b"/", Declared::Streamed);
    let refused = match request {
        Err(_) => Some((io, proxy.broker.refuse(caller, RefusalCode::BadRequest).await)),
        Ok(request) if proxy.broker.is_bound(&origin) => {
            match proxy.broker.enter_intercepted(caller, &serving.ended, request).await {
                Err(refusal) => Some((io, refusal)),
                Ok(entry) => {
                    tokio::select! {
                        biased;
                        () = entry.cut().cancelled() => {}
                        () = intercept(proxy, serving, io, origin) => {}
                    }
                    None
                }
            }
        }
        Ok(request) => pass(proxy, serving, io, request).await.err(),
    };
    if let Some((io, refusal)) = refused {
        let (input, output) = io.halves();
        let mut client = Client { input, output, out: Vec::new() };
        connection::answer(&mut client, refusal, false, true).await;
        connection::close(client).await;
    }
}

/// Opens the tunnel as the bound host, by a certificate of the session's own anchor.
async fn intercept(proxy: &Proxy, serving: &Serving, mut io: Io, origin: Origin) {
    if io.write_all(OPENED).await.is_err() || io.flush().await.is_err() {
        return;
    }
    // A tunnel in a tunnel is refused before it comes to this.
    let Io::Plain(stream) = io else { return };
    let Ok(Some((stream, name_agrees))) = timeout(HANDSHAKE_DEADLINE, handshake(serving, stream, &origin)).await else {
        tracing::info!(session = %serving.caller.session, host = %origin.host(), "intercept.tunnel.handshake");
        return;
    };
    let place = Place::Tunnel { origin, name_agrees };
    connection::serve(proxy, serving, Io::Tls(Box::new(stream)), place).await;
}

/// The client's handshake, and whether the name it sent is the CONNECT's host byte for byte. To a wrong name the leaf
/// is that of the CONNECT's host nevertheless, so that a client which takes it can be told what is wrong.
async fn handshake(serving: &Serving, stream: TcpStream, origin: &Origin) -> Option<(TlsStream<TcpStream>, bool)> {
    let config = serving.anchor.server_config(origin.host()).ok()?;
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await.ok()?;
    let name_agrees = match (start.client_hello().server_name(), origin.host().ip()) {
        (Some(name), None) => name == origin.host().as_str(),
        // An address has no name to send (RFC 6066 §3).
        (None, Some(_)) => true,
        (Some(_), Some(_)) | (None, None) => false,
    };
    let stream = start.into_stream(config).await.ok()?;
    Some((stream.into(), name_agrees))
}

/// Lets bytes pass to what nothing binds, if that is the setting. The connection comes back with a refusal.
async fn pass(proxy: &Proxy, serving: &Serving, mut io: Io, request: CanonicalRequest) -> Result<(), (Io, Refusal)> {
    let caller = &serving.caller;
    let tunnel = match proxy.broker.open_tunnel(caller, &serving.ended, request).await {
        Ok(tunnel) => tunnel,
        Err(refusal) => return Err((io, refusal)),
    };
    let end = tokio::select! {
        biased;
        () = tunnel.entry.cut().cancelled() => End::Cut,
        end = carry(&mut io, &tunnel) => end,
    };
    proxy.broker.end_tunnel(caller, &tunnel, end).map(drop).map_err(|refusal| (io, refusal))
}

pub(super) async fn carry(io: &mut Io, tunnel: &Tunnel) -> End {
    let mut server = None;
    for address in tunnel.addresses.iter().take(CONNECT_TRIES) {
        if let Ok(Ok(stream)) = timeout(CONNECT_DEADLINE, connect_plain(*address)).await {
            server = Some(stream);
            break;
        }
    }
    let Some(mut server) = server else { return End::Refused(RefusalCode::UpstreamUnreachable) };
    tunnel.progress.answered();
    if io.write_all(OPENED).await.is_err() || io.flush().await.is_err() {
        return End::Broken;
    }
    match copy_bidirectional(io, &mut server).await {
        Ok((_, received)) => {
            tunnel.progress.received(received);
            End::Done
        }
        Err(_) => End::Broken,
    }
}
