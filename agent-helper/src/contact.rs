//! How it stands with the issuer, for whoever asks why nothing comes: whether anything is heard, how far the clocks are
//! apart, and how long this node's SVID is good. Nothing is decided by it.

use avouch_words::Millis;
use std::sync::{Mutex, PoisonError};

/// The last word on it.
#[derive(Debug)]
pub struct Contact(Mutex<Standing>);

/// A moment's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which issuer was dialled last, as `host:port`; empty before the first.
    pub issuer: String,
    /// Why nothing is heard: a stable code, and words.
    pub fault: Option<(&'static str, String)>,
    /// How far this clock was ahead of the issuer's when its last word came.
    pub clock_ahead_ms: i64,
    /// When the node's SVID ends.
    pub svid_expires: Millis,
    /// What only an operator can do about it.
    pub need: Option<Need>,
}

/// What only an operator can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The node's SVID has run out: a new join token.
    Token,
    /// The node is banned: evict it, and then a new join token.
    Eviction,
}

impl Need {
    fn fault(self) -> (&'static str, &'static str) {
        match self {
            Self::Token => ("node_expired", "the node's SVID ran out while it was away: it needs a new join token"),
            Self::Eviction => ("node_banned", "an operator has banned this node"),
        }
    }
}

impl Contact {
    /// For a node whose SVID ends then. Nothing was heard yet.
    pub fn new(svid_expires: Millis) -> Self {
        let fault = Some(("connecting", "there was no time for it yet".to_owned()));
        Self(Mutex::new(Standing { issuer: String::new(), fault, svid_expires, clock_ahead_ms: 0, need: None }))
    }

    /// The answer now.
    pub fn standing(&self) -> Standing {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((code, reason)) = standing.need.map(Need::fault) {
            standing.fault = Some((code, reason.to_owned()));
        }
        standing
    }

    /// An operator has to do this.
    pub(crate) fn needs(&self, need: Need) {
        self.change(|standing| standing.need = Some(need));
    }

    /// This issuer is dialled.
    pub(crate) fn dials(&self, address: &str) {
        self.change(|standing| address.clone_into(&mut standing.issuer));
    }

    /// The issuer said what its database's clock showed, when ours showed `now`.
    pub(crate) fn heard(&self, issuer: Millis, now: Millis) {
        self.change(|standing| {
            standing.fault = None;
            standing.need = None;
            standing.clock_ahead_ms = now.0.saturating_sub(issuer.0);
        });
    }

    /// Nothing is heard any more.
    pub(crate) fn lost(&self, code: &'static str, reason: String) {
        self.change(|standing| standing.fault = Some((code, reason)));
    }

    /// The node's SVID was renewed.
    pub(crate) fn renewed(&self, expires: Millis) {
        self.change(|standing| standing.svid_expires = expires);
    }

    fn change(&self, how: impl FnOnce(&mut Standing)) {
        how(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
