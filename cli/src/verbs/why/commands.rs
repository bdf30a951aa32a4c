//! What an operator can type so that a request is let through.

use super::record::Record;
use crate::output::quote;
use crate::presets;
use crate::verbs::secret::SOURCE;
use avouch_policy::request::TUNNEL;
use avouch_policy::{Binding, BindingSpec, EnvironmentSpec, Origin, RefusalCode, SlotSpec};
use avouch_wire::admin::change::Kind;
use avouch_wire::admin::{Bind, Change, Credential, Judgement, WhyReply};
use avouch_words::Name;

/// The commands in their order, and a sentence where they are not enough.
pub fn all(record: &Record, reply: &WhyReply, credentials: &[Credential]) -> (Vec<String>, Option<String>) {
    if let Some(code) = record.code().filter(|code| !is_of_policy(*code)) {
        return beside_policy(code, record, credentials);
    }
    if record.placeholder().is_some() {
        let sentence = "A placeholder in the request named a credential that is not granted to this agent, or that goes \
                        elsewhere: compare the variables of its session with what it may use.";
        return (vec!["avouch grant list".to_owned(), "avouch credential list".to_owned()], Some(sentence.to_owned()));
    }
    let Some(now) = &reply.now else {
        let known = record.request.is_some();
        let why = if known { "was too long to be recorded whole" } else { "has no one reading" };
        return (Vec::new(), Some(format!("The request {why}, so it cannot be judged again.")));
    };
    let agent = record.caller.agent.as_str();
    let mut commands = Vec::new();
    let mut facts = Vec::new();
    for kind in now.changes.iter().filter_map(|change: &Change| change.kind.as_ref()) {
        match kind {
            Kind::ReleaseLock(lock) => commands.push(format!("avouch lock release {lock}")),
            Kind::Grant(credential) => {
                commands.push(format!("avouch grant create --agent {agent} --credential {credential}"));
            }
            // What is like no credential that is here is taken from a preset, which knows the slot.
            Kind::Bind(bind) if now.misses.is_empty() => commands.extend(by_preset(bind, record).or_else(|| put(bind))),
            Kind::Bind(bind) => commands.extend(put(bind)),
            Kind::DeleteGrant(grant) => commands.push(format!("avouch grant delete {grant}")),
            Kind::Require(fact) => match fact.strip_prefix("session:contained:") {
                Some(profile) => commands.push(format!("avouch run --contain={profile} --agent {agent} -- COMMAND")),
                None => facts.push(fact.as_str()),
            },
        }
    }
    let takes_back = commands.iter().any(|command| command.starts_with("avouch grant delete "));
    let advice = match (facts.is_empty(), now.enough) {
        (false, _) => Some(format!("The agent's session must be known to have {}.", facts.join(" and "))),
        (true, true) if takes_back => Some(NAME_ONE.to_owned()),
        (true, true) => None,
        (true, false) => Some(nothing_helps(now)),
    };
    (commands, advice)
}

/// Whether grants, bindings, locks and facts decide on it.
fn is_of_policy(code: RefusalCode) -> bool {
    matches!(code, RefusalCode::Denied | RefusalCode::AmbiguousCredential | RefusalCode::UnboundHost)
}

fn nothing_helps(now: &Judgement) -> String {
    match now.rule.as_str() {
        "unknown_agent" => {
            "No agent of this name may run on that node: register one, or see its nodes with `avouch agent list`."
                .to_owned()
        }
        "not_active" => "The agent is not active.".to_owned(),
        _ => "No binding can let it through: plain HTTP goes to this machine only, and metadata addresses to nobody."
            .to_owned(),
    }
}

fn beside_policy(code: RefusalCode, record: &Record, credentials: &[Credential]) -> (Vec<String>, Option<String>) {
    let origin = record.origin();
    let (commands, advice) = match code {
        RefusalCode::Stale => (
            vec!["avouch status".to_owned()],
            "The helper had not heard from the issuer: see whether it hears from it now.".to_owned(),
        ),
        RefusalCode::AuditUnavailable => (
            vec!["avouch status".to_owned()],
            "The helper could not write its records: look at the disk that holds its state.".to_owned(),
        ),
        RefusalCode::SourceUnavailable => {
            let commands = credentials.iter().filter_map(|credential| again(credential, &record.caller.agent));
            (commands.collect(), no_value(record, credentials))
        }
        RefusalCode::UpstreamUnreachable => (
            Vec::new(),
            format!(
                "{origin} did not answer over a connection that is trusted; a binding may name its --ca and --address."
            ),
        ),
        RefusalCode::AddressRefused => (
            Vec::new(),
            format!("{origin} leads to a private address: bind the credential with --address IP to permit it."),
        ),
        RefusalCode::PlaceholderMisplaced if record.placeholder() == Some("body") => (
            Vec::new(),
            "If what is sent there may speak of placeholders, put the credential anew with --placeholder-in-body data."
                .to_owned(),
        ),
        RefusalCode::UpstreamUnclean
        | RefusalCode::BadRequest
        | RefusalCode::Misdirected
        | RefusalCode::TooLarge
        | RefusalCode::BrowserRequest
        | RefusalCode::PlaceholderMisplaced => {
            (Vec::new(), format!("No grant or binding changes this. To the agent: {}", code.action()))
        }
        RefusalCode::Denied | RefusalCode::AmbiguousCredential | RefusalCode::UnboundHost => {
            (Vec::new(), String::new())
        }
    };
    (commands, Some(advice).filter(|advice| !advice.is_empty()))
}

