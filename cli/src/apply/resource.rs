//! What a document is: an agent, a credential or a grant.

use super::read::{Fields, Findings};
use super::tree::{Node, Tree, documents};
use super::{Fault, Place};
use crate::presets;
use avouch_policy::BindingSpec;
use avouch_wire::admin::resource::Kind;
use avouch_wire::admin::{CreateAgentRequest, CreateGrantRequest, PutCredentialRequest};
use serde_json::Value;
use std::collections::BTreeMap;

/// One document that could be read.
#[derive(Debug)]
pub struct Resource {
    /// Where it begins.
    pub place: Place,
    /// What the issuer is asked for.
    pub kind: Kind,
    lines: BTreeMap<String, u64>,
}

impl Resource {
    /// The word for it.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Agent(_) => AGENT,
            Kind::Credential(_) => CREDENTIAL,
            Kind::Grant(_) => GRANT,
        }
    }

    /// Its name; a grant's is what it grants to whom.
    pub fn name(&self) -> String {
        match &self.kind {
            Kind::Agent(agent) => agent.name.clone(),
            Kind::Credential(credential) => credential.name.clone(),
            Kind::Grant(grant) => format!("{} to {}", grant.credential, grant.agent),
        }
    }

    /// What the issuer calls a field, as it is written here, and where.
    pub fn field(&self, field: &str) -> (String, Place) {
        let path = match (&self.kind, field) {
            (Kind::Grant(_), _)
            | (_, "owner" | "nodes" | "selectors" | "hint" | "source" | "reference" | "binding") => {
                format!("spec.{field}")
            }
            (_, "name") => "metadata.name".to_owned(),
            (_, "x509_ttl_seconds") => "spec.x509Ttl".to_owned(),
            (_, "jwt_ttl_seconds") => "spec.jwtTtl".to_owned(),
            (_, "id_path") => "spec.idPath".to_owned(),
            (_, "common_name") => "spec.commonName".to_owned(),
            (_, "dns_names") => "spec.dnsNames".to_owned(),
            (_, other) => other.to_owned(),
        };
        let line = self.lines.get(&path).copied().unwrap_or(self.place.line);
        (path, Place { file: self.place.file.clone(), line })
    }
}

/// The resources of a text. What is wrong with others is added to the faults.
pub fn read(file: &str, text: &str, faults: &mut Vec<Fault>) -> Vec<Resource> {
    match documents(file, text) {
        Ok(documents) => {
            let there = documents.iter().filter(|tree| !matches!(tree.node, Node::Null));
            there.filter_map(|tree| resource(file, tree, faults)).collect()
        }
        Err(fault) => {
            faults.push(fault);
            Vec::new()
        }
    }
}

fn resource(file: &str, tree: &Tree, faults: &mut Vec<Fault>) -> Option<Resource> {
    let mut findings = Findings::default();
    let kind = document(file, tree, &mut findings);
    look_for_values(file, "", tree, &mut findings);
    let whole = findings.faults.is_empty();
    faults.append(&mut findings.faults);
    let place = Place { file: file.to_owned(), line: tree.line };
    kind.filter(|_| whole).map(|kind| Resource { place, kind, lines: findings.lines })
}

fn document(file: &str, tree: &Tree, findings: &mut Findings) -> Option<Kind> {
    let mut top = Fields::of(file, "", tree, findings)?;
    // For editors; nothing is read from there.
    top.find("$schema", findings);
    let version = top.text("apiVersion", findings);
    if version.is_some_and(|version| version != API_VERSION) {
        let line = findings.lines.get("apiVersion").copied().unwrap_or(tree.line);
        top.wrong("apiVersion", line, &format!("must be {API_VERSION}"), findings);
    }
    let kind = top.text("kind", findings);
    let metadata = top.find("metadata", findings);
    let spec = top.must("spec", findings);
    let line = findings.lines.get("kind").copied().unwrap_or(tree.line);
    let read = match kind.as_deref() {
        Some(AGENT) => agent(file, &mut top, metadata, spec, findings).map(Kind::Agent),
        Some(CREDENTIAL) => credential(file, &mut top, metadata, spec, findings).map(Kind::Credential),
        Some(GRANT) => grant(file, metadata, spec, findings).map(Kind::Grant),
        Some(_) => {
            top.wrong("kind", line, &format!("must be {AGENT}, {CREDENTIAL} or {GRANT}"), findings);
            None
        }
        None => None,
    };
    top.end(findings);
    read
}

/// `metadata.name`, which a grant may do without.
fn name(file: &str, metadata: Option<&Tree>, findings: &mut Findings) -> Option<String> {
    let mut fields = Fields::of(file, "metadata", metadata?, findings)?;
    let name = fields.text("name", findings);
    fields.end(findings);
    name
}

fn must_be_named(file: &str, top: &mut Fields<'_>, metadata: Option<&Tree>, findings: &mut Findings) -> Option<String> {
    if metadata.is_none() {
        top.must("metadata", findings);
    }
    name(file, metadata, findings)
}

