use super::marker::{MARKER, beside};
use super::sqlite::pool;
use super::*;
use avouch_audit::entry::Body;
use avouch_audit::field::Outside;
use avouch_audit::record::IssuerEvent;
use avouch_core::{Lock, LockTarget, Registration};
use avouch_words::{Name, Ulid};
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

const NOW: Millis = Millis(1_700_000_000_000);

fn domain() -> TrustDomain {
    TrustDomain::parse("example.test").unwrap()
}

async fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, &domain(), [7; 16], NOW).await
}

/// A closed database with 50 agents, each locked.
async fn filled() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("avouch.db");
    let store = open(&path).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    for n in 0..LOCKS {
        let registration = Registration {
            name: format!("agent-{n}"),
            owner: "me@example.test".into(),
            nodes: vec!["node:name:laptop".into()],
            selectors: vec!["unix:uid:1".into()],
            ..Registration::default()
        };
        tx.create_agent(&registration.check(NOW).unwrap()).await.unwrap();
        let target = LockTarget::Agent(Name::parse(&registration.name).unwrap());
        let id = Ulid::new(NOW, [n; 10]);
        tx.create_lock(&Lock::check(id, target, "test", "uid:0", Duration::ZERO, NOW).unwrap()).await.unwrap();
    }
    let event = IssuerEvent::Started { version: Outside::of("0"), epoch: Outside::of("0") };
    tx.append(Body::Event(event), &domain().issuer(), NOW).await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    (dir, path)
}

const LOCKS: u8 = 50;

#[tokio::test]
async fn it_reopens_as_it_was_and_migrates_once() {
    let (_dir, path) = filled().await;
    for _ in 0..2 {
        let store = Store::open(&path, &domain(), [9; 16], NOW).await.unwrap();
        let mut read = store.read().await.unwrap();
        assert_eq!(read.meta().await.unwrap().epoch, [7; 16], "an epoch is made once");
        assert_eq!(read.standing_locks().await.unwrap().len(), usize::from(LOCKS));
        drop(read);
        store.close().await;
    }
}

#[tokio::test]
async fn one_process_holds_it() {
    let (_dir, path) = filled().await;
    let first = open(&path).await.unwrap();
    let refused = open(&path).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("pid {}", std::process::id())), "{refused}");
    first.close().await;
    drop(first);
    open(&path).await.unwrap();
}

/// Case F14: a lost database is never replaced by an empty one.
#[tokio::test]
async fn a_lost_or_emptied_database_is_not_made_anew() {
    let (_dir, path) = filled().await;
    fs::write(&path, b"").unwrap();
    assert!(matches!(open(&path).await, Err(OpenError::Gone(_))));
    fs::remove_file(&path).unwrap();
    assert!(matches!(open(&path).await, Err(OpenError::Gone(_))));
    assert!(!path.exists());

    let fresh = tempfile::tempdir().unwrap();
    let other = fresh.path().join("avouch.db");
    Store::open(&other, &domain(), [8; 16], NOW).await.unwrap().close().await;
    fs::copy(&other, &path).unwrap();
    assert!(matches!(open(&path).await, Err(OpenError::Foreign(_))), "an empty one put in its place");
}

#[tokio::test]
async fn a_log_left_without_its_database_is_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("avouch.db");
    fs::write(beside(&path, "-wal"), b"frames").unwrap();
    assert!(matches!(open(&path).await, Err(OpenError::Gone(_))));
}

#[tokio::test]
async fn a_crash_before_the_marker_is_no_loss() {
    let (_dir, path) = filled().await;
    fs::remove_file(beside(&path, MARKER)).unwrap();
    let store = open(&path).await.unwrap();
    assert_eq!(store.read().await.unwrap().standing_locks().await.unwrap().len(), usize::from(LOCKS));
    assert!(beside(&path, MARKER).exists());
}

#[tokio::test]
async fn another_trust_domain_is_refused_by_name() {
    let (_dir, path) = filled().await;
    let other = TrustDomain::parse("other.test").unwrap();
    let refused = Store::open(&path, &other, [7; 16], NOW).await.unwrap_err().to_string();
    assert!(refused.contains("example.test") && refused.contains("other.test"), "{refused}");
}

/// Case F14: flipped bytes and cut files are found or harmless; never does a lock silently vanish.
#[tokio::test]
async fn damage_is_refused_with_a_sentence_and_never_loses_a_lock() {
    let (_dir, path) = filled().await;
    let whole = fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..60)
        .flat_map(|n| [0x01, 0xff].map(|mask| (n * whole.len() / 60 + n * 7 % 64, mask)))
        .map(|(at, mask)| {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            bytes
        })
        .collect();
    damaged.extend([1, 100, 4096, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()));
    let mut refused = 0;
    for (n, bytes) in damaged.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, suffix));
        }
        match open(&path).await {
            Err(error) => {
                refused += 1;
                assert!(!matches!(error, OpenError::InUse { .. }), "{n}: {error}");
            }
            Ok(store) => {
                let locks = store.read().await.unwrap().standing_locks().await;
                assert!(!locks.is_ok_and(|locks| locks.len() != usize::from(LOCKS)), "damage {n} lost a lock");
                store.close().await;
            }
        }
    }
    assert!(refused >= 5, "cut files at least are refused: {refused}");
}

/// An index that has lost its rows answers "no locks" to a reader that goes by it.
#[tokio::test]
async fn an_index_that_forgot_the_locks_is_found_at_the_start() {
    let (_dir, path) = filled().await;
    let redefine = |from: &'static str, to: &'static str| {
        let path = path.clone();
        async move {
            let raw = pool(&path, 1);
            sqlx::query("PRAGMA writable_schema = ON").execute(&raw).await.unwrap();
            let edit = "UPDATE sqlite_schema SET sql = replace(sql, $1, $2) WHERE name = 'locks_standing'";
            assert_eq!(sqlx::query(edit).bind(from).bind(to).execute(&raw).await.unwrap().rows_affected(), 1);
            raw.close().await;
        }
    };
    redefine("IS NULL", "IS NOT NULL").await;
    let raw = pool(&path, 1);
    sqlx::query("REINDEX locks_standing").execute(&raw).await.unwrap();
    raw.close().await;
    redefine("IS NOT NULL", "IS NULL").await;
    let raw = pool(&path, 1);
    let standing = sqlx::query("SELECT * FROM locks WHERE ended_ms IS NULL ORDER BY id").fetch_all(&raw).await.unwrap();
    assert!(standing.is_empty(), "the attack works on a store that does not look");
    raw.close().await;
    assert!(matches!(open(&path).await, Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    use std::os::unix::fs::MetadataExt;
    let (_dir, path) = filled().await;
    let store = open(&path).await.unwrap();
    drop(store.begin().await.unwrap());
    for suffix in ["", "-wal", "-shm", ".lock", MARKER] {
        let mode = fs::metadata(beside(&path, suffix)).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{suffix}");
    }
}
