//! The certificate of the public listener: read at the start, and again whenever its files change.

use avouch_config::{StartError, read_secret, read_text};
use avouch_wire::tls::Identity;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// A certificate of the web, as its files have it.
pub(crate) struct WebCertificate {
    certificate_file: PathBuf,
    key_file: PathBuf,
    identity: watch::Sender<Option<Identity>>,
    seen: Option<Stamp>,
}

/// What tells one content of the two files from another.
type Stamp = [(u64, i64, i64); 2];

impl WebCertificate {
    /// Reads it; one that cannot be used fails the start.
    pub(crate) fn read(certificate_file: &Path, key_file: &Path) -> Result<Self, StartError> {
        let mut certificate = Self {
            certificate_file: certificate_file.to_owned(),
            key_file: key_file.to_owned(),
            identity: watch::Sender::new(None),
            seen: None,
        };
        let seen = certificate.stamp();
        let identity = certificate.load();
        let identity = identity
            .map_err(|reason| StartError::Internal { what: "the public certificate cannot be used", reason })?;
        certificate.identity.send_replace(Some(identity));
        certificate.seen = seen;
        Ok(certificate)
    }

    /// What handshakes show.
    pub(crate) fn identity(&self) -> watch::Receiver<Option<Identity>> {
        self.identity.subscribe()
    }

    /// Follows the files. One that cannot be used leaves the one before in use.
    pub(crate) async fn keep(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let stamp = self.stamp();
        if stamp.is_none() || stamp == self.seen {
            return;
        }
        match self.load() {
            Ok(identity) => {
                self.identity.send_replace(Some(identity));
                self.seen = stamp;
                tracing::info!("the public certificate was replaced");
            }
            // Perhaps only one of the two files is new yet: the next look tries again.
            Err(reason) => tracing::warn!(reason, "the new public certificate cannot be used"),
        }
    }

    fn stamp(&self) -> Option<Stamp> {
        let of = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()));
        Some([of(&self.certificate_file)?, of(&self.key_file)?])
    }

    /// Links are followed: that is how certificates are renewed.
    fn load(&self) -> Result<Identity, String> {
        let failed = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let real = |path: &Path| path.canonicalize().map_err(|error| failed(path, &error));
        let chain = read_text(&real(&self.certificate_file)?, MAX_CHAIN);
        let chain = chain.map_err(|fault| failed(&self.certificate_file, &fault))?;
        let key = read_secret(&real(&self.key_file)?).map_err(|fault| failed(&self.key_file, &fault))?;
        Identity::from_pem(chain.as_bytes(), &key).map_err(|error| failed(&self.certificate_file, &error))
    }
}

/// How often it is looked whether the files changed.
const LOOK: Duration = Duration::from_secs(10);
/// The longest chain, in bytes.
const MAX_CHAIN: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn put(directory: &Path) {
        let made = rcgen::generate_simple_self_signed(["id.example.test".to_owned()]).unwrap();
        let key = directory.join("web.key");
        fs::remove_file(&key).ok();
        fs::write(directory.join("web.pem"), made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_certificate_is_read_again_when_it_changes_and_a_bad_one_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (pem, key) = (dir.path().join("web.pem"), dir.path().join("web.key"));
        assert!(WebCertificate::read(&pem, &key).is_err(), "none yet");
        put(dir.path());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(WebCertificate::read(&pem, &key).is_err(), "others may read the key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let mut certificate = WebCertificate::read(&pem, &key).unwrap();
        let mut shown = certificate.identity();
        certificate.look();
        assert!(!shown.has_changed().unwrap());
        let other = rcgen::generate_simple_self_signed(["id.example.test".to_owned()]).unwrap();
        fs::write(&pem, other.cert.pem()).unwrap();
        certificate.look();
        assert!(!shown.has_changed().unwrap() && shown.borrow().is_some(), "not with another's key");
        put(dir.path());
        certificate.look();
        assert!(shown.has_changed().unwrap());
        shown.mark_unchanged();
    }
}
