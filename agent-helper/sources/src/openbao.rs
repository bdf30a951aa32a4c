//! OpenBao and HashiCorp Vault, entered with the brokered identity: secrets of both key-value engines, users of
//! databases, certificates.

mod answer;
mod client;
mod database;
mod entry;
mod fault;
mod held;
mod kv;
mod lease;
mod login;
mod pki;
mod reference;
mod settings;

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;

use avouch_words::{Clock, Millis, Name, Reference};

pub use answer::ID_MAX;
pub use client::{CONNECT, REPLY_MAX, REQUEST};
pub use fault::PATIENCE_MAX;
pub use held::PAUSE;
pub use login::TERM_MAX;
pub use settings::{AGENT, BadSettings, CA_MAX, Login, Settings};

use client::{Way, Ways};
use held::Held;
use login::Entered;
use reference::Place;

use crate::file::PrivateFile;
use crate::{About, Doing, Entrant, Lease, Obligation, Obligations, Source, SourceFault, Wanted};

/// An OpenBao or a Vault.
pub struct OpenBao {
    name: Name,
    settings: Settings,
    ways: Ways,
    way: Arc<Way>,
    file: Option<PrivateFile>,
    held: Held,
    clock: Arc<dyn Clock>,
}

impl OpenBao {
    /// One of these settings. Its server is verified against `system` if they name no certificates of their own;
    /// `credentials` is the directory that the service manager gave, if any. Nothing is asked yet.
    pub fn new(
        name: Name,
        settings: Settings,
        system: &RootCertStore,
        credentials: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BadSettings> {
        let ways = Ways::new(&settings, system)?;
        let way = ways.anonymous().map_err(|fault| BadSettings(fault.to_string()))?;
        let file = settings.login.file(credentials)?;
        Ok(Self { name, settings, ways, way: Arc::new(way), file, held: Held::default(), clock })
    }
}

impl OpenBao {
    async fn read_with(
        &self,
        entered: &Entered,
        place: &Place,
        wanted: &Wanted,
        owed: &dyn Obligations,
    ) -> Result<Lease, SourceFault> {
        let given = match place {
            Place::Kv1(field) => return kv::read1(entered, field).await,
            Place::Kv2(field, version) => return kv::read2(entered, field, *version).await,
            Place::Database(role) => database::issue(entered, role).await?,
            Place::Pki(role, wishes) => pki::issue(entered, role, wishes).await?,
        };
        self.give_on(given, entered, wanted, owed).await
    }
}

impl Source for OpenBao {
    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "openbao"
    }

    fn about(&self) -> About {
        self.told()
    }

    fn try_entry<'a>(
        &'a self,
        entrant: &'a dyn Entrant,
        sought: Option<&'a Wanted>,
        _owed: &'a dyn Obligations,
    ) -> Doing<'a, crate::Entered> {
        Box::pin(self.try_as(entrant, sought))
    }

    fn check_reference(&self, reference: &Reference) -> Result<(), String> {
        Place::parse(reference.as_str()).map(drop)
    }

    fn read<'a>(&'a self, wanted: &'a Wanted, owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        Box::pin(async move {
            let place = Place::parse(wanted.reference.as_str()).map_err(|_| SourceFault::Reference)?;
            let entrant = &*wanted.entrant;
            let first = self.enter(entrant, Some(owed), None).await?;
            match self.read_with(&first.entered, &place, wanted, owed).await {
                Err(SourceFault::Denied) => {
                    let other = self.enter_again(&first, entrant, Some(owed)).await?;
                    self.read_with(&other.entered, &place, wanted, owed).await
                }
                read => read,
            }
        })
    }

    fn renew<'a>(&'a self, owed: &'a Obligation, entrant: &'a dyn Entrant) -> Doing<'a, Millis> {
        Box::pin(self.prolong(owed, entrant))
    }

    fn revoke<'a>(&'a self, owed: &'a Obligation, node: &'a dyn Entrant) -> Doing<'a, ()> {
        Box::pin(self.give_back(owed, node))
    }

    fn leave<'a>(&'a self, agent: &'a Name) -> Doing<'a, ()> {
        Box::pin(self.forget(agent))
    }
}

impl std::fmt::Debug for OpenBao {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenBao").field("name", &self.name).field("address", &self.settings.address).finish()
    }
}

#[cfg(test)]
mod tests;
