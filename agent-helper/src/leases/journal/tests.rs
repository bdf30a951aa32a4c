use super::*;
use avouch_sources::ObligationKind;
use avouch_words::{Millis, Ulid};
use std::os::unix::fs::MetadataExt;

fn obligation(id: &str) -> Obligation {
    Obligation {
        source: Name::parse("bao").unwrap(),
        kind: ObligationKind::Lease,
        id: id.to_owned(),
        parent: Some("accessor".to_owned()),
        agent: Some(Name::parse("researcher").unwrap()),
        instance: Some(Ulid::new(Millis(7), [1; 10])),
        credential: Some(Name::parse("db").unwrap()),
        expires: Millis(99),
        renewable: true,
    }
}

fn ids(before: &Before) -> Vec<&str> {
    let mut ids: Vec<_> = before.owed.iter().map(|owed| owed.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn what_is_owed_is_on_disk_when_it_is_recorded_and_not_after_it_is_settled() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("leases");
    let (journal, before) = Journal::open(&path).unwrap();
    assert!(before.owed.is_empty());
    journal.record(&obligation("a")).await.unwrap();
    journal.record(&obligation("b")).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    // A copy is what another process finds after this one was killed.
    let killed = place.path().join("killed");
    fs::copy(&path, &killed).unwrap();
    let (_, before) = Journal::open(&killed).unwrap();
    assert_eq!(ids(&before), ["a", "b"]);
    assert!(before.owed.contains(&obligation("a")), "all of it is kept");
    journal.settle(&(obligation("a").source, "a".to_owned())).await.unwrap();
    drop(journal);
    let (_, before) = Journal::open(&path).unwrap();
    assert_eq!((ids(&before), before.unreadable), (vec!["b"], 0));
}

#[tokio::test]
async fn a_torn_end_and_a_damaged_line_take_nothing_else_along() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("leases");
    let (journal, _) = Journal::open(&path).unwrap();
    for id in ["a", "b", "c"] {
        journal.record(&obligation(id)).await.unwrap();
    }
    drop(journal);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        let torn = place.path().join("torn");
        fs::write(&torn, &whole[..cut]).unwrap();
        let (_, before) = Journal::open(&torn).unwrap();
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count().saturating_sub(1);
        assert_eq!(before.owed.len(), lines, "cut at {cut}");
    }
    let mut damaged = whole.clone();
    let at = damaged.iter().position(|byte| *byte == b'\n').unwrap() + 30;
    damaged[at] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let (journal, before) = Journal::open(&path).unwrap();
    assert_eq!((before.owed.len(), before.unreadable), (2, 1));
    // What was recovered takes new entries.
    journal.record(&obligation("d")).await.unwrap();
    drop(journal);
    assert_eq!(Journal::open(&path).unwrap().1.owed.len(), 3);
}

#[tokio::test]
async fn the_journal_of_another_version_is_not_written_over() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("leases");
    fs::write(&path, "avouch-leases 2\nx\n").unwrap();
    assert!(Journal::open(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "avouch-leases 2\nx\n");
}

#[tokio::test]
async fn ids_and_obligations_have_a_limit() {
    let place = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(&place.path().join("leases")).unwrap();
    assert!(journal.record(&obligation(&"x".repeat(LONGEST_ID))).await.is_ok());
    assert_eq!(journal.record(&obligation(&"x".repeat(LONGEST_ID + 1))).await, Err(SourceFault::NotRecorded));
    assert_eq!(journal.record(&obligation("")).await, Err(SourceFault::NotRecorded));
    let numbers: Vec<String> = (1..MOST_OWED).map(|number| number.to_string()).collect();
    for together in numbers.chunks(1000) {
        let all = together.iter().map(|id| async { journal.record(&obligation(id)).await });
        // Under load one sync serves many: a thousand at once are durable within the deadline of one.
        assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    }
    assert_eq!(journal.record(&obligation("more")).await, Err(SourceFault::NotRecorded));
    assert!(journal.record(&obligation("1")).await.is_ok(), "one that is there is replaced");
    journal.settle(&(obligation("").source, "1".to_owned())).await.unwrap();
    assert!(journal.record(&obligation("more")).await.is_ok());
}

#[tokio::test]
async fn a_journal_that_has_become_long_is_written_anew() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("leases");
    let (journal, _) = Journal::open(&path).unwrap();
    journal.record(&obligation("stays")).await.unwrap();
    for _ in 0..6 {
        let entries = (0..1000).map(|_| async { journal.record(&obligation("again")).await });
        assert!(futures_util::future::join_all(entries).await.iter().all(Result::is_ok));
    }
    journal.record(&obligation("last")).await.unwrap();
    let lines = fs::read_to_string(&path).unwrap().lines().count();
    assert!(lines < 3000, "{lines}");
    drop(journal);
    assert_eq!(ids(&Journal::open(&path).unwrap().1), ["again", "last", "stays"]);
}

#[tokio::test]
async fn what_cannot_be_written_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("leases");
    let read_only = || File::open(&path);
    let (journal, _) = Journal::open(&path).unwrap();
    drop(journal);
    let (entries, queue) = mpsc::channel(1);
    tokio::spawn(Writer::new(path.clone(), read_only().unwrap(), HashMap::new()).run(queue));
    let journal = Journal { entries };
    assert_eq!(journal.record(&obligation("a")).await, Err(SourceFault::NotRecorded));
    assert!(Journal::open(&path).unwrap().1.owed.is_empty());
}
