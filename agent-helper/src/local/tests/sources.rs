//! Sources that are listed and tried, with one that can be told what it minds.

use super::*;
use crate::identity::instance::Holder;
use crate::state::tests::locked;
use avouch_sources::{About, Doing, Entered, Entrant, Found, Lease, Obligations, Shown, SourceFault, Wanted};
use avouch_wire::issuer as wire;
use avouch_words::{Name, Reference, Ulid};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as B64, Engine};
use std::sync::Mutex;

const VAULT: &str = "https://vault.example.test";
const BROKERED: &str = "spiffe://example.test/brokered/agent/researcher";

/// What a role is bound to.
#[derive(Clone, Copy, PartialEq)]
enum Bound {
    /// The audience and the subject.
    Subject,
    /// The audience alone.
    Audience,
    /// Whatever the trust domain signed.
    Nothing,
    /// It does not answer.
    Away,
}

struct Role {
    name: Name,
    shown: Shown,
    bound: Mutex<Bound>,
    found: Mutex<Result<Found, SourceFault>>,
    /// Who was said to enter, each time.
    entered: Mutex<Vec<String>>,
}

impl Role {
    fn new(shown: Shown) -> Arc<Self> {
        let found = Ok(Found::Value { bytes: 40, version: Some("3".to_owned()) });
        let (bound, found) = (Mutex::new(Bound::Subject), Mutex::new(found));
        Arc::new(Self { name: name("vault"), shown, bound, found, entered: Mutex::default() })
    }

    /// Subject and audience of what is shown.
    async fn shown_by(&self, entrant: &dyn Entrant) -> Result<(String, bool), SourceFault> {
        match &self.shown {
            Shown::Jwt { audience } => {
                let token = entrant.jwt(audience).await?;
                let text = String::from_utf8(token.expose().to_vec()).unwrap();
                let claims = B64.decode(text.split('.').nth(1).unwrap()).unwrap();
                let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
                Ok((claims["sub"].as_str().unwrap().to_owned(), claims["aud"] == serde_json::json!([audience])))
            }
            _ => {
                let shown = entrant.x509().await?;
                let der = &shown.chain[0];
                // A URI name: its tag, its length, its bytes.
                let from = der.windows(9).position(|bytes| bytes == b"spiffe://").unwrap();
                let id = String::from_utf8(der[from..from + usize::from(der[from - 1])].to_vec()).unwrap();
                Ok((id, true))
            }
        }
    }
}

impl Source for Role {
    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "openbao"
    }

    fn about(&self) -> About {
        let login = if self.shown == Shown::X509 { "cert" } else { "jwt" };
        About { place: "https://v:8200".to_owned(), login, shown: self.shown.clone() }
    }

    fn check_reference(&self, _: &Reference) -> Result<(), String> {
        Ok(())
    }

    fn read<'a>(&'a self, _: &'a Wanted, _: &'a dyn Obligations) -> Doing<'a, Lease> {
        Box::pin(async { Err(SourceFault::Unavailable) })
    }

    fn try_entry<'a>(
        &'a self,
        entrant: &'a dyn Entrant,
        sought: Option<&'a Wanted>,
        _: &'a dyn Obligations,
    ) -> Doing<'a, Entered> {
        Box::pin(async move {
            let (sub, of_audience) = self.shown_by(entrant).await?;
            self.entered.lock().unwrap().push(format!("{:?} {sub}", entrant.who()));
            let lets_in = match *self.bound.lock().unwrap() {
                Bound::Subject => of_audience && sub == BROKERED,
                Bound::Audience => of_audience && sub.contains("/brokered/"),
                Bound::Nothing => true,
                Bound::Away => return Err(SourceFault::Unavailable),
            };
            if !lets_in {
                return Err(SourceFault::Denied);
            }
            let found = sought.map(|_| self.found.lock().unwrap().clone());
            Ok(Entered { seen_as: Some(sub), rights: vec!["researcher".to_owned()], found })
        })
    }
}

