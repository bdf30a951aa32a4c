//! When authorities are made, come into use and go: prepared, active, old, gone. Each is in every bundle before it
//! signs anything and as long as anything it signed is valid.

use super::AuthorityError;
use crate::keys::Purpose;
use avouch_words::{Millis, Ulid};
use std::time::Duration;

/// Where in its life an authority is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuthorityState {
    /// In every bundle, signs nothing yet.
    Prepared,
    /// Signs. There is at most one of each purpose.
    Active,
    /// Signs no more; in every bundle until its last SVID has expired.
    Old,
}

impl AuthorityState {
    /// A stable word, as the store keeps it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Old => "old",
        }
    }

    /// Reads the word again.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Prepared, Self::Active, Self::Old].into_iter().find(|state| state.as_str() == text)
    }
}

/// An authority as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Its identifier; the `kid` of a JWT authority.
    pub id: Ulid,
    /// What it signs.
    pub purpose: Purpose,
    /// Where in its life it is.
    pub state: AuthorityState,
    /// What the key manager opens.
    pub reference: Vec<u8>,
    /// The certificate in DER for an X.509 authority, else the bare public key.
    pub public: Vec<u8>,
    /// When it was made.
    pub created: Millis,
    /// When it ends.
    pub not_after: Millis,
    /// When the last SVID that it signed so far expires; its making if it signed none.
    pub last_expiry: Millis,
}

/// How long authorities live, and the overlap of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// From making to end.
    pub life: Duration,
    /// This long before the active one ends, the next is made.
    pub prepare: Duration,
    /// This long before the active one ends, the next comes into use. No SVID may live longer than this, or it
    /// would be cut short.
    pub activate: Duration,
}

impl Lifetimes {
    /// The usual overlap for a life: the next is prepared at half of it and used when a third is left.
    pub const fn of(life: Duration) -> Self {
        Self {
            life,
            prepare: Duration::from_millis(life.as_millis() as u64 / 2),
            activate: Duration::from_millis(life.as_millis() as u64 / 3),
        }
    }
}

/// One change that is due. Each is one transaction with its event; the next call of [`next`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make one, in state prepared.
    Prepare,
    /// The prepared one becomes active, and the active one, if there is one, old.
    Activate(Ulid),
    /// The old one goes from every bundle, with its key.
    Remove(Ulid),
}

/// The change that is due now for one purpose, if any. Taking all of them, one after another, from any state leads
/// to an active authority (walks from an empty store, a restart in the middle, a long stand-still).
pub fn next(authorities: &[Authority], purpose: Purpose, lifetimes: &Lifetimes, now: Millis) -> Option<Step> {
    let mine = || authorities.iter().filter(move |authority| authority.purpose == purpose);
    let in_state = |state| mine().filter(move |authority| authority.state == state);
    let usable = |authority: &&Authority| now < authority.not_after;
    let prepared = in_state(AuthorityState::Prepared).filter(usable).max_by_key(|authority| authority.id);
    match (in_state(AuthorityState::Active).find(usable), prepared) {
        (None, Some(prepared)) => return Some(Step::Activate(prepared.id)),
        (None, None) => return Some(Step::Prepare),
        (Some(active), Some(prepared)) if active.not_after.since(now) <= lifetimes.activate => {
            return Some(Step::Activate(prepared.id));
        }
        (Some(active), None) if active.not_after.since(now) <= lifetimes.prepare => return Some(Step::Prepare),
        (Some(_), _) => {}
    }
    let over = |authority: &&Authority| {
        now > authority.last_expiry && (authority.state == AuthorityState::Old || now > authority.not_after)
    };
    mine()
        .filter(|authority| authority.state != AuthorityState::Active)
        .find(over)
        .map(|authority| Step::Remove(authority.id))
}

/// The one that signs now.
pub fn active(authorities: &[Authority], purpose: Purpose, now: Millis) -> Result<&Authority, AuthorityError> {
    authorities
        .iter()
        .find(|authority| {
            authority.purpose == purpose && authority.state == AuthorityState::Active && now < authority.not_after
        })
        .ok_or(AuthorityError::NoneActive)
}

