//! Every way to tamper with a log that audit-log.md §5 lists, each beside the untouched log that verifies.

use super::*;
use crate::canonical::encode;
use crate::entry::{Body, Entry, Log};
use crate::field::{Code, Commitment, Count, Outside};
use crate::record::{Caller, HelperEvent, IssuerEvent, Mode, Operator, Outcome, Request, SpoolEnd, Use};
use crate::spool::{Chain, SpoolRecord};
use crate::tree::Tree;
use avouch_words::{Millis, Name, Ulid};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;

mod mutate;

struct Writer {
    pair: Ed25519KeyPair,
    log: Log,
    tree: Tree,
    parts: Vec<Part>,
}

impl Writer {
    fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let mut writer = Self { pair, log: Log::new(), tree: Tree::new(), parts: Vec::new() };
        writer.parts.push(Part::Key(writer.key().to_string()));
        writer
    }

    fn key(&self) -> VerifierKey {
        VerifierKey::new("td/audit", self.pair.public_key().as_ref().try_into().unwrap()).unwrap()
    }

    fn put(&mut self, body: Body, writer: &SpiffeId) {
        let now = Millis(1_700_000_000_000 + i64::try_from(self.log.next()).unwrap());
        let sealed = self.log.seal(body, writer.clone(), now).unwrap();
        self.tree.append(sealed.leaf);
        self.parts.push(Part::Entry(sealed.bytes));
    }

    fn event(&mut self, event: IssuerEvent) {
        self.put(Body::Event(event), &id("spiffe://td/issuer"));
    }

    fn record(&mut self, node: &SpiffeId, chain: &mut Chain, event: HelperEvent) {
        let sealed = chain.seal(event, Millis(1_700_000_000_000)).unwrap();
        self.put(Body::Record(Box::new(SpoolRecord::decode(&sealed.bytes).unwrap())), node);
    }

    fn head(&mut self) -> String {
        let head = Checkpoint { origin: "td/audit".to_owned(), size: self.tree.size(), root: self.tree.root() };
        let note = head.sign(&self.key(), |text| self.pair.sign(text).as_ref().try_into()).unwrap();
        self.parts.push(Part::Checkpoint(note.clone()));
        note
    }
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn ulid(n: u8) -> Ulid {
    Ulid::new(Millis(1), [n; 10])
}

fn node() -> SpiffeId {
    id("spiffe://td/node/join_token/one")
}

fn spool() -> SpoolId {
    SpoolId([7; 16])
}

fn started() -> HelperEvent {
    HelperEvent::Started { version: Outside::of("0.1.0") }
}

fn intent(decision: u8) -> HelperEvent {
    HelperEvent::Intent {
        decision: ulid(decision),
        caller: Caller { agent: name("researcher"), instance: ulid(1), session: Some(ulid(2)) },
        request: Request {
            scheme: Code::of("https"),
            host: Outside::of("tools.demo.test"),
            port: 8443,
            method: Outside::of("GET"),
            path: Outside::of("/repos/x"),
            query_keys: Outside::of("page&per_page"),
        },
        uses: vec![Use { credential: name("github"), grants: vec![ulid(3)] }],
        policy_version: Count(u64::MAX),
        mode: Mode::Each,
    }
}

fn outcome(decision: u8, outcome: Outcome) -> HelperEvent {
    HelperEvent::Outcome {
        decision: ulid(decision),
        agent: name("researcher"),
        outcome,
        reflected: true,
        stripped: false,
        bytes: Count(42),
        duration_us: Count(1234),
    }
}

fn lock() -> IssuerEvent {
    IssuerEvent::LockCreated {
        operator: Operator { uid: 0, name: Some(name("root")) },
        lock: ulid(4),
        agent: name("researcher"),
        reason: Commitment::of(&[1; 16], b"test"),
        version: Count(9),
        expires: None,
    }
}

fn opened() -> IssuerEvent {
    IssuerEvent::SpoolOpened { node: node(), spool: spool() }
}

