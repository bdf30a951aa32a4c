mod cluster;

use super::*;
use crate::conformance::{Had, Step, Store, hold};
use crate::testing::{Nobody, name, wanted};
use crate::{Entrant, Part};
use avouch_words::{Secret, SystemClock};
use cluster::{Cluster, reply, status};
use std::time::Duration;

const VALUE: &[u8] = b"ghp_0123456789abcdef";
const REFERENCE: &str = "ci/github#token";

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.allow(&["get", "watch"], "ci/github");
    cluster.put("ci", "github", "token", VALUE);
    cluster
}

fn source(cluster: &Cluster) -> KubernetesSource {
    let settings = KubernetesSettings {
        server: cluster.server.clone(),
        ca_file: cluster.path("ca.crt"),
        token_file: cluster.path("token"),
    };
    KubernetesSource::new(name("cluster"), settings, Arc::new(SystemClock)).unwrap()
}

async fn read(source: &KubernetesSource) -> Result<Lease, SourceFault> {
    source.read(&wanted(REFERENCE), &Nobody).await
}

async fn fault(source: &KubernetesSource) -> SourceFault {
    read(source).await.unwrap_err()
}

fn is_current(source: &KubernetesSource, lease: &Lease) -> bool {
    source.is_current(&Reference::parse(REFERENCE).unwrap(), lease.version.as_ref().unwrap())
}

async fn soon(mut so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to be");
}

/// The cluster for the suite.
struct Held {
    cluster: Cluster,
    source: KubernetesSource,
    value: std::sync::Mutex<&'static [u8]>,
}

impl Store for Held {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn held(&self) -> (Wanted, Secret) {
        (wanted(REFERENCE), Secret::new(self.value.lock().unwrap().to_vec()))
    }

    fn missing(&self) -> Wanted {
        wanted("ci/none#token")
    }

    fn unreadable(&self) -> Vec<Reference> {
        ["", "ci/github", "github#token", "ci/../x#y", "CI/github#token"]
            .map(|text| Reference::parse(text).unwrap())
            .into()
    }

    fn node(&self) -> Arc<dyn Entrant> {
        Arc::new(Nobody)
    }

    fn denied(&self) -> Step<'_, Had<Wanted>> {
        self.cluster.put("prod", "github", "token", VALUE);
        Box::pin(async { Ok(Had::Done(wanted("prod/github#token"))) })
    }

    fn garbage(&self) -> Step<'_, Had<Vec<(&'static str, Wanted)>>> {
        let long = "x".repeat(crate::sealed::VALUE_MAX + 1);
        for (at, value) in
            [b"short".as_slice(), b"two\nlines-of-it", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", long.as_bytes()]
                .iter()
                .enumerate()
        {
            self.cluster.put("ci", &format!("garbage{at}"), "k", value);
        }
        self.cluster.put_coded("ci", "garbage4", "k", "this is not base64!");
        let all = ["short", "two lines", "no text", "long", "not coded"].into_iter().enumerate();
        let all = all.map(|(at, what)| (what, wanted(&format!("ci/garbage{at}#k")))).collect();
        Box::pin(async { Ok(Had::Done(all)) })
    }

    fn rotate(&self) -> Step<'_, Had<Secret>> {
        *self.value.lock().unwrap() = b"ghp_another_one_of_it";
        self.cluster.put("ci", "github", "token", &self.value.lock().unwrap());
        let (_, value) = self.held();
        Box::pin(async { Ok(Had::Done(value)) })
    }

    fn stall(&self) -> Step<'_, Had<()>> {
        self.cluster.stall(true);
        Box::pin(async { Ok(Had::Done(())) })
    }

    fn go_on(&self) -> Step<'_, ()> {
        self.cluster.stall(false);
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn a_cluster_holds_what_sources_must_hold() {
    let cluster = cluster().await;
    cluster.allow(&["get", "watch"], "ci/none");
    for at in 0..5 {
        cluster.allow(&["get", "watch"], &format!("ci/garbage{at}"));
    }
    let source = source(&cluster);
    let not = hold(&Held { cluster, source, value: std::sync::Mutex::new(VALUE) }).await.unwrap();
    let words: Vec<&str> = not.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["other_binding", "sealed", "revoked"]);
}

#[tokio::test]
async fn a_change_is_told_and_then_the_old_version_is_current_no_more() {
    let cluster = cluster().await;
    let source = source(&cluster);
    let first = read(&source).await.unwrap();
    assert_eq!(first.part(Part::Value).unwrap().expose(), VALUE);
    soon(|| cluster.watches() == 1).await;
    cluster.bookmark();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(is_current(&source, &first), "a bookmark is no change");

    cluster.put("ci", "github", "token", b"ghp_the_second_one");
    soon(|| !is_current(&source, &first)).await;
    let second = read(&source).await.unwrap();
    assert!(is_current(&source, &second));

    cluster.delete("ci", "github");
    soon(|| !is_current(&source, &second)).await;
    assert_eq!(fault(&source).await, SourceFault::Missing);
    assert_eq!(cluster.watches(), 1, "one watch told it all");
    let asked = cluster.lock().asked.clone();
    let watch = asked.iter().find(|line| line.contains("watch=1")).unwrap();
    let expected = "GET /api/v1/namespaces/ci/secrets?watch=1&fieldSelector=metadata.name%3Dgithub&resourceVersion=101\
                    &allowWatchBookmarks=true&timeoutSeconds=240";
    assert_eq!(watch, expected);
    assert_eq!(asked[0], "GET /api/v1/namespaces/ci/secrets/github");
}

