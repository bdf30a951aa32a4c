//! Logins that are held: one for each instance of an agent, in memory only, until half their life is over. Those
//! before it are kept until they end, as what was leased with a login is renewed with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use avouch_words::Name;

use super::OpenBao;
use super::login::Entered;
use crate::{Entrant, Obligations, SourceFault, Who};

/// After a login that was refused, and after one that was made because the one before was refused, how long no other is
/// tried.
pub const PAUSE: Duration = Duration::from_secs(1);

/// How many may be held before those that have ended are looked for.
const SWEEP: usize = 256;

/// The logins of everybody.
#[derive(Default)]
pub(super) struct Held(Mutex<HashMap<Who, Arc<Seat>>>);

/// The logins of one. Who finds it locked waits for a login that is being made.
#[derive(Default)]
struct Seat(tokio::sync::Mutex<Logins>);

#[derive(Default)]
struct Logins {
    current: Option<Arc<Entered>>,
    older: Vec<Arc<Entered>>,
    refused: Option<Duration>,
}

/// A login, and whether it was made for this call.
pub(super) struct Use {
    pub(super) entered: Arc<Entered>,
    pub(super) is_new: bool,
}

impl Held {
    fn seat(&self, who: &Who, boot: Duration) -> Arc<Seat> {
        let mut seats = self.lock();
        if seats.len() >= SWEEP {
            // One that is locked is in use.
            seats.retain(|_, seat| seat.0.try_lock().map_or(true, |mut logins| !logins.is_over(boot)));
        }
        Arc::clone(seats.entry(who.clone()).or_default())
    }

    fn find(&self, who: &Who) -> Option<Arc<Seat>> {
        self.lock().get(who).cloned()
    }

    fn take(&self, agent: &Name) -> Vec<Arc<Seat>> {
        let is_his = |who: &Who| matches!(who, Who::Agent { agent: other, .. } if other == agent);
        self.lock().extract_if(|who, _| is_his(who)).map(|(_, seat)| seat).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Who, Arc<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logins {
    fn is_over(&mut self, boot: Duration) -> bool {
        self.older.retain(|entered| boot < entered.term().until);
        self.older.is_empty() && self.current.as_ref().is_none_or(|entered| boot >= entered.term().until)
    }

    fn put_aside(&mut self) {
        self.older.extend(self.current.take());
    }
}

impl OpenBao {
    /// The login of somebody, held or made. A new one is recorded before anything is asked with it, where there is
    /// where to record it.
    pub(super) async fn enter(
        &self,
        entrant: &dyn Entrant,
        owed: Option<&dyn Obligations>,
        not_this: Option<&Arc<Entered>>,
    ) -> Result<Use, SourceFault> {
        if !self.settings.login.is_by_exchange() {
            return Ok(Use { entered: Arc::new(self.log_in(entrant).await?), is_new: true });
        }
        let seat = self.held.seat(entrant.who(), self.clock.boot());
        let mut logins = seat.0.lock().await;
        let boot = self.clock.boot();
        logins.older.retain(|entered| boot < entered.term().until);
        if let Some(current) = &logins.current {
            let refused = not_this.is_some_and(|refused| Arc::ptr_eq(refused, current));
            if !refused && !current.term().is_half_over(boot) {
                return Ok(Use { entered: Arc::clone(current), is_new: false });
            }
            if refused && boot < current.term().since + PAUSE {
                return Err(SourceFault::Denied);
            }
        }
        if logins.refused.is_some_and(|when| boot < when + PAUSE) {
            return Err(SourceFault::Denied);
        }
        let entered = match self.log_in(entrant).await {
            Ok(entered) => Arc::new(entered),
            Err(fault) => {
                logins.refused = (fault == SourceFault::Denied).then_some(boot);
                return Err(fault);
            }
        };
        if let (Some(owed), Some(what)) = (owed, self.owed_for(&entered, entrant.who()))
            && owed.record(what).await.is_err()
        {
            // Nothing hangs on it yet; if it cannot be ended, it ends by itself.
            let _ = self.log_out(&entered).await;
            return Err(SourceFault::NotRecorded);
        }
        logins.put_aside();
        logins.current = Some(Arc::clone(&entered));
        Ok(Use { entered, is_new: true })
    }

    /// Another login for what was refused with this one, unless that was made for the very call.
    pub(super) async fn enter_again(
        &self,
        refused: &Use,
        entrant: &dyn Entrant,
        owed: Option<&dyn Obligations>,
    ) -> Result<Use, SourceFault> {
        match refused.is_new {
            true => Err(SourceFault::Denied),
            false => self.enter(entrant, owed, Some(&refused.entered)).await,
        }
    }

    /// The login with this accessor, if it is held for this entrant.
    pub(super) async fn held_login(&self, who: &Who, accessor: &str) -> Option<Arc<Entered>> {
        let seat = self.held.find(who)?;
        let logins = seat.0.lock().await;
        let all = logins.current.iter().chain(&logins.older);
        all.filter(|entered| entered.accessor.as_deref() == Some(accessor)).map(Arc::clone).next()
    }

    /// Forgets the logins of an agent, and ends them by themselves.
    pub(super) async fn forget(&self, agent: &Name) -> Result<(), SourceFault> {
        let mut ended = Ok(());
        for seat in self.held.take(agent) {
            let mut logins = seat.0.lock().await;
            logins.put_aside();
            let boot = self.clock.boot();
            for entered in std::mem::take(&mut logins.older) {
                if boot < entered.term().until {
                    match self.log_out(&entered).await {
                        // One that the store does not know any more has ended.
                        Ok(()) | Err(SourceFault::Denied) => {}
                        Err(fault) => ended = Err(fault),
                    }
                }
            }
        }
        ended
    }
}
