//! What operators are told of a store, and a try at it that keeps nothing.

use std::collections::BTreeMap;

use rustify_derive::Endpoint;
use serde::Deserialize;
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::OpenBao;
use super::fault::Asked;
use super::kv;
use super::login::Entered;
use super::reference::Place;
use super::settings::Login;
use crate::{About, Entrant, Found, Shown, SourceFault, Wanted};

/// What the login may do with a path.
#[derive(Endpoint)]
#[endpoint(path = "sys/capabilities-self", method = "POST")]
struct Capabilities {
    paths: Vec<String>,
}

#[derive(Deserialize)]
struct Itself {
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    identity_policies: Option<Vec<String>>,
}

impl OpenBao {
    /// What it is and how it is entered.
    pub(super) fn told(&self) -> About {
        let place = match &self.settings.namespace {
            None => self.settings.address.clone(),
            Some(namespace) => format!("{} namespace {namespace}", self.settings.address),
        };
        let (login, shown) = match &self.settings.login {
            Login::Jwt { audience, .. } => ("jwt", Shown::Jwt { audience: audience.clone() }),
            Login::Cert { .. } => ("cert", Shown::X509),
            Login::AppRole { .. } => ("approle", Shown::Nothing),
            Login::TokenFile { .. } => ("token_file", Shown::Nothing),
        };
        About { place, login, shown }
    }

    /// Logs in, looks, and logs out.
    pub(super) async fn try_as(
        &self,
        entrant: &dyn Entrant,
        sought: Option<&Wanted>,
    ) -> Result<crate::Entered, SourceFault> {
        let entered = self.log_in(entrant).await?;
        let (seen_as, rights) = itself(&entered).await;
        let found = match sought.map(|wanted| Place::parse(wanted.reference.as_str())) {
            Some(Ok(place)) => Some(look(&entered, &place).await),
            Some(Err(_)) => Some(Err(SourceFault::Reference)),
            None => None,
        };
        if let Err(fault) = self.log_out(&entered).await {
            tracing::warn!(source = %self.name, %fault, "the login of a try could not be ended; it ends by itself");
        }
        Ok(crate::Entered { seen_as, rights, found })
    }
}

/// As far as the login may ask it.
async fn itself(entered: &Entered) -> (Option<String>, Vec<String>) {
    let Ok(reply) = entered.ask(LookupTokenSelfRequest {}, Asked::Secret).await else { return (None, Vec::new()) };
    let Ok(Some(Itself { display_name, mut policies, identity_policies })) =
        reply.read::<Itself>().map(|answer| answer.data)
    else {
        return (None, Vec::new());
    };
    policies.extend(identity_policies.unwrap_or_default());
    (Some(display_name).filter(|name| !name.is_empty()), policies)
}

async fn look(entered: &Entered, place: &Place) -> Result<Found, SourceFault> {
    match place {
        Place::Kv1(field) => kv::read1(entered, field).await.and_then(|lease| Found::of(&lease)),
        Place::Kv2(field, version) => kv::read2(entered, field, *version).await.and_then(|lease| Found::of(&lease)),
        Place::Database(role) => may(entered, format!("{}/creds/{}", role.mount, role.role), &["read"]).await,
        Place::Pki(role, _) => may(entered, format!("{}/issue/{}", role.mount, role.role), &["update", "create"]).await,
    }
}

/// What would be made is not made: it is asked whether it may be.
async fn may(entered: &Entered, path: String, one_of: &[&str]) -> Result<Found, SourceFault> {
    let reply = entered.ask(Capabilities { paths: vec![path.clone()] }, Asked::Secret).await?;
    let mut answer = reply.read::<BTreeMap<String, Vec<String>>>()?;
    let granted = answer.data()?.remove(&path).unwrap_or_default();
    match granted.iter().any(|one| one == "root" || one_of.contains(&one.as_str())) {
        true => Ok(Found::OnDemand),
        false => Err(SourceFault::Denied),
    }
}
