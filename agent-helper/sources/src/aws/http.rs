//! The SDK's HTTP client: rustls on ring, no proxy, no redirects, and bodies that end at a limit.

use std::fmt;

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::unusable::{Unusable, roots};

/// The longest answer, in bytes: a secret has at most 64 KiB, each of which JSON may write as six.
pub const BODY_MAX: usize = 512 * 1024;

/// A client that believes the system's certificates, or only these.
pub(super) fn client(ca_pem: Option<&[u8]>) -> Result<SharedHttpClient, Unusable> {
    let trusted = match ca_pem {
        // What the SDK cannot read of it, it takes for a reason to panic.
        Some(pem) => roots(pem).map(|_| TrustStore::empty().with_pem_certificate(pem))?,
        None => TrustStore::empty().with_native_roots(true),
    };
    let tls = TlsContext::builder().with_trust_store(trusted).build().map_err(|_| Unusable::Tls)?;
    let client = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build_https();
    Ok(SharedHttpClient::new(Bounded(client)))
}

/// An answer was over [`BODY_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {BODY_MAX} bytes")]
pub(super) struct TooLong;

struct Bounded<T>(T);

impl<T> fmt::Debug for Bounded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bounded")
    }
}

impl HttpClient for Bounded<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, with: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Bounded(self.0.http_connector(settings, with)))
    }
}

impl HttpConnector for Bounded<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let body = std::mem::replace(answer.body_mut(), Vec::new().into());
            let whole =
                Limited::new(body, BODY_MAX).collect().await.map_err(|error| match error.is::<LengthLimitError>() {
                    true => ConnectorError::other(Box::new(TooLong), None),
                    false => ConnectorError::io(error),
                })?;
            *answer.body_mut() = whole.to_bytes().into();
            Ok(answer)
        })
    }
}