/// Why a source gave nothing, as far as can be said from here.
fn no_value(record: &Record, credentials: &[Credential]) -> String {
    match credentials.iter().find(|credential| !is_sealed(&credential.source)) {
        Some(Credential { name, source, .. }) => {
            format!("{} was not given {name} by its source {source}: ask it on that node.", record.node)
        }
        None => format!("{} holds no value under this binding: put it there again.", record.node),
    }
}

/// Only what the node itself seals can be put there; another source can be asked what it says.
fn again(credential: &Credential, agent: &Name) -> Option<String> {
    let Credential { name, source, binding, .. } = credential.clone();
    if !is_sealed(&source) {
        return Some(format!("avouch source test {source} --agent {agent} --credential {name}"));
    }
    put(&Bind { credential: name, binding, replaces: true, source, reference: String::new() })
}

fn is_sealed(source: &str) -> bool {
    source.is_empty() || source == SOURCE
}

/// `secret put` by the preset for this origin, if there is one, and no wider than the call; of a tunnel nothing is
/// known but its target.
fn by_preset(bind: &Bind, record: &Record) -> Option<String> {
    let spec = Binding::parse(&bind.binding).ok()?.spec();
    let all = presets::all().ok()?;
    let origin = |text: &str| Origin::parse(text).ok();
    let preset = all.iter().find(|preset| origin(preset.to()).is_some() && origin(preset.to()) == origin(&spec.to))?;
    let mut line = format!("avouch secret put {} --preset {} --value-stdin", bind.credential, preset.name);
    let is_tunnel = record.request.as_ref().is_some_and(|request| request.method.as_str() == TUNNEL);
    let narrow = [("method", &spec.methods), ("path", &spec.paths), ("query", &spec.query)];
    for (flag, values) in narrow.iter().filter(|_| !is_tunnel) {
        values.iter().for_each(|value| line.push_str(&format!(" --{flag} {}", quote(value))));
    }
    Some(line)
}

/// `secret put`, or `credential create` for what lies elsewhere, with this binding spelled out.
fn put(bind: &Bind) -> Option<String> {
    let spec = Binding::parse(&bind.binding).ok()?.spec();
    let verb = match (is_sealed(&bind.source), bind.reference.as_str()) {
        (true, _) => format!("secret put {} --value-stdin", bind.credential),
        (false, "") => format!("credential create {} --replace --source {}", bind.credential, bind.source),
        (false, reference) => {
            let reference = quote(reference);
            format!("credential create {} --replace --source {} --ref {reference}", bind.credential, bind.source)
        }
    };
    Some(spelled(&verb, &bind.credential, &spec))
}

fn spelled(verb: &str, name: &str, spec: &BindingSpec) -> String {
    let mut words = vec![format!("avouch {verb} --to {}", quote(&spec.to))];
    let mut flag = |name: &str, value: &str| words.push(format!("--{name} {}", quote(value)));
    for method in &spec.methods {
        flag("method", method);
    }
    for path in &spec.paths {
        flag("path", path);
    }
    for key in &spec.query {
        flag("query", key);
    }
    flag("as", &slot(&spec.slot));
    if spec.plain.is_some() {
        flag("plain", "loopback");
    }
    if let Some(address) = &spec.address {
        flag("address", address);
    }
    if spec.ca.is_some() {
        flag("ca", "FILE");
    }
    if let Some(environment) = &spec.environment {
        flag("env", &variable(name, environment));
    }
    for fact in &spec.requires {
        flag("require", fact);
    }
    if spec.placeholder_in_body.is_some() {
        flag("placeholder-in-body", "data");
    }
    if let Some(every) = spec.rotate.and_then(|rotate| rotate.every_seconds) {
        flag("rotate-every", &format!("{every}s"));
    }
    if let Some(uses) = spec.rotate.and_then(|rotate| rotate.after_uses) {
        flag("rotate-after-uses", &uses.to_string());
    }
    if spec.reveal {
        words.push("--reveal".to_owned());
    }
    words.join(" ")
}

