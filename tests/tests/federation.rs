//! No key at all: agents go to clouds and model vendors with identity tokens of their own. The vendors fetch discovery and
//! keys from the issuer's real endpoint and verify every claim; the vendors' own SDKs read the files.

use avouch_tests::Installation;
use avouch_tests::servers::{Trust, Vendors};
use serde_json::{Value, json};
use std::fs;
use std::process::{Output, Stdio};

const SUBJECT: &str = "spiffe://example.test/agent/researcher";
const ROLE: &str = "arn:aws:iam::123456789012:role/researcher";
const POOL: &str = "projects/123456789012/locations/global/workloadIdentityPools/avouch/providers/avouch";

fn trusted() -> Value {
    let gcp = format!("https://iam.googleapis.com/{POOL}");
    json!({
        "aws": {"audience": "sts.amazonaws.com", "subject": SUBJECT, "settings": {"role_arn": ROLE}},
        "gcp": {"audience": gcp, "subject": SUBJECT, "settings": {"provider": POOL}},
        "azure": {"audience": "api://AzureADTokenExchange", "subject": SUBJECT, "settings": {"tenant": "t1", "client": "c1"}},
        "anthropic": {"audience": "https://api.anthropic.com", "subject": SUBJECT,
            "settings": {"rule": "fdrl_1", "organization": "o1", "service_account": "svac_1"}},
        "openai": {"audience": "https://api.openai.com/v1", "subject": SUBJECT,
            "settings": {"identity_provider": "idp_1", "service_account": "sa_1"}},
    })
}

struct Scene {
    made: Installation,
    vendors: Vendors,
}

fn scene(trusted: &Value) -> Scene {
    let trust = Trust::make().expect("certificates");
    let mut made = Installation::prepare_with(&trust.settings().expect("settings"), "").expect("settings");
    made.start_both().expect("started");
    agent(&made, "researcher");
    Scene { made, vendors: trust.start(trusted).expect("vendors") }
}

