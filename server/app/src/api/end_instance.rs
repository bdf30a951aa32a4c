//! An instance has ended: nothing is signed for it any more.

use crate::app::App;
use crate::caller::NodeCaller;
use crate::error::Failure;
use avouch_audit::record::IssuerEvent;
use avouch_wire::issuer;
use avouch_words::Ulid;

#[tracing::instrument(name = "issuer.instance.end", skip_all, fields(node = %caller.node.name))]
pub(super) async fn end_instance(
    app: &App,
    caller: NodeCaller,
    request: issuer::EndInstanceRequest,
) -> Result<issuer::EndInstanceReply, Failure> {
    let instance = Ulid::parse(&request.instance)
        .map_err(|_| Failure::malformed("instance", "is not an identifier of an instance"))?;
    let mut tx = app.store.begin().await?;
    // One that is not this node's, or has ended, is none: said again, it is no news.
    if tx.end_instance(instance, &caller.node.name, app.now()).await? {
        app.record(&mut tx, IssuerEvent::InstanceEnded { instance, node: caller.node.id }).await?;
        app.commit(tx).await?;
    }
    Ok(issuer::EndInstanceReply {})
}
