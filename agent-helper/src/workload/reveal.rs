//! Reveal: a program of a session gets a value that it has to hold itself (`avouch exec`). Its binding has to say so.
//! The stream stays open while the value is in use; when it ends, for whatever reason, the lease goes back.

use super::caller::Desk;
use super::{Refusal as NotServed, Stream};
use crate::broker::{self, Broker, Revealed, part_name};
use crate::identity::instance::Holder;
use crate::peer::Caller;
use avouch_policy as policy;
use avouch_wire::local::reveals_server::Reveals as Service;
use avouch_wire::local::{RevealReply, RevealRequest, RevealedPart};
use avouch_wire::{Message, issuer};
use avouch_words::Name;
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

/// Values that one user's programs can hold at a time.
pub const HELD_OF_UID: usize = 64;

/// The service.
#[derive(Clone)]
pub struct Reveals {
    desk: Arc<Desk>,
    broker: Arc<Broker>,
    held: Arc<Mutex<HashMap<u32, usize>>>,
}

/// A user's place among those who hold values.
struct Place {
    held: Arc<Mutex<HashMap<u32, usize>>>,
    uid: u32,
}

impl Reveals {
    /// Attested from this desk, given by this broker.
    pub fn new(desk: Arc<Desk>, broker: Arc<Broker>) -> Self {
        Self { desk, broker, held: Arc::default() }
    }

    fn place(&self, uid: u32) -> Result<Place, NotServed> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(uid).or_default();
        if *count >= HELD_OF_UID {
            return Err(NotServed::TooOften);
        }
        *count += 1;
        Ok(Place { held: self.held.clone(), uid })
    }

    /// Whoever calls, as the broker knows callers: only a process of a session is one.
    async fn caller(&self, caller: &Caller, wanted: &str) -> Result<policy::Caller, NotServed> {
        let entitled = self.desk.entitlement(caller).await?;
        let attested = caller.found().ok_or(NotServed::NotEntitled)?;
        let member = attested.member.as_ref().ok_or(NotServed::NotEntitled)?;
        let is_it = wanted.is_empty() || wanted == member.agent.as_str();
        let whose = entitled.identities.iter().find(|whose| is_it && whose.agent == member.agent);
        let agent = whose.ok_or(NotServed::NotEntitled)?.agent.clone();
        let held = self.desk.instances.of(&agent, Holder::Session(member.session), &*self.desk.clock);
        Ok(policy::Caller {
            instance: held.map_err(|_| NotServed::NotReady)?.instance,
            agent,
            session: member.session,
            facts: Arc::new(attested.facts.clone()),
            contained: !member.walls.is_empty(),
        })
    }
}

#[tonic::async_trait]
impl Service for Reveals {
    type RevealStream = Stream<RevealReply>;

    async fn reveal(&self, request: Request<RevealRequest>) -> Result<Response<Self::RevealStream>, Status> {
        let caller = request.extensions().get::<Arc<Caller>>().cloned().ok_or(NotServed::NotEntitled)?;
        let request = request.into_inner();
        let place = self.place(caller.uid())?;
        let asker = self.caller(&caller, &request.agent).await?;
        let credential = Name::parse(&request.credential).map_err(|_| NotServed::NotEntitled)?;
        let ended = CancellationToken::new();
        let revealed = self.broker.reveal(&asker, &ended, &credential).await.map_err(refused)?;
        // It may have been another process that it was read for.
        caller.recheck().map_err(|_| NotServed::Gone)?;
        let part = |(part, value): &(_, avouch_words::Secret)| RevealedPart {
            name: part_name(*part).to_owned(),
            value: value.expose().to_vec(),
        };
        let first = RevealReply {
            parts: revealed.parts().iter().map(part).collect(),
            expires_ms: revealed.expires_ms(),
            decision: revealed.decision().to_string(),
        };
        let holding = Holding { revealed, caller, _place: place };
        let later = stream::once(async move {
            holding.until_it_ends().await;
            Err(Status::aborted("the value may not be used any more"))
        });
        Ok(Response::new(stream::once(async { Ok(first) }).chain(later).boxed()))
    }
}

/// A value in use.
struct Holding {
    revealed: Revealed,
    caller: Arc<Caller>,
    _place: Place,
}

impl Holding {
    async fn until_it_ends(&self) {
        tokio::select! {
            () = self.caller.exited() => {}
            () = self.revealed.ended() => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.uid);
            }
        }
    }
}

/// The same words as on every other way in.
fn refused(refusal: broker::Refusal) -> Status {
    let code = refusal.code;
    let retry = code.retry();
    let details = issuer::Refusal {
        code: code.as_str().to_owned(),
        message: code.message().to_owned(),
        action: format!("{} The decision is {}.", code.action(), refusal.decision),
        retry: retry.as_str().to_owned(),
        ..Default::default()
    };
    let grpc = match retry {
        policy::Retry::Never | policy::Retry::WhenApproved => Code::PermissionDenied,
        policy::Retry::After(_) => Code::Unavailable,
    };
    Status::with_details(grpc, code.message(), details.encode_to_vec().into())
}
