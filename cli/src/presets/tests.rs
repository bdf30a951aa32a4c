//! Every file is a binding that could be put as it is, and says what a newcomer needs.

use super::*;
use avouch_policy::binding::Environment;
use avouch_policy::{Binding, Body, CanonicalRequest};
use avouch_words::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn bound(preset: &Preset) -> Binding {
    let slot = preset.needs.slot.as_ref().map(|text| {
        let username = text.strip_prefix("basic:").unwrap().to_owned();
        SlotSpec::Basic { username }
    });
    preset
        .binding(preset.needs.to.clone(), slot)
        .unwrap()
        .check()
        .unwrap_or_else(|error| panic!("{}: {error}", preset.name))
}

fn request(preset: &Preset, method: &str, target: &str) -> CanonicalRequest {
    let url = format!("{}{target}", preset.to());
    CanonicalRequest::from_absolute_form(method.as_bytes(), url.as_bytes(), Body::None).unwrap()
}

#[test]
fn every_file_is_built_in_and_named_after_itself() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/presets");
    let mut there: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    let mut built_in: Vec<_> = files::FILES.iter().map(|(name, _)| format!("{name}.toml")).collect();
    built_in.sort();
    assert_eq!(there, built_in);
    let all = all().unwrap();
    assert!(all.len() >= 30, "{}", all.len());
    for (preset, (name, _)) in all.iter().zip(files::FILES) {
        assert_eq!(preset.name, name);
        assert!(Name::parse(name).is_ok() && !preset.title.is_empty());
    }
}

#[test]
fn every_preset_is_a_binding_over_tls_to_a_public_name() {
    for preset in all().unwrap() {
        let binding = bound(&preset);
        assert!(preset.to().starts_with("https://"), "{}", preset.name);
        assert!(binding.address().is_none() && binding.origin().host().ip().is_none());
        let unique: BTreeSet<_> = preset.query.iter().chain(&preset.narrow.query).collect();
        assert!(unique.len() >= preset.query.len(), "{}: a query key twice", preset.name);
        // A key of a query never asks a service to show or to override something.
        for key in ["key", "token", "access_token", "api_key", "_method", "reveal", "decrypt"] {
            let known = preset.name == "brave-search" && key == "key";
            assert!(known || !preset.query.iter().any(|have| have == key), "{}: {key}", preset.name);
        }
    }
}

#[test]
fn a_variable_holds_the_preset_s_own_placeholder_and_belongs_to_it_alone() {
    let mut holders = BTreeMap::new();
    for preset in all().unwrap() {
        let binding = bound(&preset);
        let own = Name::parse(&preset.name).unwrap();
        let placeholder = binding.environment().map(|environment| environment.value(&own));
        assert_eq!(placeholder, preset.placeholder, "{}", preset.name);
        for name in preset.environment.iter().chain(&preset.aliases) {
            assert!(Environment::may_hold(name), "{name}");
            assert_eq!(holders.insert(name.clone(), preset.name.clone()), None, "{name} is in two presets");
        }
    }
    // A fetch over HTTPS asks for no variable; all else has one.
    let without: Vec<_> = all().unwrap().into_iter().filter(|preset| preset.environment.is_none()).collect();
    assert_eq!(without.iter().map(|preset| preset.name.as_str()).collect::<Vec<_>>(), ["github-git"]);
}

#[test]
fn a_probe_only_reads_and_goes_with_its_own_binding() {
    let mut graphql = Vec::new();
    for preset in all().unwrap() {
        let Some(probe) = &preset.probe else {
            assert!(preset.no_probe.is_some(), "{} has no probe and does not say why", preset.name);
            continue;
        };
        assert!(preset.no_probe.is_none(), "{}", preset.name);
        let asked = request(&preset, &probe.method, &probe.target);
        assert_eq!(bound(&preset).admits(&asked), Ok(()), "{}", preset.name);
        match &probe.body {
            None => assert_eq!(probe.method, "GET", "{}", preset.name),
            Some(body) => {
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                assert!(body["query"].as_str().unwrap().starts_with("{ "), "no mutation: {body}");
                graphql.push(preset.name);
            }
        }
    }
    assert_eq!(graphql, ["linear"]);
}

#[test]
fn the_narrow_example_binds_no_more_than_the_preset() {
    for preset in all().unwrap() {
        let narrow = &preset.narrow;
        assert!(narrow.says.ends_with('.'), "{}", preset.name);
        let spec = BindingSpec {
            methods: narrow.methods.clone(),
            paths: narrow.paths.clone(),
            query: narrow.query.clone(),
            ..bound(&preset).spec()
        };
        let (less, whole) = (spec.check().unwrap(), bound(&preset));
        for method in &narrow.methods {
            for path in &narrow.paths {
                let path = path.replace("**", "a/b").replace('*', "a");
                let keys: String = narrow.query.iter().map(|key| format!("&{key}=1")).collect();
                let target = if keys.is_empty() { path } else { format!("{path}?{}", &keys[1..]) };
                let asked = request(&preset, method, &target);
                assert_eq!((less.admits(&asked), whole.admits(&asked)), (Ok(()), Ok(())), "{}: {target}", preset.name);
            }
        }
    }
}

#[test]
fn a_placeholder_in_the_body_is_data_only_where_texts_are_sent() {
    let data: Vec<_> = all()
        .unwrap()
        .into_iter()
        .filter(|preset| preset.placeholder_in_body().is_some())
        .map(|preset| preset.name)
        .collect();
    assert_eq!(
        data,
        [
            "anthropic",
            "cohere",
            "deepseek",
            "elevenlabs",
            "fireworks",
            "google-ai",
            "groq",
            "mistral",
            "openai",
            "openrouter",
            "perplexity",
            "replicate",
            "together",
            "xai",
        ]
    );
}

#[test]
fn what_keys_begin_with_tells_services_apart() {
    let all = all().unwrap();
    for one in &all {
        for begins in &one.begins {
            let also: Vec<_> = all
                .iter()
                .filter(|other| other.name != one.name && other.begins.iter().any(|b| b.starts_with(begins)))
                .map(|other| other.name.as_str())
                .collect();
            let known = one.name.starts_with("github") && also.iter().all(|name| name.starts_with("github"));
            assert!(also.is_empty() || known, "{begins} of {} also begins keys of {also:?}", one.name);
        }
    }
}

/// `AVOUCH_REGENERATE=1 cargo test -p avouch --lib presets` writes it anew.
#[test]
fn the_table_in_the_docs_is_of_these_files() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/presets.md");
    let kept = std::fs::read_to_string(&page).unwrap_or_default();
    let (intro, _) = kept.split_once(TABLE).unwrap_or((&kept, ""));
    let mut made = format!("{intro}{TABLE}|---|---|---|---|---|---|\n");
    for preset in all().unwrap() {
        let code = |text: &str| format!("`{text}`");
        let yours = |needed: bool| if needed { " (yours)" } else { "" };
        made += &format!(
            "| {} | {} | {}{} | {}{} | {} | {} |\n",
            code(&preset.name),
            preset.title,
            code(preset.to()),
            yours(preset.needs.to.is_some()),
            code(&preset.slot()),
            yours(preset.needs.slot.is_some()),
            preset.environment.as_deref().map_or_else(|| "none".to_owned(), code),
            preset.narrow.says,
        );
    }
    if std::env::var_os("AVOUCH_REGENERATE").is_some() {
        std::fs::write(&page, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(made == kept, "docs/presets.md is stale: run with AVOUCH_REGENERATE=1");
}

const TABLE: &str = "| preset | service | to | as | variable | an example of less |\n";
