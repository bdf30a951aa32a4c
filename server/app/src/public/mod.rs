//! What everybody may read: OpenID discovery, the keys of tokens, the SPIFFE bundle. A listener of its own, with no way
//! to anything else: GET and HEAD of three documents that are in memory.
//!
//! Served by hyper, other than the health port's one line: these documents are fetched over the internet by clients that
//! we did not write, so kept connections, HEAD and conditional requests have to be right.

mod certificate;
mod documents;

use crate::app::App;
use crate::state::State;
use avouch_config::{PublicTls, ServerConfig, StartError, listen_tcp};
use avouch_wire::tls::{self, LiveIdentity};
use avouch_words::Clock;
use bytes::Bytes;
use certificate::WebCertificate;
use documents::Documents;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// The public listener with everything that keeps it current.
pub(crate) struct Published {
    door: Door,
    certificate: Option<WebCertificate>,
}

impl Published {
    /// Takes the port and reads the certificate, if the settings have anything served. `own` is what the issuer shows to
    /// nodes.
    pub(crate) fn take(
        config: &ServerConfig,
        own: LiveIdentity,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Self>, StartError> {
        let Some(door) = config.public.as_ref().and_then(|public| public.door.as_ref()) else { return Ok(None) };
        let (shown, certificate) = match &door.tls {
            PublicTls::Web { certificate_file, key_file } => {
                let certificate = WebCertificate::read(certificate_file, key_file)?;
                (Some(certificate.identity()), Some(certificate))
            }
            PublicTls::Spiffe => (Some(own), None),
            PublicTls::Off => (None, None),
        };
        let failed = |reason: &dyn std::fmt::Display| StartError::Internal {
            what: "the public listener cannot be set up",
            reason: reason.to_string(),
        };
        let tls = shown.map(|shown| tls::PublicTls::new(shown, Arc::clone(clock))).transpose();
        let tls = tls.map_err(|error| failed(&error))?;
        let listener = TcpListener::from_std(listen_tcp(door.listen)?).map_err(|error| failed(&error))?;
        let door = Door::new(listener, tls).map_err(|error| failed(&error))?;
        Ok(Some(Self { door, certificate }))
    }

    /// The real address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// Serves, and keeps what is served current.
    pub(crate) async fn run(self, app: &App) {
        let Some(public) = &app.config.public else { return };
        let documents = |state: &State| Arc::new(Documents::of(state, &public.url, app.config.authority));
        let mut states = app.watch_state();
        let current = watch::Sender::new(documents(&app.state()));
        let certificate = async {
            match self.certificate {
                Some(certificate) => certificate.keep().await,
                None => std::future::pending().await,
            }
        };
        let follow = async {
            while states.changed().await.is_ok() {
                let state = Arc::clone(&states.borrow_and_update());
                current.send_replace(documents(&state));
            }
        };
        tokio::select! {
            () = self.door.run(current.subscribe(), app.shutdown.clone()) => {}
            () = certificate => {}
            () = follow => {}
        }
    }
}

/// The public listener, bound.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
    /// None: plain HTTP, which the settings allow on loopback alone.
    tls: Option<tls::PublicTls>,
}

impl Door {
    fn new(listener: TcpListener, tls: Option<tls::PublicTls>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address, tls })
    }

    /// Answers until shutdown; connections beyond the limit wait to be accepted.
    async fn run(self, documents: watch::Receiver<Arc<Documents>>, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a public connection could not be accepted");
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                    continue;
                }
            };
            let (tls, documents, shutdown) = (self.tls.clone(), documents.clone(), shutdown.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    // A client that is slow or gone is its own loss.
                    _ = tokio::time::timeout(LIFE, attend(stream, tls, documents)) => {}
                }
                drop(slot);
            });
        }
    }
}

async fn attend(stream: TcpStream, tls: Option<tls::PublicTls>, documents: watch::Receiver<Arc<Documents>>) {
    let ended = match tls {
        None => serve(stream, documents).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => serve(stream, documents).await,
            Err(error) => return tracing::debug!(%error, "a public TLS handshake failed"),
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a public connection failed");
    }
}

async fn serve<S>(stream: S, documents: watch::Receiver<Arc<Documents>>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        let documents = Arc::clone(&documents.borrow());
        async move { Ok::<_, Infallible>(answer(&documents, &request)) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

/// HEAD is answered as GET; the connection leaves the body out.
fn answer<B>(documents: &Documents, request: &Request<B>) -> Response<Full<Bytes>> {
    let Some(page) = documents.page(request.uri().path()) else {
        return refused(StatusCode::NOT_FOUND, "not found\n");
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let known = request.headers().get_all(header::IF_NONE_MATCH).iter().any(|tags| has(tags, &page.tag));
    let mut response = Response::new(Full::new(if known { Bytes::new() } else { page.body.clone() }));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        // FED-13.
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let headers = response.headers_mut();
    headers.insert(header::ETAG, page.tag.clone());
    headers.insert(header::CACHE_CONTROL, documents.caching().clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether a list of entity tags holds this one, weakly compared (RFC 9110 §13.1.2).
fn has(tags: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(tags), Ok(tag)) = (tags.to_str(), tag.to_str()) else { return false };
    tags.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn refused(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Public connections at a time.
const MAX_CONNECTIONS: usize = 256;
/// How long one lasts, whatever it does.
const LIFE: Duration = Duration::from_secs(60);
/// How long a request's head may take, and how long a connection may be silent.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const MAX_HEAD: usize = 8 * 1024;
/// Fields of a request's head.
const MAX_HEADERS: usize = 48;
/// How long to wait after a failed accept, so that a full descriptor table does not spin.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
