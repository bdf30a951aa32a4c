use super::*;
use crate::conformance::{Had, Step, Store, hold};
use crate::{Entrant, Obligation, Who};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const VALUE: &[u8] = b"correct-horse-battery";

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// The digest of the binding to a path.
fn binding(path: &str) -> Digest {
    Digest::of(&[path.as_bytes()])
}

/// What is asked for under the binding to a path.
fn wanted(credential: &str, path: &str) -> Wanted {
    Wanted {
        credential: name(credential),
        binding: binding(path),
        reference: Reference::default(),
        entrant: Arc::new(Nobody),
        fresh: false,
    }
}

/// The sealed store is on the node: nobody has to show an identity, and nothing is owed.
struct Nobody;

impl Entrant for Nobody {
    fn who(&self) -> &Who {
        &Who::Node
    }

    fn jwt<'a>(&'a self, _: &'a str) -> Doing<'a, Secret> {
        unreachable!()
    }

    fn x509(&self) -> crate::Doing<'_, crate::Credentials509> {
        unreachable!("the sealed store needs no identity")
    }
}

impl Obligations for Nobody {
    fn record(&self, _: Obligation) -> Doing<'_, ()> {
        unreachable!()
    }

    fn settled<'a>(&'a self, _: &'a Name, _: &'a str) -> Doing<'a, ()> {
        unreachable!()
    }
}

pub(super) struct Place {
    dir: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self, rest: &str) -> PathBuf {
        self.dir.path().join(rest)
    }

    pub(super) fn open(&self) -> Result<SealedStore, OpenFault> {
        SealedStore::open(name("sealed"), &self.path("state/sealed"), &self.path("key"), &self.path("state"))
    }
}

/// The store for the suite: a file that lies where another's would is what it can hold of garbage.
struct Held<'a> {
    store: SealedStore,
    value: Mutex<Vec<u8>>,
    dir: &'a Place,
}

impl Held<'_> {
    fn value(&self) -> Secret {
        Secret::new(self.value.lock().unwrap().clone())
    }
}

impl Store for Held<'_> {
    fn source(&self) -> &dyn Source {
        &self.store
    }

    fn held(&self) -> (Wanted, Secret) {
        (wanted("github", "/x"), self.value())
    }

    fn missing(&self) -> Wanted {
        wanted("other", "/x")
    }

    fn unreadable(&self) -> Vec<Reference> {
        vec![Reference::parse("kv2:secret/github#token").unwrap()]
    }

    fn node(&self) -> Arc<dyn Entrant> {
        Arc::new(Nobody)
    }

    fn other_binding(&self) -> Step<'_, Had<Wanted>> {
        Box::pin(async { Ok(Had::Done(wanted("github", "/y"))) })
    }

    fn garbage(&self) -> Step<'_, Had<Vec<(&'static str, Wanted)>>> {
        Box::pin(async {
            let file = |name: &str| self.dir.path(&format!("state/sealed/{name}.sealed"));
            std::fs::copy(file("github"), file("moved")).unwrap();
            std::fs::write(file("short"), MAGIC).unwrap();
            let all =
                ["moved", "short"].map(|name| ("a file that was not sealed for this credential", wanted(name, "/x")));
            Ok(Had::Done(all.into()))
        })
    }

    fn rotate(&self) -> Step<'_, Had<Secret>> {
        Box::pin(async {
            *self.value.lock().unwrap() = b"another-value".to_vec();
            self.store.put(&name("github"), &binding("/x"), &self.value()).unwrap();
            Ok(Had::Done(self.value()))
        })
    }
}

#[tokio::test]
async fn the_sealed_store_holds_what_sources_must_hold() {
    let place = Place::new();
    let store = place.open().unwrap();
    store.put(&name("github"), &binding("/x"), &Secret::new(VALUE.to_vec())).unwrap();
    let not = hold(&Held { store, value: Mutex::new(VALUE.to_vec()), dir: &place }).await.unwrap();
    let words: Vec<&str> = not.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["denied", "slow", "sealed", "revoked"], "{not:?}");
}

