//! The image, and the stack of one command.

use super::{deploy, documents, is_a_command};
use avouch_config::{HelperConfig, Paths, ServerConfig};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn compose_files_are_what_their_schema_says() {
    for file in ["compose.yaml", "stack/compose.yaml"] {
        let output = lint(&deploy().join(file));
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stdout));
    }
    // It finds what is wrong: a key that compose does not know, and a port that is taken twice.
    let folder = tempfile::tempdir().expect("a folder");
    let good = fs::read_to_string(deploy().join("stack/compose.yaml")).expect("the stack");
    for (right, wrong) in
        [("    healthcheck:", "    health_check:"), ("    restart: unless-stopped", "    restart: [sometimes]")]
    {
        let file = folder.path().join("compose.yaml");
        fs::write(&file, good.replacen(right, wrong, 1)).expect("a file");
        assert!(!lint(&file).status.success(), "{wrong}");
    }
}

#[test]
fn the_stack_shuts_in_every_service_and_nothing_is_reached_from_outside() {
    let stack = &documents("stack/compose.yaml")[0];
    let services = stack["services"].as_object().expect("services");
    let volumes: BTreeSet<&str> = stack["volumes"].as_object().expect("volumes").keys().map(String::as_str).collect();
    for wanted in ["issuer", "postgres", "helper", "openbao"] {
        assert!(services.contains_key(wanted), "{wanted}");
    }
    let mut used = BTreeSet::new();
    for (name, service) in services {
        assert_eq!(
            (&service["read_only"], &service["cap_drop"]),
            (&true.into(), &serde_json::json!(["ALL"])),
            "{name}"
        );
        assert_eq!(service["security_opt"][0], "no-new-privileges:true", "{name}");
        // What serves is nobody's root; what only prepares may be, with three capabilities at most.
        let user = service["user"].as_str().expect("a user");
        let passing = service["restart"] == "no";
        assert!(passing || service["cap_add"].is_null(), "{name}");
        assert!(passing == user.starts_with("0:"), "{name} is {user}");
        for port in list(&service["ports"]) {
            assert!(text(port).starts_with("127.0.0.1:"), "{name}: {port}");
        }
        for key in service["environment"].as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(!["PASSWORD", "TOKEN", "SECRET", "KEY"].iter().any(|word| key.ends_with(word)), "{name}: {key}");
        }
        for needed in service["depends_on"].as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(services.contains_key(needed), "{name} needs {needed}");
        }
        for volume in list(&service["volumes"]).map(text) {
            let source = volume.split(':').next().expect("a source");
            match source.starts_with('.') {
                true => assert!(deploy().join("stack").join(source).is_file(), "{name}: {source}"),
                false => drop((used.insert(source), assert!(volumes.contains(source), "{name}: {source}"))),
            }
        }
        let ours = |words: &Value| words[0].as_str().is_some_and(|first| first.starts_with("avouch"));
        if ours(&service["command"]) && service["command"][0] == "avouch" {
            is_a_command(&service["command"]);
        }
        let test: Vec<Value> = list(&service["healthcheck"]["test"]).skip(1).cloned().collect();
        if test.first().is_some_and(|first| first == "avouch") {
            is_a_command(&test.into());
        }
    }
    assert_eq!(used, volumes, "volumes that nobody mounts");
    // The database's socket is for the issuer alone, and what opens OpenBao for what sets it up.
    let mounted = |volume: &str, by: &str| {
        let wanted = format!("{volume}:");
        let with = services.iter().filter(|(_, one)| list(&one["volumes"]).any(|v| text(v).starts_with(&wanted)));
        let with: BTreeSet<&str> = with.map(|(name, _)| name.as_str()).collect();
        assert_eq!(with, by.split(' ').collect(), "{volume}");
    };
    mounted("postgres-run", "issuer postgres");
    mounted("postgres-data", "postgres");
    mounted("openbao-keys", "openbao-setup prepare");
    mounted("issuer-key", "issuer");
    mounted("helper-key", "helper");
}