fn agent(made: &Installation, name: &str) {
    let uid = format!("session:uid:{}", rustix::process::geteuid().as_raw());
    let line = ["agent", "create", name, "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &uid];
    made.run(&[&line[..], &["--jwt-ttl", "10s"]].concat()).expect("an agent");
}

impl Scene {
    fn flags(&self, vendor: &str) -> Vec<String> {
        let own = match vendor {
            "aws" => format!("--role-arn {ROLE} --region eu-west-1"),
            "gcp" => format!("--provider {POOL} --project avouch-test --token-url {}/v1/token", self.vendors.address()),
            "azure" => format!("--tenant t1 --client c1 --authority {}", self.vendors.address()),
            "anthropic" => "--rule fdrl_1 --organization o1 --service-account svac_1".to_owned(),
            _ => "--identity-provider idp_1 --service-account sa_1".to_owned(),
        };
        format!("-o json federate {vendor} --agent researcher {own}").split(' ').map(str::to_owned).collect()
    }

    /// The vendor's token endpoint, where a trial goes instead of to the real one.
    fn endpoint(&self, vendor: &str) -> String {
        let path = match vendor {
            "aws" => "/",
            "gcp" => "/v1/token",
            "azure" => "/t1/oauth2/v2.0/token",
            "anthropic" => "/v1/oauth/token",
            _ => "/oauth/token",
        };
        format!("{}{path}", self.vendors.address())
    }

    fn federate(&self, vendor: &str) -> avouch_tests::Output {
        let (endpoint, ca) = (self.endpoint(vendor), self.vendors.ca().display().to_string());
        let mut line = self.flags(vendor);
        line.extend(["--test", "--endpoint", &endpoint, "--ca", &ca].map(str::to_owned));
        self.made.avouch(&line.iter().map(String::as_str).collect::<Vec<_>>()).expect("avouch")
    }

    fn run(&self, flags: &[&str], command: &[String]) -> Output {
        let mut run = self.made.command(&[&["run", "--agent", "researcher"], flags, &["--"]].concat());
        run.args(command).stdin(Stdio::null()).output().expect("a session")
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn each_vendor_takes_the_agents_own_token_from_the_test_and_from_its_own_sdk() {
    let scene = scene(&trusted());
    for vendor in ["aws", "gcp", "azure", "anthropic", "openai"] {
        let opened = scene.federate(vendor);
        assert_eq!(opened.code, Some(0), "{vendor}: {opened:?} {:?}", scene.vendors.log());
        let told: Value = serde_json::from_str(&opened.stdout).expect("JSON");
        assert_eq!((&told["issuer"], &told["subject"]), (&json!(Trust::ISSUER), &json!(SUBJECT)));
        assert_eq!((&told["keys"], &told["test"]["vendor"]), (&json!("discovery"), &json!(vendor)));
        assert_eq!(told["algorithm"], if vendor == "azure" { "RS256" } else { "ES256" });
        assert!(told["test"]["expires_in"].as_i64().expect("seconds") > 60, "{told}");
        assert!(!opened.stdout.contains("real") && !opened.stderr.contains("real"), "no access token is shown");
        assert_eq!(scene.vendors.let_in(vendor).len(), 1);
    }
    std::thread::scope(|scope| {
        for vendor in ["aws", "gcp", "azure", "anthropic", "openai"] {
            let scene = &scene;
            scope.spawn(move || {
                let asked = scene.run(&[], &scene.vendors.sdk(&[vendor, &scene.vendors.address()]));
                assert!(asked.status.success(), "{vendor}: {}\n{:?}", said(&asked), scene.vendors.log());
                assert!(scene.vendors.let_in(vendor).len() >= 2, "{vendor}");
            });
        }
    });
    let refused: Vec<_> = scene.vendors.log().into_iter().filter(|entry| entry["ok"] == false).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let listed = scene.made.run(&["federate", "list", "-o", "json"]).expect("a list").stdout;
    assert_eq!(serde_json::from_str::<Value>(&listed).expect("JSON").as_array().map(Vec::len), Some(5));
    let recorded = scene.made.run(&["audit", "list", "-o", "json"]).expect("the log").stdout;
    let recorded: Value = serde_json::from_str(&recorded).expect("JSON");
    let is_opening = |entry: &&Value| entry.to_string().contains("target.opened");
    let opened = recorded.as_array().expect("a list").iter().filter(is_opening);
    assert_eq!(opened.count(), 5);
}

#[test]
fn tokens_rotate_under_a_session_that_goes_on_and_no_exchange_fails() {
    let scene = scene(&trusted());
    for vendor in ["aws", "gcp"] {
        assert_eq!(scene.federate(vendor).code, Some(0), "{vendor}");
    }
    std::thread::scope(|scope| {
        for vendor in ["aws", "gcp"] {
            let scene = &scene;
            scope.spawn(move || {
                // Tokens live for 10 s: 12 exchanges over 22 s see at least three.
                let asked = scene.run(&[], &scene.vendors.sdk(&[vendor, &scene.vendors.address(), "12", "2"]));
                assert!(asked.status.success(), "{vendor}: {}\n{:?}", said(&asked), scene.vendors.log());
                let mut all = scene.vendors.let_in(vendor);
                assert_eq!(all.len(), 13, "{vendor}");
                all.sort();
                all.dedup();
                assert!((4..13).contains(&all.len()), "{vendor}: {all:?}");
            });
        }
    });
}

#[test]
fn the_file_is_the_sessions_users_alone_and_goes_when_the_target_is_closed() {
    let scene = scene(&trusted());
    assert_eq!(scene.federate("aws").code, Some(0));
    let script = "stat -c '%a %u' \"$AWS_WEB_IDENTITY_TOKEN_FILE\"; echo $AWS_ROLE_ARN $AWS_REGION; \
                  echo $AWS_WEB_IDENTITY_TOKEN_FILE > started; \
                  for i in $(seq 100); do [ -e \"$AWS_WEB_IDENTITY_TOKEN_FILE\" ] || { echo gone; exit 0; }; sleep 0.1; done; echo there";
    let work = tempfile::tempdir().expect("a directory");
    let mut run = scene.made.command(&["run", "--agent", "researcher", "--", "sh", "-c", script]);
    let run = run.current_dir(work.path()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a session");
    let started = work.path().join("started");
    let begun = std::time::Instant::now();
    while fs::read_to_string(&started).unwrap_or_default().is_empty() {
        assert!(begun.elapsed().as_secs() < 10, "{}", scene.made.logs());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    scene.made.run(&["federate", "close", "aws", "--agent", "researcher"]).expect("closed");
    let output = run.wait_with_output().expect("an end");
    let expected = format!("400 {}\n{ROLE} eu-west-1\ngone\n", rustix::process::geteuid().as_raw());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", scene.made.logs());
    let file = fs::read_to_string(&started).expect("the file's name");
    let directory = std::path::Path::new(file.trim()).parent().expect("a directory");
    let ended = std::time::Instant::now();
    while directory.exists() {
        assert!(ended.elapsed().as_secs() < 10, "gone with the session");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let after = scene.run(&[], &["sh".to_owned(), "-c".to_owned(), "echo [$AWS_WEB_IDENTITY_TOKEN_FILE]".to_owned()]);
    assert_eq!(String::from_utf8_lossy(&after.stdout), "[]\n");
    let recorded = scene.made.run(&["audit", "list", "-o", "json"]).expect("the log").stdout;
    assert!(recorded.contains("\"target.closed\""));
}

#[test]
fn a_contained_session_reads_the_same_file_while_it_is_replaced() {
    let scene = scene(&trusted());
    assert_eq!(scene.federate("aws").code, Some(0));
    let script = "cd /; f=$AWS_WEB_IDENTITY_TOKEN_FILE; echo $f; first=$(cat $f) || exit 1; \
                  for i in $(seq 100); do [ \"$(cat $f)\" = \"$first\" ] || { echo replaced; break; }; sleep 0.1; done; \
                  { echo x > $f; } 2>/dev/null && echo written; { rm -f $f; } 2>/dev/null && echo removed; ls /run/avouch/tokens";
    let work = tempfile::tempdir().expect("a directory");
    let mut run = scene.made.command(&["run", "--agent", "researcher", "--contain", "--", "sh", "-c", script]);
    let output = run.current_dir(work.path()).stdin(Stdio::null()).output().expect("a session");
    let told = said(&output);
    assert!(told.contains("/run/avouch/tokens/aws.jwt\nreplaced\naws.jwt\n"), "{told}\n{}", scene.made.logs());
    assert!(!told.contains("written") && !told.contains("removed"), "{told}");
}

#[test]
fn a_vendor_that_was_told_another_subject_or_audience_says_so_in_its_own_words() {
    let mut wrong = trusted();
    for vendor in ["aws", "anthropic"] {
        wrong[vendor]["subject"] = json!("spiffe://example.test/agent/other");
    }
    for vendor in ["gcp", "openai", "azure"] {
        wrong[vendor]["audience"] = json!("https://other.test");
    }
    let scene = scene(&wrong);
    for (vendor, words) in [
        ("aws", "InvalidIdentityToken: the subject does not match"),
        ("anthropic", "invalid_grant: the subject does not match"),
        ("gcp", "invalid_grant: Audience doesn't match"),
        ("openai", "invalid_request_error: Audience doesn't match"),
        ("azure", "invalid_client: AADSTS700211: Audience doesn't match"),
    ] {
        let refused = scene.federate(vendor);
        assert_eq!(refused.code, Some(1), "{vendor}: {refused:?}");
        assert!(refused.stderr.contains(words), "{vendor}: {}", refused.stderr);
    }
}

#[test]
fn an_issuer_that_nobody_reaches_is_told_apart_from_one_whose_keys_are_uploaded() {
    let mut made =
        Installation::prepare_with("[public]\nurl = \"https://laptop.example.test\"\n", "").expect("settings");
    made.start_both().expect("started");
    agent(&made, "researcher");
    for line in [format!("aws --role-arn {ROLE}"), "azure --tenant t1 --client c1".to_owned()] {
        let line = format!("federate {line} --agent researcher");
        let refused = made.avouch(&line.split(' ').collect::<Vec<_>>()).expect("avouch");
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("is no public URL that serves them"), "{}", refused.stderr);
    }
    let listed = made.run(&["federate", "list", "-o", "json"]).expect("a list").stdout;
    assert_eq!(listed.trim(), "[]", "nothing was opened");
    let line = format!("-o json federate gcp --agent researcher --provider {POOL}");
    let opened = made.run(&line.split(' ').collect::<Vec<_>>()).expect("opened");
    let told: Value = serde_json::from_str(&opened.stdout).expect("JSON");
    assert_eq!(told["keys"], "uploaded");
    assert!(told["upload_again_by"].as_str().is_some_and(|by| opened.stderr.contains(by)), "{opened:?}");
    assert!(opened.stdout.contains("--jwk-json-path=jwks.json"), "{told}");

    // What was uploaded verifies, and nothing was fetched: there is nothing to fetch from.
    let printed = made.run(&["jwks", "print"]).expect("keys");
    let jwks: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    assert!(printed.stderr.contains("Upload"), "{}", printed.stderr);
    assert_eq!(made.avouch(&["jwks", "print", "--url"]).expect("avouch").code, Some(3));
    let more = json!({"jwks": jwks, "issuer": "https://laptop.example.test"});
    let vendors = Trust::make().expect("certificates").start_with(&trusted(), &more).expect("vendors");
    let line = format!(
        "{line} --token-url {}/v1/token --test --endpoint {0}/v1/token --ca {}",
        vendors.address(),
        vendors.ca().display()
    );
    made.run(&line.split(' ').collect::<Vec<_>>()).expect("exchanged");
    assert_eq!(vendors.let_in("gcp").len(), 1, "{:?}", vendors.log());
}

#[test]
fn without_a_url_there_is_no_issuer_that_a_vendor_could_trust() {
    let mut made = Installation::prepare().expect("settings");
    made.start_both().expect("started");
    agent(&made, "researcher");
    let line = format!("federate gcp --agent researcher --provider {POOL}");
    let refused = made.avouch(&line.split(' ').collect::<Vec<_>>()).expect("avouch");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("public.url"), "{}", refused.stderr);
}

/// Each block of docs/federate.md that begins with a command is what the command prints.
#[test]
fn the_manual_shows_what_is_printed() {
    let scene = scene(&trusted());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/federate.md");
    let manual = fs::read_to_string(file).expect("docs/federate.md");
    let (mut told, mut shown) = (manual.clone(), 0);
    for block in manual.split("```").skip(1).step_by(2) {
        let Some(block) = block.strip_prefix("console\n") else { continue };
        let (command, printed) = block.split_once('\n').expect("a command and what it prints");
        let command = command.strip_prefix("$ avouch ").expect("a command");
        let output = scene.made.run(&command.split(' ').collect::<Vec<_>>()).expect("printed").stdout;
        shown += 1;
        if printed != output {
            told = told.replace(block, &format!("$ avouch {command}\n{output}"));
        }
    }
    if std::env::var_os("AVOUCH_REGENERATE").is_some() {
        fs::write(file, &told).expect("written");
    }
    assert_eq!(shown, 5);
    assert!(told == manual, "docs/federate.md is stale: run with AVOUCH_REGENERATE=1");
}
