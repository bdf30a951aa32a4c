//! Watches: one for each Secret that is read, from the version that was read last. They ask for what is said about a
//! Secret and not for its data. A watch that breaks is begun again after a pause; meanwhile nothing is known to have
//! changed, and a value is kept no longer than its keeper keeps any.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use avouch_words::Clock;
use serde::Deserialize;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::api::{Api, DEADLINE, Growing};
use super::reference::{SecretName, watch_path};
use crate::SourceFault;

/// The most Secrets that are watched at once; with more, the one that was not read for the longest is watched no more.
pub const WATCHES_MAX: usize = 256;
/// A Secret that nobody read for so long is watched no more, when its watch has to be begun again.
pub const IDLE: Duration = Duration::from_secs(10 * 60);
/// The longest event, in bytes.
pub const LINE_MAX: usize = 2 * 1024 * 1024;

/// How long the server is asked to keep a watch.
const SECONDS: u64 = 240;
/// And how long it is given beyond that.
const LEEWAY: u64 = 30;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

pub(super) struct Watches {
    kept: Mutex<HashMap<SecretName, Watched>>,
    api: Arc<Api>,
    clock: Arc<dyn Clock>,
    /// For its tasks, which must not keep it.
    own: Weak<Self>,
}

struct Watched {
    /// The version that lies there now, as far as is known; none while that is not known.
    current: Option<String>,
    /// How many changes were told.
    changes: u64,
    asked: Duration,
    task: Option<Task>,
}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    metadata: Option<Metadata>,
    /// Of a `Status`.
    code: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: Option<String>,
    name: Option<String>,
}

/// How a watch ended.
enum Ended {
    /// It can go on from the same version, after a pause if nothing came of it.
    Again { at_once: bool },
    /// From that version nothing more is told: whoever reads next begins anew.
    Gone,
    /// Our role may not watch.
    Forbidden,
}

impl Watches {
    pub(super) fn new(api: Arc<Api>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self { kept: Mutex::default(), api, clock, own: own.clone() })
    }

    /// How many changes were told of a Secret; to be asked before it is read.
    pub(super) fn changes(&self, secret: &SecretName) -> u64 {
        self.lock().get(secret).map_or(0, |watched| watched.changes)
    }

    /// This version was read of a Secret. From now on it is watched. A change that was told while it was read is
    /// not forgotten.
    pub(super) fn read(&self, secret: SecretName, version: &str, seen: u64) {
        let now = self.clock.boot();
        let mut kept = self.lock();
        if !kept.contains_key(&secret)
            && kept.len() >= WATCHES_MAX
            && let Some(oldest) = kept.iter().min_by_key(|(_, watched)| watched.asked).map(|(secret, _)| secret.clone())
        {
            kept.remove(&oldest);
        }
        let watched = kept.entry(secret.clone()).or_insert_with(|| Watched {
            current: None,
            changes: seen,
            asked: now,
            task: None,
        });
        watched.asked = now;
        if watched.changes == seen {
            watched.current = Some(version.to_owned());
        }
        if watched.task.is_none() {
            let watching = watch(self.own.clone(), Arc::clone(&self.api), secret, version.to_owned());
            watched.task = Some(Task(tokio::spawn(watching).abort_handle()));
        }
    }

    /// Whether no other version is known.
    pub(super) fn is_current(&self, secret: &SecretName, version: &str) -> bool {
        self.lock().get(secret).is_none_or(|watched| watched.current.as_deref() == Some(version))
    }

    /// Another version lies there now, or nothing, or nobody knows.
    fn changed(&self, secret: &SecretName, to: Option<&str>) {
        if let Some(watched) = self.lock().get_mut(secret)
            && (to.is_none() || watched.current.as_deref() != to)
        {
            watched.current = to.map(str::to_owned);
            watched.changes = watched.changes.wrapping_add(1);
        }
    }

    fn is_idle(&self, secret: &SecretName) -> bool {
        let now = self.clock.boot();
        self.lock().get(secret).is_none_or(|watched| now.saturating_sub(watched.asked) >= IDLE)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SecretName, Watched>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches until nobody wants to know, or nothing more can be known.
async fn watch(watches: Weak<Watches>, api: Arc<Api>, secret: SecretName, mut version: String) {
    let mut pause = FIRST_PAUSE;
    loop {
        let most = Duration::from_secs(SECONDS + LEEWAY);
        let ended = timeout(most, once(&watches, &api, &secret, &mut version)).await;
        let Some(watches) = watches.upgrade() else { return };
        match ended.unwrap_or(Ended::Again { at_once: true }) {
            Ended::Again { at_once } => {
                if watches.is_idle(&secret) {
                    watches.lock().remove(&secret);
                    return;
                }
                drop(watches);
                pause = if at_once { FIRST_PAUSE } else { pause };
                sleep(pause).await;
                pause = if at_once { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            }
            Ended::Gone => {
                watches.changed(&secret, None);
                if let Some(watched) = watches.lock().get_mut(&secret) {
                    watched.task = None;
                }
                return;
            }
            Ended::Forbidden => {
                watches.lock().remove(&secret);
                return;
            }
        }
    }
}

async fn once(watches: &Weak<Watches>, api: &Api, secret: &SecretName, version: &mut String) -> Ended {
    let path = watch_path(secret, version, SECONDS);
    let asked = timeout(DEADLINE, api.ask(&path, METADATA)).await.unwrap_or(Err(SourceFault::Unavailable));
    let mut answer = match asked {
        Ok(answer) => answer,
        Err(SourceFault::Denied) => return Ended::Forbidden,
        // 410 before the stream has begun.
        Err(SourceFault::Garbage) => return Ended::Gone,
        Err(SourceFault::Busy(patience)) => {
            sleep(patience).await;
            return Ended::Again { at_once: true };
        }
        Err(_) => return Ended::Again { at_once: false },
    };
    let mut line = Growing::new(LINE_MAX);
    let mut told = false;
    while let Ok(Some(chunk)) = answer.chunk().await {
        let mut rest = chunk.as_ref();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if line.push(&rest[..end]).is_err() {
                return Ended::Gone;
            }
            let Some(watches) = watches.upgrade() else { return Ended::Gone };
            match take(&watches, secret, &line.bytes, version) {
                Ok(()) => told = true,
                Err(ended) => return ended,
            }
            line = Growing::new(LINE_MAX);
            rest = &rest[end + 1..];
        }
        if line.push(rest).is_err() {
            return Ended::Gone;
        }
    }
    Ended::Again { at_once: told }
}

fn take(watches: &Watches, secret: &SecretName, line: &[u8], version: &mut String) -> Result<(), Ended> {
    let event: Event = serde_json::from_slice(line).map_err(|_| Ended::Gone)?;
    if event.kind == "ERROR" {
        // 410 says that the version is too old; what else can be wrong is no reason to forget it.
        return Err(match event.object.code {
            Some(410) => Ended::Gone,
            _ => Ended::Again { at_once: false },
        });
    }
    let metadata = event.object.metadata.ok_or(Ended::Gone)?;
    let to = metadata.resource_version.ok_or(Ended::Gone)?;
    match event.kind.as_str() {
        "BOOKMARK" => {}
        _ if metadata.name.as_deref() != Some(&secret.1) => return Err(Ended::Gone),
        "ADDED" | "MODIFIED" => watches.changed(secret, Some(&to)),
        // Deleted, or something that is not known yet: no version is known to lie there.
        _ => watches.changed(secret, None),
    }
    *version = to;
    Ok(())
}