/// A log with a bit of everything; the last entry alone has heads on both sides.
fn sound() -> Writer {
    let mut w = Writer::new(3);
    let mut chain = Chain::start(spool());
    w.event(IssuerEvent::Started { version: Outside::of("0.1.0"), epoch: Outside::of("00ff") });
    w.head();
    w.event(opened());
    w.record(&node(), &mut chain, started());
    w.event(lock());
    w.record(&node(), &mut chain, intent(10));
    w.head();
    w.record(&node(), &mut chain, outcome(10, Outcome::Ok { status: 200 }));
    w.record(&node(), &mut chain, intent(11));
    w.event(IssuerEvent::LockExpired { lock: ulid(4), agent: name("researcher"), version: Count(10) });
    w.record(&node(), &mut chain, outcome(11, Outcome::Unknown {}));
    w.record(&node(), &mut chain, intent(12));
    w.head();
    w.event(lock());
    w.head();
    w
}

fn check(parts: &[Part]) -> Result<Report, Fault> {
    check_seen(parts, None)
}

fn check_seen(parts: &[Part], seen: Option<&str>) -> Result<Report, Fault> {
    verify(parts.iter().cloned().map(Ok), Some(&Writer::new(3).key().to_string()), seen)
}

#[test]
fn a_sound_log_verifies_and_is_counted() {
    let mut w = sound();
    let report = check(&w.parts).unwrap();
    assert_eq!((report.size, report.checkpoints, report.without_outcome), (11, 4, 1));
    assert_eq!(report.root, w.tree.root());
    assert!(report.is_clean());
    assert_eq!(report.writers[&node()], 6);
    assert_eq!(report.writers[&id("spiffe://td/issuer")], 5);
    let newest = w.head();
    assert!(check_seen(&sound().parts, Some(&newest)).is_ok());
    // The order of heads means nothing, and the empty log is a log if its head says so.
    let mut empty = Writer::new(3);
    assert!(matches!(check(&empty.parts), Err(Fault::Unsigned { index: 0 })));
    empty.head();
    assert_eq!(check(&empty.parts).unwrap().size, 0);
}

#[test]
fn the_key_is_there_once_and_is_the_expected_one() {
    let parts = sound().parts;
    assert!(matches!(check(&parts[1..]), Err(Fault::Key)));
    assert!(matches!(check(&[]), Err(Fault::Key)));
    let mut twice = parts.clone();
    twice.push(parts[0].clone());
    assert!(matches!(check(&twice), Err(Fault::Key)));
    let mut other = Writer::new(4);
    other.event(lock());
    other.head();
    assert!(matches!(check(&other.parts), Err(Fault::WrongKey)));
    assert!(verify(other.parts.into_iter().map(Ok), None, None).is_ok());
    let bad = [Part::Key("x".to_owned())];
    assert!(matches!(verify(bad.into_iter().map(Ok), None, None), Err(Fault::BadKey(_))));
    let named = VerifierKey::new("td/other", [1; 32]).unwrap().to_string();
    assert!(matches!(verify([Ok(Part::Key(named))], None, None), Err(Fault::BadKey(_))));
}

#[test]
fn an_unreadable_export_is_refused_at_its_index() {
    let parts = sound().parts;
    let broken = parts.into_iter().take(5).map(Ok).chain([Err(ReadFault::Form(6))]);
    assert_eq!(verify(broken, None, None).unwrap_err().index(), Some(3));
}

#[test]
fn heads_under_a_wrong_key_and_torn_heads_are_refused() {
    let mut forged = Writer::new(9);
    let mut parts = sound().parts;
    forged.tree = sound().tree;
    let note = forged.head();
    parts.push(Part::Checkpoint(note));
    assert!(matches!(check(&parts), Err(Fault::Checkpoint { number: 5, why: BadCheckpoint::Note(BadNote::Unsigned) })));
    let mut parts = sound().parts;
    if let Some(Part::Checkpoint(note)) = parts.last_mut() {
        *note = note.replace("\n11\n", "\n10\n");
    }
    assert!(matches!(check(&parts), Err(Fault::Checkpoint { number: 4, .. })));
}

#[test]
fn what_no_head_covers_is_not_believed() {
    let mut parts = sound().parts;
    parts.pop();
    assert_eq!(check(&parts).unwrap_err().index(), Some(10));
    parts.retain(|part| !matches!(part, Part::Checkpoint(_)));
    assert_eq!(check(&parts).unwrap_err().index(), Some(0));
}

