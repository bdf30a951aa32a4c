//! The store on SQLite: what every backend must do, and what a file on disk adds.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod conformance;

use avouch_core::JoinToken;
use avouch_core::authority::{Authority, AuthorityState};
use avouch_core::keys::{KeyManager, Purpose};
use avouch_store::{Store, StoreError};
use avouch_words::Digest;
use conformance::{Fixture, NOW, authority, commit, domain};
use std::path::Path;

conformance!(fixture);

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let fixture = fixture_in(dir.path()).await;
    Fixture { held: Box::new(dir), ..fixture }
}

async fn fixture_in(dir: &Path) -> Fixture {
    let store = Store::open(&dir.join("avouch.db"), &domain(), [7; 16], NOW).await.unwrap();
    Fixture { other: store.clone(), store, held: Box::new(()) }
}

/// Cases H09 and O01: what is on disk signs nothing and lets nobody join.
#[tokio::test]
async fn no_key_and_no_token_is_on_disk_in_the_open() {
    let dir = tempfile::tempdir().unwrap();
    let f = fixture_in(dir.path()).await;
    f.with_basics().await;
    let rng = ring::rand::SystemRandom::new();
    let key_path = dir.path().join("elsewhere").join("seal.key");
    let state = dir.path().join("state");
    for dir in [key_path.parent().unwrap(), &state] {
        std::fs::create_dir(dir).unwrap();
    }
    let key_file = avouch_keys::KeyFile::open(&key_path, &state, avouch_keys::Absent::Make, &rng).unwrap();
    let keys = avouch_keys::SealedKeys::new(key_file);
    let secret = b"the secret part of a join token.";
    let mut tx = f.store.begin().await.unwrap();
    for (n, purpose) in (1..).zip(Purpose::ALL) {
        let created = keys.create(purpose, &rng).unwrap();
        let made = authority(n, purpose, AuthorityState::Active);
        let made = Authority { reference: created.reference, public: created.public_key, ..made };
        tx.create_authority(&made).await.unwrap();
    }
    tx.create_token(&JoinToken::check(Digest::of(&[secret]), "laptop", 0, NOW).unwrap()).await.unwrap();
    commit(tx).await.unwrap();

    let mut disk = Vec::new();
    for suffix in ["", "-wal"] {
        disk.extend(std::fs::read(dir.path().join(format!("avouch.db{suffix}"))).unwrap());
    }
    let on_disk = |needle: &[u8]| disk.windows(needle.len()).any(|window| window == needle);
    assert!(on_disk(b"researcher") && on_disk(Digest::of(&[secret]).as_bytes()), "the scan sees what is there");
    let pkcs8_p256 = b"\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
    let pkcs8_ed25519 = b"\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let seal = std::fs::read(&key_path).unwrap();
    for needle in [&secret[..], b"PRIVATE KEY", pkcs8_p256, pkcs8_ed25519, &seal] {
        assert!(!on_disk(needle), "{needle:?}");
    }
}

#[tokio::test]
async fn a_damaged_value_is_an_error_and_never_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let f = fixture_in(dir.path()).await;
    f.with_basics().await;
    f.store.close().await;
    drop(f);
    let path = dir.path().join("avouch.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let places: Vec<usize> =
        bytes.windows(10).enumerate().filter(|(_, w)| w == b"researcher").map(|(at, _)| at).collect();
    for at in places {
        bytes[at] = b'R';
    }
    std::fs::write(&path, bytes).unwrap();
    let store = Store::open(&path, &domain(), [7; 16], NOW).await.unwrap();
    let read = store.read().await.unwrap().agents(None).await;
    assert!(matches!(read, Err(StoreError::Damaged { table: "agents", column: "name" })), "{read:?}");
}
