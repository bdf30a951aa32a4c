//! `-o json` on every verb: one JSON text on stdout, with the keys that scripts may go by; and failures as JSON on
//! stderr.

use crate::fake::Daemons;
use avouch::args::Cli;
use clap::CommandFactory as _;
use serde_json::Value;
use std::collections::BTreeSet;

/// A verb, a line that runs it, and the keys of its object or of the objects in its list.
type Shape = (&'static str, &'static str, &'static [&'static str]);

const AGENT: &[&str] = &[
    "name",
    "owner",
    "nodes",
    "selectors",
    "x509_ttl",
    "jwt_ttl",
    "created",
    "id",
    "hint",
    "common_name",
    "dns_names",
];
const WITHDRAWN: &[&str] = &["name", "id", "withdrawn", "version", "applied", "after_us", "fails_closed", "instances"];
const NODE: &[&str] = &[
    "name",
    "id",
    "attestor",
    "selectors",
    "joined",
    "svid_expires",
    "serial",
    "connected",
    "version",
    "banned",
    "agents",
    "instances",
];
const CREDENTIAL: &[&str] = &["name", "source", "reference", "to", "methods", "paths", "as", "created", "binding"];
const GRANT: &[&str] = &["id", "agent", "credential", "created"];
const LOCK: &[&str] = &["id", "agent", "reason", "author", "created", "expires", "ended"];
const LOCKED: &[&str] =
    &["id", "agent", "reason", "author", "created", "version", "svids_valid_until", "applied", "pending"];
const SOURCE_TEST: &[&str] = &[
    "source",
    "kind",
    "place",
    "login",
    "audience",
    "state",
    "agent",
    "instance",
    "id",
    "credential",
    "reference",
    "as_agent",
    "as_probe",
    "as_workload",
    "remedy",
    "passed",
];
const STATUS: &[&str] = &["issuer", "helper", "nodes", "sessions", "instances", "agents", "locks", "refused", "ending"];
const PRESET: &[&str] = &[
    "name",
    "aliases",
    "title",
    "to",
    "methods",
    "paths",
    "query",
    "as",
    "environment",
    "placeholder",
    "placeholder_in_body",
    "begins",
    "probe",
    "narrow",
    "needs",
    "note",
];
const WHY: &[&str] = &[
    "decision",
    "verdict",
    "time",
    "node",
    "agent",
    "session",
    "contained",
    "request",
    "uses",
    "code",
    "rule",
    "mismatch",
    "credentials",
    "lock",
    "outcome",
    "policy_version",
    "now",
    "commands",
    "advice",
];

const TARGET: &[&str] = &["agent", "vendor", "audience", "subject", "algorithm", "settings", "created"];
const OPENED: &[&str] = &[
    "agent",
    "vendor",
    "issuer",
    "subject",
    "audience",
    "algorithm",
    "keys",
    "upload_again_by",
    "environment",
    "steps",
    "test",
];
const JWKS: &[&str] = &["issuer", "jwks", "upload_again_from", "upload_again_by", "served", "rs256_audiences"];
const LEASE: &[&str] = &[
    "id",
    "source",
    "kind",
    "credential",
    "agent",
    "instance",
    "taken",
    "expires",
    "renewable",
    "due",
    "tries",
    "next",
    "fault",
    "lease",
];

const SHAPES: &[Shape] = &[
    ("federate anthropic", "federate anthropic --agent a --rule fdrl_1 --organization o", OPENED),
    ("federate openai", "federate openai --agent a --rule idpm_1", OPENED),
    ("federate aws", "federate aws --agent a --role-arn arn:aws:iam::1:role/a", OPENED),
    (
        "federate gcp",
        "federate gcp --agent a --provider projects/1/locations/global/workloadIdentityPools/avouch/providers/avouch",
        OPENED,
    ),
    ("federate azure", "federate azure --agent a --tenant t --client c", OPENED),
    ("federate list", "federate list", TARGET),
    ("federate close", "federate close aws --agent a", TARGET),
    ("jwks print", "jwks print", JWKS),
    ("jwks print", "jwks print --url", &["issuer", "jwks_uri"]),
    ("token create", "token create --node b --out DIR/join.token", &["node", "expires", "file"]),
    ("token create", "token create --node b --out -", &["node", "expires", "token"]),
    ("node list", "node list", &["id", "connected", "joined", "svid_expires", "version", "banned", "selectors"]),
    ("node show", "node show here", NODE),
    ("node ban", "node ban here --reason stolen --yes", WITHDRAWN),
    ("node evict", "node evict here --reason anew --yes", WITHDRAWN),
    ("node token", "node token here --out -", &["node", "expires", "token"]),
    ("apply", "apply -f ../config/resources.yaml --dry-run", &["action", "kind", "name", "fields", "from"]),
    ("apply", "apply --schema", &["$schema", "$id", "title", "oneOf", "$defs"]),
    ("agent delete", "agent delete a --reason r --yes", &["name", "deleted", "grants", "svids_valid_until"]),
    ("credential delete", "credential delete c --reason r --yes", &["name", "deleted", "grants"]),
    ("agent create", "agent create a --owner me --selector unix:uid:7", AGENT),
    ("agent list", "agent list", AGENT),
    ("credential create", "credential create c --source vault --ref kv2:secret/ci#token --preset github", CREDENTIAL),
    ("credential list", "credential list", CREDENTIAL),
    ("credential rotate", "credential rotate c", &["name", "kept"]),
    (
        "secret put",
        "secret put c --value-stdin --to https://api.example.test --method GET --path / --as bearer",
        CREDENTIAL,
    ),
    ("secret put", "secret put github --preset github --narrow", PRESET),
    ("source list", "source list", &["name", "kind", "place", "login", "audience", "state"]),
    ("source test", "source test vault --agent researcher", SOURCE_TEST),
    ("preset list", "preset list", &["name", "title", "to", "as", "environment"]),
    ("preset show", "preset show github", PRESET),
    ("grant create", "grant create --agent a --credential c", GRANT),
    ("grant list", "grant list", GRANT),
    ("grant delete", "grant delete 01K9ZQ3M6X5T8W4V2R7N1C0BDE", &["id", "deleted"]),
    ("lease list", "lease list", LEASE),
    ("lease show", "lease show 3f7a1c09be52d841", LEASE),
    ("lease revoke", "lease revoke 3f7a1c09be52d841", &["id", "revoked"]),
    ("lock create", "lock create --agent a --reason r", LOCKED),
    ("lock list", "lock list", LOCK),
    ("lock release", "lock release 01K9ZQ3M6X5T8W4V2R7N1C0BDE", LOCK),
    ("audit list", "audit list", &["index", "time", "writer", "event", "agent", "about"]),
    ("audit export", "audit export --out DIR/export.jsonl", &["entries", "file"]),
    ("import", "import DIR/.env --dry-run", &["line", "name", "state", "credential", "about"]),
    ("explain", "explain", &["code", "retry", "message", "action"]),
    ("explain", "explain denied", &["code", "retry", "message", "action"]),
    ("status", "status", STATUS),
    ("why", "why DECISION", WHY),
    ("run", "run --explain --contain=work -- true", &["contained", "profile", "about", "reaches"]),
    ("run", "run --explain --no-contain -- true", &["contained", "profile", "about", "reaches"]),
    ("completions", "completions bash", &["script"]),
    ("man", "man --dir DIR/man1", &["pages", "dir"]),
];

