//! A small real HTTP tool on loopback, plain and over TLS, that demands a credential. The demo, `avouch dev` and
//! the stories call it. It echoes the credential on purpose when asked to, in every form that has to be scrubbed,
//! and keeps a list of what it was asked.

mod echo;
mod identity;
mod serve;

pub use identity::TlsIdentity;

use avouch_words::Secret;
use rustls::ServerConfig;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the tool demands, and where it listens.
#[derive(Debug)]
pub struct ToolConfig {
    /// The bearer token demanded over plain HTTP.
    pub plain: Secret,
    /// The bearer token demanded over TLS.
    pub tls: Secret,
    /// Whom it is over TLS.
    pub identity: TlsIdentity,
    /// Loopback port for plain HTTP; 0 for any.
    pub plain_port: u16,
    /// Loopback port for TLS; 0 for any.
    pub tls_port: u16,
}

/// The tool, bound and not yet serving.
pub struct ToolServer {
    plain: Side,
    tls: Side,
    log: ToolLog,
}

/// What the tool has been asked so far.
#[derive(Debug, Clone, Default)]
pub struct ToolLog(Arc<Mutex<Vec<Seen>>>);

/// One request that reached the tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether it came over TLS.
    pub tls: bool,
    /// Its method.
    pub method: String,
    /// Its target as sent.
    pub target: String,
    /// Its `Host`.
    pub host: String,
    /// Whether it carried the credential demanded.
    pub authorized: bool,
}

impl ToolServer {
    /// Binds both listeners.
    pub async fn build(config: ToolConfig) -> io::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(tls(config.identity)?));
        let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, config.plain_port)).await?;
        let tls = TcpListener::bind((Ipv4Addr::LOCALHOST, config.tls_port)).await?;
        Ok(Self {
            plain: Side { address: plain.local_addr()?, listener: plain, demanded: Arc::new(config.plain), tls: None },
            tls: Side {
                address: tls.local_addr()?,
                listener: tls,
                demanded: Arc::new(config.tls),
                tls: Some(acceptor),
            },
            log: ToolLog::default(),
        })
    }

    /// Where plain HTTP is served.
    pub fn plain_address(&self) -> SocketAddr {
        self.plain.address
    }

    /// Where TLS is served.
    pub fn tls_address(&self) -> SocketAddr {
        self.tls.address
    }

    /// What it has been asked; goes on being told while it serves.
    pub fn log(&self) -> ToolLog {
        self.log.clone()
    }

    /// Serves until it is dropped.
    pub async fn run(self) -> io::Result<()> {
        tokio::try_join!(self.plain.run(self.log.clone()), self.tls.run(self.log)).map(drop)
    }
}

impl ToolLog {
    /// All requests, in the order they came.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, seen: Seen) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < LOG_MAX {
            all.push(seen);
        }
    }
}

/// A secret that nobody has seen before: 24 random bytes, spelled so that every encoding of it differs from it.
pub fn new_secret() -> io::Result<Secret> {
    let mut random = [0; 24];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
    filled.map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let spelled = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, random);
    Ok(Secret::new(format!("k/{spelled}+=").into_bytes()))
}

struct Side {
    address: SocketAddr,
    listener: TcpListener,
    demanded: Arc<Secret>,
    tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsIdentity")
    }
}

impl Side {
    async fn run(self, log: ToolLog) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, _) = self.listener.accept().await?;
            while connections.try_join_next().is_some() {}
            let (log, demanded, tls) = (log.clone(), Arc::clone(&self.demanded), self.tls.clone());
            connections.spawn(async move {
                let _permit = permit;
                // One that breaks off concerns nobody else.
                let _ = connection(stream, tls, &demanded, &log).await;
            });
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, demanded: &Secret, log: &ToolLog) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        Some(acceptor) => {
            let stream =
                tokio::time::timeout(serve::IDLE, acceptor.accept(stream)).await.map_err(io::Error::other)??;
            serve::serve(stream, true, demanded, log).await
        }
        None => serve::serve(stream, false, demanded, log).await,
    }
}

fn tls(identity: TlsIdentity) -> io::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(identity.chain, identity.key))
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Connections served at once, on each side.
const CONNECTIONS_MAX: usize = 256;
/// Requests that are kept in the log.
const LOG_MAX: usize = 100_000;

#[cfg(test)]
mod tests;
