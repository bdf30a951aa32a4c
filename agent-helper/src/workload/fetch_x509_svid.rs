//! FetchX509SVID: every X.509-SVID of the caller, whole at once and again at each change (WAX-01 to WAX-09).

use super::caller::{Desk, Hints, Wakes};
use super::{Refusal, Stream};
use crate::identity::{HeldSvid, Identity, IdentityKey};
use crate::peer::Caller;
use avouch_wire::workload::{X509svid, X509svidResponse};
use avouch_words::Bundle;
use futures_util::future::select_all;
use futures_util::{FutureExt, StreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Opens the stream; its first message is made before it is returned.
pub async fn stream(desk: Arc<Desk>, caller: Arc<Caller>) -> Result<Stream<X509svidResponse>, Refusal> {
    let wakes = Wakes::new(&desk, caller.clone());
    let mut view = View { desk, caller, wakes, followed: BTreeMap::new(), sent: None };
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

struct View {
    desk: Arc<Desk>,
    caller: Arc<Caller>,
    wakes: Wakes,
    followed: BTreeMap<IdentityKey, watch::Receiver<Identity>>,
    sent: Option<Whole>,
}

/// What one message says.
struct Whole {
    /// With the hint of each.
    svids: Vec<(Arc<HeldSvid>, String)>,
    bundle: Arc<Bundle>,
}

impl View {
    /// The next message: at once if none was sent yet, else when it differs from the one before.
    async fn next(&mut self) -> Result<X509svidResponse, Refusal> {
        let deadline = Instant::now() + FIRST_ANSWER;
        loop {
            self.wakes.mark();
            let entitled = self.desk.entitlement(&self.caller).await?;
            self.follow(&entitled.identities).await?;
            let Seen { svids, pending, withdrawn } = self.look();
            let first = self.sent.is_none();
            let wait = first && (pending || withdrawn) && Instant::now() < deadline;
            // What was withdrawn although we are still entitled: the state that says why is about to come.
            let incomplete = wait || (withdrawn && !first);
            if !incomplete {
                if svids.is_empty() {
                    return Err(Refusal::NotReady);
                }
                let mut hints = Hints::default();
                let named = svids.into_iter().map(|(whose, svid)| (svid, hints.of(&entitled.state, &whose)));
                let whole = Whole { svids: named.collect(), bundle: entitled.state.bundle.clone() };
                if !self.sent.as_ref().is_some_and(|sent| sent.says_the_same(&whole)) {
                    let message = whole.message();
                    self.sent = Some(whole);
                    return Ok(message);
                }
            }
            tokio::select! {
                changed = self.wakes.changed() => changed?,
                () = any_changed(&mut self.followed) => {}
                () = tokio::time::sleep_until(deadline), if wait => {}
            }
        }
    }

    async fn follow(&mut self, identities: &[IdentityKey]) -> Result<(), Refusal> {
        self.followed
            .retain(|whose, held| identities.contains(whose) && !matches!(*held.borrow(), Identity::Withdrawn));
        for whose in identities {
            if !self.followed.contains_key(whose) {
                let held = self.desk.identities.follow(whose).await.map_err(|_| Refusal::NotReady)?;
                self.followed.insert(whose.clone(), held);
            }
        }
        Ok(())
    }

    /// How the identities stand.
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        for (whose, held) in &mut self.followed {
            match &*held.borrow_and_update() {
                Identity::Ready(svid) => seen.svids.push((whose.clone(), svid.clone())),
                Identity::Pending => seen.pending = true,
                Identity::Withdrawn => seen.withdrawn = true,
                Identity::Unavailable => {}
            }
        }
        seen
    }
}

/// How the identities of a caller stand.
#[derive(Default)]
struct Seen {
    svids: Vec<(IdentityKey, Arc<HeldSvid>)>,
    pending: bool,
    withdrawn: bool,
}

impl Whole {
    fn says_the_same(&self, other: &Self) -> bool {
        let mut pairs = self.svids.iter().zip(&other.svids);
        self.svids.len() == other.svids.len()
            && pairs.all(|(one, two)| Arc::ptr_eq(&one.0, &two.0) && one.1 == two.1)
            && self.bundle.x509 == other.bundle.x509
    }

    fn message(&self) -> X509svidResponse {
        let bundle = self.bundle.x509.iter().flat_map(|authority| authority.0.iter().copied()).collect::<Vec<u8>>();
        let entry = |(held, hint): &(Arc<HeldSvid>, String)| X509svid {
            spiffe_id: held.svid().id().to_string(),
            x509_svid: held.svid().chain().iter().flat_map(|der| der.iter().copied()).collect(),
            x509_svid_key: held.key().expose().to_vec(),
            bundle: bundle.clone(),
            hint: hint.clone(),
        };
        X509svidResponse { svids: self.svids.iter().map(entry).collect(), ..Default::default() }
    }
}

/// Waits until one of them changes. One whose owner has gone changes no more: what wakes then is a new state.
async fn any_changed(followed: &mut BTreeMap<IdentityKey, watch::Receiver<Identity>>) {
    let waiting = followed.values_mut().map(|held| {
        async {
            if held.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    });
    let waiting: Vec<_> = waiting.collect();
    if waiting.is_empty() {
        std::future::pending::<()>().await;
    } else {
        select_all(waiting).await;
    }
}

/// How long the first message waits for identities that are on their way (WEP-09: no hang).
const FIRST_ANSWER: Duration = Duration::from_secs(5);
