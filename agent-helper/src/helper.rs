//! The helper as a whole: `build` (in `start`) takes everything that can be taken, and fails if something cannot;
//! `run` serves.

use crate::journal::Journal;
use crate::spool::Spool;
use avouch_audit::record::HelperEvent;
use avouch_config::LastFault;
use avouch_words::SpiffeId;
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A helper that has taken its sockets and its state and has joined its trust domain.
pub struct Helper {
    pub(crate) tasks: Vec<(&'static str, Task)>,
    pub(crate) node: SpiffeId,
    pub(crate) sockets: Sockets,
    pub(crate) health: Option<SocketAddr>,
    pub(crate) spool: Spool,
    pub(crate) journal: Journal,
}

/// A helper that ended although nobody asked it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the helper's task `{0}` ended")]
pub struct TaskEnded(pub &'static str);

/// What a helper does, until it is told to stop.
pub(crate) type Task = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// Where the helper listens.
#[derive(Debug, Clone)]
pub(crate) struct Sockets {
    pub workload: PathBuf,
    pub session: PathBuf,
    pub admin: PathBuf,
}

impl Helper {
    /// This node's ID.
    pub fn node(&self) -> &SpiffeId {
        &self.node
    }

    /// The SPIFFE Workload API.
    pub fn workload_socket(&self) -> &Path {
        &self.sockets.workload
    }

    /// Where `avouch run` hands over listeners.
    pub fn session_socket(&self) -> &Path {
        &self.sockets.session
    }

    /// The helper's own admin socket.
    pub fn admin_socket(&self) -> &Path {
        &self.sockets.admin
    }

    /// Where liveness and readiness are told, if they are.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health
    }

    /// Serves until the shutdown. If a task ends before that, everything ends, with an error.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), TaskEnded> {
        let stop = shutdown.child_token();
        let mut running = JoinSet::new();
        for (name, task) in self.tasks {
            let working = task(stop.clone());
            running.spawn(async move {
                working.await;
                name
            });
        }
        tracing::info!(node = %self.node, workload = %self.sockets.workload.display(), "helper.run.begin");
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            first = running.join_next() => match first {
                Some(Ok(name)) if !shutdown.is_cancelled() => Err(TaskEnded(name)),
                Some(Err(_)) => Err(TaskEnded("panicked")),
                Some(Ok(_)) | None => Ok(()),
            },
        };
        stop.cancel();
        let rest = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, rest).await.is_err() {
            tracing::warn!("helper.run.not_all_ended");
        }
        running.shutdown().await;
        self.journal.note(HelperEvent::Stopped {});
        self.spool.close().await;
        for socket in [&self.sockets.workload, &self.sockets.session, &self.sockets.admin] {
            let _ = std::fs::remove_file(socket);
        }
        // What another start has noted meanwhile, which found us here, is no news any more.
        self.sockets.admin.parent().inspect(|runtime_dir| LastFault::note(runtime_dir, None));
        tracing::info!("helper.run.end");
        ended
    }
}

/// How long tasks may take to end in order.
const GRACE: Duration = Duration::from_secs(5);
