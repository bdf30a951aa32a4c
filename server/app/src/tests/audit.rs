use super::*;
use avouch_audit::entry::{Body, Entry};
use avouch_audit::export::Part;
use avouch_audit::field::Outside;
use avouch_audit::record::{Caller, HelperEvent};
use avouch_audit::spool::{Chain, SpoolId};
use avouch_audit::verify::{Fault, Report, verify};
use avouch_words::{Millis, Name};

/// The whole log, as an operator gets it.
pub(super) async fn export(running: &Running) -> Vec<Part> {
    use avouch_wire::admin::audit_part::Kind;
    let mut stream = running.admin().await.export_audit(admin::ExportAuditRequest {}).await.unwrap().into_inner();
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        parts.push(match part.kind.unwrap() {
            Kind::Key(key) => Part::Key(key),
            Kind::Entry(entry) => Part::Entry(entry),
            Kind::Checkpoint(note) => Part::Checkpoint(note),
        });
    }
    parts
}

pub(super) fn code(part: &Part) -> Option<&'static str> {
    match part {
        Part::Entry(bytes) => Some(Entry::decode(bytes).unwrap().body.code()),
        Part::Key(_) | Part::Checkpoint(_) => None,
    }
}

async fn verified(running: &Running) -> Report {
    verify(export(running).await.into_iter().map(Ok), None, None).unwrap()
}

fn started() -> HelperEvent {
    HelperEvent::Started { version: Outside::of("1") }
}

fn fetched(agent: &str) -> HelperEvent {
    let caller = Caller { agent: Name::parse(agent).unwrap(), instance: Ulid::new(Millis(1), [1; 10]), session: None };
    HelperEvent::X509Served { caller, serial: Outside::of("00") }
}

/// What a node's spool would ship.
pub(super) struct Spool {
    id: [u8; 16],
    chain: Chain,
    client: NodeClient<Channel>,
}

impl Spool {
    pub(super) async fn open(running: &Running, node: &TestNode, id: u8, before: Option<(&Spool, u64)>) -> Self {
        let request = issuer::OpenSpoolRequest {
            spool: vec![id; 16],
            previous_spool: before.map(|(spool, _)| spool.id.to_vec()).unwrap_or_default(),
            previous_records: before.map_or(0, |(_, records)| records),
        };
        let mut client = running.node(node).await;
        assert_eq!(client.open_spool(request).await.unwrap().into_inner().next, 0);
        Self { id: [id; 16], chain: Chain::start(SpoolId([id; 16])), client }
    }

    pub(super) fn seal(&mut self, event: HelperEvent) -> Vec<u8> {
        self.chain.seal(event, Millis(1_700_000_000_000)).unwrap().bytes
    }

    pub(super) async fn ship(&mut self, records: Vec<Vec<u8>>) -> Result<issuer::SpoolPosition, Status> {
        let request = issuer::ShipAuditRequest { spool: self.id.to_vec(), records };
        self.client.ship_audit(request).await.map(tonic::Response::into_inner)
    }
}

#[tokio::test]
async fn an_export_verifies_and_one_changed_byte_is_named() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    let mut spool = Spool::open(&running, &node, 1, None).await;
    let records = vec![spool.seal(started()), spool.seal(fetched("researcher"))];
    assert_eq!(spool.ship(records.clone()).await.unwrap().next, 2);
    assert_eq!(spool.ship(records).await.unwrap().next, 2, "sent again, as after a lost reply");
    running.lock("researcher").await;

    let parts = export(&running).await;
    let report = verify(parts.clone().into_iter().map(Ok), None, None).unwrap();
    assert!(report.is_clean() && report.size > 10, "{report:?}");
    assert_eq!(report.writers.values().sum::<u64>(), report.size);
    for (at, part) in parts.iter().enumerate() {
        let Part::Entry(bytes) = part else { continue };
        let mut changed = parts.clone();
        let mut bytes = bytes.clone();
        let digit = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
        bytes[digit] = if bytes[digit] == b'1' { b'2' } else { b'1' };
        changed[at] = Part::Entry(bytes);
        let fault = verify(changed.into_iter().map(Ok), None, None).unwrap_err();
        let index = at as u64 - 1;
        assert!(fault.index().is_some_and(|named| named == index), "{index}: {fault}");
    }
    let key = verify(parts.into_iter().map(Ok), Some("other/audit+00000000+AA=="), None);
    assert!(matches!(key, Err(Fault::WrongKey)));
}