#[test]
fn a_value_survives_and_is_nowhere_in_clear() {
    let place = Place::new();
    let digest = binding("/x");
    place.open().unwrap().put(&name("github"), &digest, &Secret::new(VALUE.to_vec())).unwrap();
    let store = place.open().unwrap();
    assert_eq!(store.open_value(&name("github"), &digest).unwrap().expose(), VALUE);
    assert_eq!(store.list().unwrap(), [name("github")]);
    let file = std::fs::read(place.path("state/sealed/github.sealed")).unwrap();
    assert!(!file.windows(8).any(|bytes| VALUE.windows(8).any(|value| value == bytes)));
    assert_eq!(
        std::fs::metadata(place.path("state/sealed/github.sealed")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    store.remove(&name("github")).unwrap();
    assert_eq!(store.open_value(&name("github"), &digest).unwrap_err(), SourceFault::Missing);
}

#[test]
fn values_that_cannot_be_scrubbed_or_injected_are_refused() {
    let place = Place::new();
    let store = place.open().unwrap();
    let digest = binding("/x");
    let put = |value: &[u8]| store.put(&name("c"), &digest, &Secret::new(value.to_vec()));
    assert_eq!(put(b"1234567"), Err(PutFault::TooShort));
    assert_eq!(put(b""), Err(PutFault::TooShort));
    assert_eq!(put(b"12345678"), Ok(()));
    assert_eq!(put(&vec![b'x'; VALUE_MAX]), Ok(()));
    assert_eq!(put(&vec![b'x'; VALUE_MAX + 1]), Err(PutFault::TooLong));
    for bad in
        [&b"12345678\n"[..], b"1234\r5678", b"1234\x005678", b"1234\x7f5678", "1234ü5678".as_bytes(), b"12345678\t"]
    {
        assert_eq!(put(bad), Err(PutFault::NotPrintable), "{bad:?}");
    }
}

#[test]
fn every_changed_byte_of_a_file_is_noticed() {
    let place = Place::new();
    let store = place.open().unwrap();
    let digest = binding("/x");
    store.put(&name("c"), &digest, &Secret::new(VALUE.to_vec())).unwrap();
    let path = place.path("state/sealed/c.sealed");
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let fault = store.open_value(&name("c"), &digest).unwrap_err();
        assert!(matches!(fault, SourceFault::Garbage | SourceFault::OtherBinding), "byte {at}: {fault:?}");
    }
    for cut in 0..good.len() {
        std::fs::write(&path, &good[..cut]).unwrap();
        assert!(store.open_value(&name("c"), &digest).is_err());
    }
    std::fs::write(&path, vec![0; FILE_MAX + 1]).unwrap();
    assert_eq!(store.open_value(&name("c"), &digest).unwrap_err(), SourceFault::Unavailable);
}

#[test]
fn a_file_moved_to_another_name_or_rewritten_for_another_binding_opens_nothing() {
    let place = Place::new();
    let store = place.open().unwrap();
    let (here, there) = (binding("/x"), binding("/y"));
    store.put(&name("a"), &here, &Secret::new(VALUE.to_vec())).unwrap();
    std::fs::copy(place.path("state/sealed/a.sealed"), place.path("state/sealed/b.sealed")).unwrap();
    assert_eq!(store.open_value(&name("b"), &here).unwrap_err(), SourceFault::Garbage);
    let mut file = std::fs::read(place.path("state/sealed/a.sealed")).unwrap();
    file[MAGIC.len()..MAGIC.len() + DIGEST_LEN].copy_from_slice(there.as_bytes());
    std::fs::write(place.path("state/sealed/a.sealed"), &file).unwrap();
    assert_eq!(store.open_value(&name("a"), &there).unwrap_err(), SourceFault::Garbage, "the digest is sealed too");
}

#[test]
fn the_key_lies_outside_alone_and_whole() {
    let place = Place::new();
    let inside =
        |key: &str| SealedStore::open(name("s"), &place.path("state/sealed"), &place.path(key), &place.path("state"));
    std::fs::create_dir_all(place.path("state/sealed")).unwrap();
    for key in ["state/key", "state/sealed/key"] {
        assert!(matches!(inside(key), Err(OpenFault::Key(KeyFault::Inside(_)))), "{key}");
    }
    std::os::unix::fs::symlink(place.path("state"), place.path("link")).unwrap();
    assert!(matches!(inside("link/key"), Err(OpenFault::Key(KeyFault::Inside(_)))));
    std::fs::write(place.path("key"), [7; 32]).unwrap();
    std::fs::set_permissions(place.path("key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(place.open(), Err(OpenFault::Key(KeyFault::Permissions(_)))));
    std::fs::set_permissions(place.path("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(place.open().is_ok());
    std::fs::write(place.path("key"), [7; 31]).unwrap();
    assert!(matches!(place.open(), Err(OpenFault::Key(KeyFault::Length(_)))));
}

#[test]
fn a_lost_key_is_not_replaced_while_values_are_sealed_with_it() {
    let place = Place::new();
    let digest = binding("/x");
    place.open().unwrap().put(&name("c"), &digest, &Secret::new(VALUE.to_vec())).unwrap();
    std::fs::remove_file(place.path("key")).unwrap();
    assert!(matches!(place.open(), Err(OpenFault::Key(KeyFault::Lost(_)))));
    std::fs::write(place.path("key"), [9; 32]).unwrap();
    std::fs::set_permissions(place.path("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(place.open().unwrap().open_value(&name("c"), &digest).unwrap_err(), SourceFault::Garbage);
}

#[test]
fn what_a_crash_leaves_is_no_value() {
    let place = Place::new();
    let store = place.open().unwrap();
    std::fs::write(place.path("state/sealed/.c.0000000000000001"), b"half").unwrap();
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn neither_store_nor_faults_print_a_value() {
    let place = Place::new();
    let store = place.open().unwrap();
    store.put(&name("c"), &binding("/x"), &Secret::new(VALUE.to_vec())).unwrap();
    let lease = Lease::of(store.open_value(&name("c"), &binding("/x")).unwrap());
    let printed = format!("{store:?} {lease:?} {:?}", SourceFault::Garbage);
    assert!(!printed.contains("correct-horse"));
}
