//! `docs/promises.md` is kept true: each row has a state, and each test that it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_row_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/promises.md")).expect("docs/promises.md");
    let mut known = BTreeSet::new();
    for folder in ["proto", "policy", "audit", "attestors", "config", "server", "agent-helper", "cli", "tests"] {
        collect(&root.join(folder), &mut known);
    }
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _claim, tests, state] = cells[..] else { panic!("a row has four cells: {line}") };
        rows += 1;
        assert!(
            ["proved", "open", "later"].contains(&state),
            "{id}: the state is proved, open or later, not {state:?}"
        );
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(state != "proved" || !named.is_empty(), "{id} is proved by no test");
        for test in named {
            let name = test.rsplit("::").next().unwrap_or(test);
            assert!(known.contains(name), "{id} names {test}, and there is no such test");
        }
    }
    assert!(rows > 0);
}

/// The names of all functions that follow a `#[test]` or `#[tokio::test…]`, and of scripts.
fn collect(folder: &Path, known: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "node_modules" && entry.file_name() != "target" {
                collect(&path, known);
            }
            continue;
        }
        known.insert(entry.file_name().to_string_lossy().into_owned());
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap_or_default();
        known.extend(tables(&source));
        let mut after_test = false;
        for line in source.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                after_test = true;
            } else if let Some(rest) = line.strip_prefix("async fn ").or(line.strip_prefix("fn "))
                && after_test
            {
                known.insert(rest.split(['(', '<']).next().unwrap_or(rest).to_owned());
                after_test = false;
            } else if let Some((name, _)) =
                line.strip_prefix("pub async fn ").and_then(|rest| rest.split_once("(f: Fixture)"))
            {
                // A property of a suite, of which each backend makes a test.
                known.insert(name.to_owned());
            } else if line.starts_with("proptest!") {
                after_test = false;
            }
        }
    }
}

/// The names in a table that a test's own runner goes through: each is followed by the function itself.
fn tables(source: &str) -> impl Iterator<Item = String> {
    let cells: Vec<&str> = source.split('"').collect();
    let named = |pair: &[&str]| {
        let after = pair[1].strip_prefix(',').map(str::trim_start).and_then(|rest| rest.strip_prefix(pair[0]))?;
        after.starts_with([')', ',']).then(|| pair[0].to_owned())
    };
    cells.windows(2).filter_map(named).filter(|name| !name.is_empty()).collect::<Vec<_>>().into_iter()
}
