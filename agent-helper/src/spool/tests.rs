use super::*;
use avouch_audit::field::{Code, Count, Outside};
use avouch_audit::record::{Caller, Loss, Mode, Outcome, Request, SpoolEnd, Use};
use avouch_audit::spool::{Chain, SpoolRecord};
use avouch_words::{Millis, Name, SystemClock, Ulid};
use ring::rand::SystemRandom;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

mod damage;

/// A disk that can be told to fail.
#[derive(Clone, Default)]
struct Faulty(Arc<AtomicU8>);

const FULL_HALFWAY: u8 = 1;
const SYNC_FAILS: u8 = 2;
const HANGS: u8 = 3;

impl Faulty {
    fn set(&self, mode: u8) {
        self.0.store(mode, Ordering::SeqCst);
    }
}

impl Disk for Faulty {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        match self.0.load(Ordering::SeqCst) {
            FULL_HALFWAY => {
                RealDisk.write(file, &bytes[..bytes.len() / 2])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            HANGS => {
                while self.0.load(Ordering::SeqCst) == HANGS {
                    std::thread::sleep(Duration::from_millis(5));
                }
                RealDisk.write(file, bytes)
            }
            _ => RealDisk.write(file, bytes),
        }
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        match self.0.load(Ordering::SeqCst) {
            SYNC_FAILS => Err(io::Error::from_raw_os_error(5)),
            _ => RealDisk.sync(file),
        }
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn open(directory: &Path) -> Result<Spool, SpoolFault> {
    Spool::open(directory, Arc::new(SystemClock), &SystemRandom::new())
}

fn open_faulty(directory: &Path) -> (Spool, Faulty) {
    let disk = Faulty::default();
    (Spool::open_on(directory, Arc::new(SystemClock), &SystemRandom::new(), disk.clone()).unwrap(), disk)
}

fn event(n: u64) -> HelperEvent {
    HelperEvent::Started { version: Outside::of(n.to_string()) }
}

fn ulid(n: u8) -> Ulid {
    Ulid::new(Millis(1), [n; 10])
}

fn intent(n: u8) -> HelperEvent {
    HelperEvent::Intent {
        decision: ulid(n),
        caller: Caller { agent: Name::parse("researcher").unwrap(), instance: ulid(1), session: None },
        request: Request {
            scheme: Code::of("https"),
            host: Outside::of("tools.demo.test"),
            port: 443,
            method: Outside::of("GET"),
            path: Outside::of("/"),
            query_keys: Outside::of(""),
        },
        uses: vec![Use { credential: Name::parse("github").unwrap(), grants: vec![ulid(2)] }],
        policy_version: Count(1),
        mode: Mode::Each,
    }
}

fn outcome(n: u8, outcome: Outcome) -> HelperEvent {
    HelperEvent::Outcome {
        decision: ulid(n),
        agent: Name::parse("researcher").unwrap(),
        outcome,
        reflected: false,
        stripped: false,
        bytes: Count(0),
        duration_us: Count(0),
    }
}

/// All records of the spool, checked as a chain from its first on.
async fn records(spool: &Spool) -> Vec<SpoolRecord> {
    let bytes = spool.unshipped(0, usize::MAX).await.unwrap();
    let mut chain = Chain::start(spool.id());
    bytes.iter().map(|line| chain.check(line).unwrap()).collect()
}

async fn events(spool: &Spool) -> Vec<HelperEvent> {
    records(spool).await.into_iter().map(|record| record.event).collect()
}

fn segments(directory: &Path, spool: SpoolId) -> Vec<PathBuf> {
    files::segments(directory, spool).unwrap().into_iter().map(|(_, path)| path).collect()
}

fn note(size: u64) -> String {
    use base64::Engine;
    let root = base64::engine::general_purpose::STANDARD.encode([0; 32]);
    format!("td/audit\n{size}\n{root}\n\n\u{2014} td/audit AAAA\n")
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_and_the_chain_goes_on() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    let id = spool.id();
    for n in 0..10 {
        assert_eq!(spool.append(event(n)).await.unwrap().seq, n);
    }
    spool.close().await;
    assert_eq!(spool.append(event(0)).await, Err(SpoolFault::Closed));
    let spool = open(dir.path()).unwrap();
    assert_eq!(spool.id(), id);
    assert_eq!(spool.append(event(10)).await.unwrap().seq, 10);
    assert_eq!(events(&spool).await, (0..=10).map(event).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_helper_on_the_same_state_is_refused_and_the_first_goes_on() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(SpoolFault::Held(_))));
    assert!(spool.append(event(0)).await.is_ok());
    spool.close().await;
    assert!(open(dir.path()).is_ok());
}

#[tokio::test]
async fn files_are_the_helpers_alone() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    spool.append(event(0)).await.unwrap();
    spool.acknowledge(1, note(3)).await.unwrap();
    for item in fs::read_dir(dir.path()).unwrap() {
        let item = item.unwrap();
        assert_eq!(item.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", item.path());
    }
    spool.close().await;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(open(dir.path()), Err(SpoolFault::Permissions(_))));
    let fresh = dir.path().join("made");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let spool = open(&fresh).unwrap();
    assert_eq!(fs::metadata(&fresh).unwrap().permissions().mode() & 0o777, 0o700);
    spool.close().await;
}

