//! How somebody enters: by the brokered identity, by AppRole, or with a token that something else keeps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustify::endpoint::Endpoint;
use rustify_derive::Endpoint;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::oidc::requests::JWTLoginRequest;
use vaultrs::api::token::requests::{RenewTokenSelfRequest, RevokeTokenSelfRequest};

use avouch_words::{Millis, Secret};

use super::OpenBao;
use super::answer::{Auth, id};
use super::client::Way;
use super::fault::{Asked, checked};
use super::settings::Login;
use crate::value::lease_of_line;
use crate::{Entrant, Obligation, ObligationKind, SourceFault, Who};

/// The longest that a login is believed to last, whatever the store says.
pub const TERM_MAX: Duration = Duration::from_secs(32 * 24 * 3600);

/// vaultrs names the role by a field that the store does not read, and so logs in by any role that fits.
#[derive(Endpoint)]
#[endpoint(path = "auth/{self.mount}/login", method = "POST")]
struct CertificateLogin {
    #[endpoint(skip)]
    mount: String,
    name: String,
}

/// Somebody who has entered.
pub(super) struct Entered {
    pub(super) token: Secret,
    pub(super) way: Arc<Way>,
    /// By which it is known at the store; none for a token that something else keeps.
    pub(super) accessor: Option<String>,
    pub(super) renewable: bool,
    term: Mutex<Term>,
}

/// Since when and until when a login lasts, by the boot clock.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub(super) since: Duration,
    pub(super) until: Duration,
}

impl Entered {
    pub(super) fn term(&self) -> Term {
        *self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_term(&self, since: Duration, lasts: u64) {
        let lasts = Duration::from_secs(lasts).min(TERM_MAX);
        *self.term.lock().unwrap_or_else(PoisonError::into_inner) = Term { since, until: since + lasts };
    }

    /// Asks with this login.
    pub(super) async fn ask<E: Endpoint>(
        &self,
        endpoint: E,
        asked: Asked,
    ) -> Result<super::client::Reply, SourceFault> {
        checked(self.way.ask(endpoint, Some(&self.token)).await?, &self.way, asked).await
    }
}

impl Term {
    /// Whether its first half is over.
    pub(super) fn is_half_over(self, boot: Duration) -> bool {
        boot >= self.since + self.until.saturating_sub(self.since) / 2
    }

    /// Until when, by the wall clock.
    pub(super) fn end(self, clock: &dyn avouch_words::Clock) -> Millis {
        clock.now().plus(self.until.saturating_sub(clock.boot()))
    }
}

impl OpenBao {
    /// Logs in as somebody. Nothing is recorded yet.
    pub(super) async fn log_in(&self, entrant: &dyn Entrant) -> Result<Entered, SourceFault> {
        let since = self.clock.boot();
        let (reply, way) = match &self.settings.login {
            Login::Jwt { mount, role, revoke_role, audience } => {
                let jwt = text(&entrant.jwt(audience).await?)?;
                let role = Some(role_of(entrant.who(), role, revoke_role));
                let asked = JWTLoginRequest { mount: mount.clone(), jwt, role };
                (self.way.ask(asked, None).await?, Arc::clone(&self.way))
            }
            Login::Cert { mount, role, revoke_role } => {
                let way = Arc::new(self.ways.with_certificate(&entrant.x509().await?)?);
                let name = role_of(entrant.who(), role, revoke_role);
                (way.ask(CertificateLogin { mount: mount.clone(), name }, None).await?, way)
            }
            Login::AppRole { mount, role_id, .. } => {
                let secret_id = text(&self.kept()?)?;
                let asked = LoginWithApproleRequest { mount: mount.clone(), role_id: role_id.clone(), secret_id };
                (self.way.ask(asked, None).await?, Arc::clone(&self.way))
            }
            Login::TokenFile { .. } => {
                let term = Mutex::new(Term { since, until: since + TERM_MAX });
                let (token, way) = (self.kept()?, Arc::clone(&self.way));
                return Ok(Entered { token, way, accessor: None, renewable: false, term });
            }
        };
        let reply = checked(reply, &way, Asked::Login).await?;
        let auth: Auth = reply.read::<serde::de::IgnoredAny>()?.auth.ok_or(SourceFault::Garbage)?;
        // What a token is made of goes into a header.
        if !auth.client_token.0.expose().iter().all(u8::is_ascii_graphic) || auth.client_token.0.is_empty() {
            return Err(SourceFault::Garbage);
        }
        let accessor = match auth.accessor.filter(|accessor| !accessor.is_empty()) {
            Some(accessor) => id(accessor)?,
            None => {
                tracing::warn!(source = %self.name, "the role gives batch tokens, which cannot be revoked: let it give token_type=service");
                return Err(SourceFault::Denied);
            }
        };
        let entered = Entered {
            token: auth.client_token.0,
            way,
            accessor: Some(accessor),
            renewable: auth.renewable,
            term: Mutex::new(Term { since, until: since }),
        };
        entered.set_term(since, auth.lease_duration);
        Ok(entered)
    }

    /// Makes a login last longer, as long as its role gives it.
    pub(super) async fn renew_login(&self, entered: &Entered) -> Result<(), SourceFault> {
        let since = self.clock.boot();
        let reply = entered.ask(RenewTokenSelfRequest { increment: None }, Asked::Login).await?;
        let auth = reply.read::<serde::de::IgnoredAny>()?.auth.ok_or(SourceFault::Garbage)?;
        entered.set_term(since, auth.lease_duration);
        Ok(())
    }

    /// Ends a login by itself, with all that was leased with it.
    pub(super) async fn log_out(&self, entered: &Entered) -> Result<(), SourceFault> {
        // Somebody else's token is not ours to end.
        match &entered.accessor {
            None => Ok(()),
            Some(_) => entered.ask(RevokeTokenSelfRequest {}, Asked::Login).await.map(drop),
        }
    }

    /// What is owed for a login; nothing for a token that something else keeps.
    pub(super) fn owed_for(&self, entered: &Entered, who: &Who) -> Option<Obligation> {
        let (agent, instance) = match who {
            Who::Agent { agent, instance } => (Some(agent.clone()), Some(*instance)),
            Who::Node => (None, None),
        };
        Some(Obligation {
            source: self.name.clone(),
            kind: ObligationKind::Token,
            id: entered.accessor.clone()?,
            parent: None,
            agent,
            instance,
            credential: None,
            expires: entered.term().end(&*self.clock),
            renewable: entered.renewable,
        })
    }

    /// The secret of the login that is kept in a file.
    fn kept(&self) -> Result<Secret, SourceFault> {
        let held = self.file.as_ref().ok_or(SourceFault::NoIdentity)?.read(&self.name)?;
        lease_of_line(&held.bytes)?.into_value().ok_or(SourceFault::Garbage)
    }
}

fn role_of(who: &Who, role: &str, revoke_role: &str) -> String {
    match who {
        Who::Agent { agent, .. } => Login::role_of(role, agent),
        Who::Node => revoke_role.to_owned(),
    }
}

/// For a request of vaultrs, which takes plain text; what it makes of it is freed with the request.
fn text(secret: &Secret) -> Result<String, SourceFault> {
    String::from_utf8(secret.expose().to_vec()).map_err(|_| SourceFault::Garbage)
}
