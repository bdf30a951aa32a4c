//! What the issuer tells Prometheus. Counters follow the events that are recorded; nothing names an agent, a node or an
//! ID, so the page has the same size however many there are.

use crate::app::App;
use avouch_audit::record::IssuerEvent;
use avouch_config::MetricsPage;
use avouch_core::authority::AuthorityState;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    attested: AtomicU64,
    not_attested: AtomicU64,
    renewed: AtomicU64,
    not_renewed: AtomicU64,
    x509: AtomicU64,
    jwt: AtomicU64,
    brokered: AtomicU64,
    not_issued: AtomicU64,
    head: AtomicU64,
    own_expires: AtomicI64,
}

impl Metrics {
    /// Counts what is recorded.
    pub(crate) fn count(&self, event: &IssuerEvent) {
        let counter = match event {
            IssuerEvent::NodeJoined { .. } => &self.attested,
            IssuerEvent::EnrolRefused { .. } | IssuerEvent::TokenReplayed { .. } | IssuerEvent::TokenExpired { .. } => {
                &self.not_attested
            }
            IssuerEvent::NodeRenewed { .. } => &self.renewed,
            IssuerEvent::NodeRenewalRefused { .. } => &self.not_renewed,
            IssuerEvent::X509Issued { .. } => &self.x509,
            IssuerEvent::JwtIssued { .. } => &self.jwt,
            IssuerEvent::BrokeredIssued { .. } => &self.brokered,
            IssuerEvent::IssueRefused { .. } | IssuerEvent::ReservedAudienceRefused { .. } => &self.not_issued,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The log's signed head covers so many entries.
    pub(crate) fn signed_head(&self, size: u64) {
        self.head.fetch_max(size, Ordering::Relaxed);
    }

    /// The issuer's own SVID ends then, in seconds since 1970.
    pub(crate) fn own_expires(&self, at: i64) {
        self.own_expires.store(at, Ordering::Relaxed);
    }

    /// The page, as of now.
    pub(crate) fn page(&self, app: &App) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (state, now) = (app.state(), app.now());
        let mut page = MetricsPage::default();
        page.gauge(
            "avouch_build_info",
            "Always 1.",
            [([("part", "issuer"), ("version", env!("CARGO_PKG_VERSION"))], 1)],
        );
        page.gauge(
            "avouch_svid_expiration_timestamp_seconds",
            "When this part's own SVID ends, in seconds since 1970.",
            [([("kind", "issuer")], self.own_expires.load(Ordering::Relaxed))],
        );
        page.counter(
            "avouch_svid_rotations_total",
            "Renewals of nodes' SVIDs.",
            [([("result", "ok")], of(&self.renewed)), ([("result", "refused")], of(&self.not_renewed))],
        );
        page.counter(
            "avouch_svid_issued_total",
            "Documents signed for agents.",
            [
                ([("kind", "x509")], of(&self.x509)),
                ([("kind", "jwt")], of(&self.jwt)),
                ([("kind", "brokered")], of(&self.brokered)),
            ],
        );
        page.counter(
            "avouch_svid_refused_total",
            "Documents that nodes asked for and did not get.",
            [([], of(&self.not_issued))],
        );
        page.counter(
            "avouch_attestation_total",
            "Nodes that showed what they are.",
            [
                ([("attestor", "join_token"), ("result", "ok")], of(&self.attested)),
                ([("attestor", "join_token"), ("result", "refused")], of(&self.not_attested)),
            ],
        );
        let authorities: Vec<_> = state
            .authorities
            .iter()
            .filter(|authority| authority.state == AuthorityState::Active)
            .map(|authority| ([("kind", authority.purpose.as_str())], authority.not_after.seconds()))
            .collect();
        page.gauge(
            "avouch_authority_expiration_timestamp_seconds",
            "When the authority that signs ends, in seconds since 1970.",
            authorities,
        );
        let published = i64::try_from(state.bundle_sequence).unwrap_or(i64::MAX);
        page.value(
            "avouch_bundle_age_seconds",
            "Since the published bundle last changed.",
            seconds(now.0.saturating_sub(published)),
        );
        let beat = *app.watch_beat().borrow();
        page.value(
            "avouch_lock_state_age_seconds",
            "Since the lock state was last read from the database.",
            seconds(now.0.saturating_sub(beat.database_time.0)),
        );
        page.value(
            "avouch_audit_head_index",
            "Index of the last entry of the log under a signed head.",
            of(&self.head).saturating_sub(1),
        );
        page.value("avouch_state_version", "Version of the state that nodes learn of.", state.version);
        page.value("avouch_agents", "Registered agents.", state.world.agents.len());
        page.value("avouch_locks", "Locks that stand.", state.locks().len());
        page.value("avouch_federation_targets", "Vendors that are open to an agent.", state.world.targets.len());
        page.finish()
    }
}

fn seconds(millis: i64) -> String {
    let millis = millis.max(0);
    format!("{}.{:03}", millis / 1000, millis % 1000)
}
