//! Who looks at a secret: every call of `Secret::expose` outside tests, file by file. A new one changes this list, and
//! is looked at when it does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const CALLS: &[(&str, usize)] = &[
    ("agent-helper/sources/src/aws/login.rs", 1),
    ("agent-helper/sources/src/conformance/cases.rs", 3),
    ("agent-helper/sources/src/openbao/client.rs", 2),
    ("agent-helper/sources/src/openbao/login.rs", 2),
    ("agent-helper/sources/src/openbao/pki.rs", 1),
    ("agent-helper/sources/src/sealed.rs", 2),
    ("agent-helper/sources/src/sealed/backup.rs", 1),
    ("agent-helper/sources/src/value.rs", 3),
    ("agent-helper/src/broker/values.rs", 2),
    ("agent-helper/src/cache/codec.rs", 1),
    ("agent-helper/src/cache/restore.rs", 3),
    ("agent-helper/src/enrol.rs", 1),
    ("agent-helper/src/identity/brokered.rs", 1),
    ("agent-helper/src/identity/jwt.rs", 1),
    ("agent-helper/src/identity/key.rs", 1),
    ("agent-helper/src/local/backup.rs", 1),
    ("agent-helper/src/local/test_source/others.rs", 2),
    ("agent-helper/src/node_files.rs", 3),
    ("agent-helper/src/renew.rs", 1),
    ("agent-helper/src/session/tokens.rs", 1),
    ("agent-helper/src/start.rs", 1),
    ("agent-helper/src/workload/fetch_jwt_svid.rs", 1),
    ("agent-helper/src/workload/fetch_x509_svid.rs", 1),
    ("agent-helper/src/workload/reveal.rs", 1),
    ("attestors/node/src/join_token.rs", 3),
    ("cli/src/demo/steps/audit.rs", 1),
    ("cli/src/demo/steps/calls.rs", 1),
    ("cli/src/demo/witness.rs", 1),
    ("cli/src/demo/world.rs", 3),
    ("cli/src/dev/tool.rs", 1),
    ("cli/src/import/backup.rs", 1),
    ("cli/src/import/file.rs", 1),
    ("cli/src/import/mod.rs", 3),
    ("cli/src/import/propose.rs", 1),
    ("cli/src/tools/serve.rs", 1),
    ("cli/src/verbs/exec/give.rs", 7),
    ("cli/src/verbs/federate/exchange.rs", 1),
    ("proto/wire/src/tls/public.rs", 1),
    ("server/app/src/api/create_token.rs", 1),
    ("server/app/src/api/sign_jwt.rs", 1),
    ("server/app/src/database.rs", 1),
    ("server/app/src/identity.rs", 1),
    ("server/keys/src/file.rs", 3),
    ("server/keys/src/rsa.rs", 2),
    ("server/keys/src/sealed.rs", 2),
    ("server/keys/src/software.rs", 2),
    ("server/store/src/open/postgres.rs", 2),
];

#[test]
fn secrets_are_looked_at_where_this_list_says_and_nowhere_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    for folder in ["proto", "policy", "audit", "attestors", "config", "server", "agent-helper", "cli"] {
        count(&root, &root.join(folder), &mut found);
    }
    let listed: BTreeMap<String, usize> = CALLS.iter().map(|(file, calls)| ((*file).to_owned(), *calls)).collect();
    assert_eq!(found, listed);
}

/// Counts below `folder`, without tests: those lie in `tests.rs`, `tests/`, or last in their file.
fn count(root: &Path, folder: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" && name != "target" {
                count(root, &path, found);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let source = fs::read_to_string(&path).expect("a source file");
            let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let code = code.split("#[cfg(test)]\npub(crate) mod tests").next().unwrap_or_default();
            let calls = code.matches(".expose()").count() + code.matches("Secret::expose").count();
            if calls > 0 {
                let below = path.strip_prefix(root).expect("below the root");
                found.insert(below.to_string_lossy().into_owned(), calls);
            }
        }
    }
}
