//! A node asks for its next SVID with the one it has.

use super::enrol::{renewed, reply};
use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use avouch_audit::field::Code;
use avouch_audit::record::IssuerEvent;
use avouch_core::authority::ProvenKey;
use avouch_core::node;
use avouch_core::refusal::Denial;
use avouch_wire::issuer;

#[tracing::instrument(name = "issuer.node.renew", skip_all, fields(node = %caller.node.name))]
pub(super) async fn renew(
    app: &App,
    caller: NodeCaller,
    request: issuer::RenewRequest,
) -> Result<issuer::NodeSvid, Failure> {
    let now = app.now();
    let key = ProvenKey::from_csr(&request.csr)?;
    let ttl = app.config.svid.node_ttl;
    let (_, permit) = match node::renew(&caller.node, caller.serial, ttl) {
        Ok(permitted) => permitted,
        Err(denial) => return Err(refused(app, &caller, denial).await),
    };
    let state = app.state();
    let signer = state.signers.x509(now)?;
    let issued = signer.sign(&permit, &key, now, &*app.rng)?;

    let mut tx = app.store.begin().await?;
    // Of two renewals at once the second has to see the first.
    let current = tx.node(&caller.node.name).await?.ok_or(Denial::Node)?;
    let renewal = match node::renew(&current, caller.serial, ttl) {
        Ok((renewal, _)) => renewal,
        Err(denial) => {
            drop(tx);
            return Err(refused(app, &caller, denial).await);
        }
    };
    tx.put_node(&renewal.apply(&current, issued.serial, issued.not_after)).await?;
    tx.note_expiry(signer.id(), issued.not_after).await?;
    app.record(&mut tx, renewed(&current, &issued)).await?;
    app.commit(tx).await?;
    Ok(reply(app, &issued, state.signers.bundle().x509.as_slice()))
}

async fn refused(app: &App, caller: &NodeCaller, denial: Denial) -> Failure {
    let reason = match denial {
        Denial::NodeCloned => "cloned_state",
        other => other.as_str(),
    };
    app.record_alone(IssuerEvent::NodeRenewalRefused { node: caller.node.id.clone(), reason: Code::of(reason) }).await;
    denial.into()
}
