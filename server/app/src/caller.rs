//! Who calls: which node, from its TLS connection; which operator, from the kernel's word about the Unix socket. Nothing
//! in a message says who the caller is.

use crate::app::App;
use crate::error::Failure;
use avouch_audit::field::Code;
use avouch_audit::record::{self, IssuerEvent};
use avouch_core::Node;
use avouch_core::node::{self, Serial};
use avouch_core::refusal::Denial;
use avouch_wire::tls::TlsPeer;
use avouch_wire::unix::{Peer, roots::Roots};
use avouch_words::{Millis, Name};
use tonic::Extensions;

/// The node that calls.
#[derive(Debug)]
pub(crate) struct NodeCaller {
    /// What the issuer knows of it.
    pub(crate) node: Node,
    /// The serial of the SVID that its connection shows.
    pub(crate) serial: Serial,
    /// The end of that SVID.
    pub(crate) svid_ends: Millis,
}

/// The operator who calls.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    uid: u32,
    name: Name,
}

impl Operator {
    /// As records name it.
    pub(crate) fn record(&self) -> record::Operator {
        record::Operator { uid: self.uid, name: Some(self.name.clone()) }
    }

    /// As locks name it.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }
}

/// The node on this connection. Its SVID has to be the node's newest, or the one before, which it may still show while
/// it takes the newest into use: what was renewed away earlier, or was there before a new join, speaks for nobody.
pub(crate) async fn node(app: &App, extensions: &Extensions) -> Result<NodeCaller, Failure> {
    let caller = syncing_node(app, extensions).await?;
    node::admit(&caller.node)?;
    Ok(caller)
}

/// The same, and it may be banned: it shall hear that.
pub(crate) async fn syncing_node(app: &App, extensions: &Extensions) -> Result<NodeCaller, Failure> {
    let caller = known_node(app, extensions).await?;
    if caller.serial != caller.node.serial && caller.node.previous != Some(caller.serial) {
        return Err(Denial::Node.into());
    }
    Ok(caller)
}

/// The node on this connection, if its SVID is still valid and the node was not banned; which of its SVIDs it is, the
/// renewal judges by itself.
pub(crate) async fn renewing_node(app: &App, extensions: &Extensions) -> Result<NodeCaller, Failure> {
    let caller = known_node(app, extensions).await?;
    node::admit(&caller.node)?;
    Ok(caller)
}

async fn known_node(app: &App, extensions: &Extensions) -> Result<NodeCaller, Failure> {
    let now = app.now();
    let svid = extensions.get::<TlsPeer>().and_then(|peer| peer.svid(now)).ok_or(Failure::NotANode)?;
    if !svid.id().is_member_of(app.trust_domain()) || !svid.id().path().starts_with("/node/") {
        return Err(Failure::NotANode);
    }
    let serial = svid.serial().try_into().map(Serial).map_err(|_| Failure::NotANode)?;
    let known = app.store.read().await?.node_by_id(svid.id()).await?.ok_or(Denial::Node)?;
    if known.serial == serial && !known.serial_seen {
        let mut tx = app.store.begin().await?;
        tx.see_serial(&known.name, &serial).await?;
        tx.commit().await?;
    }
    Ok(NodeCaller { node: known, serial, svid_ends: svid.not_after() })
}

/// The operator on this socket: its uid is one of the settings', and neither it nor an ancestor is in a session.
pub(crate) async fn operator(app: &App, extensions: &Extensions) -> Result<Operator, Failure> {
    let peer = extensions.get::<Peer>().ok_or_else(|| Failure::Unattested("no peer".to_owned()))?;
    match known_operator(app, peer) {
        Ok(operator) => Ok(operator),
        Err((reason, failure)) => {
            let event = IssuerEvent::AdminRefused { uid: peer.uid(), reason: Code::of(reason) };
            app.record_stranger(event).await;
            Err(failure)
        }
    }
}

fn known_operator(app: &App, peer: &Peer) -> Result<Operator, (&'static str, Failure)> {
    let unattested = |error: &dyn std::fmt::Display| ("unattested", Failure::Unattested(error.to_string()));
    peer.recheck().map_err(|error| unattested(&error))?;
    for directory in &app.config.session_roots {
        let inside = Roots::read(directory).and_then(|roots| roots.holds(peer)).map_err(|error| unattested(&error))?;
        if inside {
            return Err(("inside_session", Failure::InsideSession(peer.pid())));
        }
    }
    // Last: what was read from its /proc was the caller's own.
    peer.recheck().map_err(|error| unattested(&error))?;
    let operator = app.config.operators.iter().find(|operator| operator.uid == peer.uid());
    let operator = operator.ok_or(("not_an_operator", Failure::NotAnOperator(peer.uid())))?;
    Ok(Operator { uid: operator.uid, name: operator.name.clone() })
}