#[test]
fn a_cut_tail_is_found_by_any_newer_head() {
    let whole = sound().parts;
    let newest = sound().head();
    for k in 1..=11u64 {
        let keep = 11 - k;
        let mut entries = 0;
        // The heads stay: they cover more than there is.
        let cut: Vec<Part> = whole
            .iter()
            .filter(|part| {
                !matches!(part, Part::Entry(_)) || {
                    entries += 1;
                    entries <= keep
                }
            })
            .cloned()
            .collect();
        let fault = check(&cut).unwrap_err();
        assert!(matches!(fault, Fault::Cut { .. }), "{k}: {fault}");
        assert_eq!(fault.index(), Some(keep));
        // The heads go too: only a head kept elsewhere shows it (case O03).
        let mut seen = 0;
        let clean: Vec<Part> = cut
            .into_iter()
            .filter(|part| match part {
                Part::Checkpoint(note) => Checkpoint::peek(note).unwrap().size <= keep,
                Part::Entry(_) => {
                    seen += 1;
                    true
                }
                Part::Key(_) => true,
            })
            .collect();
        let fault = check_seen(&clean, Some(&newest)).unwrap_err();
        assert!(matches!(fault, Fault::Cut { covers: 11, .. }), "{k}: {fault}");
        assert_eq!(fault.index(), Some(seen));
    }
    // Without that head a log cut at a head is a shorter log: this is all that is promised without witnesses.
    assert_eq!(check(&whole[..8]).unwrap().size, 5);
}

#[test]
fn a_log_written_anew_does_not_fit_the_heads() {
    for from in 0..11 {
        let old = sound();
        let mut new = Writer::new(3);
        let mut at = 0;
        for part in &old.parts[1..] {
            match part {
                Part::Entry(bytes) => {
                    let mut entry = Entry::decode(bytes).unwrap();
                    // A lock that is not there any more, and everything behind it chained again.
                    if at == from {
                        entry.body = Body::Event(IssuerEvent::TokenExpired { token: Digest::of(&[b"x"]) });
                        if let Ok(read) = Entry::decode(bytes)
                            && matches!(read.body, Body::Record(_))
                        {
                            entry.writer = id("spiffe://td/issuer");
                        }
                    }
                    at += 1;
                    new.put(entry.body, &entry.writer);
                }
                other => new.parts.push(other.clone()),
            }
        }
        assert!(check(&new.parts).is_err(), "{from}");
    }
    // An event of the issuer, where no spool's chain helps: the head before it bounds it.
    let mut new = Writer::new(3);
    let old = sound();
    for part in &old.parts[1..] {
        match part {
            Part::Entry(bytes) => {
                let mut entry = Entry::decode(bytes).unwrap();
                if entry.index == 7 {
                    entry.body = Body::Event(IssuerEvent::TokenExpired { token: Digest::of(&[b"x"]) });
                }
                new.put(entry.body, &entry.writer);
            }
            other => new.parts.push(other.clone()),
        }
    }
    assert!(matches!(check(&new.parts), Err(Fault::Root { index: 5, size: 10 })));
    // Signed anew by one who has the key: a head that was kept elsewhere still shows it.
    new.parts.retain(|part| !matches!(part, Part::Checkpoint(_)));
    new.head();
    assert!(check(&new.parts).is_ok());
    let newest = sound().head();
    assert!(matches!(check_seen(&new.parts, Some(&newest)), Err(Fault::Root { .. })));
    // A fault behind a head that does not fit is not the first.
    let late = new.log.next();
    new.parts.retain(|part| !matches!(part, Part::Checkpoint(_)));
    new.parts.push(Part::Checkpoint(newest));
    new.put(Body::Event(lock()), &node());
    assert!(matches!(check(&new.parts), Err(Fault::Root { index: 0, size: 11 })), "{late}");
}

