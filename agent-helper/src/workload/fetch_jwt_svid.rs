//! FetchJWTSVID: a token for the audiences asked (WAJ-01 to WAJ-07).

use super::Refusal;
use super::caller::{Desk, Entitlement, Hints};
use crate::identity::IdentityKey;
use crate::identity::jwt::NoToken;
use crate::issuer::AskFault;
use crate::peer::Caller;
use avouch_audit::field::Outside;
use avouch_audit::record::HelperEvent;
use avouch_wire::workload::{Jwtsvid, JwtsvidRequest, JwtsvidResponse};
use avouch_words::SpiffeId;

/// Answers one call.
pub async fn answer(desk: &Desk, caller: &Caller, request: JwtsvidRequest) -> Result<JwtsvidResponse, Refusal> {
    let audience = audience(request.audience)?;
    let wanted = match request.spiffe_id.as_str() {
        "" => None,
        text => Some(SpiffeId::parse(text).map_err(|_| Refusal::BadSpiffeId)?),
    };
    let entitled = desk.entitlement(caller).await?;
    let identities = narrow(&entitled, wanted.as_ref())?;
    // Exact match, alone or among others: the whole request is refused (WAJ-07, S13).
    let closed =
        |audience: &&String| identities.iter().any(|whose| entitled.state.is_closed_audience(&whose.agent, audience));
    if let Some(reserved) = audience.iter().find(closed) {
        for whose in identities {
            let caller = entitled.caller(whose);
            desk.journal.note(HelperEvent::ReservedAudienceRefused { caller, audience: Outside::of(reserved) });
        }
        return Err(Refusal::NotEntitled);
    }
    let mut svids = Vec::with_capacity(identities.len());
    let mut hints = Hints::default();
    for whose in identities {
        let id = entitled.state.id_of(whose).ok_or(Refusal::NotEntitled)?;
        let token = desk.jwt.fetch(whose, &id, &audience, entitled.bundle()).await.map_err(refusal)?;
        let svid = String::from_utf8(token.compact().expose().to_vec()).map_err(|_| Refusal::NotReady)?;
        let hint = hints.of(&entitled.state, whose);
        svids.push(Jwtsvid { spiffe_id: token.id().to_string(), svid, hint });
    }
    Ok(JwtsvidResponse { svids })
}

fn audience(audience: Vec<String>) -> Result<Vec<String>, Refusal> {
    if audience.is_empty() || audience.iter().any(String::is_empty) {
        return Err(Refusal::NoAudience);
    }
    if audience.len() > MOST_AUDIENCES || audience.iter().any(|audience| audience.len() > LONGEST_AUDIENCE) {
        return Err(Refusal::TooMuchAudience);
    }
    Ok(audience)
}

/// The one that was asked for, or all.
fn narrow<'a>(entitled: &'a Entitlement, wanted: Option<&SpiffeId>) -> Result<Vec<&'a IdentityKey>, Refusal> {
    let is = |whose: &IdentityKey, wanted| entitled.state.id_of(whose).as_ref() == Some(wanted);
    let fits = |whose: &&IdentityKey| wanted.is_none_or(|wanted| is(whose, wanted));
    let identities: Vec<_> = entitled.identities.iter().filter(fits).collect();
    if identities.is_empty() { Err(Refusal::NotEntitled) } else { Ok(identities) }
}

fn refusal(error: NoToken) -> Refusal {
    match error {
        NoToken::Asked(AskFault::Refused) => Refusal::NotEntitled,
        NoToken::Asked(AskFault::Unreachable) | NoToken::Inadmissible => Refusal::NotReady,
    }
}

/// Audiences in one request.
pub const MOST_AUDIENCES: usize = 16;
/// Bytes of one audience.
pub const LONGEST_AUDIENCE: usize = 512;