/// Life of an X.509 or JWT authority if the settings do not say.
pub const DEFAULT_AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 24 * 60 * 60);
/// Life of the log's key: as long as the log; its rotation is an event of its own kind.
pub const LOG_KEY_LIFE: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const LIVES: Lifetimes = Lifetimes::of(Duration::from_secs(240 * 3600));
    const TTL: i64 = 24 * HOUR;

    /// What the issuer does with the steps, and signing one SVID of the longest life each hour.
    #[derive(Default)]
    struct Issuer(Vec<Authority>);

    impl Issuer {
        fn settle(&mut self, now: Millis) -> usize {
            for steps in 0..10 {
                match next(&self.0, Purpose::X509Authority, &LIVES, now) {
                    None => return steps,
                    Some(Step::Prepare) => self.0.push(Authority {
                        id: Ulid::new(now, [1; 10]),
                        purpose: Purpose::X509Authority,
                        state: AuthorityState::Prepared,
                        reference: Vec::new(),
                        public: Vec::new(),
                        created: now,
                        not_after: now.plus(LIVES.life),
                        last_expiry: now,
                    }),
                    Some(Step::Activate(id)) => {
                        for authority in &mut self.0 {
                            if authority.state == AuthorityState::Active {
                                authority.state = AuthorityState::Old;
                            }
                            if authority.id == id {
                                authority.state = AuthorityState::Active;
                            }
                        }
                    }
                    Some(Step::Remove(id)) => self.0.retain(|authority| authority.id != id),
                }
            }
            panic!("the steps do not come to an end: {:?}", self.0);
        }

        fn sign(&mut self, now: Millis) -> (Ulid, Millis) {
            let id = active(&self.0, Purpose::X509Authority, now).unwrap().id;
            let authority = self.0.iter_mut().find(|authority| authority.id == id).unwrap();
            let expiry = Millis(now.0 + TTL).min(authority.not_after);
            authority.last_expiry = authority.last_expiry.max(expiry);
            (id, expiry)
        }
    }

    #[test]
    fn a_hundred_days_of_rotation_never_leave_an_svid_without_its_authority() {
        let mut issuer = Issuer::default();
        let (mut live, mut signers) = (Vec::<(Ulid, Millis)>::new(), Vec::new());
        let mut published: Vec<Ulid> = Vec::new();
        for hour in 0..2400 {
            let now = Millis(1 + hour * HOUR);
            issuer.settle(now);
            assert!((1..=2).contains(&issuer.0.len()), "{:?}", issuer.0);
            let (signer, expiry) = issuer.sign(now);
            assert!(hour == 0 || published.contains(&signer), "published before first use");
            assert_eq!(expiry.0 - now.0, TTL, "never cut short");
            if signers.last() != Some(&signer) {
                signers.push(signer);
            }
            live.push((signer, expiry));
            live.retain(|(_, expiry)| *expiry >= now);
            published = issuer.0.iter().map(|authority| authority.id).collect();
            for (signer, _) in &live {
                assert!(published.contains(signer), "its SVIDs are still valid");
            }
        }
        assert!(signers.len() >= 14, "{}", signers.len());
    }

    #[test]
    fn an_empty_store_gets_an_active_authority_at_once() {
        let mut issuer = Issuer::default();
        assert_eq!(issuer.settle(Millis(1)), 2);
        assert_eq!(issuer.settle(Millis(1)), 0);
    }

    #[test]
    fn after_a_long_stand_still_a_new_authority_is_made_and_the_dead_ones_go() {
        let mut issuer = Issuer::default();
        issuer.settle(Millis(1));
        issuer.settle(Millis(1 + 121 * HOUR));
        assert_eq!(issuer.0.len(), 2, "one is prepared");
        let late = Millis(5000 * HOUR);
        issuer.settle(late);
        let state: Vec<_> = issuer.0.iter().filter(|authority| now_usable(authority, late)).map(|a| a.state).collect();
        assert_eq!(state, [AuthorityState::Active]);
    }

    fn now_usable(authority: &Authority, now: Millis) -> bool {
        now < authority.not_after
    }

    #[test]
    fn an_ended_authority_signs_nothing() {
        let mut issuer = Issuer::default();
        issuer.settle(Millis(1));
        let end = issuer.0[0].not_after;
        assert!(active(&issuer.0, Purpose::X509Authority, Millis(end.0 - 1)).is_ok());
        assert_eq!(active(&issuer.0, Purpose::X509Authority, end).map(|_| ()), Err(AuthorityError::NoneActive));
        assert_eq!(active(&issuer.0, Purpose::JwtAuthority, Millis(2)).map(|_| ()), Err(AuthorityError::NoneActive));
    }
}
