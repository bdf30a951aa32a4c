use super::*;
use avouch_wire::admin::resource::Kind;
use serde_json::{Value, json};

const SAMPLE: &str = include_str!("../../../config/resources.yaml");

const AGENT: &str = "apiVersion: avouch/v1\nkind: Agent\nmetadata: {name: a}\nspec:\n  owner: me\n  nodes: ['node:name:n']\n  selectors: ['unix:uid:7']\n";

fn all(text: &str) -> (Vec<Resource>, Vec<Fault>) {
    let mut faults = Vec::new();
    let resources = read("f.yaml", text, &mut faults);
    (resources, faults)
}

#[track_caller]
fn faults(text: &str) -> Vec<String> {
    let (_, faults) = all(text);
    assert!(!faults.is_empty(), "{text}");
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn the_sample_is_read_whole() {
    let (resources, faults) = all(SAMPLE);
    assert_eq!(faults, []);
    let names: Vec<_> = resources.iter().map(|resource| (resource.kind_name(), resource.name())).collect();
    let expected = [
        ("Agent", "researcher"),
        ("Credential", "github"),
        ("Credential", "tickets"),
        ("Grant", "github to researcher"),
    ];
    assert_eq!(names, expected.map(|(kind, name)| (kind, name.to_owned())));
    let Kind::Agent(agent) = &resources[0].kind else { panic!("the first is an agent") };
    assert_eq!((agent.x509_ttl_seconds, agent.jwt_ttl_seconds, agent.hint.as_str()), (900, 300, "search"));
    assert_eq!((agent.id_path.as_str(), agent.common_name.as_str()), ("/agent/{agent}", "app_reader"));
    let Kind::Credential(github) = &resources[1].kind else { panic!("the second is a credential") };
    let binding: Value = serde_json::from_slice(&github.binding).unwrap();
    assert_eq!((&binding["to"], &binding["methods"]), (&json!("https://api.github.com:443"), &json!(["GET"])));
    assert!(binding["query"].as_array().is_some_and(|query| query.len() > 3), "the rest is the preset's");
}

#[test]
fn json_and_yaml_say_the_same() {
    let yaml = all(AGENT).0;
    let json = json!({
        "apiVersion": "avouch/v1", "kind": "Agent", "metadata": {"name": "a"},
        "spec": {"owner": "me", "nodes": ["node:name:n"], "selectors": ["unix:uid:7"]},
    });
    let (json, faults) = all(&format!("{json:#}"));
    assert_eq!(faults, []);
    assert_eq!(json[0].kind, yaml[0].kind);
}

#[test]
fn all_faults_of_all_documents_are_told_with_their_lines() {
    let text = "apiVersion: avouch/v2\nkind: Agent\nmetadata: {}\nspec:\n  ownr: me\n  nodes: one\n  x509Ttl: 15\n  jwtTtl: soon\n\
                ---\nkind: Thing\nspec: 7\n---\napiVersion: avouch/v1\nkind: Grant\nspec:\n  agent: a\n";
    let told = faults(text);
    for fault in [
        "f.yaml:1: `apiVersion`: must be avouch/v1",
        "f.yaml:3: `metadata.name`: is missing",
        "f.yaml:5: `spec.ownr`: is not known; did you mean `owner`?",
        "f.yaml:6: `spec.nodes`: must be a list",
        "f.yaml:5: `spec.owner`: is missing",
        "f.yaml:5: `spec.selectors`: is missing",
        "f.yaml:7: `spec.x509Ttl`: must be text",
        "f.yaml:8: `spec.jwtTtl`: write a time as 90s, 10m, 1h or 7d",
        "f.yaml:10: `apiVersion`: is missing",
        "f.yaml:10: `kind`: must be Agent, Credential or Grant",
        "f.yaml:16: `spec.credential`: is missing",
    ] {
        assert!(told.iter().any(|one| one == fault), "{fault}\n{told:#?}");
    }
}

#[test]
fn a_text_that_is_no_yaml_is_a_fault_with_its_line() {
    assert!(faults("a: [1\nb: 2\n")[0].starts_with("f.yaml:"), "{:?}", faults("a: [1\nb: 2\n"));
    let twice = AGENT.replace("  owner: me\n", "  owner: me\n  owner: you\n");
    assert!(faults(&twice)[0].starts_with("f.yaml:6:"), "{:?}", faults(&twice));
    assert!(faults("- just\n- a list\n")[0].contains("must have keys"));
    assert!(faults("\"a: &x [*x]\"")[0].contains("must have keys"));
    // What unfolds to more than any document says is refused before it is unfolded.
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = format!("*a{}", n - 1);
        bomb += &format!("a{n}: &a{n} [{}]\n", [before.as_str(); 10].join(", "));
    }
    assert_eq!(faults(&bomb).len(), 1);
    assert_eq!(faults(&format!("{}x", "[".repeat(100_000))).len(), 1);
}

