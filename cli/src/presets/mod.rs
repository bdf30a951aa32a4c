//! Presets: ready bindings for well-known services, one file each in `config/presets/`. They are data and nothing
//! else; what is made of one is a binding like any other, and is checked like any other.

mod files;

use crate::failure::{Exit, Failure};
use avouch_policy::binding::PlaceholderInBody;
use avouch_policy::placeholder::PLACEHOLDER;
use avouch_policy::{BindingSpec, EnvironmentSpec, SlotSpec};
use serde::Deserialize;

/// A well-known service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its name, which is also the usual one of the credential.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What has to be known beside.
    pub note: Option<String>,
    /// The origin; none where each customer has another.
    to: Option<String>,
    /// The methods.
    pub methods: Vec<String>,
    /// The path patterns.
    pub paths: Vec<String>,
    /// The query keys that its tools use.
    #[serde(default)]
    pub query: Vec<String>,
    slot: Option<SlotSpec>,
    /// The variable in which its tools look for the key.
    pub environment: Option<String>,
    /// What stands in that variable, for a credential of the preset's own name.
    pub placeholder: Option<String>,
    /// Other variables in which people keep the key.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What its keys begin with.
    #[serde(default)]
    pub begins: Vec<String>,
    placeholder_in_body: Option<PlaceholderInBody>,
    /// What the customer has to give.
    #[serde(default)]
    pub needs: Needs,
    /// A call that only reads, and that fails with a wrong key.
    pub probe: Option<Probe>,
    /// Why there is no such call.
    pub no_probe: Option<String>,
    /// An example of binding less.
    pub narrow: Narrow,
}

/// What a customer has to give, each with an example.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// The origin.
    pub to: Option<String>,
    /// The slot, as `--as` takes it.
    #[serde(rename = "as")]
    pub slot: Option<String>,
}

/// A call that only reads.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// JSON, where the service has only one address for everything.
    pub body: Option<String>,
}

/// An example of binding less. Words in capitals are the customer's to replace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrow {
    /// What it is enough for.
    pub says: String,
    /// The methods.
    pub methods: Vec<String>,
    /// The path patterns.
    pub paths: Vec<String>,
    /// The query keys.
    #[serde(default)]
    pub query: Vec<String>,
}

/// All presets by name.
pub fn all() -> Result<Vec<Preset>, Failure> {
    let mut presets = files::FILES.iter().map(|(name, text)| read(name, text)).collect::<Result<Vec<_>, _>>()?;
    presets.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(presets)
}

/// The preset of this name; else the nearest is named.
pub fn find(name: &str) -> Result<Preset, Failure> {
    match files::FILES.iter().find(|(known, _)| *known == name) {
        Some((known, text)) => read(known, text),
        None => {
            let nearest = files::FILES.iter().map(|(known, _)| *known).min_by_key(|known| far(known, name));
            let failure = Failure::new(Exit::NotFound, format!("there is no preset {name:?}"));
            let nearest = nearest.unwrap_or_default();
            Err(failure.then(format!("The nearest is {nearest}; `avouch preset list` lists them all.")))
        }
    }
}

/// Whether a text begins as the keys of a well-known service do, and goes on as one.
pub fn looks_like_key(text: &str) -> bool {
    let goes_on = |rest: &str| rest.len() >= SHORTEST_KEY && !rest.contains(char::is_whitespace);
    let begins =
        |preset: &Preset| preset.begins.iter().any(|begin| text.strip_prefix(begin.as_str()).is_some_and(goes_on));
    all().is_ok_and(|presets| presets.iter().any(begins))
}

/// What a key has at least after its beginning.
const SHORTEST_KEY: usize = 12;

fn read(name: &str, text: &str) -> Result<Preset, Failure> {
    toml::from_str(text)
        .map_err(|error| Failure::new(Exit::Failure, format!("the preset {name} cannot be read: {error}")))
}

impl Preset {
    /// The binding of a customer's credential: `to` and `slot` are what the customer gave, if anything.
    pub fn binding(&self, to: Option<String>, slot: Option<SlotSpec>) -> Result<BindingSpec, Failure> {
        let mut missing = Vec::new();
        let to = to.or_else(|| self.to.clone());
        if to.is_none() {
            missing.push(format!("--to {}", self.needs.to.as_deref().unwrap_or("https://your-host")));
        }
        let slot = slot.or_else(|| self.slot.clone());
        if slot.is_none() {
            missing.push(format!("--as {}", self.needs.slot.as_deref().unwrap_or("bearer")));
        }
        let (Some(to), Some(slot)) = (to, slot) else {
            let sentence = format!("{} is another one for each customer", self.title);
            return Err(Failure::new(Exit::Usage, sentence).then(format!("Add yours, as {}", missing.join(" "))));
        };
        let prefix = self.placeholder.as_ref().and_then(|text| Some(text.split_once(PLACEHOLDER)?.0.to_owned()));
        Ok(BindingSpec {
            to,
            methods: self.methods.clone(),
            paths: self.paths.clone(),
            query: self.query.clone(),
            slot,
            plain: None,
            address: None,
            ca: None,
            environment: self.environment.clone().map(|name| EnvironmentSpec { name, prefix }),
            requires: Vec::new(),
            placeholder_in_body: self.placeholder_in_body,
            reveal: false,
            rotate: None,
        })
    }

    /// The origin, or an example of one where each customer has another.
    pub fn to(&self) -> &str {
        self.to.as_deref().or(self.needs.to.as_deref()).unwrap_or_default()
    }

    /// Whether the bodies of requests may speak of placeholders.
    pub fn placeholder_in_body(&self) -> Option<PlaceholderInBody> {
        self.placeholder_in_body
    }

    /// The slot as `--as` takes it, or an example of one.
    pub fn slot(&self) -> String {
        match &self.slot {
            Some(slot) => written(slot),
            None => self.needs.slot.clone().unwrap_or_default(),
        }
    }
}

/// A slot as `--as` takes it.
pub fn written(slot: &SlotSpec) -> String {
    match slot {
        SlotSpec::Bearer => "bearer".to_owned(),
        SlotSpec::Basic { username } => format!("basic:{username}"),
        SlotSpec::Header { name, prefix: None } => format!("header:{name}"),
        SlotSpec::Header { name, prefix: Some(prefix) } => format!("header:{name}:{prefix}"),
    }
}

/// How far a name is from one that was meant: a beginning is near.
fn far(known: &str, meant: &str) -> usize {
    match known.starts_with(meant) || meant.starts_with(known) {
        true => 0,
        false => strsim::osa_distance(known, meant),
    }
}

#[cfg(test)]
mod tests;
