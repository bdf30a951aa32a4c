//! Secrets in a real OpenBao, entered as `docs/sources.md` tells users to set it up: its lines are run as they stand.

#[path = "openbao/deployed.rs"]
mod deployed;
#[path = "openbao/leases.rs"]
mod leases;
#[path = "openbao/logins.rs"]
mod logins;
#[path = "openbao/rig.rs"]
mod rig;

use avouch_sources::conformance::{Had, Step, Store, hold};
use avouch_sources::{Entrant, Lease, Source, Wanted};
use avouch_words::{Reference, Secret};
use rig::{Rig, VALUE, wanted};
use std::sync::Arc;

/// The suite's store: one value that changes, and a database for what is leased.
struct Held {
    rig: Rig,
    agent: Arc<dyn Entrant>,
    source: avouch_sources::OpenBao,
    value: std::sync::Mutex<String>,
}

impl Held {
    fn wanted(&self, reference: &str) -> Wanted {
        wanted(reference, &self.agent)
    }

    fn put(&self, path: &str, fields: &[&str]) {
        self.rig.bao.run(&[&["kv", "put", "-mount=secret", path], fields].concat()).expect("put");
    }
}

impl Store for Held {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn held(&self) -> (Wanted, Secret) {
        let value = self.value.lock().expect("a value").clone();
        (self.wanted("kv2:secret/ci/github#token"), Secret::new(value.into_bytes()))
    }

    fn missing(&self) -> Wanted {
        self.wanted("kv2:secret/ci/none#token")
    }

    fn unreadable(&self) -> Vec<Reference> {
        ["", "secret/ci/github#token", "kv2:secret/../sys/seal-status#sealed", "kv2:secret/ci/github"]
            .map(|text| Reference::parse(text).expect("a reference"))
            .into()
    }

    fn node(&self) -> Arc<dyn Entrant> {
        self.rig.authority.node()
    }

    fn denied(&self) -> Step<'_, Had<Wanted>> {
        Box::pin(async {
            self.put("elsewhere", &["token=not-for-this-agent"]);
            Ok(Had::Done(self.wanted("kv2:secret/elsewhere#token")))
        })
    }

    fn garbage(&self) -> Step<'_, Had<Vec<(&'static str, Wanted)>>> {
        Box::pin(async {
            let long = format!("long={}", "x".repeat(16 * 1024 + 1));
            self.put(
                "ci/garbage",
                &["short=seven77", "line=first line\nsecond line", "umlaut=gr\u{fc}n-und-lang", &long],
            );
            let json =
                r#"{"data":{"number":12345678,"list":["value-of-a-list"],"map":{"value":"of-a-map"},"null":null}}"#;
            std::fs::write(self.rig.bao.folder().join("odd.json"), json).map_err(|error| error.to_string())?;
            self.rig.bao.shell("bao write secret/data/ci/odd @odd.json", &[]).map_err(|error| error.to_string())?;
            let all = [
                ("a value too short to be scrubbed", "garbage#short"),
                ("a value of two lines", "garbage#line"),
                ("a value outside ASCII", "garbage#umlaut"),
                ("a value that is too long", "garbage#long"),
                ("a number", "odd#number"),
                ("a list", "odd#list"),
                ("a map", "odd#map"),
                ("null", "odd#null"),
            ];
            let wanted = all.map(|(what, place)| (what, self.wanted(&format!("kv2:secret/ci/{place}"))));
            Ok(Had::Done(wanted.into()))
        })
    }

    fn rotate(&self) -> Step<'_, Had<Secret>> {
        Box::pin(async {
            "another-value-of-github".clone_into(&mut self.value.lock().expect("a value"));
            self.put("ci/github", &["token=another-value-of-github"]);
            Ok(Had::Done(self.held().1))
        })
    }

    fn stall(&self) -> Step<'_, Had<()>> {
        Box::pin(async { self.rig.bao.stall().map(Had::Done).map_err(|error| error.to_string()) })
    }

    fn go_on(&self) -> Step<'_, ()> {
        Box::pin(async { self.rig.bao.go_on().map_err(|error| error.to_string()) })
    }

    fn seal(&self) -> Step<'_, Had<()>> {
        Box::pin(async { self.rig.bao.seal().map(Had::Done).map_err(|error| error.to_string()) })
    }

    fn unseal(&self) -> Step<'_, ()> {
        Box::pin(async { self.rig.bao.unseal().map_err(|error| error.to_string()) })
    }

    fn leased(&self) -> Step<'_, Had<Wanted>> {
        Box::pin(async { Ok(Had::Done(self.wanted("database:database/readonly"))) })
    }

    fn works<'a>(&'a self, lease: &'a Lease) -> Step<'a, bool> {
        Box::pin(async { Ok(self.rig.opens_the_database(lease)) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openbao_holds_what_sources_must_hold() {
    for tls in [false, true] {
        let rig = Rig::start(tls, &["jwt", "database"]);
        let held = Held {
            source: rig.source(rig.jwt()),
            agent: rig.authority.agent("researcher"),
            value: std::sync::Mutex::new(VALUE.to_owned()),
            rig,
        };
        let not = hold(&held).await.expect("what sources must hold");
        let words: Vec<&str> = not.iter().map(|(word, _)| *word).collect();
        assert_eq!(words, ["other_binding"], "{not:?}");
    }
}
