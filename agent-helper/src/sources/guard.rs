//! A source that is shown tokens is left alone while the issuer does not reserve its audience: any workload could then
//! get a token for it (invariant 10).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use avouch_sources::{
    About, Doing, Entered, Entrant, Lease, Obligation, Obligations, Shown, Source, SourceFault, Wanted,
};
use avouch_words::{Millis, Name, Reference};
use tokio::sync::watch;

use crate::state::NodeState;

/// The sources, those that are shown tokens behind a guard.
pub(crate) fn guard(
    sources: Vec<Arc<dyn Source>>,
    states: &watch::Receiver<Option<Arc<NodeState>>>,
) -> Vec<Arc<dyn Source>> {
    let guarded = |source: Arc<dyn Source>| match source.about().shown {
        Shown::Jwt { audience } => {
            Arc::new(Guarded { source, audience, states: states.clone(), told: AtomicBool::new(false) }) as Arc<_>
        }
        Shown::X509 | Shown::Nothing => source,
    };
    sources.into_iter().map(guarded).collect()
}

struct Guarded {
    source: Arc<dyn Source>,
    audience: String,
    states: watch::Receiver<Option<Arc<NodeState>>>,
    told: AtomicBool,
}

impl Guarded {
    fn check(&self) -> Result<(), SourceFault> {
        let state = self.states.borrow();
        let reserved = state.as_ref().is_some_and(|state| state.policy.is_reserved_audience(&self.audience));
        if reserved {
            self.told.store(false, Ordering::Relaxed);
            return Ok(());
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            let (source, audience) = (self.source.name(), &self.audience);
            tracing::error!(%source, audience, "sources.audience.not_reserved: add it to the issuer's reserved_audiences");
        }
        Err(SourceFault::NotReserved)
    }
}

impl Source for Guarded {
    fn name(&self) -> &Name {
        self.source.name()
    }

    fn kind(&self) -> &'static str {
        self.source.kind()
    }

    fn about(&self) -> About {
        self.source.about()
    }

    fn check_reference(&self, reference: &Reference) -> Result<(), String> {
        self.source.check_reference(reference)
    }

    fn read<'a>(&'a self, wanted: &'a Wanted, owed: &'a dyn Obligations) -> Doing<'a, Lease> {
        Box::pin(async move {
            self.check()?;
            self.source.read(wanted, owed).await
        })
    }

    fn is_current(&self, reference: &Reference, version: &str) -> bool {
        self.source.is_current(reference, version)
    }

    fn try_entry<'a>(
        &'a self,
        entrant: &'a dyn Entrant,
        sought: Option<&'a Wanted>,
        owed: &'a dyn Obligations,
    ) -> Doing<'a, Entered> {
        Box::pin(async move {
            self.check()?;
            self.source.try_entry(entrant, sought, owed).await
        })
    }

    fn renew<'a>(&'a self, owed: &'a Obligation, entrant: &'a dyn Entrant) -> Doing<'a, Millis> {
        Box::pin(async move {
            self.check()?;
            self.source.renew(owed, entrant).await
        })
    }

    fn revoke<'a>(&'a self, owed: &'a Obligation, node: &'a dyn Entrant) -> Doing<'a, ()> {
        // What is owed is given back however it was come by.
        self.source.revoke(owed, node)
    }

    fn leave<'a>(&'a self, agent: &'a Name) -> Doing<'a, ()> {
        self.source.leave(agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NoEntrance, name};
    use avouch_words::{Digest, Secret};

    struct Plain(Name);

    impl Source for Plain {
        fn name(&self) -> &Name {
            &self.0
        }

        fn kind(&self) -> &'static str {
            "plain"
        }

        fn about(&self) -> About {
            let shown = Shown::Jwt { audience: "https://vault.example.test".to_owned() };
            About { place: String::new(), login: "jwt", shown }
        }

        fn check_reference(&self, _: &Reference) -> Result<(), String> {
            Ok(())
        }

        fn read<'a>(&'a self, _: &'a Wanted, _: &'a dyn Obligations) -> Doing<'a, Lease> {
            Box::pin(async { Ok(Lease::of(Secret::new(b"long-enough".to_vec()))) })
        }
    }

    struct Nothing;

    impl Obligations for Nothing {
        fn record(&self, _: Obligation) -> Doing<'_, ()> {
            Box::pin(async { Ok(()) })
        }

        fn settled<'a>(&'a self, _: &'a Name, _: &'a str) -> Doing<'a, ()> {
            Box::pin(async { Ok(()) })
        }
    }

    #[tokio::test]
    async fn a_source_whose_audience_any_workload_could_ask_for_is_not_entered() {
        let states = watch::Sender::new(None);
        let source = guard(vec![Arc::new(Plain(name("vault")))], &states.subscribe()).remove(0);
        let wanted = Wanted {
            credential: name("c"),
            binding: Digest::of(&[]),
            reference: Reference::default(),
            entrant: Arc::new(NoEntrance),
            fresh: false,
        };
        let state = |reserved: &[&str]| {
            let mut state = crate::state::tests::plain(1);
            state.reserved_audiences = reserved.iter().map(|one| (*one).to_owned()).collect();
            Some(Arc::new(NodeState::read(state).unwrap()))
        };
        for before in [None, state(&[]), state(&["https://vault.example.test/"])] {
            states.send_replace(before);
            assert_eq!(source.read(&wanted, &Nothing).await.err(), Some(SourceFault::NotReserved));
            let tried = source.try_entry(&NoEntrance, None, &Nothing).await;
            assert_eq!(tried.err(), Some(SourceFault::NotReserved));
        }
        states.send_replace(state(&["https://vault.example.test"]));
        assert!(source.read(&wanted, &Nothing).await.is_ok());
        states.send_replace(state(&[]));
        assert_eq!(source.read(&wanted, &Nothing).await.err(), Some(SourceFault::NotReserved), "nor any more");
    }
}