#[tokio::test]
async fn the_head_is_signed_soon_after_growth_without_being_asked() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let mut spool = Spool::open(&running, &node, 1, None).await;
    let record = spool.seal(started());
    spool.ship(vec![record]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let position = spool.ship(Vec::new()).await.unwrap();
    let head = avouch_audit::checkpoint::Checkpoint::peek(&position.checkpoint).unwrap();
    let status = running.admin().await.status(admin::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((head.origin.as_str(), head.size), ("example.test/audit", status.audit_size));
}

#[tokio::test]
async fn forks_gaps_foreign_agents_and_forged_records_are_alarms_and_never_overwrite() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    running.agent("researcher", "laptop").await;
    running.agent("there", "other").await;
    let mut spool = Spool::open(&running, &node, 1, None).await;
    let first = spool.seal(started());
    assert_eq!(spool.ship(vec![first.clone()]).await.unwrap().next, 1);

    let forked = Chain::start(SpoolId([1; 16])).seal(fetched("researcher"), Millis(5)).unwrap().bytes;
    for _ in 0..3 {
        // Sent again and again it is one alarm.
        assert_eq!(word(spool.ship(vec![forked.clone()]).await), "spool_out_of_step");
    }
    let fork_point = spool.chain;
    let (_left_out, third) = (spool.seal(started()), spool.seal(started()));
    assert_eq!(word(spool.ship(vec![third]).await), "spool_out_of_step");
    assert_eq!(word(spool.ship(vec![b"{}".to_vec()]).await), "spool_out_of_step");
    spool.chain = fork_point;
    let foreign = spool.seal(fetched("there"));
    assert_eq!(word(spool.ship(vec![foreign]).await), "spool_out_of_step");

    // Nothing of it moved the spool: it goes on from where it is.
    spool.chain = fork_point;
    let second = spool.seal(fetched("researcher"));
    assert_eq!(spool.ship(vec![first, second]).await.unwrap().next, 2);
    let report = verified(&running).await;
    let alarms: Vec<&str> = report.alarms.iter().map(|alarm| alarm.code).collect();
    assert_eq!(alarms, ["spool.forked", "spool.gap", "spool.malformed", "spool.foreign_agent"]);
    assert!(report.alarms.iter().all(|alarm| alarm.spool == SpoolId([1; 16]) && alarm.node.path().contains("laptop")));
}

#[tokio::test]
async fn a_spool_ends_with_all_its_records_or_with_an_alarm() {
    let running = Running::start().await;
    let node = running.join("laptop").await;
    let mut first = Spool::open(&running, &node, 1, None).await;
    let record = first.seal(HelperEvent::Stopped {});
    first.ship(vec![record.clone()]).await.unwrap();
    let second = Spool::open(&running, &node, 2, Some((&first, 1))).await;
    assert_eq!(word(first.ship(vec![record]).await), "spool_out_of_step");
    assert!(verified(&running).await.is_clean());
    // The second is said to have had a record that never came.
    let _third = Spool::open(&running, &node, 3, Some((&second, 1))).await;
    let _fourth = Spool::open(&running, &node, 4, None).await;
    let alarms: Vec<&str> = verified(&running).await.alarms.iter().map(|alarm| alarm.code).collect();
    assert_eq!(alarms, ["spool.unclosed", "spool.unclosed"]);
    let closed = issuer::OpenSpoolRequest { spool: vec![1; 16], ..Default::default() };
    assert_eq!(word(running.node(&node).await.open_spool(closed).await), "spool_out_of_step");
}

#[tokio::test]
async fn a_node_writes_to_its_own_spool_alone_and_as_itself() {
    let running = Running::start().await;
    let (one, two) = (running.join("one").await, running.join("two").await);
    let mut spool = Spool::open(&running, &one, 1, None).await;
    let record = spool.seal(started());
    spool.client = running.node(&two).await;
    assert_eq!(word(spool.ship(vec![record.clone()]).await), "spool_out_of_step");
    spool.client = running.node(&one).await;
    spool.ship(vec![record]).await.unwrap();
    let writers: Vec<String> = export(&running)
        .await
        .iter()
        .filter_map(|part| match part {
            Part::Entry(bytes) => Some(Entry::decode(bytes).unwrap()),
            Part::Key(_) | Part::Checkpoint(_) => None,
        })
        .filter(|entry| matches!(entry.body, Body::Record(_)))
        .map(|entry| entry.writer.to_string())
        .collect();
    assert_eq!(writers, [one.svid.spiffe_id]);
}
