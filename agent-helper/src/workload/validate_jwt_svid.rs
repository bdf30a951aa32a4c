//! ValidateJWTSVID: whether a token is somebody's identity for an audience (WAJ-20 to WAJ-24). It tells nothing that
//! the caller did not bring, so it needs no identity.

use super::Refusal;
use super::caller::Desk;
use crate::peer::Caller;
use avouch_wire::claims;
use avouch_wire::workload::{ValidateJwtsvidRequest, ValidateJwtsvidResponse};
use avouch_words::Bundles;
use avouch_words::svid::jwt::JwtSvid;
use std::time::Duration;

/// Answers one call.
pub async fn answer(
    desk: &Desk,
    caller: &Caller,
    request: &ValidateJwtsvidRequest,
) -> Result<ValidateJwtsvidResponse, Refusal> {
    if request.audience.is_empty() || request.svid.is_empty() {
        return Err(Refusal::NothingToValidate);
    }
    caller.recheck().map_err(|_| Refusal::Gone)?;
    let state = desk.state()?;
    let bundles = Bundles::from((*state.bundle).clone());
    let now = desk.clock.now();
    let svid = JwtSvid::parse_and_verify(&request.svid, &[&request.audience], &bundles, now, LEEWAY);
    let svid = svid.map_err(|error| {
        tracing::info!(%error, "a JWT-SVID was not valid");
        Refusal::InvalidToken
    })?;
    let mut all = svid.claims().clone();
    // Always a list, whichever form the token has (WAJ-22).
    all.insert("aud".to_owned(), svid.audience().into());
    Ok(ValidateJwtsvidResponse { spiffe_id: svid.id().to_string(), claims: Some(claims::to_struct(&all)) })
}

/// How far clocks may differ (SIL-06).
const LEEWAY: Duration = Duration::from_secs(5);