#[test]
fn records_have_to_follow_in_an_open_spool_of_their_node() {
    let entry_fault = |build: &dyn Fn(&mut Writer)| {
        let mut w = Writer::new(3);
        build(&mut w);
        w.head();
        match check(&w.parts).unwrap_err() {
            Fault::Entry { index, why } => (index, why),
            other => panic!("{other}"),
        }
    };
    let chain = || Chain::start(spool());
    let other = id("spiffe://td/node/join_token/two");
    // Never opened; another node's; a gap; a fork; a repeat.
    assert_eq!(entry_fault(&|w| w.record(&node(), &mut chain(), started())), (0, EntryFault::SpoolNotOpen));
    let found = entry_fault(&|w| {
        w.event(opened());
        w.record(&other, &mut chain(), started());
    });
    assert_eq!(found, (1, EntryFault::SpoolNotOpen));
    let found = entry_fault(&|w| {
        w.event(opened());
        w.record(&node(), &mut Chain::resume(spool(), 1, Digest::of(&[])), started());
    });
    assert_eq!(found, (1, EntryFault::Spool(ChainFault::Gap { expected: 0, shown: 1 })));
    let found = entry_fault(&|w| {
        w.event(opened());
        w.record(&node(), &mut chain(), started());
        w.record(&node(), &mut Chain::resume(spool(), 1, Digest::of(&[])), started());
    });
    assert_eq!(found, (2, EntryFault::Spool(ChainFault::Broken { seq: 1 })));
    let found = entry_fault(&|w| {
        w.event(opened());
        w.record(&node(), &mut chain(), started());
        w.record(&node(), &mut chain(), started());
    });
    assert!(matches!(found, (2, EntryFault::Spool(ChainFault::Past { seq: 0, .. }))));
    // After its end; opened twice; a second one without an alarm; an end that does not count right.
    let end = |records| SpoolEnd { spool: spool(), records: Count(records) };
    let found = entry_fault(&|w| {
        w.event(opened());
        w.event(IssuerEvent::SpoolClosed { node: node(), end: end(0) });
        w.record(&node(), &mut chain(), started());
    });
    assert_eq!(found, (2, EntryFault::SpoolNotOpen));
    let found = entry_fault(&|w| {
        w.event(opened());
        w.event(IssuerEvent::SpoolClosed { node: node(), end: end(0) });
        w.event(opened());
    });
    assert_eq!(found, (2, EntryFault::SpoolOrder));
    let found = entry_fault(&|w| {
        w.event(opened());
        w.event(IssuerEvent::SpoolOpened { node: node(), spool: SpoolId([8; 16]) });
    });
    assert_eq!(found, (1, EntryFault::SpoolOrder));
    let found = entry_fault(&|w| {
        w.event(opened());
        w.event(IssuerEvent::SpoolClosed { node: node(), end: end(1) });
    });
    assert_eq!(found, (1, EntryFault::SpoolOrder));
    // Who may say what.
    let found = entry_fault(&|w| w.put(Body::Event(lock()), &node()));
    assert_eq!(found, (0, EntryFault::Writer));
    let found = entry_fault(&|w| w.put(Body::Event(lock()), &id("spiffe://other/issuer")));
    assert_eq!(found, (0, EntryFault::Writer));
    let found = entry_fault(&|w| {
        w.event(opened());
        w.record(&id("spiffe://td/issuer"), &mut chain(), started());
    });
    assert_eq!(found, (1, EntryFault::Writer));
}

#[test]
fn recorded_alarms_are_named() {
    let mut w = Writer::new(3);
    let second = SpoolId([8; 16]);
    w.event(opened());
    w.event(IssuerEvent::SpoolForked {
        node: node(),
        spool: spool(),
        seq: Count(0),
        held: Digest::of(&[b"a"]),
        shown: Digest::of(&[b"b"]),
    });
    w.event(IssuerEvent::SpoolGap { node: node(), spool: spool(), expected: Count(0), shown: Count(4) });
    let end = SpoolEnd { spool: spool(), records: Count(0) };
    w.event(IssuerEvent::SpoolUnclosed { node: node(), end, opened: second });
    w.event(IssuerEvent::SpoolOpened { node: node(), spool: second });
    w.record(&node(), &mut Chain::start(second), started());
    w.head();
    let report = check(&w.parts).unwrap();
    assert!(!report.is_clean());
    let alarms: Vec<_> = report.alarms.iter().map(|alarm| (alarm.index, alarm.code, alarm.spool)).collect();
    assert_eq!(alarms, [(1, "spool.forked", spool()), (2, "spool.gap", spool()), (3, "spool.unclosed", spool())]);
    assert!(report.alarms.iter().all(|alarm| alarm.node == node()));
}