/// A state in which `researcher` may use `ci` of the source.
fn granted(authority: &TestAuthority) -> wire::State {
    let id = "01HF7YAT00ZZZZZZZZZZZZZZZZ".to_owned();
    let mut state = authority.state(1);
    state.credentials.push(wire::Credential {
        name: "ci".to_owned(),
        source: "vault".to_owned(),
        reference: "kv2:secret/ci#token".to_owned(),
        binding: BINDING.to_vec(),
    });
    state.grants.push(wire::Grant { id, agent: "researcher".to_owned(), credential: "ci".to_owned() });
    state
}

async fn rig_of(role: &Arc<Role>) -> Rig {
    let rig = rig_with(&[us()], vec![role.clone()]).await;
    rig.states.send_replace(Some(Arc::new(NodeState::read(granted(&rig.authority)).unwrap())));
    rig.instances
        .of(&name("researcher"), Holder::Session(Ulid::new(avouch_words::Millis(1), [3; 10])), &SystemClock)
        .unwrap();
    rig
}

fn request() -> api::TestSourceRequest {
    api::TestSourceRequest { source: "vault".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_source_is_entered_as_the_agent_and_refused_to_a_probe_and_to_the_agent_itself() {
    for shown in [Shown::Jwt { audience: VAULT.to_owned() }, Shown::X509] {
        let role = Role::new(shown.clone());
        let mut rig = rig_of(&role).await;
        let reply = rig.client.test_source(request()).await.unwrap().into_inner();
        assert!(reply.passed && reply.remedy.is_empty(), "{reply:?}");
        assert_eq!((reply.agent.as_str(), reply.spiffe_id.as_str()), ("researcher", BROKERED));
        assert_eq!((reply.credential.as_str(), reply.reference.as_str()), ("ci", "kv2:secret/ci#token"));
        let agent = reply.as_agent.unwrap();
        assert_eq!((agent.outcome.as_str(), agent.seen_as.as_str()), ("let_in", BROKERED));
        let found = agent.found.unwrap();
        assert_eq!((found.bytes, found.version.as_str(), found.fault.as_str()), (40, "3", ""));
        assert_eq!(reply.as_probe.unwrap().outcome, "refused");
        assert_eq!(reply.as_workload.unwrap().outcome, "refused");
        let entered = role.entered.lock().unwrap().clone();
        assert!(entered.iter().all(|who| who.contains("researcher")), "all by the agent's own role: {entered:?}");
        assert!(entered[1].contains("/brokered/agent/avouch-probe-"), "{entered:?}");
        assert!(entered[2].contains("/agent/researcher"), "{entered:?}");
        assert_eq!(rig.notes.codes(), ["source.tested"]);
    }
}

/// The attack that the test is for: a role that is bound to the audience alone.
#[tokio::test]
async fn a_source_that_lets_anybody_in_fails_and_is_told_what_is_missing() {
    for (shown, remedy) in [
        (Shown::Jwt { audience: VAULT.to_owned() }, "bound_subject=spiffe://example.test/brokered/agent/researcher"),
        (Shown::X509, "allowed_uri_sans=spiffe://example.test/brokered/agent/researcher"),
    ] {
        let role = Role::new(shown);
        let mut rig = rig_of(&role).await;
        for (bound, probe, workload) in [(Bound::Audience, "let_in", "refused"), (Bound::Nothing, "let_in", "let_in")] {
            *role.bound.lock().unwrap() = bound;
            let reply = rig.client.test_source(request()).await.unwrap().into_inner();
            assert!(!reply.passed && reply.remedy.contains(remedy), "{reply:?}");
            assert_eq!(reply.as_probe.unwrap().outcome, probe);
            assert_eq!(reply.as_workload.unwrap().outcome, workload);
        }
    }
}

#[tokio::test]
async fn what_could_not_be_tried_or_is_not_there_does_not_pass() {
    let role = Role::new(Shown::Jwt { audience: VAULT.to_owned() });
    let mut rig = rig_of(&role).await;
    *role.found.lock().unwrap() = Err(SourceFault::Missing);
    let reply = rig.client.test_source(request()).await.unwrap().into_inner();
    assert!(!reply.passed);
    assert_eq!(reply.as_agent.unwrap().found.unwrap().fault, "missing");
    *role.bound.lock().unwrap() = Bound::Away;
    let reply = rig.client.test_source(request()).await.unwrap().into_inner();
    let tried = [reply.as_agent.unwrap(), reply.as_probe.unwrap(), reply.as_workload.unwrap()];
    assert!(!reply.passed && tried.iter().all(|tried| tried.outcome == "not_tried" && tried.fault == "unavailable"));
    // Locked: the agent has no identity to show any more.
    rig.states.send_replace(Some(Arc::new(NodeState::read(locked(2)).unwrap())));
    assert!(!rig.client.test_source(request()).await.unwrap().into_inner().passed);
}

#[tokio::test]
async fn who_and_what_is_asked_for_has_to_be_there() {
    let role = Role::new(Shown::Jwt { audience: VAULT.to_owned() });
    let mut rig = rig_of(&role).await;
    let ask = |change: fn(&mut api::TestSourceRequest)| {
        let mut asked = request();
        change(&mut asked);
        asked
    };
    for (asked, expected) in [
        (ask(|r| r.source = "other".to_owned()), "no_source"),
        (ask(|r| r.source = "../x".to_owned()), "no_source"),
        (ask(|r| r.agent = "nobody".to_owned()), "no_instance"),
        (ask(|r| r.agent = "A B".to_owned()), "bad_agent"),
        (ask(|r| r.credential = "github".to_owned()), "not_of_source"),
    ] {
        assert_eq!(code(&rig.client.test_source(asked).await.unwrap_err()), expected);
    }
    rig.states.send_replace(None);
    assert_eq!(code(&rig.client.test_source(request()).await.unwrap_err()), "issuer_unheard");
}

#[tokio::test]
async fn sources_are_listed_with_how_they_are_entered_and_why_they_are_left_alone() {
    let role = Role::new(Shown::Jwt { audience: VAULT.to_owned() });
    let mut rig = rig_of(&role).await;
    let listed = rig.client.list_sources(api::ListSourcesRequest {}).await.unwrap().into_inner().sources;
    let told: Vec<_> = listed.iter().map(|one| (one.name.as_str(), one.kind.as_str(), one.state.as_str())).collect();
    assert_eq!(told, [("sealed", "sealed", "ready"), ("vault", "openbao", "ready")]);
    assert_eq!((listed[1].login.as_str(), listed[1].audience.as_str()), ("jwt", VAULT));
    let unreserved = wire::State { reserved_audiences: Vec::new(), ..granted(&rig.authority) };
    rig.states.send_replace(Some(Arc::new(NodeState::read(unreserved).unwrap())));
    let listed = rig.client.list_sources(api::ListSourcesRequest {}).await.unwrap().into_inner().sources;
    assert_eq!(listed[1].state, "audience_not_reserved");
}

#[tokio::test]
async fn the_nodes_own_store_is_read_without_telling_the_value() {
    let role = Role::new(Shown::X509);
    let mut rig = rig_of(&role).await;
    let mut state = granted(&rig.authority);
    state.credentials[0].source = "sealed".to_owned();
    state.credentials[0].reference.clear();
    rig.states.send_replace(Some(Arc::new(NodeState::read(state).unwrap())));
    let request = api::TestSourceRequest { source: "sealed".to_owned(), ..Default::default() };
    let reply = rig.client.test_source(request.clone()).await.unwrap().into_inner();
    assert_eq!(reply.as_agent.unwrap().found.unwrap().fault, "missing");
    rig.client
        .put_secret(api::PutSecretRequest { credential: "ci".to_owned(), ..put(b"hunter2-hunter2") })
        .await
        .unwrap();
    let reply = rig.client.test_source(request).await.unwrap().into_inner();
    assert!(reply.passed && reply.as_probe.is_none() && !format!("{reply:?}").contains("hunter2"), "{reply:?}");
    assert_eq!(reply.as_agent.unwrap().found.unwrap().bytes, 15);
}
