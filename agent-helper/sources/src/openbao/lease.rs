//! What is owed for what a role gave, and how it is renewed and given back. vaultrs has none of this.

use std::time::Duration;

use rustify_derive::Endpoint;
use serde::de::IgnoredAny;
use vaultrs::api::token::requests::RevokeTokenAccessorRequest;

use avouch_words::Millis;

use super::OpenBao;
use super::answer::{Answer, id};
use super::fault::Asked;
use super::login::{Entered, TERM_MAX};
use crate::{Entrant, Lease, Obligation, ObligationKind, Obligations, SourceFault, Wanted, Who};

#[derive(Endpoint)]
#[endpoint(path = "sys/leases/renew", method = "POST")]
struct Renew {
    lease_id: String,
}

#[derive(Endpoint)]
#[endpoint(path = "sys/leases/revoke", method = "POST")]
struct Revoke {
    lease_id: String,
    /// The answer is waited for until it is done.
    sync: bool,
}

/// What a role gave, before it is recorded.
pub(super) struct Given {
    pub(super) id: Option<String>,
    lease: Lease,
    lasts: Duration,
    renewable: bool,
    is_usable: bool,
}

impl Given {
    /// What an answer says of its lease. One without is not owed.
    pub(super) fn of<T>(answer: Answer<T>, lease: Lease, is_usable: bool) -> Result<Self, SourceFault> {
        let id = answer.lease_id.filter(|text| !text.is_empty()).map(id).transpose()?;
        let lasts = Duration::from_secs(answer.lease_duration.unwrap_or(0)).min(TERM_MAX);
        Ok(Self { id, lease, lasts, renewable: answer.renewable.unwrap_or(false), is_usable })
    }
}

impl OpenBao {
    /// Records what is owed for what a role gave, and gives it on.
    pub(super) async fn give_on(
        &self,
        given: Given,
        entered: &Entered,
        wanted: &Wanted,
        owed: &dyn Obligations,
    ) -> Result<Lease, SourceFault> {
        let Given { id, mut lease, lasts, renewable, is_usable } = given;
        if let Some(id) = id {
            let expires = self.end_of(lasts, entered);
            let (agent, instance) = match wanted.entrant.who() {
                Who::Agent { agent, instance } => (Some(agent.clone()), Some(*instance)),
                Who::Node => (None, None),
            };
            let what = Obligation {
                source: self.name.clone(),
                kind: ObligationKind::Lease,
                id: id.clone(),
                parent: entered.accessor.clone(),
                agent,
                instance,
                credential: Some(wanted.credential.clone()),
                expires,
                renewable,
            };
            // What cannot be recorded is nobody's: it ends with its login, which is recorded.
            owed.record(what).await.map_err(|_| SourceFault::NotRecorded)?;
            (lease.id, lease.expires) = (Some(id), Some(expires));
        }
        match is_usable {
            true => Ok(lease),
            false => Err(SourceFault::Garbage),
        }
    }

    /// Makes a login or a lease last longer, with the login that it was made with.
    pub(super) async fn prolong(&self, owed: &Obligation, entrant: &dyn Entrant) -> Result<Millis, SourceFault> {
        let parent = match owed.kind {
            ObligationKind::Token => Some(&owed.id),
            ObligationKind::Lease => owed.parent.as_ref(),
        };
        let entered = match parent {
            // It was lost with the helper that made it: nobody else can renew it.
            Some(accessor) => self.held_login(entrant.who(), accessor).await.ok_or(SourceFault::Denied)?,
            None => self.enter(entrant, None, None).await?.entered,
        };
        let is_login = owed.kind == ObligationKind::Token;
        // A lease ends with its login.
        if entered.renewable && (is_login || entered.term().is_half_over(self.clock.boot())) {
            self.renew_login(&entered).await?;
        }
        if is_login {
            return Ok(entered.term().end(&*self.clock));
        }
        let reply = entered.ask(Renew { lease_id: owed.id.clone() }, Asked::Login).await?;
        let answer = reply.read::<IgnoredAny>()?;
        let lasts = Duration::from_secs(answer.lease_duration.ok_or(SourceFault::Garbage)?).min(TERM_MAX);
        Ok(self.end_of(lasts, &entered))
    }

    /// Gives something back, as the node.
    pub(super) async fn give_back(&self, owed: &Obligation, node: &dyn Entrant) -> Result<(), SourceFault> {
        let first = self.enter(node, None, None).await?;
        match revoke(&first.entered, owed).await {
            Err(SourceFault::Denied) => {
                let other = self.enter_again(&first, node, None).await?;
                revoke(&other.entered, owed).await
            }
            done => done,
        }
    }

    /// A lease ends with its login, if not before.
    fn end_of(&self, lasts: Duration, entered: &Entered) -> Millis {
        self.clock.now().plus(lasts).min(entered.term().end(&*self.clock))
    }
}

/// What the store does not know any more was given back.
async fn revoke(entered: &Entered, owed: &Obligation) -> Result<(), SourceFault> {
    let reply = match owed.kind {
        ObligationKind::Lease => {
            let asked = Revoke { lease_id: owed.id.clone(), sync: true };
            entered.ask(asked, Asked::Secret).await
        }
        ObligationKind::Token => {
            let asked = RevokeTokenAccessorRequest { accessor: owed.id.clone() };
            entered.ask(asked, Asked::Secret).await
        }
    };
    match reply {
        Ok(_) | Err(SourceFault::Missing) => Ok(()),
        Err(fault) => Err(fault),
    }
}
