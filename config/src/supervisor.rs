//! What systemd is told of a part, if it asked (`NOTIFY_SOCKET`, `WATCHDOG_USEC`): that it serves, whether it can do its work,
//! that it still turns, and that it ends. Others ask for nothing and are told nothing.

use crate::health::Readiness;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Tells the supervisor until the shutdown. Spawn it on the runtime that does the work: the watchdog is fed by that runtime,
/// so one that is stuck is not.
pub async fn tell(mut readiness: watch::Receiver<Readiness>, shutdown: CancellationToken) {
    notify(&[NotifyState::Ready, NotifyState::Status(status(*readiness.borrow_and_update()))]);
    let mut feeding = interval(sd_notify::watchdog_enabled().map_or(UNWATCHED, |wanted| (wanted / 2).max(SHORTEST)));
    feeding.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = true;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = feeding.tick() => notify(&[NotifyState::Watchdog]),
            changed = readiness.changed(), if told => match changed {
                Ok(()) => {
                    let now = *readiness.borrow_and_update();
                    notify(&[NotifyState::Status(status(now))]);
                }
                Err(_) => told = false,
            },
        }
    }
    notify(&[NotifyState::Stopping]);
}

/// A supervisor that cannot be told finds out by itself.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor could not be told");
    }
}

fn status(readiness: Readiness) -> &'static str {
    match readiness {
        Readiness::Ready => "ready",
        Readiness::NotReady(why) => why,
    }
}

/// How often the watchdog is fed where nobody watches: it costs nothing then.
const UNWATCHED: Duration = Duration::from_secs(3600);
/// A watchdog that wants to be fed more often is fed this often.
const SHORTEST: Duration = Duration::from_millis(10);
