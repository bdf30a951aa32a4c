//! A gRPC channel over TLS between SPIFFE IDs.

use super::HANDSHAKE_DEADLINE;
use avouch_words::svid::x509::BadX509Svid;
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, OtherError};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// Why no channel could be made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The server cannot be reached, did not answer in time, or refused us: try later.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// Where to.
        address: String,
        /// What failed.
        reason: String,
    },
    /// The server is not whom the configuration expects. Nothing was sent to it.
    #[error("{address} is refused: {reason}")]
    NotExpected {
        /// Where to.
        address: String,
        /// The rule that refused it.
        reason: String,
    },
    /// What the server shows is not valid at this time: one of the two clocks is wrong, or the server's certificate
    /// ran out. Nothing was sent to it.
    #[error("{address} is refused at this time: {reason}")]
    NotNow {
        /// Where to.
        address: String,
        /// The rule that refused it.
        reason: String,
    },
}

/// Connects to `address`, a `host:port`, and speaks gRPC with whom `config` expects. The channel connects again by
/// itself, each time with the identity and bundles of that moment.
pub async fn dial(address: &str, config: Arc<ClientConfig>) -> Result<Channel, DialError> {
    let target = address.to_owned();
    let connector = TlsConnector::from(config);
    let service = tower::service_fn(move |_: http::Uri| {
        let (target, connector) = (target.clone(), connector.clone());
        async move { connect(&target, &connector).await.map(TokioIo::new) }
    });
    Endpoint::from_static(PLACE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(HANDSHAKE_DEADLINE)
        .keep_alive_while_idle(true)
        .connect_with_connector(service)
        .await
        .map_err(|error| failure(address.to_owned(), &error))
}

async fn connect(address: &str, connector: &TlsConnector) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let dialled = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        // Not sent and not looked at: the verifier knows whom it expects.
        let name = ServerName::try_from("issuer.invalid").map_err(io::Error::other)?;
        connector.connect(name, stream).await
    };
    tokio::time::timeout(HANDSHAKE_DEADLINE, dialled).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Finds what lies at the bottom of tonic's error.
fn failure(address: String, error: &(dyn std::error::Error + 'static)) -> DialError {
    let mut deepest = error;
    loop {
        // An io::Error has what it wraps not as its source but inside.
        let wrapped = deepest.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped.and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))) => {
                let reason = inner.to_string();
                return match inner.downcast_ref() {
                    Some(bad) if BadX509Svid::is_of_time(bad) => DialError::NotNow { address, reason },
                    _ => DialError::NotExpected { address, reason },
                };
            }
            Some(rustls::Error::InvalidCertificate(reason)) => {
                return DialError::NotExpected { address, reason: reason.to_string() };
            }
            _ => {}
        }
        match deepest.source() {
            Some(source) => deepest = source,
            None => return DialError::Unreachable { address, reason: deepest.to_string() },
        }
    }
}

/// The authority of the requests; the connector knows the place.
const PLACE: &str = "http://issuer.invalid";
/// How often a silent connection is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