#[test]
fn a_value_is_never_in_such_a_file() {
    let credential = |more: &str| {
        format!(
            "apiVersion: avouch/v1\nkind: Credential\nmetadata: {{name: c}}\nspec:\n  source: vault\n  preset: github\n{more}"
        )
    };
    assert_eq!(all(&credential("")).1, []);
    for more in ["  value: hunter2-hunter2", "  token: hunter2-hunter2", "  stringData: {a: hunter2-hunter2}"] {
        let told = faults(&credential(more)).join("\n");
        assert!(told.contains("f.yaml:7: `spec.") && told.contains("avouch secret put"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let key = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    for text in [credential(&format!("  reference: {key}")), AGENT.replace("owner: me", &format!("owner: {key}"))] {
        let told = faults(&text).join("\n");
        assert!(told.contains("looks like a secret value") && !told.contains(key), "{told}");
    }
}

#[test]
fn a_binding_is_checked_as_any_other() {
    let credential = |binding: &str| {
        format!("apiVersion: avouch/v1\nkind: Credential\nmetadata: {{name: c}}\nspec:\n  source: vault\n{binding}")
    };
    assert!(faults(&credential(""))[0].contains("`spec.binding`: is missing, and so is a preset"));
    assert!(faults(&credential("  preset: gitlub"))[0].contains("there is no preset"));
    let told = faults(&credential("  preset: github\n  binding:\n    paths: ['/../x']\n    methds: [GET]"));
    assert!(told[0].starts_with("f.yaml:8: `spec.binding`:") && told[0].contains("methds"), "{told:?}");
    assert!(!faults(&credential("  preset: github\n  binding: {methods: []}")).is_empty());
}

#[test]
fn what_the_issuer_finds_is_told_where_it_stands() {
    let (resources, _) = all(SAMPLE);
    let place = |at: usize, field: &str| {
        let (path, place) = resources[at].field(field);
        (path, place.line)
    };
    assert_eq!(place(0, "owner"), ("spec.owner".to_owned(), 10));
    assert_eq!(place(0, "name"), ("metadata.name".to_owned(), 7));
    assert_eq!(place(0, "x509_ttl_seconds").0, "spec.x509Ttl");
    assert_eq!(place(3, "agent").0, "spec.agent");
    assert_eq!(place(1, "binding").0, "spec.binding");
}

/// As much of JSON Schema as ours uses; a word that it does not know fails.
fn holds(root: &Value, schema: &Value, value: &Value) -> bool {
    schema.as_object().unwrap().iter().all(|(word, says)| match word.as_str() {
        "$schema" | "$id" | "$defs" | "title" | "description" => true,
        "$ref" => holds(root, root.pointer(says.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "oneOf" => says.as_array().unwrap().iter().filter(|one| holds(root, one, value)).count() == 1,
        "const" => value == says,
        "type" => {
            let is = |name: &Value| match name.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                other => panic!("{other}"),
            };
            says.as_array().map_or_else(|| is(says), |all| all.iter().any(is))
        }
        "required" => says.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
        "properties" => value.as_object().is_none_or(|map| {
            map.iter().all(|(key, value)| says.get(key).is_none_or(|schema| holds(root, schema, value)))
        }),
        "additionalProperties" => {
            value.as_object().is_none_or(|map| map.keys().all(|key| schema["properties"].get(key).is_some()))
        }
        "items" => value.as_array().is_none_or(|all| all.iter().all(|value| holds(root, says, value))),
        "minItems" => value.as_array().is_none_or(|all| all.len() as u64 >= says.as_u64().unwrap()),
        "maxItems" => value.as_array().is_none_or(|all| all.len() as u64 <= says.as_u64().unwrap()),
        "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= says.as_u64().unwrap()),
        "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= says.as_u64().unwrap()),
        // What the patterns say is said again, and better, by those who read the values.
        "pattern" => value.is_string(),
        other => panic!("the schema says {other}"),
    })
}

#[test]
fn the_schema_holds_for_the_sample_and_not_for_what_is_wrong() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let documents = |text: &str| tree::documents("f", text).unwrap();
    for document in documents(SAMPLE) {
        assert!(holds(&schema, &schema, &document.json()), "{:#}", document.json());
    }
    let agent = documents(AGENT).remove(0).json();
    assert!(holds(&schema, &schema, &agent));
    let spoil: [fn(&mut Value); 5] = [
        |agent| agent["kind"] = json!("Thing"),
        |agent| agent["spec"]["value"] = json!("x"),
        |agent| agent["spec"]["nodes"] = json!([]),
        |agent| drop(agent["spec"].as_object_mut().unwrap().remove("owner")),
        |agent| agent["metadata"] = json!({}),
    ];
    for (at, spoil) in spoil.into_iter().enumerate() {
        let mut wrong = agent.clone();
        spoil(&mut wrong);
        assert!(!holds(&schema, &schema, &wrong), "{at}");
    }
}

/// Every field that is read is in the schema, and every field of the schema is read.
#[test]
fn the_schema_and_the_reader_know_the_same_fields() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for kind in ["Agent", "Credential", "Grant"] {
        let text = format!("apiVersion: avouch/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{qqqqqqqq: x}}\n");
        let told = faults(&text).into_iter().find(|fault| fault.contains("qqqqqqqq")).unwrap();
        let (_, known) = told.split_once("known are ").unwrap();
        let mut known: Vec<_> = known.split(", ").collect();
        known.sort_unstable();
        known.dedup();
        let fields = schema["$defs"][kind]["properties"]["spec"]["properties"].as_object().unwrap();
        assert_eq!(known, fields.keys().collect::<Vec<_>>(), "{kind}");
    }
    let whole = json!({
        "to": "https://a.test", "methods": ["GET"], "paths": ["/x"], "query": [], "slot": "bearer", "plain": "loopback",
        "address": "127.0.0.1", "ca": "x", "environment": {"name": "X"}, "requires": [], "placeholder_in_body": "data",
    });
    let fields = schema["$defs"]["Binding"]["properties"].as_object().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), whole.as_object().unwrap().keys().collect::<Vec<_>>());
    assert!(serde_json::from_value::<avouch_policy::BindingSpec>(whole).is_ok());
}
