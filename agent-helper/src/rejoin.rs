//! A node that was away for longer than its SVID lives, or that was evicted: its identity is good for nothing, and a
//! join token attests it only once. Until somebody puts a new token where the first one was, it is tried again; the
//! helper needs no restart for that.

use crate::enrol::{self, Joined};
use crate::node_files::NodeFiles;
use avouch_config::{HelperConfig, StartError};
use avouch_words::{Bundles, Clock, SpiffeId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What it takes to join anew.
pub struct Rejoin {
    /// Where the token is, and the issuer.
    pub config: HelperConfig,
    /// Where key and SVID are.
    pub files: NodeFiles,
    /// Whom the issuer is verified with.
    pub bundles: watch::Sender<Arc<Bundles>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Rejoin {
    /// Tries, if there is a token that was not tried yet. The node has to be the one it was: all that runs here knows
    /// it by that.
    pub async fn attempt(&self, node: &SpiffeId) -> Option<Joined> {
        if !enrol::has_new_token(&self.config, &self.files) {
            return None;
        }
        match enrol::join_anew(&self.config, &self.files, &self.clock, Some(node)).await {
            Ok(joined) => {
                // The authorities may all have been replaced meanwhile.
                self.bundles.send_replace(Arc::new(Bundles::from(joined.bundle.clone())));
                Some(joined)
            }
            Err(error) => {
                tracing::warn!(reason = %error, code = error.code(), "node.rejoin.failed");
                None
            }
        }
    }
}

/// Builds something that needs a node, and waits for a new token where a node that had joined once is none any more.
/// Whatever else goes wrong ends it. None if it was told to stop meanwhile.
pub async fn patiently<T, F>(
    config: &HelperConfig,
    stop: &CancellationToken,
    mut build: impl FnMut() -> F,
) -> Result<Option<T>, StartError>
where
    F: Future<Output = Result<T, StartError>>,
{
    let mut said = None;
    loop {
        let error = match build().await {
            Ok(built) => return Ok(Some(built)),
            Err(error) => error,
        };
        let had_joined = NodeFiles::in_directory(&config.state_dir).has_svid();
        if !had_joined || !is_over(&error) {
            return Err(error);
        }
        if said != Some(error.code()) {
            said = Some(error.code());
            tracing::error!(reason = %error, action = error.action(), "node.join.waiting: a new join token is needed");
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Whether it is a new token that helps, and nothing else.
fn is_over(error: &StartError) -> bool {
    matches!(
        error,
        StartError::SvidExpired
            | StartError::TokenExpired
            | StartError::TokenRefused
            | StartError::TokenMalformed(_)
            | StartError::TokenFile { .. }
            | StartError::Unreachable { .. }
    )
}

/// How often it is looked for a new token.
pub const LOOK: Duration = Duration::from_secs(2);
