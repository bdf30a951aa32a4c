//! What the proxy is measured between and against: a tool, and a forwarder on bare hyper that decides, records and
//! scrubs nothing.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Body = BoxBody<Bytes, hyper::Error>;

/// A throw-away server certificate under an authority of its own.
pub struct Certificate {
    pub pem: String,
    pub acceptor: TlsAcceptor,
}

/// Trusts the authority in a PEM file alone.
pub fn trusting(file: &str) -> io::Result<TlsConnector> {
    let authority = CertificateDer::from_pem_file(file).map_err(io::Error::other)?;
    trusting_one(authority)
}

fn trusting_one(authority: CertificateDer<'static>) -> io::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(client)))
}

pub fn certificate(host: &str) -> io::Result<Certificate> {
    let ca_key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_der = ca.self_signed(&ca_key).map_err(io::Error::other)?;
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
    let leaf = rcgen::CertificateParams::new([host.to_owned()]).map_err(io::Error::other)?;
    let leaf = leaf.signed_by(&key, &issuer).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(io::Error::other)?;
    Ok(Certificate { pem: ca_der.pem(), acceptor: TlsAcceptor::from(Arc::new(server)) })
}

/// Answers `/small` with 1 KiB and `/large` with 1 MiB, on plain HTTP or behind TLS.
pub async fn tool(tls: Option<TlsAcceptor>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let small = Bytes::from("0123456789abcdef".repeat(64));
    let large = Bytes::from("0123456789abcdef".repeat(65_536));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).ok();
            let (small, large, tls) = (small.clone(), large.clone(), tls.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let body = if request.uri().path() == "/large" { large.clone() } else { small.clone() };
                async move { Ok::<_, hyper::Error>(Response::new(Full::new(body))) }
            });
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                match tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => http.serve_connection(TokioIo::new(stream), service).await,
                        Err(_) => Ok(()),
                    },
                    None => http.serve_connection(TokioIo::new(stream), service).await,
                }
            });
        }
    });
    Ok(address)
}

/// A forwarder on bare hyper: absolute form over a pooled client, and CONNECT opened with `inner` and sent on over
/// one kept TLS connection for each client connection.
pub async fn forwarder(
    upstream: SocketAddr,
    host: String,
    inner: Option<Certificate>,
    outer: Option<TlsConnector>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let client: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build_http();
    let shared = Arc::new(Shared { upstream, host, inner, outer, client });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).ok();
            let shared = shared.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| forward(shared.clone(), request));
                let http = hyper::server::conn::http1::Builder::new();
                http.serve_connection(TokioIo::new(stream), service).with_upgrades().await.ok();
            });
        }
    });
    Ok(address)
}

struct Shared {
    upstream: SocketAddr,
    host: String,
    inner: Option<Certificate>,
    outer: Option<TlsConnector>,
    client: Client<HttpConnector, Incoming>,
}

async fn forward(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    if request.method() != Method::CONNECT {
        return Ok(match shared.client.request(request).await {
            Ok(answer) => answer.map(BodyExt::boxed),
            Err(_) => status(StatusCode::BAD_GATEWAY),
        });
    }
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.ok()?;
        intercept(shared, upgraded).await
    });
    Ok(status(StatusCode::OK))
}

async fn intercept(shared: Arc<Shared>, upgraded: hyper::upgrade::Upgraded) -> Option<()> {
    let client = shared.inner.as_ref()?.acceptor.accept(TokioIo::new(upgraded)).await.ok()?;
    let upstream = TcpStream::connect(shared.upstream).await.ok()?;
    upstream.set_nodelay(true).ok()?;
    let name = ServerName::try_from(shared.host.clone()).ok()?;
    let upstream = shared.outer.as_ref()?.connect(name, upstream).await.ok()?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake::<_, Incoming>(TokioIo::new(upstream)).await.ok()?;
    tokio::spawn(connection);
    let sender = Arc::new(Mutex::new(Some(sender)));
    let service = service_fn(move |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let Some(mut one) = sender.lock().ok().and_then(|mut held| held.take()) else {
                return Ok(status(StatusCode::BAD_GATEWAY));
            };
            let answer = one.send_request(request).await?;
            if let Ok(mut held) = sender.lock() {
                *held = Some(one);
            }
            Ok::<_, hyper::Error>(answer.map(BodyExt::boxed))
        }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service).await.ok()
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed());
    *response.status_mut() = code;
    response
}
