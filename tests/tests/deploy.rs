//! What lies in `deploy/` is read as what it is: compose files by a linter of them, units by systemd's own tools, settings by
//! the programs' parser; it gives an agent no more than the helper's sockets. No engine runs any of it here.

#[path = "deploy/openbao.rs"]
mod openbao;
#[path = "deploy/stack.rs"]
mod stack;
#[path = "deploy/units.rs"]
mod units;

use avouch::args::Cli;
use clap::Parser as _;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_agent_of_the_compose_file_has_no_network_and_the_helpers_directory_alone() {
    let agent = &documents("compose.yaml")[0]["services"]["agent"];
    assert_eq!(agent["network_mode"], "none");
    assert_eq!(agent["cap_drop"][0], "ALL");
    assert!(agent["user"].as_str().is_some_and(|user| !user.starts_with('0')), "{agent}");
    let volumes = agent["volumes"].as_array().expect("volumes");
    assert!(volumes.iter().all(|volume| volume["type"] == "bind"), "{volumes:?}");
    let mounted: Vec<_> = volumes.iter().filter_map(|volume| volume["source"].as_str()).collect();
    assert_eq!(mounted, [runtime_dir().as_str(), "/usr/bin/avouch", "./work"]);
    assert_eq!(volumes[0]["source"], volumes[0]["target"], "a session's certificates are below it");
    is_a_command(&agent["command"]);
}

#[test]
fn the_agents_pod_has_no_way_but_the_helper_and_the_helper_sees_its_processes() {
    let documents = documents("kubernetes.yaml");
    let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind).expect("a document");
    let helper = &of("DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(helper["hostPID"], true);
    let path = |volume: &Value| volume["hostPath"]["path"].as_str().map(str::to_owned);
    let paths = |spec: &Value| spec["volumes"].as_array().into_iter().flatten().filter_map(path).collect::<Vec<_>>();
    assert!(paths(helper).contains(&runtime_dir()));
    let pod = of("Pod");
    assert_eq!(paths(&pod["spec"]), [runtime_dir()]);
    let agent = &pod["spec"]["containers"][0];
    let rights = &agent["securityContext"];
    assert_eq!((&rights["runAsNonRoot"], &rights["allowPrivilegeEscalation"]), (&true.into(), &false.into()));
    assert_eq!(rights["capabilities"]["drop"][0], "ALL");
    is_a_command(&agent["command"]);
    let network = of("NetworkPolicy");
    assert_eq!(network["metadata"]["namespace"], pod["metadata"]["namespace"]);
    assert_eq!(network["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    assert!(network["spec"]["egress"].is_null() && network["spec"]["podSelector"] == serde_json::json!({}));
    let unit = fs::read_to_string(deploy().join("avouch-helper.service")).expect("the unit");
    for capability in helper["containers"][0]["securityContext"]["capabilities"]["add"].as_array().expect("a list") {
        let name = format!("CAP_{}", capability.as_str().expect("a name"));
        assert!(unit.contains(&name), "{name} is not in the unit");
    }
}

#[test]
fn the_apparmor_profile_lets_avouch_make_user_namespaces() {
    let profile = fs::read_to_string(deploy().join("apparmor/avouch")).expect("the profile");
    let lines: Vec<&str> = profile.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let wanted = [
        "abi <abi/4.0>,",
        "include <tunables/global>",
        "profile avouch /{usr/,usr/local/,}bin/avouch flags=(unconfined) {",
        "userns,",
        "include if exists <local/avouch>",
        "}",
    ];
    assert_eq!(lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>(), wanted);
}

/// The documents of a YAML file, as PyYAML reads them.
fn documents(name: &str) -> Vec<Value> {
    let interop = std::env::var_os("AVOUCH_INTEROP").expect("AVOUCH_INTEROP: run this by tests/run");
    let output = Command::new(Path::new(&interop).join("venv/bin/python"))
        .args(["-c", "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))"])
        .arg(deploy().join(name))
        .output()
        .expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The helper's directory of sockets, as its commented settings have it.
fn runtime_dir() -> String {
    let settings = fs::read_to_string(deploy().join("../config/helper.toml")).expect("the sample");
    let line = settings.lines().find_map(|line| line.strip_prefix("runtime_dir = ")).expect("a line");
    line.trim_matches('"').to_owned()
}

fn is_a_command(words: &Value) {
    let words: Vec<&str> = words.as_array().expect("words").iter().filter_map(Value::as_str).collect();
    Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}
