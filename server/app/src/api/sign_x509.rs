//! X.509-SVIDs for attested instances, in batches: decided on the state in memory, signed on all cores, and decided once
//! more in the one transaction that keeps them, so that nothing signed leaves after a lock was committed.

use super::order::{Latest, Order, record_refusal};
use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use avouch_audit::field::{Moment, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::authority::{IssuedX509, MAX_CSR, ProvenKey, X509Signer};
use avouch_core::issue::{self, X509Permit};
use avouch_core::refusal::Denial;
use avouch_store::{IssuedSvid, SvidId};
use avouch_wire::issuer::{self, x509_answer::Kind};
use avouch_words::{Millis, Name, Ulid};
use ring::rand::SecureRandom;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An order on its way: what it asks and how far it came.
struct Item {
    agent: String,
    order: Option<Order>,
    csr: Vec<u8>,
    ended: Result<Option<IssuedX509>, Failure>,
}

#[tracing::instrument(name = "issuer.svid.sign_x509", skip_all, fields(node = %caller.node.name, orders = request.orders.len()))]
pub(super) async fn sign_x509(
    app: &App,
    caller: NodeCaller,
    request: issuer::SignX509Request,
) -> Result<issuer::SignX509Reply, Failure> {
    if request.orders.is_empty() || request.orders.len() > MAX_ORDERS {
        return Err(Failure::malformed("orders", format!("must have 1 to {MAX_ORDERS} of them")));
    }
    let now = app.now();
    let state = app.state();
    let signer = Arc::clone(state.signers.x509(now)?);
    let mut items: Vec<Item> = request.orders.into_iter().map(parse).collect();
    one_agent_each(&mut items);
    let ids: Vec<Ulid> = items.iter().filter_map(|item| Some(item.order.as_ref()?.instance)).collect();

    let known = app.store.read().await?.instances(&ids).await?;
    let ground = super::order::Ground {
        node: &caller.node,
        state: &state,
        agents: None,
        known: &known,
        locks: state.locks(),
        now,
    };
    let mut permits = Vec::new();
    for (at, item) in items.iter_mut().enumerate() {
        if let (Some(order), Ok(_)) = (&item.order, &item.ended) {
            match issue::x509(app.trust_domain(), &ground.asked(order)) {
                Ok(permit) => permits.push((at, permit, std::mem::take(&mut item.csr))),
                Err(denial) => item.ended = Err(denial.into()),
            }
        }
    }
    for (at, signed) in sign_all(permits, Arc::clone(&signer), now, Arc::clone(&app.rng)).await? {
        if let Some(item) = items.get_mut(at) {
            item.ended = signed.map(Some);
        }
    }

    keep(app, &caller, &state, &signer, &mut items, now).await?;
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let kind = match item.ended {
            Ok(Some(issued)) => Kind::Issued(issuer::IssuedX509 {
                spiffe_id: issued.id.to_string(),
                chain: vec![issued.certificate.to_vec()],
            }),
            Ok(None) => Kind::Refusal(Failure::Broken("an order was passed over".to_owned()).told(app.ulid()?)),
            Err(failure) => {
                let decision = app.ulid()?;
                tracing::info!(%decision, agent = %Outside::<64>::of(&item.agent).as_str(), reason = %failure, "refused");
                Kind::Refusal(failure.told(decision))
            }
        };
        answers.push(issuer::X509Answer { kind: Some(kind) });
    }
    Ok(issuer::SignX509Reply { answers })
}

fn parse(order: issuer::X509Order) -> Item {
    let parsed = Order::parse(&order.agent, &order.instance);
    let parsed = match parsed {
        Ok(_) if order.csr.is_empty() || order.csr.len() > MAX_CSR => {
            Err(Failure::malformed("csr", format!("must be 1 to {MAX_CSR} bytes long")))
        }
        parsed => parsed,
    };
    match parsed {
        Ok(parsed) => Item { agent: order.agent, order: Some(parsed), csr: order.csr, ended: Ok(None) },
        Err(failure) => Item { agent: order.agent, order: None, csr: Vec::new(), ended: Err(failure) },
    }
}

