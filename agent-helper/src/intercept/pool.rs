//! Connections to tools' servers. They are kept per session and per set of bindings, so that no two identities and no
//! two credentials ever share one (rule B10, case A26).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_policy::{Origin, RefusalCode, Scheme};
use avouch_words::Digest;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::h1::{Input, Io, Output};

/// How long one address may take to be connected to, TLS included.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// The most addresses of a host that are tried.
pub(super) const CONNECT_TRIES: usize = 3;
/// How long a connection is kept unused.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long a connection is used at all: a host that moves is followed.
const LIFE_MAX: Duration = Duration::from_secs(600);
/// The most unused connections of one set of bindings.
const IDLE_PER_KEY: usize = 16;
/// The most sets of bindings that connections are kept for.
const KEYS_MAX: usize = 64;

/// A connection to a tool's server.
pub(super) struct Upstream {
    pub(super) input: Input,
    pub(super) output: Output,
    born: Instant,
    used: Instant,
}

/// The unused connections of one session.
#[derive(Default)]
pub(super) struct Pool {
    unused: Mutex<HashMap<Digest, Vec<Upstream>>>,
}

/// Opens connections.
pub(super) struct Dialer {
    system: Arc<ClientConfig>,
}

impl Pool {
    /// A connection opened for the same bindings, if one is there and still silent.
    pub(super) fn take(&self, key: &Digest) -> Option<Upstream> {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = unused.get_mut(key)?;
        while let Some(mut upstream) = kept.pop() {
            let young = upstream.born.elapsed() < LIFE_MAX && upstream.used.elapsed() < IDLE_MAX;
            // What was sent without being asked would be taken for the answer to the next request (case T06).
            if young && !upstream.input.has_news() {
                return Some(upstream);
            }
        }
        unused.remove(key);
        None
    }

    /// Keeps a connection whose last answer was taken whole.
    pub(super) fn put(&self, key: Digest, mut upstream: Upstream) {
        upstream.used = Instant::now();
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        if unused.len() >= KEYS_MAX && !unused.contains_key(&key) {
            unused.clear();
        }
        let kept = unused.entry(key).or_default();
        kept.retain(|upstream| upstream.used.elapsed() < IDLE_MAX);
        if kept.len() < IDLE_PER_KEY {
            kept.push(upstream);
        }
    }
}

impl Dialer {
    /// Verifies servers with these roots, where a binding does not bring its own.
    pub(super) fn new(roots: Arc<RootCertStore>) -> Result<Self, rustls::Error> {
        Ok(Self { system: Arc::new(client_config(roots)?) })
    }

    /// Connects to one of the addresses, in this order, and verifies that it is the origin's server. `ca` are the
    /// roots that the binding trusts instead of the system's.
    pub(super) async fn dial(
        &self,
        addresses: &[SocketAddr],
        origin: &Origin,
        ca: Option<&[CertificateDer<'static>]>,
    ) -> Result<Upstream, RefusalCode> {
        let tls = match origin.scheme() {
            Scheme::Http => None,
            Scheme::Https => Some((self.config(ca)?, server_name(origin)?)),
        };
        for address in addresses.iter().take(CONNECT_TRIES) {
            match timeout(CONNECT_DEADLINE, connect(*address, tls.clone())).await {
                Ok(Ok(io)) => {
                    let (input, output) = io.halves();
                    let now = Instant::now();
                    return Ok(Upstream { input, output, born: now, used: now });
                }
                Ok(Err(error)) => tracing::debug!(%address, %error, "intercept.upstream.connect"),
                Err(_) => tracing::debug!(%address, "intercept.upstream.connect: no answer in time"),
            }
        }
        Err(RefusalCode::UpstreamUnreachable)
    }

    fn config(&self, ca: Option<&[CertificateDer<'static>]>) -> Result<Arc<ClientConfig>, RefusalCode> {
        let Some(ca) = ca else { return Ok(Arc::clone(&self.system)) };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(ca.iter().cloned());
        client_config(Arc::new(roots)).map(Arc::new).map_err(|_| RefusalCode::UpstreamUnreachable)
    }
}

/// Connects a socket that does not delay small writes.
pub(super) async fn connect_plain(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn connect(address: SocketAddr, tls: Option<(Arc<ClientConfig>, ServerName<'static>)>) -> std::io::Result<Io> {
    let stream = connect_plain(address).await?;
    match tls {
        None => Ok(Io::Plain(stream)),
        Some((config, name)) => {
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            Ok(Io::Tls(Box::new(stream.into())))
        }
    }
}

fn client_config(roots: Arc<RootCertStore>) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A ticket would tie the connections of two sessions together.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server_name(origin: &Origin) -> Result<ServerName<'static>, RefusalCode> {
    match origin.host().ip() {
        Some(ip) => Ok(ServerName::IpAddress(ip.into())),
        None => ServerName::try_from(origin.host().as_str().to_owned()).map_err(|_| RefusalCode::UpstreamUnreachable),
    }
}
