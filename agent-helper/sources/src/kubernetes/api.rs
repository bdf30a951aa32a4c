//! Requests to the API server: over TLS that the cluster's own certificates verify, without redirects or a proxy, each
//! with the token that the file holds at that moment.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avouch_words::Name;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use zeroize::Zeroizing;

use super::KubernetesSettings;
use crate::SourceFault;
use crate::unusable::{Unusable, check_address, roots};

/// How long one answer may take; the broker's own deadline is a little longer.
pub const DEADLINE: Duration = Duration::from_secs(8);
/// The longest answer, in bytes: a Secret has at most 1 MiB, in base64, beside what is said about it.
pub const BODY_MAX: usize = 3 * 1024 * 1024;
/// The longest token, in bytes.
pub const TOKEN_MAX: usize = 16 * 1024;

const CA_MAX: usize = 1024 * 1024;
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
const KEEPALIVE: Duration = Duration::from_secs(15);
const PATIENCE: u64 = 1;
const PATIENCE_MAX: u64 = 60;
const FIRST_ROOM: usize = 16 * 1024;

pub(super) struct Api {
    source: Name,
    settings: KubernetesSettings,
    /// With which CA file it was made.
    client: Mutex<Option<(Version, Client)>>,
}

/// Device, inode, size, and when it was last touched.
type Version = (u64, u64, u64, i64, i64);

impl Api {
    pub(super) fn new(source: Name, settings: KubernetesSettings) -> Result<Self, Unusable> {
        check_address(&settings.server)?;
        // The token goes there: not even to this machine in the clear.
        if !settings.server.starts_with("https://") {
            return Err(Unusable::Address);
        }
        Ok(Self { source, settings, client: Mutex::default() })
    }

    pub(super) fn server(&self) -> &str {
        &self.settings.server
    }

    /// The whole answer of a GET.
    pub(super) async fn get(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, SourceFault> {
        let whole = async {
            let mut answer = self.ask(path, "application/json").await?;
            let mut body = Growing::new(BODY_MAX);
            while let Some(chunk) = answer.chunk().await.map_err(|_| SourceFault::Unavailable)? {
                body.push(&chunk)?;
            }
            Ok(body.bytes)
        };
        tokio::time::timeout(DEADLINE, whole).await.unwrap_or(Err(SourceFault::Unavailable))
    }

    /// A GET whose answer is 200 and has just begun.
    pub(super) async fn ask(&self, path: &str, accept: &'static str) -> Result<Response, SourceFault> {
        let url = format!("{}{path}", self.settings.server.trim_end_matches('/'));
        let asked = self.client()?.get(url).header(ACCEPT, accept).header(AUTHORIZATION, self.token()?);
        let answer = asked.send().await.map_err(|error| {
            tracing::warn!(source = %self.source, connect = error.is_connect(), "the API server gives no answer");
            SourceFault::Unavailable
        })?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        tracing::warn!(source = %self.source, status = status.as_u16(), "the API server refuses");
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SourceFault::Denied,
            StatusCode::NOT_FOUND => SourceFault::Missing,
            StatusCode::TOO_MANY_REQUESTS => {
                let said = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                SourceFault::Busy(Duration::from_secs(said.unwrap_or(PATIENCE).min(PATIENCE_MAX)))
            }
            StatusCode::GONE => SourceFault::Garbage,
            _ => SourceFault::Unavailable,
        })
    }

    fn client(&self) -> Result<Client, SourceFault> {
        let missing = |_| {
            tracing::warn!(source = %self.source, path = %self.settings.ca_file.display(), "the CA file cannot be read");
            SourceFault::Unavailable
        };
        let mut file = File::open(&self.settings.ca_file).map_err(missing)?;
        let meta = file.metadata().map_err(missing)?;
        let version = (meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec());
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((with, client)) = held.as_ref()
            && *with == version
        {
            return Ok(client.clone());
        }
        let pem = bounded(&mut file, CA_MAX).map_err(missing)?;
        let client = client(&pem).map_err(|wrong| {
            tracing::warn!(source = %self.source, path = %self.settings.ca_file.display(), "{wrong}");
            SourceFault::Unavailable
        })?;
        *held = Some((version, client.clone()));
        Ok(client)
    }

    fn token(&self) -> Result<HeaderValue, SourceFault> {
        bearer(&self.settings.token_file).ok_or_else(|| {
            tracing::warn!(source = %self.source, path = %self.settings.token_file.display(), "there is no token");
            SourceFault::NoIdentity
        })
    }
}

fn bearer(path: &Path) -> Option<HeaderValue> {
    let token = bounded(&mut File::open(path).ok()?, TOKEN_MAX).ok()?;
    let token = token.trim_ascii();
    let mut header = Zeroizing::new(Vec::with_capacity(BEARER.len() + token.len()));
    header.extend_from_slice(BEARER);
    header.extend_from_slice(token);
    let mut header = HeaderValue::from_bytes(&header).ok().filter(|_| !token.is_empty())?;
    header.set_sensitive(true);
    Some(header)
}

const BEARER: &[u8] = b"Bearer ";

fn bounded(file: &mut File, most: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FIRST_ROOM));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > most {
        true => Err(std::io::ErrorKind::InvalidData.into()),
        false => Ok(bytes),
    }
}

fn client(ca: &[u8]) -> Result<Client, Unusable> {
    let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| Unusable::Tls)?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .redirect(Policy::none())
        .no_proxy()
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_DEADLINE)
        .tcp_keepalive(KEEPALIVE)
        .build()
        .map_err(|_| Unusable::Tls)
}

/// Bytes that are wiped, also those that it had too little room for.
pub(super) struct Growing {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    most: usize,
}

impl Growing {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(FIRST_ROOM.min(most))), most }
    }

    pub(super) fn push(&mut self, more: &[u8]) -> Result<(), SourceFault> {
        let length = self.bytes.len().saturating_add(more.len());
        if length > self.most {
            return Err(SourceFault::Garbage);
        }
        if length > self.bytes.capacity() {
            let mut roomier = Zeroizing::new(Vec::with_capacity(length.saturating_mul(2).min(self.most)));
            roomier.extend_from_slice(&self.bytes);
            self.bytes = roomier;
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }
}
