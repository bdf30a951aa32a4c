//! FetchJWTBundles: the JWT authorities as a JWK Set, to callers with an identity (WAJ-10, WAJ-11).

use super::caller::Desk;
use super::{Refusal, Stream};
use crate::peer::Caller;
use avouch_wire::workload::JwtBundlesResponse;
use avouch_words::Bundle;
use std::sync::Arc;

/// Opens the stream.
pub async fn stream(desk: Arc<Desk>, caller: Arc<Caller>) -> Result<Stream<JwtBundlesResponse>, Refusal> {
    super::bundles::stream(desk, caller, |bundle| bundle.jwt.clone(), message).await
}

fn message(bundle: &Bundle) -> JwtBundlesResponse {
    JwtBundlesResponse { bundles: [(bundle.trust_domain.id().to_string(), bundle.jwks().into_bytes())].into() }
}
