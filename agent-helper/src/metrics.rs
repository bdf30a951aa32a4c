//! What the helper tells Prometheus. Counters follow the records; services are credentials by name, and no more of them
//! than [`MOST_SERVICES`], however many names there are (A33). Nothing names an agent, a host or an ID.

use crate::broker::{Broker, Ledger, Recording};
use crate::contact::Contact;
use crate::freshness::Freshness;
use crate::identity::{Answer, Identities, Order, SignX509, Unreachable};
use crate::leases::Leases;
use crate::session::Sessions;
use crate::spool::Spool;
use avouch_audit::record::HelperEvent;
use avouch_config::MetricsPage;
use avouch_words::Clock;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The counters.
#[derive(Debug, Default)]
pub struct Tally {
    requests: Mutex<BTreeMap<(String, &'static str), u64>>,
    sessions: AtomicU64,
    sessions_refused: AtomicU64,
    rotations: AtomicU64,
    rotations_refused: AtomicU64,
    rotations_unreachable: AtomicU64,
}

/// A ledger that is counted.
pub struct Counted {
    /// Where the records go.
    pub to: Spool,
    /// Where they are counted.
    pub tally: Arc<Tally>,
}

/// A signer that is counted.
pub struct CountedSigner {
    /// Who signs.
    pub to: Arc<dyn SignX509>,
    /// Where it is counted.
    pub tally: Arc<Tally>,
}

/// What the page is written from.
pub struct Telling {
    /// The counters.
    pub tally: Arc<Tally>,
    /// The broker, with its sources.
    pub broker: Arc<Broker>,
    /// What is owed to sources.
    pub leases: Arc<Leases>,
    /// How old the lock state is.
    pub freshness: Arc<Freshness>,
    /// How it stands with the issuer.
    pub contact: Arc<Contact>,
    /// The audit spool.
    pub spool: Spool,
    /// Sessions that are open.
    pub sessions: Arc<Sessions>,
    /// Identities that are held.
    pub identities: Identities,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Ledger for Counted {
    fn durable(&self, event: HelperEvent) -> Recording<'_> {
        self.tally.count(&event);
        Ledger::durable(&self.to, event)
    }

    fn behind(&self, event: HelperEvent) {
        self.tally.count(&event);
        Ledger::behind(&self.to, event);
    }
}

impl SignX509 for CountedSigner {
    fn sign_x509(&self, orders: Vec<Order>) -> BoxFuture<'static, Result<Vec<Answer>, Unreachable>> {
        let (asked, tally) = (orders.len() as u64, self.tally.clone());
        let signing = self.to.sign_x509(orders);
        Box::pin(async move {
            let answered = signing.await;
            match &answered {
                Ok(answers) => answers.iter().for_each(|answer| match answer {
                    Answer::Issued(_) => drop(tally.rotations.fetch_add(1, Ordering::Relaxed)),
                    Answer::Refused(_) => drop(tally.rotations_refused.fetch_add(1, Ordering::Relaxed)),
                }),
                Err(Unreachable) => drop(tally.rotations_unreachable.fetch_add(asked, Ordering::Relaxed)),
            }
            answered
        })
    }
}

