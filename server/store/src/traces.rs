//! What entries of the log are about: the decision or the session, whose identifier is all that an agent was shown.
//! Only an index; what is true is in the log.

use crate::cells::signed;
use crate::error::StoreError;
use crate::log::{LogEntry, entry};
use crate::sql::{insert, query};
use crate::tx::{Read, Tx};
use avouch_audit::entry::Body;
use avouch_audit::record::{HelperEvent, Outcome};
use avouch_words::Ulid;

/// That an entry is about a decision or a session.
pub(crate) struct Trace {
    id: Ulid,
    index: u64,
    refused: bool,
}

impl Trace {
    /// What the entry of this number will be about, if it is about one of them.
    pub(crate) fn of(body: &Body, index: u64) -> Option<Self> {
        let Body::Record(record) = body else { return None };
        let (id, refused) = match &record.event {
            HelperEvent::Denied { decision, .. } => (decision, true),
            HelperEvent::Outcome { decision, outcome, .. } => (decision, matches!(outcome, Outcome::Error { .. })),
            HelperEvent::Intent { decision, .. } => (decision, false),
            HelperEvent::SessionOpened { session, .. } | HelperEvent::SessionClosed { session, .. } => (session, false),
            _ => return None,
        };
        Some(Self { id: *id, index, refused })
    }
}

impl Read {
    /// Entries about this decision or session, the oldest first; at most `limit` and [`crate::MAX_PAGE`]. A node
    /// that invents records can use an identifier again, so there may be several of one kind.
    pub async fn entries_about(&mut self, id: Ulid, limit: u32) -> Result<Vec<LogEntry>, StoreError> {
        let rows = query(
            "SELECT log.idx, log.entry FROM traces JOIN log ON log.idx = traces.idx
             WHERE traces.id = $1 ORDER BY traces.idx LIMIT $2",
        )
        .bind(id.to_string())
        .bind(limit.min(crate::MAX_PAGE))
        .fetch_all(self.sql())
        .await?;
        rows.iter().map(entry).collect()
    }

    /// Entries that say that a call was refused, the newest first; at most `limit` and [`crate::MAX_PAGE`].
    pub async fn refusals(&mut self, limit: u32) -> Result<Vec<LogEntry>, StoreError> {
        let rows = query(
            "SELECT log.idx, log.entry FROM traces JOIN log ON log.idx = traces.idx
             WHERE traces.refused = 1 ORDER BY traces.idx DESC LIMIT $1",
        )
        .bind(limit.min(crate::MAX_PAGE))
        .fetch_all(self.sql())
        .await?;
        rows.iter().map(entry).collect()
    }
}

impl Tx {
    /// Written behind the entries that they name.
    pub(crate) async fn put_traces(&mut self, traces: &[Trace]) -> Result<(), StoreError> {
        for traces in traces.chunks(CHUNK) {
            let rows = traces.iter().map(|trace| {
                [trace.id.to_string().into(), signed(trace.index).into(), i64::from(trace.refused).into()]
            });
            insert("INSERT INTO traces (id, idx, refused)", rows, "").execute(self.sql()).await?;
        }
        Ok(())
    }
}

