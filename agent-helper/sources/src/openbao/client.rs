//! The way to one server. vaultrs words the requests; they are sent and read here, as its own client follows
//! redirects and the environment's proxies, reads replies without a limit, and drops what a lease is given back by.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Request, StatusCode, redirect};
use rustify::endpoint::Endpoint;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use vaultrs::api::EndpointMiddleware;
use zeroize::Zeroizing;

use avouch_words::Secret;

use super::settings::{BadSettings, Settings, base};
use crate::{Credentials509, SourceFault};

/// The largest reply that is read, in bytes: what a store takes for one entry.
pub const REPLY_MAX: usize = 1024 * 1024;
/// How long connecting may take.
pub const CONNECT: Duration = Duration::from_secs(5);
/// How long a request may take if its caller waits longer.
pub const REQUEST: Duration = Duration::from_secs(30);

const IDLE: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS: usize = 8;
const TOKEN: &str = "X-Vault-Token";

/// What a way is made of.
pub(super) struct Ways {
    base: String,
    roots: Arc<RootCertStore>,
    middleware: EndpointMiddleware,
}

/// A way to the server, anonymous or with a client certificate.
pub(super) struct Way {
    http: reqwest::Client,
    base: String,
    middleware: EndpointMiddleware,
}

/// What came back. The body is wiped when it is dropped.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) patience: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Ways {
    pub(super) fn new(settings: &Settings, system: &RootCertStore) -> Result<Self, BadSettings> {
        settings.check()?;
        // The token is not given to it: it would keep it as plain text, and print it.
        let middleware = EndpointMiddleware {
            token: String::new(),
            version: "v1".to_owned(),
            wrap: None,
            namespace: settings.namespace.clone(),
        };
        Ok(Self { base: base(&settings.address)?, roots: Arc::new(settings.roots(system)?), middleware })
    }

    /// Nothing but the server is verified.
    pub(super) fn anonymous(&self) -> Result<Way, SourceFault> {
        self.way(None)
    }

    /// The client shows a certificate, over connections that nobody else uses.
    pub(super) fn with_certificate(&self, shown: &Credentials509) -> Result<Way, SourceFault> {
        let chain = shown.chain.iter().map(|certificate| CertificateDer::from(certificate.clone())).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(shown.key.expose().to_vec()));
        self.way(Some((chain, key)))
    }

    fn way(&self, shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>) -> Result<Way, SourceFault> {
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| SourceFault::Unavailable)?
            .with_root_certificates(Arc::clone(&self.roots));
        let tls = match shown {
            None => tls.with_no_client_auth(),
            Some((chain, key)) => tls.with_client_auth_cert(chain, key).map_err(|_| SourceFault::NoIdentity)?,
        };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build()
            .map_err(|_| SourceFault::Unavailable)?;
        Ok(Way { http, base: self.base.clone(), middleware: self.middleware.clone() })
    }
}

impl Way {
    /// Asks; any status is a reply.
    pub(super) async fn ask<E: Endpoint>(&self, endpoint: E, token: Option<&Secret>) -> Result<Reply, SourceFault> {
        // What is wrong with a request is not told: it may speak of what is in it.
        let asked = endpoint.with_middleware(&self.middleware).request(&self.base);
        let mut asked =
            Request::try_from(asked.map_err(|_| SourceFault::Reference)?).map_err(|_| SourceFault::Reference)?;
        if asked.method() == Method::POST {
            asked.headers_mut().insert("Content-Type", HeaderValue::from_static("application/json"));
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_bytes(token.expose()).map_err(|_| SourceFault::Garbage)?;
            value.set_sensitive(true);
            asked.headers_mut().insert(TOKEN, value);
        }
        let mut reply = self.http.execute(asked).await.map_err(|error| {
            tracing::debug!(connect = error.is_connect(), timeout = error.is_timeout(), "sources.openbao.ask");
            SourceFault::Unavailable
        })?;
        let (status, patience) = (reply.status(), patience(reply.headers()));
        if reply.content_length().is_some_and(|length| length > REPLY_MAX as u64) {
            return Err(SourceFault::Garbage);
        }
        let mut chunks = Vec::new();
        let mut length = 0;
        // A buffer that grew would leave copies behind. What the connection itself read into is freed by its crate;
        // the programs' allocator wipes what is freed.
        while let Some(chunk) = reply.chunk().await.map_err(|_| SourceFault::Unavailable)? {
            length += chunk.len();
            if length > REPLY_MAX {
                return Err(SourceFault::Garbage);
            }
            chunks.push(chunk);
        }
        Ok(Reply { status, patience, body: Zeroizing::new(chunks.concat()) })
    }
}

/// In whole seconds (RFC 9110, 10.2.3). A date is not read: it would need the store's clock to be right.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
