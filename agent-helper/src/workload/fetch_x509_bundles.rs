//! FetchX509Bundles: the X.509 authorities, to callers with an identity (WAX-07, WAC-10).

use super::caller::Desk;
use super::{Refusal, Stream};
use crate::peer::Caller;
use avouch_wire::workload::X509BundlesResponse;
use avouch_words::{Bundle, X509Authority};
use std::sync::Arc;

/// Opens the stream.
pub async fn stream(desk: Arc<Desk>, caller: Arc<Caller>) -> Result<Stream<X509BundlesResponse>, Refusal> {
    super::bundles::stream(desk, caller, |bundle| bundle.x509.clone(), message).await
}

fn message(bundle: &Bundle) -> X509BundlesResponse {
    let der = bundle.x509.iter().flat_map(|X509Authority(der)| der.iter().copied()).collect();
    X509BundlesResponse { bundles: [(bundle.trust_domain.id().to_string(), der)].into(), ..Default::default() }
}
