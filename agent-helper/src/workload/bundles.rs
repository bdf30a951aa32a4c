//! What the two bundle streams share: only callers with an identity get one, whole at once and again when it changes.

use super::caller::{Desk, Wakes};
use super::{Refusal, Stream};
use crate::peer::Caller;
use avouch_words::Bundle;
use futures_util::{StreamExt, stream};
use std::sync::Arc;

/// Opens a stream of what `message` says of the bundle, one for each change of `part`.
pub async fn stream<M, P>(
    desk: Arc<Desk>,
    caller: Arc<Caller>,
    part: fn(&Bundle) -> P,
    message: fn(&Bundle) -> M,
) -> Result<Stream<M>, Refusal>
where
    M: Send + 'static,
    P: PartialEq + Send + 'static,
{
    let wakes = Wakes::new(&desk, caller.clone());
    let mut view = View { desk, caller, wakes, sent: None, part, message };
    let first = view.next().await?;
    let later = stream::unfold(Some(view), |view| async {
        let mut view = view?;
        match view.next().await {
            Ok(message) => Some((Ok(message), Some(view))),
            Err(refusal) => Some((Err(refusal.into()), None)),
        }
    });
    Ok(stream::once(async { Ok(first) }).chain(later).boxed())
}

struct View<M, P> {
    desk: Arc<Desk>,
    caller: Arc<Caller>,
    wakes: Wakes,
    sent: Option<P>,
    part: fn(&Bundle) -> P,
    message: fn(&Bundle) -> M,
}

impl<M, P: PartialEq> View<M, P> {
    async fn next(&mut self) -> Result<M, Refusal> {
        loop {
            self.wakes.mark();
            let entitled = self.desk.entitlement(&self.caller).await?;
            let part = (self.part)(entitled.bundle());
            if self.sent.as_ref() != Some(&part) {
                self.sent = Some(part);
                return Ok((self.message)(entitled.bundle()));
            }
            self.wakes.changed().await?;
        }
    }
}
