//! A brokered X.509-SVID: what a helper's broker shows to sources that are entered with a certificate.

use super::brokered::{self, Made, Whose};
use super::order::{Ground, Latest, Order};
use super::sign_jwt::refused;
use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use avouch_audit::field::{Moment, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::authority::{IssuedX509, MAX_CSR, ProvenKey};
use avouch_core::issue::{self, Bearer};
use avouch_store::{IssuedSvid, SvidId};
use avouch_wire::issuer;

#[tracing::instrument(name = "issuer.svid.sign_brokered_x509", skip_all, fields(node = %caller.node.name))]
pub(super) async fn sign_brokered_x509(
    app: &App,
    caller: NodeCaller,
    request: issuer::SignBrokeredX509Request,
) -> Result<issuer::IssuedX509, Failure> {
    let whose = Whose::parse(app, &request.agent, &request.instance, request.probe)?;
    if request.csr.is_empty() || request.csr.len() > MAX_CSR {
        return Err(Failure::malformed("csr", format!("must be 1 to {MAX_CSR} bytes long")));
    }
    let signed = match &whose {
        Whose::Agent(order) => of_agent(app, &caller, order, &request.csr).await,
        Whose::Bearer(bearer) => of_bearer(app, &caller, bearer, &request.csr).await,
    };
    match signed {
        Ok(issued) => {
            Ok(issuer::IssuedX509 { spiffe_id: issued.id.to_string(), chain: vec![issued.certificate.to_vec()] })
        }
        Err(failure) => Err(refused(app, &caller, whose.agent(), "brokered_x509", failure).await),
    }
}

async fn of_agent(app: &App, caller: &NodeCaller, order: &Order, csr: &[u8]) -> Result<IssuedX509, Failure> {
    let now = app.now();
    let state = app.state();
    let known = app.store.read().await?.instances(&[order.instance]).await?;
    let ground = Ground { node: &caller.node, state: &state, agents: None, known: &known, locks: state.locks(), now };
    let permit = issue::brokered_x509(app.trust_domain(), &ground.asked(order))?;
    let signer = state.signers.x509(now)?;
    let issued = signer.sign(&permit, &ProvenKey::from_csr(csr)?, now, &*app.rng)?;
    let mut tx = app.store.begin().await?;
    let latest = Latest::read(&mut tx, &state, &caller.node.name, &[order]).await?;
    issue::brokered_x509(app.trust_domain(), &latest.ground(&state, now).asked(order))?;
    let svid = IssuedSvid {
        id: SvidId::X509(issued.serial),
        agent: order.agent.clone(),
        instance: order.instance,
        node: caller.node.name.clone(),
        authority: signer.id(),
        not_after: issued.not_after,
    };
    tx.put_svids(&[svid]).await?;
    tx.note_expiry(signer.id(), issued.not_after).await?;
    let event = IssuerEvent::BrokeredX509Issued {
        agent: order.agent.clone(),
        instance: order.instance,
        node: caller.node.id.clone(),
        serial: Outside::of(issued.serial.to_string()),
        not_after: Moment::from(issued.not_after),
    };
    app.record(&mut tx, event).await?;
    app.commit(tx).await?;
    Ok(issued)
}

async fn of_bearer(app: &App, caller: &NodeCaller, bearer: &Bearer, csr: &[u8]) -> Result<IssuedX509, Failure> {
    let now = app.now();
    let state = app.state();
    let permit = issue::brokered_bearer_x509(app.trust_domain(), &caller.node, bearer)?;
    let signer = state.signers.x509(now)?;
    let issued = signer.sign(&permit, &ProvenKey::from_csr(csr)?, now, &*app.rng)?;
    let made = Made {
        bearer,
        kind: "x509",
        audience: None,
        id: issued.serial.to_string(),
        authority: Some(signer.id()),
        expires: issued.not_after,
    };
    let decide = |node: &_| issue::brokered_bearer_x509(app.trust_domain(), node, bearer).map(|_| ());
    brokered::keep(app, caller, made, decide).await?;
    Ok(issued)
}