/// Verbs whose shape is looked at where they can be run: beside a real issuer and helper, or with a terminal.
const ELSEWHERE: &[(&str, &str)] = &[
    ("demo", "cli/tests/whole/demo.rs"),
    ("dev", "cli/tests/whole/first_run.rs"),
    ("server", "tests/tests/decisions.rs"),
    ("helper", "tests/tests/decisions.rs"),
    ("doctor", "cli/tests/doctor"),
    ("import", "cli/tests/verbs/import.rs"),
    ("exec", "cli/src/verbs/exec"),
    ("svid show", "cli/tests/whole/first_run.rs"),
    ("audit verify", "tests/tests/decisions.rs"),
];

fn verbs(command: &clap::Command, above: &str, into: &mut BTreeSet<String>) {
    for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        let name = format!("{above} {}", one.get_name()).trim().to_owned();
        match one.has_subcommands() {
            true => verbs(one, &name, into),
            false => drop(into.insert(name)),
        }
    }
}

#[test]
fn every_verb_has_its_shape_in_json() {
    let mut all = BTreeSet::new();
    verbs(&Cli::command(), "", &mut all);
    let known: BTreeSet<String> =
        SHAPES.iter().map(|shape| shape.0).chain(ELSEWHERE.iter().map(|one| one.0)).map(str::to_owned).collect();
    assert_eq!(all, known, "a verb's shape is not looked at, or a shape has no verb");
    let daemons = Daemons::start();
    std::fs::write(daemons.dir().join(".env"), "GITHUB_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345\n").unwrap();
    for (verb, line, keys) in SHAPES {
        let line = format!("-o json {line}").replace("DIR", &daemons.dir().display().to_string());
        let line = line.replace("DECISION", &crate::decisions::known());
        let output = daemons.run_with(&line, b"hunter2-hunter2\n");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", String::from_utf8_lossy(&output.stdout)));
        let objects = json.as_array().cloned().unwrap_or_else(|| vec![json.clone()]);
        let expected: BTreeSet<&str> = keys.iter().copied().collect();
        for object in &objects {
            let found: BTreeSet<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(found, expected, "{verb}: {line}");
        }
        let to_file = std::fs::remove_file(daemons.dir().join("join.token"));
        assert!(to_file.is_ok() || !line.contains("join.token"));
    }
}

#[test]
fn failures_are_json_on_stderr_with_the_number_of_the_exit() {
    let daemons = Daemons::start();
    for (line, exit, code) in [
        ("grant create --agent nobody --credential c", 3, "not_found"),
        ("why 01HF7YAT009D9D9D9D9D9D9D9D", 3, "not_found"),
        ("agent create a --owner me --selector unix:path:/bin/sh", 2, "usage"),
        ("node ban here --reason stolen", 2, "usage"),
        ("agent delete a --reason r", 2, "usage"),
        ("explain unbound_hots", 3, "not_found"),
        ("run --agent a -- true", 7, "unreachable"),
    ] {
        let output = daemons.run(&format!("-o json {line}"));
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap_or_default();
        let json: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{line}: {error}: {said}"));
        assert_eq!(output.status.code(), Some(exit), "{line}: {said}");
        assert_eq!((&json["error"]["exit"], &json["error"]["code"]), (&exit.into(), &code.into()), "{line}");
        assert!(json["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}
