//! Tells the issuer which instances have ended, so that nothing brokered is signed for them any more.

use crate::identity::brokered::BrokeredSvids;
use crate::identity::instance::Instances;
use crate::identity::jwt::JwtSvids;
use crate::identity::{Identities, IdentityKey, schedule};
use crate::ids;
use crate::issuer::{AskFault, Issuer};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The task that does.
pub struct Ending {
    /// Instances that have ended.
    pub ended: mpsc::Receiver<IdentityKey>,
    /// Which instance who is.
    pub instances: Arc<Instances>,
    /// X.509 identities.
    pub identities: Identities,
    /// Tokens.
    pub jwt: Arc<JwtSvids>,
    /// What sources are entered with.
    pub brokered: Arc<BrokeredSvids>,
    /// Who is told.
    pub issuer: Issuer,
}

impl Ending {
    /// Works until the shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.ended.recv() => match ended {
                    Some(whose) => self.end(whose, &shutdown).await,
                    None => return,
                },
            }
        }
    }

    /// First nobody here is that instance any more; then the issuer is told.
    async fn end(&mut self, whose: IdentityKey, shutdown: &CancellationToken) {
        if !self.instances.fell_out_of_use(&whose) {
            return;
        }
        self.jwt.forget(&whose);
        self.brokered.forget(&whose);
        self.identities.end(whose.clone()).await;
        let mut failures = 0;
        while let Err(AskFault::Unreachable) = self.issuer.end_instance(whose.instance).await {
            failures += 1;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(schedule::backoff(failures, ids::share())) => {}
            }
            self.issuer.connected().await;
        }
    }
}

/// Instances that may wait to be reported: as many as there can be.
pub const MOST_WAITING: usize = crate::identity::MAX_IDENTITIES;