#[tokio::test]
async fn a_watch_that_breaks_goes_on_where_it_was() {
    let cluster = cluster().await;
    let source = source(&cluster);
    let first = read(&source).await.unwrap();
    soon(|| cluster.watches() == 1).await;
    cluster.end_watches(false);
    // It happens while nobody watches, and is told by the next watch.
    cluster.put("ci", "github", "token", b"ghp_the_second_one");
    soon(|| !is_current(&source, &first)).await;
    assert!(cluster.watches() >= 2);
}

#[tokio::test]
async fn when_the_version_is_gone_it_is_read_anew_and_watched_from_there() {
    for at_once in [false, true] {
        let cluster = cluster().await;
        cluster.lock().gone_at_once = at_once;
        let source = source(&cluster);
        let first = read(&source).await.unwrap();
        soon(|| cluster.watches() == 1).await;
        cluster.end_watches(true);
        soon(|| !is_current(&source, &first)).await;
        cluster.put("ci", "github", "token", b"ghp_the_second_one");
        let second = read(&source).await.unwrap();
        assert_eq!(second.part(Part::Value).unwrap().expose(), b"ghp_the_second_one");
        assert!(is_current(&source, &second));
        let before = cluster.watches();
        soon(|| cluster.watches() > before || before >= 3).await;
        cluster.put("ci", "github", "token", b"ghp_the_third_one");
        soon(|| !is_current(&source, &second)).await;
    }
}

#[tokio::test]
async fn a_role_that_may_not_watch_still_reads_and_asks_no_more() {
    let cluster = Cluster::start().await;
    cluster.allow(&["get"], "ci/github");
    cluster.put("ci", "github", "token", VALUE);
    let source = source(&cluster);
    let lease = read(&source).await.unwrap();
    soon(|| cluster.watches() == 1).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(cluster.watches(), 1);
    assert!(is_current(&source, &lease), "nothing else is known");
}

#[tokio::test]
async fn the_token_that_lies_there_now_is_shown() {
    let cluster = cluster().await;
    let source = source(&cluster);
    assert!(read(&source).await.is_ok());
    cluster.token("second-token");
    assert!(read(&source).await.is_ok());
    std::fs::write(cluster.path("token"), "stolen").unwrap();
    assert_eq!(fault(&source).await, SourceFault::Denied);
    std::fs::remove_file(cluster.path("token")).unwrap();
    assert_eq!(fault(&source).await, SourceFault::NoIdentity);
    for bad in [b"".as_slice(), b"\n", b"two\nlines", &[b'x'; TOKEN_MAX + 1]] {
        std::fs::write(cluster.path("token"), bad).unwrap();
        assert_eq!(fault(&source).await, SourceFault::NoIdentity);
    }
}

#[tokio::test]
async fn each_answer_has_its_fault() {
    let cluster = cluster().await;
    let source = source(&cluster);
    let mut patient = status(429, "TooManyRequests", "later");
    patient.headers_mut().insert("retry-after", "7".parse().unwrap());
    let mut for_ever = status(429, "TooManyRequests", "later");
    for_ever.headers_mut().insert("retry-after", "86400".parse().unwrap());
    let mut elsewhere = reply(302, String::new());
    elsewhere.headers_mut().insert("location", "/api/v1/namespaces/ci/secrets/github".parse().unwrap());
    let another = r#"{"kind":"ConfigMap","metadata":{"resourceVersion":"1"},"data":{"token":"eA=="}}"#;
    let number = r#"{"kind":"Secret","metadata":{"resourceVersion":"1"},"data":{"token":1}}"#;
    for (answer, expected) in [
        (patient, SourceFault::Busy(Duration::from_secs(7))),
        (for_ever, SourceFault::Busy(Duration::from_secs(60))),
        (status(500, "InternalError", "no"), SourceFault::Unavailable),
        (elsewhere, SourceFault::Unavailable),
        (reply(200, "{".to_owned()), SourceFault::Garbage),
        (reply(200, another.to_owned()), SourceFault::Garbage),
        (reply(200, number.to_owned()), SourceFault::Garbage),
        (reply(200, " ".repeat(BODY_MAX + 1)), SourceFault::Garbage),
    ] {
        let before = cluster.lock().asked.len();
        cluster.lock().next.push(answer);
        assert_eq!(fault(&source).await, expected);
        assert_eq!(cluster.lock().asked.len(), before + 1, "one request, and no redirect is followed");
    }
    assert_eq!(source.read(&wanted("ci/github#other"), &Nobody).await.unwrap_err(), SourceFault::Missing);
}

#[tokio::test]
async fn a_server_that_cannot_be_verified_is_sent_nothing() {
    let cluster = cluster().await;
    let foreign = Cluster::start().await;
    std::fs::copy(foreign.path("ca.crt"), cluster.path("ca.crt")).unwrap();
    let source = source(&cluster);
    assert_eq!(fault(&source).await, SourceFault::Unavailable);
    assert!(cluster.lock().asked.is_empty());
    for plain in ["http://127.0.0.1:1", "http://example"] {
        let settings = KubernetesSettings {
            server: plain.to_owned(),
            ca_file: cluster.path("ca.crt"),
            token_file: cluster.path("token"),
        };
        assert_eq!(KubernetesSource::new(name("c"), settings, Arc::new(SystemClock)).unwrap_err(), Unusable::Address);
    }
}
