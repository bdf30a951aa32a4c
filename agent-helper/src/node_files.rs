//! The node's own key, SVID and bundle on disk: written whole, synced, then put in place by rename, so that a crash at
//! any moment leaves a key and an SVID that belong together.
//!
//! A renewal is written beside what is in use (`*.next.pem`) and takes its place once it has been used with success.
//! Reading takes whichever key and SVID belong together and are valid longest.

use crate::identity::key::NodeMadeKey;
use avouch_words::svid::x509::X509Svid;
use avouch_words::{Bundle, Bundles, Digest, Millis, Secret, TrustDomain, X509Authority};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory that holds them.
#[derive(Debug, Clone)]
pub struct NodeFiles {
    directory: PathBuf,
}

/// A key and the SVID that belongs to it.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    /// The key.
    pub key: Arc<NodeMadeKey>,
    /// The SVID, verified when it was read or received.
    pub svid: X509Svid,
}

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct FileFault {
    /// Which.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub error: io::Error,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// In use.
    Current,
    /// A renewal that has not been used yet.
    Next,
}

impl NodeFiles {
    /// In this directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The key that is stored, if there is one.
    pub fn key(&self, turn: Turn) -> Result<Option<NodeMadeKey>, FileFault> {
        let path = self.key_path(turn);
        let Some(pem) = read_if_there(&path)? else { return Ok(None) };
        let bad = || fault(&path, io::Error::new(io::ErrorKind::InvalidData, "no PKCS#8 P-256 key"));
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose()).map_err(|_| bad())?;
        let der = Secret::new(der.secret_pkcs8_der().to_vec());
        Ok(Some(NodeMadeKey::from_pkcs8(&der).map_err(|_| bad())?))
    }

    /// Stores a key; it is on disk when this returns.
    pub fn put_key(&self, turn: Turn, key: &NodeMadeKey) -> Result<(), FileFault> {
        self.put(&self.key_path(turn), key.pem().as_bytes())
    }

    /// Stores an SVID.
    pub fn put_svid(&self, turn: Turn, svid: &X509Svid) -> Result<(), FileFault> {
        self.put(&self.svid_path(turn), pem_of(svid.chain()).as_bytes())
    }

    /// Stores the authorities to know the issuer by.
    pub fn put_bundle(&self, bundle: &Bundle) -> Result<(), FileFault> {
        let authorities: Vec<_> = bundle.x509.iter().map(|authority| authority.0.clone()).collect();
        self.put(&self.bundle_path(), pem_of(&authorities).as_bytes())
    }

    /// The authorities stored, if there are any.
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Result<Option<Bundle>, FileFault> {
        let path = self.bundle_path();
        let x509 = certificates(&path)?.into_iter().map(X509Authority).collect::<Vec<_>>();
        let found = (!x509.is_empty()).then(|| Bundle { trust_domain: trust_domain.clone(), x509, jwt: Vec::new() });
        Ok(found)
    }

    /// The node's identity as stored: of the keys and SVIDs that belong together and verify, the one that is valid
    /// longest. None if there is none.
    pub fn identity(&self, bundle: &Bundle, now: Millis) -> Result<Option<NodeIdentity>, FileFault> {
        let bundles = Bundles::from(bundle.clone());
        let mut svids = Vec::new();
        for turn in [Turn::Current, Turn::Next] {
            let chain = certificates(&self.svid_path(turn))?;
            svids.extend(X509Svid::verify(&chain, &bundles, now).ok());
        }
        let mut best: Option<NodeIdentity> = None;
        for turn in [Turn::Current, Turn::Next] {
            let Some(key) = self.key(turn)?.map(Arc::new) else { continue };
            let public = key.public_key_info();
            for svid in svids.iter().filter(|svid| svid.public_key() == public) {
                if best.as_ref().is_none_or(|best| best.svid.not_after() < svid.not_after()) {
                    best = Some(NodeIdentity { key: key.clone(), svid: svid.clone() });
                }
            }
        }
        Ok(best)
    }

    /// Whether an SVID is stored at all, valid or not.
    pub fn has_svid(&self) -> bool {
        self.svid_path(Turn::Current).exists() || self.svid_path(Turn::Next).exists()
    }

    /// The renewal has been used: it takes the place of what was in use. Key and SVID go one after the other, and
    /// between the two still belong to each other.
    pub fn confirm_next(&self) -> Result<(), FileFault> {
        // A key alone was sent and never answered: it waits for its SVID, and what is in use stays.
        if !self.svid_path(Turn::Next).exists() {
            return Ok(());
        }
        let moves = [
            (self.key_path(Turn::Next), self.key_path(Turn::Current)),
            (self.svid_path(Turn::Next), self.svid_path(Turn::Current)),
        ];
        for (from, to) in moves {
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(&from, error)),
                _ => {}
            }
        }
        self.sync_directory()
    }

    /// Digest of the join token that was used, or refused, last.
    pub fn spent_token(&self) -> Option<Digest> {
        let digest = read_if_there(&self.directory.join(SPENT_TOKEN)).ok()??;
        Digest::parse(std::str::from_utf8(digest.expose()).ok()?.trim())
    }

    /// This token is used up.
    pub fn put_spent_token(&self, token: &Digest) -> Result<(), FileFault> {
        self.put(&self.directory.join(SPENT_TOKEN), format!("{token}\n").as_bytes())
    }

    /// A renewal that was begun is one of an identity before.
    pub fn drop_next(&self) -> Result<(), FileFault> {
        for path in [self.svid_path(Turn::Next), self.key_path(Turn::Next)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(&path, error)),
                _ => {}
            }
        }
        self.sync_directory()
    }

    fn put(&self, path: &Path, content: &[u8]) -> Result<(), FileFault> {
        let beside = path.with_extension("new");
        let written = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        written().map_err(|error| fault(path, error))?;
        self.sync_directory()
    }

    fn sync_directory(&self) -> Result<(), FileFault> {
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| fault(&self.directory, error))
    }

    fn key_path(&self, turn: Turn) -> PathBuf {
        self.directory.join(match turn {
            Turn::Current => "node.key.pem",
            Turn::Next => "node.key.next.pem",
        })
    }

    fn svid_path(&self, turn: Turn) -> PathBuf {
        self.directory.join(match turn {
            Turn::Current => "node.svid.pem",
            Turn::Next => "node.svid.next.pem",
        })
    }

    fn bundle_path(&self) -> PathBuf {
        self.directory.join("bundle.pem")
    }
}