/// In one batch an instance cannot be of two agents: the first order says whose it is.
fn one_agent_each(items: &mut [Item]) {
    let mut owners: BTreeMap<Ulid, Name> = BTreeMap::new();
    for item in items {
        if let Some(order) = &item.order {
            let owner = owners.entry(order.instance).or_insert_with(|| order.agent.clone());
            if *owner != order.agent {
                item.ended = Err(Denial::InstanceElsewhere.into());
            }
        }
    }
}

type Signed = (usize, Result<IssuedX509, Failure>);

/// Verifies each request's own signature and signs, spread over the cores.
async fn sign_all(
    permits: Vec<(usize, X509Permit, Vec<u8>)>,
    signer: Arc<X509Signer>,
    now: Millis,
    rng: Arc<dyn SecureRandom + Send + Sync>,
) -> Result<Vec<Signed>, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = permits.len().div_ceil(cores).max(1);
    let mut permits = permits.into_iter().peekable();
    let mut shares = Vec::new();
    while permits.peek().is_some() {
        let mine: Vec<_> = permits.by_ref().take(share).collect();
        let (signer, rng) = (Arc::clone(&signer), Arc::clone(&rng));
        shares.push(tokio::task::spawn_blocking(move || {
            let sign = |(at, permit, csr): (usize, X509Permit, Vec<u8>)| {
                let signed = ProvenKey::from_csr(&csr)
                    .map_err(Failure::from)
                    .and_then(|key| signer.sign(&permit, &key, now, &*rng).map_err(Failure::from));
                (at, signed)
            };
            mine.into_iter().map(sign).collect::<Vec<Signed>>()
        }));
    }
    let mut signed = Vec::new();
    for share in shares {
        signed.extend(share.await.map_err(|error| Failure::Broken(error.to_string()))?);
    }
    Ok(signed)
}

/// Keeps what was signed, or drops it if it may not leave any more. All of it is recorded.
async fn keep(
    app: &App,
    caller: &NodeCaller,
    state: &crate::state::State,
    signer: &X509Signer,
    items: &mut [Item],
    now: Millis,
) -> Result<(), Failure> {
    let mut tx = app.store.begin().await?;
    let orders: Vec<&Order> = items.iter().filter_map(|item| item.order.as_ref()).collect();
    let latest = Latest::read(&mut tx, state, &caller.node.name, &orders).await?;
    let ground = latest.ground(state, now);
    let (mut instances, mut svids, mut last) = (BTreeMap::new(), Vec::new(), None);
    for item in items {
        let node = caller.node.id.clone();
        if let (Some(order), Ok(Some(issued))) = (&item.order, &item.ended) {
            match issue::x509(app.trust_domain(), &ground.asked(order)) {
                Err(denial) => item.ended = Err(denial.into()),
                Ok(_) => {
                    instances.insert(order.instance, order.live(&caller.node, now));
                    svids.push(IssuedSvid {
                        id: SvidId::X509(issued.serial),
                        agent: order.agent.clone(),
                        instance: order.instance,
                        node: caller.node.name.clone(),
                        authority: signer.id(),
                        not_after: issued.not_after,
                    });
                    last = last.max(Some(issued.not_after));
                    let event = IssuerEvent::X509Issued {
                        agent: order.agent.clone(),
                        instance: order.instance,
                        node,
                        serial: Outside::of(issued.serial.to_string()),
                        not_after: Moment::from(issued.not_after),
                    };
                    app.record(&mut tx, event).await?;
                    continue;
                }
            }
        }
        if let Err(failure) = &item.ended {
            record_refusal(app, &mut tx, &item.agent, &caller.node, "x509", failure).await?;
        }
    }
    if let Some(last) = last {
        tx.put_instances(&instances.into_values().collect::<Vec<_>>()).await?;
        tx.put_svids(&svids).await?;
        tx.note_expiry(signer.id(), last).await?;
    }
    Ok(app.commit(tx).await?)
}

/// Orders of one batch.
pub(super) const MAX_ORDERS: usize = 512;