fn agent(
    file: &str,
    top: &mut Fields<'_>,
    metadata: Option<&Tree>,
    spec: Option<&Tree>,
    findings: &mut Findings,
) -> Option<CreateAgentRequest> {
    let name = must_be_named(file, top, metadata, findings);
    let mut spec = Fields::of(file, "spec", spec?, findings)?;
    let owner = spec.text("owner", findings);
    let nodes = spec.must("nodes", findings).and_then(|_| spec.texts("nodes", findings));
    let selectors = spec.must("selectors", findings).and_then(|_| spec.texts("selectors", findings));
    let x509_ttl_seconds = spec.seconds("x509Ttl", findings);
    let jwt_ttl_seconds = spec.seconds("jwtTtl", findings);
    let id_path = spec.some_text("idPath", findings);
    let hint = spec.some_text("hint", findings);
    let common_name = spec.some_text("commonName", findings);
    let dns_names = spec.texts("dnsNames", findings);
    spec.end(findings);
    Some(CreateAgentRequest {
        name: name?,
        owner: owner?,
        nodes: nodes?,
        selectors: selectors?,
        x509_ttl_seconds: x509_ttl_seconds?,
        jwt_ttl_seconds: jwt_ttl_seconds?,
        id_path: id_path?,
        hint: hint?,
        common_name: common_name?,
        dns_names: dns_names?,
    })
}

fn credential(
    file: &str,
    top: &mut Fields<'_>,
    metadata: Option<&Tree>,
    spec: Option<&Tree>,
    findings: &mut Findings,
) -> Option<PutCredentialRequest> {
    let name = must_be_named(file, top, metadata, findings);
    let mut spec = Fields::of(file, "spec", spec?, findings)?;
    let source = spec.text("source", findings);
    let reference = spec.some_text("reference", findings);
    let preset = spec.some_text("preset", findings);
    let written = spec.find("binding", findings);
    let binding = preset.and_then(|preset| {
        let line = written.map_or_else(|| findings.lines.get("spec.preset").copied(), |tree| Some(tree.line));
        bind(&preset, written)
            .map_err(|faults| {
                let line = line.unwrap_or_default();
                faults.lines().for_each(|fault| spec.wrong("binding", line, fault, findings));
            })
            .ok()
    });
    spec.end(findings);
    Some(PutCredentialRequest {
        name: name?,
        source: source?,
        reference: reference?,
        binding: binding?,
        only_new: false,
    })
}

/// What the preset binds, with what is written in its place.
fn bind(preset: &str, written: Option<&Tree>) -> Result<Vec<u8>, String> {
    let written = written.map(Tree::json);
    let given = |key| written.as_ref().and_then(|written| written.get(key)).cloned();
    let mut binding = match preset {
        "" => serde_json::Map::new(),
        preset => {
            let to = given("to").and_then(|to| to.as_str().map(ToOwned::to_owned));
            let slot = given("slot").and_then(|slot| serde_json::from_value(slot).ok());
            let spec = presets::find(preset).and_then(|preset| preset.binding(to, slot));
            let spec = spec.map_err(|failure| failure.to_string())?;
            match serde_json::to_value(spec) {
                Ok(Value::Object(map)) => map,
                Ok(_) | Err(_) => return Err("the preset has no binding".to_owned()),
            }
        }
    };
    match written {
        Some(Value::Object(written)) => binding.extend(written),
        Some(_) => return Err("must have keys with values".to_owned()),
        None if preset.is_empty() => return Err("is missing, and so is a preset".to_owned()),
        None => {}
    }
    let spec: BindingSpec = serde_json::from_value(Value::Object(binding)).map_err(|error| error.to_string())?;
    let binding = spec.check().map_err(|fault| fault.to_string())?;
    Ok(binding.canonical_json().to_vec())
}

fn grant(
    file: &str,
    metadata: Option<&Tree>,
    spec: Option<&Tree>,
    findings: &mut Findings,
) -> Option<CreateGrantRequest> {
    // It is known by whom and what it joins; a name is for those who keep the file.
    name(file, metadata, findings);
    let mut spec = Fields::of(file, "spec", spec?, findings)?;
    let (agent, credential) = (spec.text("agent", findings), spec.text("credential", findings));
    spec.end(findings);
    Some(CreateGrantRequest { agent: agent?, credential: credential? })
}

/// Text that begins as keys of well-known services do is taken for one wherever it stands, and not repeated.
fn look_for_values(file: &str, path: &str, tree: &Tree, findings: &mut Findings) {
    match &tree.node {
        Node::Text(text) if presets::looks_like_key(text) => {
            let sentence = "looks like a secret value, and such a file is no place for one: seal it with `avouch \
                            secret put NAME --value-stdin`";
            findings.add(file, tree.line, path, sentence);
        }
        Node::List(list) => list.iter().for_each(|tree| look_for_values(file, path, tree, findings)),
        Node::Map(map) => {
            for (key, _, tree) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                look_for_values(file, &path, tree, findings);
            }
        }
        Node::Null | Node::Flag(_) | Node::Number(_) | Node::Text(_) => {}
    }
}

const API_VERSION: &str = "avouch/v1";
const AGENT: &str = "Agent";
const CREDENTIAL: &str = "Credential";
const GRANT: &str = "Grant";
