//! What verifies tokens, and when it has to be uploaded again by those who upload it.

use crate::app::App;
use crate::caller::Operator;
use crate::error::Failure;
use crate::tend;
use avouch_core::authority::{Authority, AuthorityState};
use avouch_core::keys::Purpose;
use avouch_wire::admin;
use avouch_words::Millis;

#[tracing::instrument(name = "admin.keys.show", skip_all)]
pub(super) async fn show_keys(
    app: &App,
    _operator: Operator,
    _request: admin::ShowKeysRequest,
) -> Result<admin::ShowKeysReply, Failure> {
    let state = app.state();
    let lives = tend::lifetimes(Purpose::JwtAuthority, app.config.authority);
    let of = |wanted: AuthorityState| {
        let fits = move |one: &&Authority| one.purpose == Purpose::JwtAuthority && one.state == wanted;
        state.authorities.iter().find(fits)
    };
    let before_end = |left: std::time::Duration| {
        of(AuthorityState::Active).map_or(app.now(), |active| {
            Millis(active.not_after.0.saturating_sub(i64::try_from(left.as_millis()).unwrap_or(i64::MAX)))
        })
    };
    let public = app.config.public.as_ref();
    Ok(admin::ShowKeysReply {
        issuer: app.tokens.issuer.clone(),
        jwks: state.signers.bundle().openid_jwks(),
        upload_by_ms: before_end(lives.activate).0,
        upload_from_ms: of(AuthorityState::Prepared).map_or(before_end(lives.prepare), |next| next.created).0,
        served: public.is_some_and(|public| public.door.is_some()),
        public: public.is_some_and(|public| !public.url.is_local()),
        rs256_audiences: app.tokens.rsa.iter().flat_map(|key| key.audiences.iter().cloned()).collect(),
    })
}