/// Only a digest: the token is not kept.
const SPENT_TOKEN: &str = "join.spent";

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let Some(pem) = read_if_there(path)? else { return Ok(Vec::new()) };
    CertificateDer::pem_slice_iter(pem.expose())
        .collect::<Result<_, _>>()
        .map_err(|_| fault(path, io::Error::new(io::ErrorKind::InvalidData, "no PEM certificates")))
}

fn read_if_there(path: &Path) -> Result<Option<Secret>, FileFault> {
    match fs::metadata(path) {
        Ok(about) if about.len() > LARGEST => Err(fault(path, io::Error::new(io::ErrorKind::InvalidData, "too large"))),
        Ok(_) => Ok(Some(Secret::new(fs::read(path).map_err(|error| fault(path, error))?))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(path, error)),
    }
}

fn pem_of(certificates: &[CertificateDer<'_>]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let mut pem = String::new();
    for certificate in certificates {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = BASE64_STANDARD.encode(certificate);
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

fn fault(path: &Path, error: io::Error) -> FileFault {
    FileFault { path: path.to_owned(), error }
}

/// No key, chain or bundle file of ours is larger.
const LARGEST: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestAuthority, TimerClock};
    use avouch_words::Clock;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    const NODE: &str = "spiffe://example.test/node/join_token/laptop";

    struct Rig {
        directory: tempfile::TempDir,
        files: NodeFiles,
        authority: Arc<TestAuthority>,
        bundle: Arc<Bundle>,
        now: Millis,
    }

    fn rig() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let clock = TimerClock::new();
        let authority = TestAuthority::new(clock.clone());
        let bundle = authority.bundle();
        Rig { files: NodeFiles::in_directory(directory.path()), directory, authority, bundle, now: clock.now() }
    }

    impl Rig {
        fn svid(&self, key: &NodeMadeKey, life: u64) -> X509Svid {
            *self.authority.life.lock().unwrap() = Duration::from_secs(life);
            let chain = self.authority.leaf(NODE, &key.csr().unwrap());
            X509Svid::verify(&chain, &Bundles::from((*self.bundle).clone()), self.now).unwrap()
        }

        fn stored(&self) -> Option<NodeIdentity> {
            self.files.identity(&self.bundle, self.now).unwrap()
        }
    }

    #[tokio::test]
    async fn what_is_stored_reads_back_and_only_we_can_read_it() {
        let rig = rig();
        assert!(rig.stored().is_none());
        let key = NodeMadeKey::generate().unwrap();
        rig.files.put_key(Turn::Current, &key).unwrap();
        assert!(rig.stored().is_none(), "a key alone is no identity");
        rig.files.put_svid(Turn::Current, &rig.svid(&key, 3600)).unwrap();
        rig.files.put_bundle(&rig.bundle).unwrap();
        assert_eq!(rig.stored().unwrap().svid.id().as_str(), NODE);
        let bundle = rig.files.bundle(&rig.bundle.trust_domain).unwrap().unwrap();
        assert_eq!(bundle.x509, rig.bundle.x509);
        for file in std::fs::read_dir(rig.directory.path()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        rig.files.put_svid(Turn::Current, &rig.svid(&NodeMadeKey::generate().unwrap(), 3600)).unwrap();
        assert!(rig.stored().is_none(), "an SVID of another key does not count");
    }

    #[tokio::test]
    async fn a_crash_anywhere_in_a_renewal_leaves_an_identity_that_holds_together() {
        let rig = rig();
        let (old, new) = (NodeMadeKey::generate().unwrap(), NodeMadeKey::generate().unwrap());
        let is = |key: &NodeMadeKey| rig.stored().unwrap().key.public_key_info() == key.public_key_info();
        rig.files.put_key(Turn::Current, &old).unwrap();
        rig.files.put_svid(Turn::Current, &rig.svid(&old, 3600)).unwrap();
        rig.files.put_key(Turn::Next, &new).unwrap();
        assert!(is(&old), "asked, not answered");
        rig.files.confirm_next().unwrap();
        assert!(is(&old) && rig.files.key(Turn::Next).unwrap().is_some(), "a lost reply is asked for again");
        rig.files.put_svid(Turn::Next, &rig.svid(&new, 7200)).unwrap();
        assert!(is(&new), "answered, not yet confirmed");
        let place = |name: &str| rig.directory.path().join(name);
        std::fs::rename(place("node.key.next.pem"), place("node.key.pem")).unwrap();
        assert!(is(&new), "between the two renames");
        rig.files.confirm_next().unwrap();
        assert!(is(&new) && rig.files.key(Turn::Next).unwrap().is_none());
    }

    #[tokio::test]
    async fn what_has_expired_or_is_of_another_authority_is_no_identity() {
        let rig = rig();
        let key = NodeMadeKey::generate().unwrap();
        rig.files.put_key(Turn::Current, &key).unwrap();
        rig.files.put_svid(Turn::Current, &rig.svid(&key, 60)).unwrap();
        let later = rig.now.plus(Duration::from_secs(120));
        assert!(rig.files.identity(&rig.bundle, later).unwrap().is_none());
        let other = TestAuthority::new(TimerClock::new()).bundle();
        assert!(rig.files.identity(&other, rig.now).unwrap().is_none());
        assert!(rig.files.has_svid());
    }
}