impl Tally {
    fn count(&self, event: &HelperEvent) {
        match event {
            HelperEvent::Intent { uses, .. } => {
                uses.iter().for_each(|one| self.request(one.credential.as_str(), "allowed"));
            }
            HelperEvent::Denied { credentials, .. } if credentials.is_empty() => self.request(UNBOUND, "denied"),
            HelperEvent::Denied { credentials, .. } => {
                credentials.iter().for_each(|credential| self.request(credential.as_str(), "denied"));
            }
            HelperEvent::SessionOpened { .. } => drop(self.sessions.fetch_add(1, Ordering::Relaxed)),
            HelperEvent::SessionRefused { .. } => drop(self.sessions_refused.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    fn request(&self, service: &str, decision: &'static str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (service.to_owned(), decision);
        let key = if requests.len() >= MOST_SERVICES && !requests.contains_key(&key) {
            (OTHERS.to_owned(), decision)
        } else {
            key
        };
        *requests.entry(key).or_default() += 1;
    }
}

impl Telling {
    /// The page, as of now.
    pub fn page(&self) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (tally, boot) = (&self.tally, self.clock.boot());
        let mut page = MetricsPage::default();
        page.gauge(
            "avouch_build_info",
            "Always 1.",
            [([("part", "helper"), ("version", env!("CARGO_PKG_VERSION"))], 1)],
        );
        page.gauge(
            "avouch_svid_expiration_timestamp_seconds",
            "When this part's own SVID ends, in seconds since 1970.",
            [([("kind", "node")], self.contact.standing().svid_expires.seconds())],
        );
        page.counter(
            "avouch_svid_rotations_total",
            "X.509-SVIDs asked for agents.",
            [
                ([("result", "ok")], of(&tally.rotations)),
                ([("result", "refused")], of(&tally.rotations_refused)),
                ([("result", "unreachable")], of(&tally.rotations_unreachable)),
            ],
        );
        page.counter(
            "avouch_attestation_total",
            "Processes that asked for a session of an agent.",
            [
                ([("attestor", "session"), ("result", "ok")], of(&tally.sessions)),
                ([("attestor", "session"), ("result", "refused")], of(&tally.sessions_refused)),
            ],
        );
        let requests = tally.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let samples = requests
            .iter()
            .map(|((service, decision), count)| ([("service", service.as_str()), ("decision", *decision)], *count));
        page.counter(
            "avouch_broker_requests_total",
            "Calls by credential and decision; a call with several counts for each.",
            samples.collect::<Vec<_>>(),
        );
        page.value("avouch_lease_active", "Leases and logins that are owed to sources.", self.leases.len());
        let states = self.broker.source_states();
        let samples: Vec<_> =
            states.iter().map(|(source, asked)| ([("source", source.as_str())], u8::from(*asked))).collect();
        page.gauge("avouch_source_up", "1 if the source is asked, 0 while it is left alone after failures.", samples);
        let age = self.freshness.age(boot).map_or(-1.0, |age| age.as_secs_f64());
        page.value(
            "avouch_bundle_age_seconds",
            "Since the issuer last confirmed the bundle; -1 before it ever did.",
            format!("{age:.3}"),
        );
        page.value(
            "avouch_lock_state_age_seconds",
            "Age of the lock state on the boot clock; -1 before there is one.",
            format!("{age:.3}"),
        );
        page.value(
            "avouch_injecting",
            "1 if credentials are injected.",
            u8::from(self.freshness.check(boot).is_ok() && self.spool.fault().is_none()),
        );
        let (durable, acknowledged) =
            (*self.spool.durable().borrow(), self.spool.acked().map_or(0, |acked| acked.next));
        page.value(
            "avouch_audit_head_index",
            "Number of the last durable record of the spool.",
            durable.saturating_sub(1),
        );
        page.value(
            "avouch_spool_backlog",
            "Records that the issuer has not acknowledged.",
            durable.saturating_sub(acknowledged),
        );
        page.value("avouch_sessions", "Sessions that are open.", self.sessions.len());
        page.value("avouch_identities", "X.509 identities that are held.", self.identities.held());
        page.finish()
    }
}

/// Services on the page; all others are one.
pub const MOST_SERVICES: usize = 256;
const OTHERS: &str = "others";
/// What was denied and concerned no credential.
const UNBOUND: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_end_do_not_make_a_page_without_end() {
        let tally = Tally::default();
        for number in 0..100_000 {
            tally.request(&format!("credential-{number}"), "denied");
        }
        let requests = tally.requests.lock().unwrap();
        assert!(requests.len() <= MOST_SERVICES + 1);
        assert_eq!(requests.values().sum::<u64>(), 100_000);
    }
}
