//! The pages that Prometheus reads, of both parts, by a strict reader; and docs/metrics.md, which lists all of them.

use avouch_tests::{Installation, World};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// Samples by name and labels, and the kind of each family.
#[derive(Debug, Default)]
struct Page {
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Page {
    /// Reads the text format; whatever a strict reader would trip over fails.
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut page = Self::default();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help");
                assert!(page.helps.insert(name.to_owned(), help.to_owned()).is_none(), "{name} twice");
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert!(page.helps.contains_key(name) && matches!(kind, "counter" | "gauge"), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
                assert!(page.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
                family = name.to_owned();
                continue;
            }
            let (key, value) = line.rsplit_once(' ').expect("a sample");
            let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
            assert_eq!(name, family, "a family is told as a whole");
            let labels = labels.strip_suffix('}').expect("closed labels");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (name, value) = label.split_once('=').expect("a label");
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{label}");
                let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quotes");
                assert!(!value.contains('"') && !value.contains("spiffe://"), "{label}");
            }
            let value: f64 = value.parse().expect("a number");
            assert!(page.samples.insert(key.to_owned(), value).is_none(), "{key} twice");
        }
        page
    }

    fn of(&self, key: &str) -> f64 {
        *self.samples.get(key).unwrap_or_else(|| panic!("{key} is not on the page: {:?}", self.samples.keys()))
    }
}

fn ask(port: u16) -> Page {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").expect("asked");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("an answer");
    let (head, page) = reply.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    Page::read(page)
}

#[test]
fn both_pages_are_strict_and_move_and_the_manual_lists_them() {
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
    let (issuer, helper) = (free(), free());
    let health = |port: u16| format!("[health]\nlisten = \"127.0.0.1:{port}\"\n");
    let mut made = Installation::prepare_with(&health(issuer), &health(helper)).expect("settings");
    made.start_both().expect("started");
    let world = World::on(made).expect("a world");
    let before = (ask(issuer), ask(helper));

    let answered = world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl");
    assert!(answered.ends_with("200"), "{answered}");
    world.curl("researcher", &[&world.plain("/elsewhere")]).expect("curl");
    world.curl("intruder", &[&world.plain("/repos/x")]).expect("curl");
    let mut program = std::env::current_exe().expect("this test");
    program.pop();
    program.pop();
    let program = program.join("avouch").display().to_string();
    let shown = world.under_run("researcher", &[&program, "svid", "show", "-o", "json"]).output().expect("svid show");
    assert!(shown.status.success(), "{shown:?}");
    world.made.run(&["token", "create", "--node", "n2", "--out", "-"]).expect("a token");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let after = (ask(issuer), ask(helper));

    for (key, least) in [
        (r#"avouch_broker_requests_total{service="plain",decision="allowed"}"#, 1.0),
        (r#"avouch_attestation_total{attestor="session",result="ok"}"#, 4.0),
        (r#"avouch_svid_rotations_total{result="ok"}"#, 1.0),
    ] {
        let grown = after.1.of(key) - before.1.samples.get(key).copied().unwrap_or(0.0);
        assert!(grown >= least, "{key} grew by {grown}");
    }
    let denied: f64 =
        after.1.samples.iter().filter(|(key, _)| key.contains("decision=\"denied\"")).map(|(_, value)| value).sum();
    assert!(denied >= 2.0, "{:?}", after.1.samples);
    assert!(after.1.of("avouch_audit_head_index") > before.1.of("avouch_audit_head_index"));
    assert_eq!(after.1.of("avouch_injecting"), 1.0);
    assert_eq!(after.1.of(r#"avouch_source_up{source="sealed"}"#), 1.0);
    assert!((0.0..10.0).contains(&after.1.of("avouch_lock_state_age_seconds")));
    for (key, least) in [(r#"avouch_svid_issued_total{kind="x509"}"#, 1.0), ("avouch_audit_head_index", 1.0)] {
        let grown = after.0.of(key) - before.0.of(key);
        assert!(grown >= least, "{key} grew by {grown}");
    }
    assert_eq!(after.0.of(r#"avouch_attestation_total{attestor="join_token",result="ok"}"#), 1.0);
    assert_eq!(after.0.of("avouch_agents"), 2.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    for (page, kind) in [(&after.0, "issuer"), (&after.1, "node")] {
        let ends = page.of(&format!("avouch_svid_expiration_timestamp_seconds{{kind=\"{kind}\"}}"));
        assert!(ends > now && ends < now + 7200.0, "{kind} {ends}");
    }
    for (page, part) in [(&after.0, "issuer"), (&after.1, "helper")] {
        let listed = listed(part);
        let found: BTreeMap<String, (String, String)> =
            page.kinds.iter().map(|(name, kind)| (name.clone(), (kind.clone(), page.helps[name].clone()))).collect();
        assert_eq!(found, listed, "docs/metrics.md is not what the {part} tells");
    }
}

/// The rows of docs/metrics.md below the heading of a part: name, kind and help.
fn listed(part: &str) -> BTreeMap<String, (String, String)> {
    let manual = include_str!("../../docs/metrics.md");
    let section = manual.split("\n## ").find(|section| section.to_lowercase().starts_with(&format!("the {part}")));
    let rows = section.expect("a section").lines().filter(|line| line.starts_with("| `avouch_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`').split('{').next().unwrap_or_default().to_owned();
        (name, (cells[1].to_owned(), cells[2].to_owned()))
    })
    .collect()
}
