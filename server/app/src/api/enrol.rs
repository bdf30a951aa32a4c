//! A node joins: a join token is traded for a node SVID, once.

use crate::app::App;
use crate::error::Failure;
use crate::slice::x509_authorities;
use avouch_attest_node::join_token;
use avouch_audit::field::{Code, Moment, Outside};
use avouch_audit::record::IssuerEvent;
use avouch_core::authority::{IssuedX509, ProvenKey};
use avouch_core::node::{self, Renewal, TokenUse};
use avouch_core::refusal::{Denial, check_clock};
use avouch_core::{Node, Refusal};
use avouch_store::Tx;
use avouch_wire::issuer;
use avouch_words::{Digest, Millis, Name, SpiffeId, TrustDomain};

#[tracing::instrument(name = "issuer.node.enrol", skip_all)]
pub(super) async fn enrol(app: &App, request: issuer::EnrolRequest) -> Result<issuer::NodeSvid, Failure> {
    match try_enrol(app, request).await {
        Err(failure) => {
            if let Failure::Refused(Refusal::Denied(denial)) = &failure
                && !matches!(denial, Denial::TokenReplayed | Denial::TokenExpired)
            {
                app.record_stranger(IssuerEvent::EnrolRefused { reason: Code::of(denial.as_str()) }).await;
            }
            Err(failure)
        }
        joined => joined,
    }
}

async fn try_enrol(app: &App, request: issuer::EnrolRequest) -> Result<issuer::NodeSvid, Failure> {
    let now = app.now();
    if request.attestor != join_token::NAME {
        return Err(Failure::malformed(
            "attestor",
            format!("is not {:?}, the one that is known here", join_token::NAME),
        ));
    }
    let meant = TrustDomain::parse(&request.trust_domain).map_err(|why| Failure::malformed("trust_domain", why))?;
    if meant != *app.trust_domain() {
        return Err(Denial::TrustDomain.into());
    }
    check_clock(Millis(request.helper_time_ms), now)?;
    let token = join_token::digest_of(&request.evidence).ok_or(Denial::TokenUnknown)?;
    // Nothing is signed for a token that was never made; all else is for the one transaction below to say.
    let known = app.store.read().await?.token(&token).await?.ok_or(Denial::TokenUnknown)?;
    let key = ProvenKey::from_csr(&request.csr)?;

    let attestor = Name::parse(join_token::NAME).map_err(|why| Failure::Broken(why.to_string()))?;
    let permit = node::join(app.trust_domain(), &attestor, &known.node, app.config.svid.node_ttl);
    let state = app.state();
    let signer = state.signers.x509(now)?;
    let issued = signer.sign(&permit, &key, now, &*app.rng)?;

    let mut tx = app.store.begin().await?;
    let used = tx.use_token(&token, &key.digest(), now).await?;
    let id = app.trust_domain().node(&attestor, &known.node);
    match &used {
        TokenUse::First(name) => {
            join(app, &mut tx, first(name, attestor, id.clone(), &issued, now), token, &issued).await?
        }
        TokenUse::Again(name) => again(app, &mut tx, name, &issued).await?,
        TokenUse::Replayed(_) => {
            // Two have the token: told even to those who look only at the log.
            app.record(&mut tx, IssuerEvent::TokenReplayed { token, node: id }).await?;
            app.commit(tx).await?;
            return Err(Denial::TokenReplayed.into());
        }
        TokenUse::Expired(_) => {
            drop(tx);
            app.record_stranger(IssuerEvent::TokenExpired { token }).await;
            return Err(Denial::TokenExpired.into());
        }
        TokenUse::Unknown => return Err(Denial::TokenUnknown.into()),
    }
    tx.note_expiry(signer.id(), issued.not_after).await?;
    app.commit(tx).await?;
    tracing::info!(node = %issued.id, "a node joined");
    Ok(reply(app, &issued, state.signers.bundle().x509.as_slice()))
}

fn first(name: &Name, attestor: Name, id: SpiffeId, issued: &IssuedX509, now: Millis) -> Node {
    Node {
        name: name.clone(),
        attestor,
        id,
        selectors: join_token::selectors(name),
        joined: now,
        serial: issued.serial,
        serial_seen: false,
        previous: None,
        svid_expires: issued.not_after,
        banned: None,
    }
}

/// A node that joins anew takes nothing over from the one of its name before. One that was banned does not join.
async fn join(app: &App, tx: &mut Tx, node: Node, token: Digest, issued: &IssuedX509) -> Result<(), Failure> {
    if tx.node(&node.name).await?.is_some_and(|known| known.banned.is_some()) {
        return Err(Denial::Node.into());
    }
    tx.put_node(&node).await?;
    tx.end_instances_of(&node.name, node.joined).await?;
    app.record(tx, IssuerEvent::TokenUsed { token, node: node.id.clone() }).await?;
    let joined = IssuerEvent::NodeJoined {
        node: node.id,
        selectors: node.selectors,
        serial: Outside::of(issued.serial.to_string()),
        not_after: Moment::from(issued.not_after),
    };
    Ok(app.record(tx, joined).await?)
}

/// The answer was lost: the same key gets another SVID for the same node.
async fn again(app: &App, tx: &mut Tx, name: &Name, issued: &IssuedX509) -> Result<(), Failure> {
    let node = tx.node(name).await?.ok_or(Denial::Node)?;
    node::admit(&node)?;
    tx.put_node(&Renewal::Next.apply(&node, issued.serial, issued.not_after)).await?;
    Ok(app.record(tx, renewed(&node, issued)).await?)
}

/// A node has another SVID.
pub(super) fn renewed(node: &Node, issued: &IssuedX509) -> IssuerEvent {
    IssuerEvent::NodeRenewed {
        node: node.id.clone(),
        serial: Outside::of(issued.serial.to_string()),
        not_after: Moment::from(issued.not_after),
    }
}

/// A node SVID with what it is verified with.
pub(super) fn reply(app: &App, issued: &IssuedX509, authorities: &[avouch_words::X509Authority]) -> issuer::NodeSvid {
    issuer::NodeSvid {
        spiffe_id: issued.id.to_string(),
        chain: vec![issued.certificate.to_vec()],
        bundle: x509_authorities(authorities),
        issuer_time_ms: app.now().0,
    }
}
