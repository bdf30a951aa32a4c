//! The crates may use each other only along DESIGN's arrows, and what is dangerous or heavy lives in few places.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// `A -> B`: A uses B. Every crate may use the words besides.
const ARROWS: &[(&str, &[&str])] = &[
    ("avouch-words", &[]),
    ("avouch-wire", &[]),
    ("avouch-policy", &[]),
    ("avouch-audit", &[]),
    ("avouch-attest-node", &[]),
    ("avouch-attest-workload", &[]),
    ("avouch-config", &[]),
    ("avouch-contain", &[]),
    ("avouch-sources", &[]),
    ("avouch-core", &["avouch-policy", "avouch-audit"]),
    ("avouch-keys", &["avouch-core"]),
    ("avouch-store", &["avouch-core"]),
    (
        "avouch-server",
        &["avouch-core", "avouch-keys", "avouch-store", "avouch-attest-node", "avouch-config", "avouch-wire"],
    ),
    (
        "avouch-helper",
        &[
            "avouch-policy",
            "avouch-audit",
            "avouch-sources",
            "avouch-attest-node",
            "avouch-attest-workload",
            "avouch-config",
            "avouch-wire",
        ],
    ),
    ("avouch", &["avouch-server", "avouch-helper", "avouch-contain", "avouch-config", "avouch-wire"]),
];

/// The words of decisions and records. Who reaches them along the arrows may name them.
const VOCABULARY: [&str; 2] = ["avouch-policy", "avouch-audit"];

/// Who may name a dependency. `tests` may name any.
const HOMES: &[(&str, &[&str])] = &[
    ("prost", &["avouch-wire"]),
    ("prost-types", &["avouch-wire"]),
    ("tonic-prost", &["avouch-wire"]),
    ("sqlx", &["avouch-store"]),
    ("cedar-policy", &["avouch-policy"]),
    // In the program for the throw-away certificate of the demo's tool server.
    ("rcgen", &["avouch-core", "avouch-helper", "avouch"]),
    ("anyhow", &["avouch", "avouch-helper"]),
    ("landlock", &["avouch-contain"]),
    ("seccompiler", &["avouch-contain"]),
    ("linux-keyutils", &["avouch-contain", "avouch-helper"]),
];

/// What no build of ours holds: a second crypto provider, or C TLS.
const NEVER: &[&str] = &["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"];

#[test]
fn crates_use_each_other_along_the_arrows_only() {
    let graph = Graph::read();
    for (name, uses) in &graph.members {
        if name == "avouch-tests" {
            continue;
        }
        for used in uses.iter().filter(|used| graph.members.contains_key(*used) && *used != "avouch-words") {
            let vocabulary = VOCABULARY.contains(&used.as_str()) && reaches(name, used);
            assert!(arrows(name).contains(&used.as_str()) || vocabulary, "{name} -> {used} is no arrow of the design");
        }
    }
}

#[test]
fn every_crate_of_the_design_is_there() {
    let graph = Graph::read();
    for (name, _) in ARROWS {
        assert!(graph.members.contains_key(*name), "{name} is missing");
    }
}

#[test]
fn heavy_and_dangerous_dependencies_live_in_their_homes() {
    let graph = Graph::read();
    for (name, uses) in graph.members.iter().filter(|(name, _)| *name != "avouch-tests") {
        for (dependency, homes) in HOMES {
            assert!(
                !uses.contains(*dependency) || homes.contains(&name.as_str()),
                "{name} names {dependency}, which belongs in {homes:?}"
            );
        }
    }
}

#[test]
fn the_helper_program_holds_no_issuer_code() {
    let reached = Graph::read().reached_from("avouch-helper");
    for server in ["avouch-core", "avouch-keys", "avouch-store", "avouch-server", "sqlx"] {
        assert!(!reached.contains(server), "avouch-helper is built with {server}");
    }
}

#[test]
fn there_is_one_crypto_provider() {
    let reached = Graph::read().reached_from("avouch");
    for never in NEVER {
        assert!(!reached.contains(*never), "{never} is in the build");
    }
    assert!(reached.contains("ring"));
}

fn arrows(from: &str) -> &'static [&'static str] {
    ARROWS.iter().find(|(name, _)| *name == from).unwrap_or_else(|| panic!("{from} is not in ARROWS")).1
}

fn reaches(from: &str, to: &str) -> bool {
    arrows(from).iter().any(|next| *next == to || reaches(next, to))
}

/// Direct uses (normal and build, not dev) of each package, by name.
struct Graph {
    members: BTreeMap<String, BTreeSet<String>>,
    all: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--offline",
                "--filter-platform",
                "x86_64-unknown-linux-gnu",
            ])
            .arg("--manifest-path")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
            .output()
            .expect("cargo metadata");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON of cargo metadata");
        let names: BTreeMap<&str, &str> =
            list(&metadata["packages"]).map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let all: BTreeMap<String, BTreeSet<String>> = list(&metadata["resolve"]["nodes"])
            .map(|node| {
                let uses = list(&node["deps"])
                    .filter(|dep| list(&dep["dep_kinds"]).any(|kind| kind["kind"].as_str() != Some("dev")))
                    .map(|dep| names[text(&dep["pkg"])].to_owned())
                    .collect();
                (names[text(&node["id"])].to_owned(), uses)
            })
            .collect();
        let members = list(&metadata["workspace_members"])
            .map(|id| names[text(id)].to_owned())
            .map(|name| (name.clone(), all[&name].clone()))
            .collect();
        Self { members, all }
    }

    fn reached_from(&self, start: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![start.to_owned()];
        while let Some(name) = open.pop() {
            if reached.insert(name.clone()) {
                open.extend(self.all.get(&name).into_iter().flatten().cloned());
            }
        }
        reached
    }
}

fn list(value: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().expect("a text in cargo metadata")
}
