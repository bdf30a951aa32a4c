//! One key of a Kubernetes Secret, read as the pod's own service account and watched: of a change the source is told,
//! and then says of the old version that it is current no more.
//!
//! The API is spoken by hand over reqwest. The `kube` crates would read answers without a limit and into memory that
//! is not wiped, and with `k8s-openapi` cost about two minutes of processor time for two requests.

mod api;
mod reference;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use avouch_words::{Clock, Name, Reference};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use api::Api;
use reference::KeyReference;
use watch::Watches;

pub use api::{BODY_MAX, DEADLINE, TOKEN_MAX};
pub use watch::{IDLE, LINE_MAX, WATCHES_MAX};

use crate::json::Field;
use crate::unusable::Unusable;
use crate::value::lease;
use crate::{About, Doing, Lease, Obligations, Shown, Source, SourceFault, Wanted};

/// A cluster, as the settings say it.
#[derive(Debug, Clone)]
pub struct KubernetesSettings {
    /// The API server, `https://HOST[:PORT]`.
    pub server: String,
    /// The certificates by which it is believed, PEM; read anew on change.
    pub ca_file: PathBuf,
    /// The service account's token, as a projected volume holds it; read anew for each request.
    pub token_file: PathBuf,
}

/// A cluster's Secrets as a source.
pub struct KubernetesSource {
    name: Name,
    api: Arc<Api>,
    watches: Arc<Watches>,
}

#[derive(Deserialize)]
struct Secret {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    data: BTreeMap<String, Field>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

impl KubernetesSource {
    /// The source of this name. Neither file needs to be there yet.
    pub fn new(name: Name, settings: KubernetesSettings, clock: Arc<dyn Clock>) -> Result<Self, Unusable> {
        let api = Arc::new(Api::new(name.clone(), settings)?);
        Ok(Self { name, watches: Watches::new(Arc::clone(&api), clock), api })
    }

    async fn get(&self, wanted: &Wanted) -> Result<Lease, SourceFault> {
        let reference = KeyReference::parse(wanted.reference.as_str()).map_err(|_| SourceFault::Reference)?;
        let seen = self.watches.changes(&reference.secret());
        let body = self.api.get(&reference.path()).await?;
        let mut secret: Secret = serde_json::from_slice(&body).map_err(|_| SourceFault::Garbage)?;
        if secret.kind != "Secret" {
            return Err(SourceFault::Garbage);
        }
        let coded = match secret.data.get_mut(reference.key) {
            Some(Field::Text(coded)) => coded,
            Some(Field::Other) => return Err(SourceFault::Garbage),
            None => return Err(SourceFault::Missing),
        };
        let mut lease = lease(STANDARD.decode(coded.as_bytes()).map_err(|_| SourceFault::Garbage)?)?;
        let version = secret.metadata.resource_version;
        self.watches.read(reference.secret(), &version, seen);
        lease.version = Some(version);
        Ok(lease)
    }
}

impl Source for KubernetesSource {
    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    fn about(&self) -> About {
        About { place: self.api.server().to_owned(), login: "token_file", shown: Shown::Nothing }
    }

    fn check_reference(&self, reference: &Reference) -> Result<(), String> {
        KeyReference::parse(reference.as_str()).map(drop).map_err(str::to_owned)
    }

    fn read<'a>(&'a self, wanted: &'a Wanted, _owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        Box::pin(self.get(wanted))
    }

    fn is_current(&self, reference: &Reference, version: &str) -> bool {
        KeyReference::parse(reference.as_str()).is_ok_and(|read| self.watches.is_current(&read.secret(), version))
    }
}

impl std::fmt::Debug for KubernetesSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubernetesSource").field("name", &self.name).finish()
    }
}

#[cfg(test)]
mod tests;