#[test]
fn settings_of_the_stack_are_read_by_the_programs_and_name_what_it_mounts() {
    let stack = &documents("stack/compose.yaml")[0];
    let paths = Paths { credentials: None, ..Paths::system() };
    let server = ServerConfig::load(&deploy().join("stack/server.toml"), &paths).expect("the issuer's settings");
    let helper = HelperConfig::load(&deploy().join("stack/helper.toml"), &paths).expect("the helper's settings");
    let targets = |service: &str| -> Vec<PathBuf> {
        let volumes = list(&stack["services"][service]["volumes"]);
        volumes.map(|volume| text(volume).split(':').nth(1).expect("a target").into()).collect()
    };
    let is_below = |path: &Path, service: &str| {
        assert!(targets(service).iter().any(|target| path.starts_with(target)), "{} of {service}", path.display());
    };
    for path in [&server.state_dir, &server.runtime_dir, &server.seal_key_file] {
        is_below(path, "issuer");
    }
    for path in [&helper.state_dir, &helper.runtime_dir, &helper.seal_key_file] {
        is_below(path, "helper");
    }
    let port = format!("127.0.0.1:{0}:{0}", server.listen.port());
    assert_eq!(stack["services"]["issuer"]["ports"][0], port.as_str());
    assert_eq!(
        (helper.issuers, helper.trust_domain),
        (vec![format!("issuer:{}", server.listen.port())], server.trust_domain)
    );
}

#[test]
fn the_image_is_built_in_stages_from_what_is_there_and_runs_as_nobodys_root() {
    let file = fs::read_to_string(deploy().join("Dockerfile")).expect("the Dockerfile");
    let file = file.replace("\\\n", "");
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).collect();
    let stages: Vec<&&str> = lines.iter().filter(|line| line.starts_with("FROM ")).collect();
    assert_eq!(stages.len(), 2, "{stages:?}");
    assert!(stages.iter().all(|stage| stage.contains(':') && !stage.contains(":latest")), "{stages:?}");
    let minor = |version: &str| version.split('.').take(2).collect::<Vec<_>>().join(".");
    let manifest = fs::read_to_string(deploy().join("../Cargo.toml")).expect("Cargo.toml");
    let wanted = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    assert!(stages[0].contains(&format!("rust:{}-", minor(wanted.trim_matches('"')))), "{wanted} and {}", stages[0]);
    let build = lines.iter().find(|line| line.contains("cargo build")).expect("a build");
    assert!(build.contains("--release --locked"), "{build}");
    for program in ["avouch", "avouch-helper"] {
        assert!(build.contains(&format!("--bin {program} ")), "{program}");
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("COPY --from=build") && line.contains(&format!("/out/{program} ")))
        );
    }
    let user = lines.iter().rev().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert_eq!(user, "10010:10010");
    let command = lines.iter().rev().find_map(|line| line.strip_prefix("CMD ")).expect("a command");
    is_a_command(&serde_json::from_str(command).expect("a list"));
    // Each directory of the stack's volumes has its owner in the image, which an empty volume takes over.
    let owned = |user: &str| -> Vec<&str> {
        let lists = file.split("install --directory").skip(1).map(|rest| rest.split("&&").next().unwrap_or(rest));
        lists.filter(|list| list.contains(&format!("--owner {user} "))).flat_map(str::split_whitespace).collect()
    };
    let stack = &documents("stack/compose.yaml")[0];
    for (service, user) in [("issuer", "10010"), ("helper", "10011")] {
        assert_eq!(stack["services"][service]["user"], format!("{user}:{user}"));
        for target in ["state", "key", "run"] {
            let volumes = list(&stack["services"][service]["volumes"]).map(text);
            let mut named = volumes.filter(|volume| volume.starts_with(&format!("{service}-{target}:")));
            let target = named.next().and_then(|volume| volume.split(':').nth(1)).expect("a volume");
            assert!(owned(user).contains(&target), "{target} of {user}");
        }
    }
    let ignored = fs::read_to_string(deploy().join("Dockerfile.dockerignore")).expect("what is left out");
    for wanted in ["/target", "/.git", "**/*.key"] {
        assert!(ignored.lines().any(|line| line == wanted), "{wanted}");
    }
}

#[test]
fn what_the_stack_prepares_is_a_chain_for_each_server_and_no_key_for_anybody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let prepare = || {
        let output = Command::new(deploy().join("stack/prepare")).arg(folder.path()).output().expect("prepare");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    prepare();
    let at = |name: &str| folder.path().join(name);
    for name in ["issuer", "openbao"] {
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", name, "-CAfile"]);
        let output = verify.arg(at("ca.pem")).arg(at(&format!("{name}.pem"))).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(at(&format!("{name}.key"))).expect("a key").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
    assert!(!at("ca.key").exists());
    let before = fs::read(at("issuer.key")).expect("a key");
    prepare();
    assert_eq!(fs::read(at("issuer.key")).expect("a key"), before, "a second run changes nothing");
}

fn lint(file: &Path) -> std::process::Output {
    // An image that is built here has no version of its own.
    let but =
        ["--quiet", "--disable-rule", "no-build-and-image", "--disable-rule", "service-image-require-explicit-tag"];
    let interop = avouch_tests::meeting::installed();
    Command::new(interop.join("node/node_modules/.bin/dclint")).arg(file).args(but).output().expect("dclint")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
