//! A session's listener: the connections that come in by it are the session's, where the kernel agrees.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::connection::{self, Place};
use super::diag::{self, Fence, NotShown};
use super::h1::Io;
use super::{Proxy, Serving};

/// The most connections of one session; more wait in the kernel's queue.
pub(super) const CONNECTIONS_MAX: usize = 512;
/// How long is waited after the kernel could not give a connection, as when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the session ends, and returns when the last of its connections has ended.
pub(super) async fn accept(proxy: Arc<Proxy>, serving: Arc<Serving>, listener: TcpListener) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = serving.ended.cancelled() => break,
            accepted = next(&listener, &room) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let (proxy, serving) = (Arc::clone(&proxy), Arc::clone(&serving));
        connections.spawn(async move {
            match foreign(&serving, &stream) {
                None if stream.set_nodelay(true).is_ok() => {
                    connection::serve(&proxy, &serving, Io::Plain(stream), Place::Port).await;
                }
                None => {}
                Some(not_shown) => {
                    tracing::warn!(session = %serving.caller.session, %not_shown, "intercept.listener.refused");
                    proxy.broker.refuse_connection(&serving.caller, not_shown.reason()).await;
                    drop(stream);
                }
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn next(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "intercept.listener.accept");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// The second fence (case U22): why a connection is not shown to be the session's, if it is not.
fn foreign(serving: &Serving, stream: &TcpStream) -> Option<NotShown> {
    let Fence::Uid(uid) = serving.fence else { return None };
    let (Ok(peer), Ok(here)) = (stream.peer_addr(), stream.local_addr()) else { return Some(NotShown::NoEntry) };
    diag::check(peer, here, uid).err()
}
