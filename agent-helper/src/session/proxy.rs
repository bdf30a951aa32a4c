//! The proxy behind a session's listener.

use super::door::{Serve, Served};
use crate::intercept::{Anchor, Fence, Proxy, Session, SystemRoots};
use avouch_policy::Caller;
use avouch_words::Clock;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Begins to serve sessions.
pub struct SessionProxy {
    proxy: Arc<Proxy>,
    roots: SystemRoots,
    clock: Arc<dyn Clock>,
}

impl SessionProxy {
    /// By this proxy.
    pub fn new(proxy: Arc<Proxy>, roots: SystemRoots, clock: Arc<dyn Clock>) -> Self {
        Self { proxy, roots, clock }
    }
}

impl Serve for SessionProxy {
    fn serve(&self, listener: TcpListener, caller: Caller, uid: u32, ended: CancellationToken) -> io::Result<Served> {
        let anchor = Arc::new(Anchor::new(caller.session, &*self.clock).map_err(io::Error::other)?);
        // Behind walls the namespace is the fence: nobody outside it can dial.
        let fence = if caller.contained { Fence::ListenerAlone } else { Fence::for_listener(&listener, uid) };
        let served = Served {
            anchor: anchor.pem(),
            system_roots: self.roots.pem.clone(),
            listener_alone: !caller.contained && fence == Fence::ListenerAlone,
        };
        let id = caller.session;
        let serving = self.proxy.clone().serve(Session { caller, fence, anchor, ended }, listener);
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(session = %id, %error, "session.listener.failed");
            }
        });
        Ok(served)
    }
}