#[tokio::test]
async fn sixty_four_at_once_are_all_durable_in_one_order() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let spool = spool.clone();
            tokio::spawn(async move {
                let mut receipts = Vec::new();
                for k in 0..8 {
                    receipts.push((n * 8 + k, spool.append(event(n * 8 + k)).await.unwrap()));
                }
                receipts
            })
        })
        .collect();
    let mut receipts = Vec::new();
    for task in tasks {
        receipts.extend(task.await.unwrap());
    }
    let records = records(&spool).await;
    assert_eq!(records.len(), 512);
    for (n, receipt) in receipts {
        let record = &records[usize::try_from(receipt.seq).unwrap()];
        assert_eq!(record.event, event(n));
        assert_eq!(record.digest().unwrap(), receipt.digest);
    }
    assert_eq!(*spool.durable().borrow(), 512);
}

#[tokio::test]
async fn what_nobody_waits_for_keeps_its_place() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    for n in 0..5 {
        spool.append_later(event(n)).unwrap();
    }
    assert_eq!(spool.append(event(5)).await.unwrap().seq, 5);
    assert_eq!(events(&spool).await, (0..=5).map(event).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_queue_has_an_end_and_keeps_places_for_those_who_wait() {
    let dir = directory();
    let (spool, disk) = open_faulty(dir.path());
    disk.set(HANGS);
    let mut queued = 0;
    while spool.append_later(event(queued)).is_ok() {
        queued += 1;
        assert!(queued < 3 * (MAX_LATER as u64 + 1024));
    }
    assert_eq!(spool.append_later(event(0)), Err(SpoolFault::Busy));
    let (waiting, ()) = tokio::join!(spool.append(event(queued)), async { disk.set(0) });
    assert_eq!(waiting.unwrap().seq, queued);
}

#[tokio::test]
async fn calls_without_an_outcome_become_unknown_at_the_next_start() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    for n in [10, 11, 12] {
        spool.append(intent(n)).await.unwrap();
    }
    spool.append(outcome(11, Outcome::Ok { status: 200 })).await.unwrap();
    spool.close().await;
    let spool = open(dir.path()).unwrap();
    let found = events(&spool).await;
    assert_eq!(found[4..], [outcome(10, Outcome::Unknown {}), outcome(12, Outcome::Unknown {})]);
    spool.close().await;
    // Once is enough.
    assert_eq!(events(&open(dir.path()).unwrap()).await.len(), 6);
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_when_there_is_space() {
    let dir = directory();
    let (spool, disk) = open_faulty(dir.path());
    spool.append(event(0)).await.unwrap();
    disk.set(FULL_HALFWAY);
    assert_eq!(spool.append(intent(10)).await, Err(SpoolFault::Full));
    // An end of a call is not lost for that.
    spool.append_later(event(1)).unwrap();
    assert_eq!(spool.append(intent(11)).await, Err(SpoolFault::Full));
    assert_eq!(spool.fault(), None);
    disk.set(0);
    spool.append(event(2)).await.unwrap();
    assert_eq!(events(&spool).await, (0..=2).map(event).collect::<Vec<_>>());
    spool.close().await;
    assert_eq!(events(&open(dir.path()).unwrap()).await.len(), 3);
}

#[tokio::test]
async fn a_failed_sync_stops_for_good() {
    let dir = directory();
    let (spool, disk) = open_faulty(dir.path());
    disk.set(SYNC_FAILS);
    assert_eq!(spool.append(event(0)).await, Err(SpoolFault::Failed));
    disk.set(0);
    assert_eq!(spool.append(event(1)).await, Err(SpoolFault::Failed));
    assert_eq!(spool.append_later(event(1)), Err(SpoolFault::Failed));
    assert_eq!(spool.fault(), Some(SpoolFault::Failed));
}

#[tokio::test]
async fn a_hanging_disk_refuses_within_the_deadline_and_a_late_intent_gets_its_end() {
    let dir = directory();
    let (spool, disk) = open_faulty(dir.path());
    disk.set(HANGS);
    let began = tokio::time::Instant::now();
    let (late, queued) = tokio::join!(spool.append(intent(10)), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        spool.append(intent(11)).await
    });
    assert_eq!((late, queued), (Err(SpoolFault::Deadline), Err(SpoolFault::Deadline)));
    assert!(began.elapsed() < 2 * DEADLINE);
    disk.set(0);
    spool.append(event(0)).await.unwrap();
    spool.close().await;
    let found = events(&open(dir.path()).unwrap()).await;
    // The first was on its way to the disk, and says that nothing came of it; the second never went.
    let end = outcome(10, Outcome::Error { kind: Code::of("audit_unavailable"), status: None });
    assert_eq!(found, [intent(10), end, event(0)]);
}

