//! The proxy: what an agent's own HTTP client speaks to. It reads requests strictly, hands each to the broker, and
//! carries the bytes. It decides nothing; it knows no source and writes no record.

mod anchor;
mod answer;
mod connection;
mod diag;
mod exchange;
mod fields;
mod h1;
mod listener;
mod pool;
mod refuse;
mod roots;
mod tunnel;
mod upload;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use avouch_policy::Caller;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use anchor::{Anchor, AnchorFault};
pub use diag::Fence;
pub use roots::SystemRoots;

use crate::broker::Broker;
use pool::{Dialer, Pool};

/// How many bodies of one session may be held back at once, each of at most [`exchange::HELD_MAX`]; more wait.
const HELD_BODIES: usize = 32;

/// The proxy of all sessions of a node.
pub struct Proxy {
    broker: Arc<Broker>,
    dialer: Dialer,
}

/// A session that is to be served.
#[derive(Debug)]
pub struct Session {
    /// Whose it is.
    pub caller: Caller,
    /// What stands behind the listener.
    pub fence: Fence,
    /// The authority that its programs trust.
    pub anchor: Arc<Anchor>,
    /// Cancelled when it ends.
    pub ended: CancellationToken,
}

/// A session as its connections see it.
struct Serving {
    caller: Caller,
    fence: Fence,
    anchor: Arc<Anchor>,
    ended: CancellationToken,
    pool: Pool,
    /// Room for bodies that are held back.
    room: Semaphore,
}

impl Proxy {
    /// A proxy that asks this broker, and trusts these roots where a binding does not bring its own.
    pub fn new(broker: Arc<Broker>, roots: &SystemRoots) -> Result<Self, rustls::Error> {
        Ok(Self { broker, dialer: Dialer::new(Arc::clone(&roots.store))? })
    }

    /// Serves a session by the listener that it handed over, until it ends: then the listener and every connection
    /// of the session are closed at once, and this returns.
    pub async fn serve(self: Arc<Self>, session: Session, listener: std::net::TcpListener) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let Session { caller, fence, anchor, ended } = session;
        let serving =
            Serving { caller, fence, anchor, ended, pool: Pool::default(), room: Semaphore::new(HELD_BODIES) };
        listener::accept(self, Arc::new(serving), listener).await;
        Ok(())
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Proxy").field(&self.broker).finish()
    }
}