/// Rows of one statement.
const CHUNK: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use avouch_audit::field::{Code, Count, Outside};
    use avouch_audit::record::{Caller, Mode, Request};
    use avouch_audit::spool::{Chain, SpoolId, SpoolRecord};
    use avouch_words::{Millis, Name, TrustDomain};

    const NOW: Millis = Millis(1_700_000_000_000);

    fn id(n: u8) -> Ulid {
        Ulid::new(NOW, [n; 10])
    }

    async fn store(dir: &tempfile::TempDir) -> Store {
        let domain = TrustDomain::parse("example.test").unwrap();
        Store::open(&dir.path().join("avouch.db"), &domain, [7; 16], NOW).await.unwrap()
    }

    fn agent() -> Name {
        Name::parse("researcher").unwrap()
    }

    /// A record of a helper, as the issuer takes it.
    fn record(chain: &mut Chain, event: HelperEvent) -> Body {
        let sealed = chain.seal(event, NOW).unwrap();
        Body::Record(Box::new(SpoolRecord::decode(&sealed.bytes).unwrap()))
    }

    fn caller() -> Caller {
        Caller { agent: agent(), instance: id(1), session: Some(id(2)) }
    }

    /// A denial under one decision, and an intent with an outcome under another.
    fn calls(outcome: Outcome) -> [HelperEvent; 3] {
        let denied = HelperEvent::Denied {
            decision: id(30),
            caller: caller(),
            refusal: Code::of("denied"),
            reason: Code::of("not_granted"),
            mismatch: None,
            lock: None,
            credentials: Vec::new(),
            request: None,
            policy_version: Count(1),
        };
        let request = Request {
            scheme: Code::of("https"),
            host: Outside::of("a.test"),
            port: 443,
            method: Outside::of("GET"),
            path: Outside::of("/x"),
            query_keys: Outside::of(""),
        };
        let intent = HelperEvent::Intent {
            decision: id(31),
            caller: caller(),
            request,
            uses: Vec::new(),
            policy_version: Count(1),
            mode: Mode::Each,
        };
        let outcome = HelperEvent::Outcome {
            decision: id(31),
            agent: agent(),
            outcome,
            reflected: false,
            stripped: false,
            bytes: Count(0),
            duration_us: Count(1),
        };
        [denied, intent, outcome]
    }

    fn session(event: impl FnOnce(Name, Ulid) -> HelperEvent) -> HelperEvent {
        event(agent(), id(2))
    }

    /// The same as before: entries 0 to 7.
    async fn fill(store: &Store) {
        let writer = TrustDomain::parse("example.test").unwrap().issuer();
        let mut chain = Chain::start(SpoolId([9; 16]));
        let first = session(|agent, session| HelperEvent::SessionClosed { agent, session, killed: 0 });
        let all = [Outcome::Ok { status: 200 }, Outcome::Error { kind: Code::of("stale"), status: None }];
        let mut tx = store.begin().await.unwrap();
        for event in [first, HelperEvent::Stopped {}].into_iter().chain(all.into_iter().flat_map(calls)) {
            tx.append(record(&mut chain, event), &writer, NOW).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    fn indexes(entries: Vec<LogEntry>) -> Vec<u64> {
        entries.into_iter().map(|entry| entry.index).collect()
    }

    #[tokio::test]
    async fn a_decision_leads_to_its_entries_and_refusals_come_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        fill(&store).await;
        let mut read = store.read().await.unwrap();
        assert_eq!(indexes(read.entries_about(id(2), 10).await.unwrap()), [0]);
        assert_eq!(indexes(read.entries_about(id(30), 10).await.unwrap()), [2, 5]);
        assert_eq!(indexes(read.entries_about(id(31), 10).await.unwrap()), [3, 4, 6, 7]);
        assert_eq!(indexes(read.entries_about(id(31), 1).await.unwrap()), [3]);
        assert!(read.entries_about(id(32), 10).await.unwrap().is_empty());
        assert_eq!(indexes(read.refusals(10).await.unwrap()), [7, 5, 2]);
        assert_eq!(indexes(read.refusals(2).await.unwrap()), [7, 5]);
        for condition in ["traces.id = 'x' ORDER BY traces.idx", "traces.refused = 1 ORDER BY traces.idx DESC"] {
            let plan = format!(
                "EXPLAIN QUERY PLAN SELECT log.idx FROM traces JOIN log ON log.idx = traces.idx WHERE {condition}"
            );
            let rows = crate::sql::written(plan).fetch_all(read.sql()).await.unwrap();
            let steps: Vec<String> = rows.iter().map(|row| row.named("detail").unwrap()).collect();
            let indexed = |step: &String| step.contains("USING") && !step.contains("TEMP B-TREE");
            assert!(steps.iter().all(indexed), "{steps:?}");
        }
    }

    #[tokio::test]
    async fn the_migration_finds_in_an_older_log_what_is_written_since() {
        let dir = tempfile::tempdir().unwrap();
        let all = "SELECT id, idx, refused FROM traces ORDER BY id, idx";
        let read = |rows: Vec<crate::sql::Row>| -> Vec<(String, i64, i64)> {
            rows.iter().map(|row| (row.at(0).unwrap(), row.at(1).unwrap(), row.at(2).unwrap())).collect()
        };
        let first = store(&dir).await;
        fill(&first).await;
        let mut tx = first.begin().await.unwrap();
        let written = read(query(all).fetch_all(tx.sql()).await.unwrap());
        assert_eq!(written.len(), 7);
        for undo in ["DROP TABLE traces", "DELETE FROM _sqlx_migrations WHERE version = 2"] {
            query(undo).execute(tx.sql()).await.unwrap();
        }
        tx.commit().await.unwrap();
        first.close().await;
        drop(first);
        let again = store(&dir).await;
        let found = query(all).fetch_all(again.read().await.unwrap().sql()).await.unwrap();
        assert_eq!(read(found), written);
    }
}
