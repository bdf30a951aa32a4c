//! Backups of files that held secrets, sealed under the store's key. They are no values of credentials: other names,
//! another mark and other data sealed with them, so that no binding opens one and nothing can inject it.

use super::{PutFault, SealedStore};
use crate::SourceFault;
use avouch_words::{Digest, Secret, Ulid};
use ring::aead::{Aad, MAX_TAG_LEN, NONCE_LEN, Nonce};
use ring::rand::SecureRandom;
use std::fs::File;
use std::io::{ErrorKind, Read};
use zeroize::Zeroizing;

/// The longest backup, in bytes.
pub const BACKUP_MAX: usize = 128 * 1024;
/// As many are kept.
pub const MOST_BACKUPS: usize = 64;

impl SealedStore {
    /// Seals the content of a file. `of` says whose and which file; only who says the same opens it. When it returns the
    /// backup is durable.
    pub fn keep_backup(&self, of: &Digest, id: Ulid, content: &Secret) -> Result<(), PutFault> {
        if content.len() > BACKUP_MAX {
            return Err(PutFault::TooLong);
        }
        let kept = std::fs::read_dir(&self.directory).map_err(|error| PutFault::Write(error.kind()))?.flatten();
        if kept.filter(|entry| entry.file_name().to_string_lossy().ends_with(SUFFIX)).count() >= MOST_BACKUPS {
            return Err(PutFault::TooMany);
        }
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| PutFault::Seal)?;
        let mut file = Zeroizing::new(Vec::with_capacity(HEADER + content.len() + MAX_TAG_LEN));
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&nonce);
        file.extend_from_slice(content.expose());
        let aad = aad(of, id);
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&aad), &mut file[HEADER..])
            .map_err(|_| PutFault::Seal)?;
        file.extend_from_slice(tag.as_ref());
        self.replace(&name(of, id), &file).map_err(|error| PutFault::Write(error.kind()))
    }

    /// The newest backup of this file; none if there is none.
    pub fn newest_backup(&self, of: &Digest) -> Result<Option<Ulid>, SourceFault> {
        let begins = format!("{of}.");
        let entries = std::fs::read_dir(&self.directory).map_err(|_| SourceFault::Unavailable)?.flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let ids = names.filter_map(|name| Ulid::parse(name.strip_prefix(&begins)?.strip_suffix(SUFFIX)?).ok());
        Ok(ids.max_by_key(ToString::to_string))
    }

    /// Opens a backup.
    pub fn open_backup(&self, of: &Digest, id: Ulid) -> Result<Secret, SourceFault> {
        let mut file = Vec::new();
        let opened = File::open(self.directory.join(name(of, id)))
            .and_then(|opened| opened.take((HEADER + BACKUP_MAX + MAX_TAG_LEN) as u64).read_to_end(&mut file));
        match opened.map_err(|error| error.kind()) {
            Ok(_) => {}
            Err(ErrorKind::NotFound) => return Err(SourceFault::Missing),
            Err(ErrorKind::PermissionDenied) => return Err(SourceFault::Denied),
            Err(_) => return Err(SourceFault::Unavailable),
        }
        let body = file.strip_prefix(MAGIC.as_slice()).ok_or(SourceFault::Garbage)?;
        let (nonce, sealed) = body.split_at_checked(NONCE_LEN).ok_or(SourceFault::Garbage)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SourceFault::Garbage)?;
        let mut content = Zeroizing::new(sealed.to_vec());
        let plain = self.key.open_in_place(nonce, Aad::from(&aad(of, id)), &mut content);
        Ok(Secret::new(plain.map_err(|_| SourceFault::Garbage)?.to_vec()))
    }

    /// Removes a backup; none being there is no fault.
    pub fn drop_backup(&self, of: &Digest, id: Ulid) -> Result<(), PutFault> {
        let removed = std::fs::remove_file(self.directory.join(name(of, id)));
        match removed.and_then(|()| File::open(&self.directory)?.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(PutFault::Write(error.kind())),
            _ => Ok(()),
        }
    }
}

/// No name of a credential has so many characters.
fn name(of: &Digest, id: Ulid) -> String {
    format!("{of}.{id}{SUFFIX}")
}

fn aad(of: &Digest, id: Ulid) -> Vec<u8> {
    [MAGIC.as_slice(), of.as_bytes(), id.to_string().as_bytes()].concat()
}

const MAGIC: &[u8; 8] = b"avouchB1";
const HEADER: usize = MAGIC.len() + NONCE_LEN;
pub(super) const SUFFIX: &str = ".backup";

#[cfg(test)]
mod tests {
    use super::super::tests::Place;
    use super::*;
    use avouch_words::Millis;

    const CONTENT: &[u8] = b"# all\nGITHUB_TOKEN=ghp_c4n4ry-c4n4ry\n";

    fn file(text: &str) -> Digest {
        Digest::of(&[text.as_bytes()])
    }

    fn id(moment: i64) -> Ulid {
        Ulid::new(Millis(moment), [7; 10])
    }

    #[test]
    fn a_backup_is_opened_for_its_own_file_alone_and_the_newest_is_known() {
        let place = Place::new();
        let store = place.open().unwrap();
        assert_eq!(store.newest_backup(&file("a")).unwrap(), None);
        for moment in [2, 9, 5] {
            store.keep_backup(&file("a"), id(moment), &Secret::new(CONTENT.to_vec())).unwrap();
        }
        let store = place.open().unwrap();
        assert_eq!(store.newest_backup(&file("a")).unwrap(), Some(id(9)));
        assert_eq!(store.open_backup(&file("a"), id(9)).unwrap().expose(), CONTENT);
        assert_eq!(store.newest_backup(&file("b")).unwrap(), None);
        let sealed = |of: &Digest, id| place.path("state/sealed").join(name(of, id));
        std::fs::rename(sealed(&file("a"), id(5)), sealed(&file("b"), id(5))).unwrap();
        assert!(matches!(store.open_backup(&file("b"), id(5)), Err(SourceFault::Garbage)));
        store.drop_backup(&file("a"), id(9)).unwrap();
        assert_eq!(store.newest_backup(&file("a")).unwrap(), Some(id(2)));
    }

    #[test]
    fn it_is_nowhere_in_clear_and_no_value_of_a_credential() {
        let place = Place::new();
        let store = place.open().unwrap();
        store.keep_backup(&file("a"), id(1), &Secret::new(CONTENT.to_vec())).unwrap();
        let bytes = std::fs::read(place.path("state/sealed").join(name(&file("a"), id(1)))).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"c4n4ry"));
        assert!(store.list().unwrap().is_empty());
        std::fs::remove_file(place.path("key")).unwrap();
        assert!(place.open().is_err(), "a new key would open nothing of it");
    }

    #[test]
    fn size_and_number_have_a_limit() {
        let store = Place::new();
        let store = store.open().unwrap();
        store.keep_backup(&file("a"), id(0), &Secret::new(vec![b'x'; BACKUP_MAX])).unwrap();
        assert_eq!(store.open_backup(&file("a"), id(0)).unwrap().len(), BACKUP_MAX);
        let long = Secret::new(vec![b'x'; BACKUP_MAX + 1]);
        assert_eq!(store.keep_backup(&file("a"), id(1), &long), Err(PutFault::TooLong));
        for moment in 1..MOST_BACKUPS as i64 {
            store.keep_backup(&file("a"), id(moment), &Secret::new(CONTENT.to_vec())).unwrap();
        }
        assert_eq!(store.keep_backup(&file("a"), id(99), &Secret::new(CONTENT.to_vec())), Err(PutFault::TooMany));
    }
}