fn variable(credential: &str, environment: &EnvironmentSpec) -> String {
    match &environment.prefix {
        None => environment.name.clone(),
        Some(prefix) => format!("{}={prefix}avouch:{credential}", environment.name),
    }
}

fn slot(slot: &SlotSpec) -> String {
    match slot {
        SlotSpec::Bearer => "bearer".to_owned(),
        SlotSpec::Basic { username } => format!("basic:{username}"),
        SlotSpec::Header { name, prefix: None } => format!("header:{name}"),
        SlotSpec::Header { name, prefix: Some(prefix) } => format!("header:{name}:{prefix}"),
    }
}

/// What tells two credentials for one place apart without taking one away.
const NAME_ONE: &str = "Or let the request say which of them it means, by its placeholder (avouch:NAME) in the header.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, CredentialVerb, SecretVerb};
    use crate::verbs::bound::bind;
    use clap::Parser as _;

    /// What a shell and the command line make of what was spelled.
    fn read_again(line: &str) -> BindingSpec {
        let print = format!("set -- {line}; printf '%s\\n' \"$@\"");
        let output = std::process::Command::new("sh").arg("-c").arg(print).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        match Cli::try_parse_from(words.lines()).unwrap().command {
            Command::Secret { verb: SecretVerb::Put(put) } => bind(&put.name, &put.bound).unwrap().spec(),
            Command::Credential { verb: CredentialVerb::Create(create) } => {
                assert_eq!((create.source.as_str(), create.reference.as_str()), ("vault", "kv2:a/b#it's"));
                assert!(create.replace);
                bind(&create.name, &create.bound).unwrap().spec()
            }
            other => panic!("{other:?}"),
        }
    }

    fn secret_put(name: &str, spec: &BindingSpec) -> String {
        spelled(&format!("secret put {name} --value-stdin"), name, spec)
    }

    #[test]
    fn a_binding_is_spelled_as_the_flags_that_make_it() {
        let plain = BindingSpec {
            to: "http://127.0.0.1:8080".to_owned(),
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            paths: vec!["/a/**".to_owned()],
            query: vec!["it's".to_owned()],
            slot: SlotSpec::Header { name: "x-key".to_owned(), prefix: Some("Token ".to_owned()) },
            plain: Some(avouch_policy::binding::Plain::Loopback),
            address: Some("127.0.0.1:8080".to_owned()),
            ca: None,
            environment: None,
            requires: Vec::new(),
            placeholder_in_body: None,
            reveal: false,
            rotate: None,
        };
        assert_eq!(
            secret_put("tool", &plain),
            "avouch secret put tool --value-stdin --to http://127.0.0.1:8080 --method GET --method POST --path '/a/**' \
             --query 'it'\\''s' --as 'header:x-key:Token ' --plain loopback --address 127.0.0.1:8080"
        );
        let rich = BindingSpec {
            to: "https://api.test:443".to_owned(),
            query: vec!["a[]".to_owned(), "$x".to_owned()],
            slot: SlotSpec::Basic { username: "me".to_owned() },
            plain: None,
            address: None,
            environment: Some(EnvironmentSpec { name: "TOOL_KEY".to_owned(), prefix: Some("xo-".to_owned()) }),
            requires: vec!["session:contained:work".to_owned()],
            placeholder_in_body: Some(avouch_policy::binding::PlaceholderInBody::Data),
            reveal: true,
            rotate: Some(avouch_policy::binding::RotateSpec { every_seconds: Some(60), after_uses: Some(7) }),
            ..plain.clone()
        };
        let with_roots = BindingSpec { ca: Some("PEM".to_owned()), ..rich.clone() };
        assert!(secret_put("tool", &with_roots).contains(" --ca FILE"));
        for spec in [plain, rich] {
            let checked = spec.check().unwrap().spec();
            assert_eq!(read_again(&secret_put("tool", &checked)), checked);
            let elsewhere = Bind {
                credential: "tool".to_owned(),
                binding: spec.check().unwrap().canonical_json().to_vec(),
                replaces: true,
                source: "vault".to_owned(),
                reference: "kv2:a/b#it's".to_owned(),
            };
            assert_eq!(read_again(&put(&elsewhere).unwrap()), checked, "what lies in a source stays there");
        }
    }
}
