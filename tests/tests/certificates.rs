//! Certificates read by those who did not write ours: openssl verifies every chain strictly, and pkilint finds nothing
//! in 200 of them that `tests/certificates/findings.toml` does not have with its reason.

use avouch_tests::meeting::installed;
use avouch_tests::{Installation, node};
use avouch_wire::issuer;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const LEAVES: usize = 200;
const BATCH: usize = 50;

#[test]
fn openssl_verifies_and_pkilint_finds_nothing_new_in_two_hundred_certificates() {
    let mut made = Installation::prepare().expect("settings");
    made.start_server(&[]).expect("an issuer");
    let folder = made.path("certificates");
    fs::create_dir(&folder).expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let authorities = runtime.block_on(gather(&made, &folder));
    let bundle: String = authorities.iter().map(|der| pem(der)).collect();
    let trusted = made.path("bundle.pem");
    fs::write(&trusted, bundle).expect("the bundle");

    let leaves: Vec<_> = fs::read_dir(&folder).expect("the folder").flatten().map(|entry| entry.path()).collect();
    let mut verify = Command::new("openssl");
    verify.args(["verify", "-x509_strict", "-CAfile"]).arg(&trusted);
    for leaf in &leaves {
        let file = made.path(&format!("{}.pem", leaf.file_stem().expect("a name").to_string_lossy()));
        fs::write(&file, pem(&fs::read(leaf).expect("a certificate"))).expect("PEM");
        verify.arg(file);
    }
    let output = verify.output().expect("openssl");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().filter(|line| line.ends_with(": OK")).count(), leaves.len(), "{said}");

    for (n, authority) in authorities.iter().enumerate() {
        fs::write(folder.join(format!("authority-{n}.der")), authority).expect("a file");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/certificates/lint.py");
    let output = Command::new(installed().join("venv/bin/python")).arg(script).arg(&folder).output().expect("pkilint");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Read = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(read.certificates, leaves.len() + authorities.len());
    assert!(leaves.len() > LEAVES);
    let known =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/certificates/findings.toml")).expect("the list");
    let known: BTreeMap<String, String> = toml::from_str(&known).expect("TOML");
    for (code, (count, message)) in &read.found {
        assert!(known.contains_key(code), "{code} in {count} certificates: {message}");
    }
    for code in known.keys() {
        assert!(read.found.contains_key(code), "{code} is found no longer: take it off the list");
    }
}

#[derive(serde::Deserialize)]
struct Read {
    certificates: usize,
    found: BTreeMap<String, (usize, String)>,
}

/// Writes 200 leaves of four agents and the node's own; gives the authorities.
async fn gather(made: &Installation, folder: &Path) -> Vec<Vec<u8>> {
    let joined = node::join(made, "n2").await.expect("a node");
    fs::write(folder.join("node.der"), &joined.leaf).expect("a file");
    let mut node = issuer::node_client::NodeClient::new(joined.channel);
    for n in 0..LEAVES / BATCH {
        let agent = format!("agent-{n}");
        let line = [
            "agent",
            "create",
            &agent,
            "--owner",
            "me@example.test",
            "--node",
            "node:name:n2",
            "--selector",
            "unix:uid:1",
        ];
        made.run(&line).expect("an agent");
        let order = |_| issuer::X509Order {
            agent: agent.clone(),
            instance: format!("01K9ZQ3M6X5T8W4V2R7N1C0BD{n}"),
            csr: node::request().expect("a request").1,
        };
        let request = issuer::SignX509Request { orders: (0..BATCH).map(order).collect() };
        let answers = node.sign_x509(request).await.expect("signed").into_inner().answers;
        for (m, answer) in answers.into_iter().enumerate() {
            match answer.kind {
                Some(issuer::x509_answer::Kind::Issued(issued)) => {
                    fs::write(folder.join(format!("{agent}-{m}.der")), &issued.chain[0]).expect("a file");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    joined.bundle
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