#[tokio::test]
async fn the_acknowledged_position_and_head_only_go_forward() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    for n in 0..200 {
        spool.append(event(n)).await.unwrap();
    }
    assert_eq!(spool.acked(), None);
    spool.acknowledge(130, note(400)).await.unwrap();
    let held = Acked { next: 130, checkpoint: note(400) };
    assert_eq!(spool.acked(), Some(held.clone()));
    assert_eq!(spool.acknowledge(129, note(500)).await, Err(SpoolFault::WentBack { held: 130, shown: 129 }));
    assert_eq!(spool.acknowledge(131, note(399)).await, Err(SpoolFault::WentBack { held: 400, shown: 399 }));
    assert_eq!(spool.acknowledge(131, "x".to_owned()).await, Err(SpoolFault::Checkpoint));
    spool.close().await;
    let spool = open(dir.path()).unwrap();
    assert_eq!(spool.acked(), Some(held));
    let next = spool.unshipped(130, 1).await.unwrap();
    assert_eq!(next.len(), 1);
    assert_eq!(SpoolRecord::decode(&next[0]).unwrap().seq, Count(130));
    assert_eq!(spool.unshipped(200, 1).await.unwrap().len(), 0);
    assert!(spool.unshipped(0, 2000).await.unwrap().len() < 20);
    spool.acknowledge(200, note(401)).await.unwrap();
    // More than there is: this spool was set back, and is not written on any more.
    assert_eq!(spool.acknowledge(201, note(402)).await, Err(SpoolFault::Changed));
    assert_eq!(spool.append(event(0)).await, Err(SpoolFault::Changed));
    spool.close().await;
    let next = open(dir.path()).unwrap();
    let previous = SpoolEnd { spool: spool.id(), records: Count(200) };
    assert_eq!(events(&next).await, [HelperEvent::SpoolBroken { previous, loss: Loss::Broken }]);
}

#[tokio::test]
async fn full_segments_are_followed_and_shipped_ones_go() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    let id = spool.id();
    let big = || HelperEvent::JwtServed {
        caller: Caller { agent: Name::parse("a").unwrap(), instance: ulid(1), session: None },
        audience: vec![Outside::of("x".repeat(255)); 80],
        jti: None,
    };
    spool.append(intent(10)).await.unwrap();
    let mut count = 1;
    while segments(dir.path(), id).len() < 3 {
        let batch: Vec<_> = (0..64).map(|_| spool.append(big())).collect();
        for done in futures_util::future::join_all(batch).await {
            done.unwrap();
            count += 1;
        }
    }
    assert_eq!(records(&spool).await.len(), count);
    // A call without its outcome keeps what the next start needs.
    spool.acknowledge(count as u64, note(9)).await.unwrap();
    assert_eq!(segments(dir.path(), id).len(), 3);
    spool.append(outcome(10, Outcome::Ok { status: 200 })).await.unwrap();
    spool.acknowledge(count as u64 + 1, note(10)).await.unwrap();
    assert_eq!(segments(dir.path(), id).len(), 1);
    assert_eq!(spool.unshipped(0, 1).await, Err(SpoolFault::Gone(0)));
    spool.close().await;
    let spool = open(dir.path()).unwrap();
    assert_eq!(spool.id(), id);
    assert_eq!(spool.append(event(0)).await.unwrap().seq, count as u64 + 1);
}
