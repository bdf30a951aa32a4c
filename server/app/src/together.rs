//! Several issuers on one database: which of them leads, what wakes this one when another changed something, and what
//! each tells the others of its nodes. An issuer alone leads at once, is woken by nobody and tells nobody.

use crate::app::App;
use avouch_store::{Fence, StoreError, Wake};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Takes the lead and keeps it as long as nobody else has it.
pub(crate) async fn lead(app: &App) {
    let mut looks = interval(RENEW);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // Nobody can take it from an issuer that is alone.
        if !app.store.is_shared() && app.lead().is_some() {
            continue;
        }
        if let Err(error) = take_lead(app).await {
            tracing::warn!(%error, "the lead could not be taken or kept");
        }
    }
}

/// Takes the lead if nobody else has it, or keeps it.
pub(crate) async fn take_lead(app: &App) -> Result<Option<Fence>, StoreError> {
    let taken = async {
        let mut tx = app.store.begin().await?;
        let fence = tx.take_lead(app.store.run_id(), LEASE).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(fence)
    };
    let taken = taken.await;
    let now = taken.as_ref().ok().copied().flatten();
    if app.set_lead(now) != now {
        tracing::info!(leads = now.is_some(), "the lead changed");
    }
    taken
}

/// Gives the lead up, so that another has it at once.
pub(crate) async fn leave(app: &App) {
    let left = async {
        if let Some(fence) = app.set_lead(None) {
            let mut tx = app.store.begin().await?;
            tx.leave_lead(fence).await?;
            tx.commit().await?;
        }
        if app.store.is_shared() {
            app.store.depart().await?;
        }
        Ok::<_, StoreError>(())
    };
    if let Err(error) = left.await {
        tracing::warn!(%error, "the other issuers could not be told that this one goes");
    }
}

/// Reads what there is whenever another issuer says that there is something. A wake that is lost costs no more than the
/// time until the next beat.
pub(crate) async fn wakes(app: &App) {
    let mut changes = app.store.changes();
    loop {
        let wake = changes.next().await;
        if matches!(wake, Wake::State | Wake::Anything)
            && let Err(error) = app.beat().await
        {
            tracing::warn!(%error, "the lock state could not be read");
        }
        if matches!(wake, Wake::Nodes | Wake::Anything) {
            look_elsewhere(app).await;
        }
        // Of many changes at once each costs a reading, but not of all there is.
        sleep(AT_ONCE).await;
    }
}

/// Reads how nodes stand with the other issuers.
pub(crate) async fn look_elsewhere(app: &App) {
    if !app.store.is_shared() {
        return;
    }
    let read = async { app.store.read().await?.elsewhere(app.store.run_id()).await };
    match read.await {
        Ok(presence) => app.connected.set_elsewhere(presence, app.clock.boot()),
        Err(error) => tracing::warn!(%error, "it could not be read how nodes stand with the other issuers"),
    }
}

/// Tells the other issuers how nodes stand here, soon after it changes.
pub(crate) async fn report(app: &App) {
    if !app.store.is_shared() {
        return std::future::pending().await;
    }
    let mut changes = app.connected.watch();
    loop {
        let news = app.connected.news();
        if !news.is_empty()
            && let Err(error) = app.store.report(&news).await
        {
            tracing::warn!(%error, "the other issuers could not be told how nodes stand here");
            app.connected.tell_again();
            sleep(AGAIN).await;
            continue;
        }
        sleep(AT_ONCE).await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// How long the lead lasts without being renewed: whoever dies with it is followed within this.
const LEASE: Duration = Duration::from_secs(8);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(2);
/// What comes within this is read or told together.
const AT_ONCE: Duration = Duration::from_millis(20);
/// How long until something is told again that could not be.
const AGAIN: Duration = Duration::from_millis(500);
