//! The binding that flags make, for every verb that binds a value.

use crate::args::Bound;
use crate::failure::{Exit, Failure};
use crate::{files, presets};
use avouch_policy::binding::{MAX_CA, NOWHERE, PlaceholderInBody, Plain, RotateSpec};
use avouch_policy::placeholder::PLACEHOLDER;
use avouch_policy::{Binding, BindingSpec, EnvironmentSpec, SlotSpec};
use avouch_words::Name;
use std::io;

/// The binding that the flags make, over what the preset says.
pub fn bind(name: &Name, put: &Bound) -> Result<Binding, Failure> {
    let ca = put.ca.as_ref().map(|path| {
        let read = std::fs::File::open(path).and_then(|file| files::read_limited(file, MAX_CA));
        let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
        text.map_err(|error| Failure::new(Exit::Usage, format!("cannot read --ca {}: {error}", path.display())))
    });
    let mut spec = match &put.preset {
        Some(preset) => presets::find(preset)?.binding(put.to.clone(), put.slot.clone())?,
        None => bare(put)?,
    };
    for (flags, field) in
        [(&put.method, &mut spec.methods), (&put.path, &mut spec.paths), (&put.query, &mut spec.query)]
    {
        if !flags.is_empty() {
            field.clone_from(flags);
        }
    }
    spec.plain = put.plain.as_ref().map(|_| Plain::Loopback);
    spec.address.clone_from(&put.address);
    spec.ca = ca.transpose()?;
    spec.requires = put.require.iter().map(ToString::to_string).collect();
    if put.placeholder_in_body.is_some() {
        spec.placeholder_in_body = Some(PlaceholderInBody::Data);
    }
    spec.reveal = put.reveal;
    if put.rotate_every.is_some() || put.rotate_after_uses.is_some() {
        let seconds = |every: std::time::Duration| u32::try_from(every.as_secs()).unwrap_or(u32::MAX);
        spec.rotate =
            Some(RotateSpec { every_seconds: put.rotate_every.map(seconds), after_uses: put.rotate_after_uses });
    }
    if put.no_env {
        spec.environment = None;
    }
    if let Some(text) = &put.env {
        spec.environment = Some(variable(text, name)?);
    }
    spec.check().map_err(|error| {
        Failure::new(Exit::Usage, format!("this binding cannot be: {}", error.to_string().replace('\n', "\n  ")))
    })
}

/// Without a preset the flags say everything.
fn bare(put: &Bound) -> Result<BindingSpec, Failure> {
    let (to, slot, methods, paths) = match (put.to.clone(), put.slot.clone()) {
        (Some(to), Some(slot)) => (to, slot, Vec::new(), Vec::new()),
        // For programs that hold it, and for no request.
        (None, None) if put.reveal => {
            (NOWHERE.to_owned(), SlotSpec::Bearer, vec!["GET".to_owned()], vec!["/".to_owned()])
        }
        _ => return Err(Failure::new(Exit::Usage, "without --preset there have to be --to and --as")),
    };
    Ok(BindingSpec {
        to,
        methods,
        paths,
        query: Vec::new(),
        slot,
        plain: None,
        address: None,
        ca: None,
        environment: None,
        requires: Vec::new(),
        placeholder_in_body: None,
        reveal: false,
        rotate: None,
    })
}

/// `NAME`, or `NAME=PLACEHOLDER`.
fn variable(text: &str, credential: &Name) -> Result<EnvironmentSpec, Failure> {
    let (name, placeholder) = match text.split_once('=') {
        Some((name, placeholder)) => (name, Some(placeholder)),
        None => (text, None),
    };
    let own = format!("{PLACEHOLDER}{credential}");
    let prefix = match placeholder {
        None => None,
        Some(placeholder) => Some(placeholder.strip_suffix(&own).ok_or_else(|| {
            let sentence = format!("the placeholder {placeholder:?} does not end in {own}");
            Failure::new(Exit::Usage, sentence)
                .then(format!("Write it as --env {name}={own}, with a prefix if the tool wants one."))
        })?),
    };
    Ok(EnvironmentSpec { name: name.to_owned(), prefix: prefix.map(ToOwned::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, CredentialVerb, SecretVerb};
    use clap::Parser as _;

    fn read(line: &str) -> Result<Binding, Failure> {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Secret { verb: SecretVerb::Put(put) } => bind(&put.name, &put.bound),
            Command::Credential { verb: CredentialVerb::Create(create) } => bind(&create.name, &create.bound),
            _ => panic!("another verb"),
        }
    }

    #[test]
    fn both_verbs_that_bind_read_the_same_flags() {
        for flags in [
            "--preset github",
            "--preset slack --to https://127.0.0.1:8443 --address 127.0.0.1:8443 --method GET --path /x --query y --as header:x-key",
            "--to https://a.test --method GET --path / --as bearer --no-env --require session:contained:work",
        ] {
            let sealed = read(&format!("avouch secret put c --value-stdin {flags}")).unwrap();
            let elsewhere =
                read(&format!("avouch credential create c --source vault --ref kv2:a/b#c {flags}")).unwrap();
            assert_eq!(sealed.canonical_json(), elsewhere.canonical_json());
        }
    }

    #[test]
    fn a_binding_that_could_never_match_says_all_that_is_wrong() {
        let line = "avouch secret put c --value-stdin --to http://tool.example.test --method get --path x --as bearer";
        let failure = read(line).unwrap_err();
        assert_eq!(failure.code(), 2);
        for said in ["to: ", "methods: get", "paths: x"] {
            assert!(failure.to_string().contains(said), "{failure}");
        }
    }

    #[test]
    fn the_flags_make_the_binding() {
        let line = "avouch secret put c --value-stdin --to https://tool.test:8443 --method GET --path /a/** --query q --as basic:me --address 127.0.0.1:9";
        let spec = read(line).unwrap().spec();
        assert_eq!((spec.to.as_str(), spec.query.as_slice()), ("https://tool.test:8443", &["q".to_owned()][..]));
        assert_eq!(spec.address.as_deref(), Some("127.0.0.1:9"));
    }

    #[test]
    fn a_preset_is_enough_and_flags_stand_over_it() {
        let spec = read("avouch secret put hub --preset github --value-stdin").unwrap().spec();
        assert_eq!((spec.to.as_str(), spec.slot), ("https://api.github.com:443", SlotSpec::Bearer));
        assert_eq!(spec.environment.unwrap().name, "GITHUB_TOKEN");
        let line = "avouch secret put hub --preset slack --value-stdin --to https://127.0.0.1:8443 --address 127.0.0.1:8443 --method GET --path /x --query y --as header:x-key --require session:contained:work --placeholder-in-body data --env A_TOKEN=b-avouch:hub";
        let spec = read(line).unwrap().spec();
        assert_eq!(spec.to, "https://127.0.0.1:8443");
        assert_eq!((spec.methods, spec.paths, spec.query), (vec!["GET".into()], vec!["/x".into()], vec!["y".into()]));
        assert_eq!(spec.slot, SlotSpec::Header { name: "x-key".into(), prefix: None });
        assert_eq!(spec.requires, ["session:contained:work"]);
        assert_eq!(spec.placeholder_in_body, Some(PlaceholderInBody::Data));
        assert_eq!(spec.environment, Some(EnvironmentSpec { name: "A_TOKEN".into(), prefix: Some("b-".into()) }));
        // The prefix that a tool wants goes before the credential's own name.
        let slack = read("avouch secret put team --preset slack --value-stdin").unwrap();
        let team = Name::parse("team").unwrap();
        assert_eq!(slack.environment().unwrap().value(&team), "xoxb-avouch:team");
        assert!(read("avouch secret put a --preset slack --no-env --value-stdin").unwrap().environment().is_none());
    }

    #[test]
    fn what_a_preset_leaves_open_is_asked_for_and_a_slip_finds_the_nearest() {
        let failure = read("avouch secret put jira --preset jira --value-stdin").unwrap_err();
        assert_eq!(failure.code(), 2);
        let said = failure.to_string();
        assert!(
            said.contains("--to https://your-site.atlassian.net") && said.contains("--as basic:you@example.com"),
            "{said}"
        );
        let line = "avouch secret put jira --preset jira --value-stdin --to https://acme.atlassian.net --as basic:me@acme.test";
        assert!(read(line).is_ok());
        let failure = read("avouch secret put hub --preset gihtub --value-stdin").unwrap_err();
        assert_eq!(failure.code(), 3);
        assert!(failure.to_string().contains("The nearest is github;"), "{failure}");
        for env in ["PATH", "A=avouch:other", "A=avouch:hub-2", "A=b"] {
            let line = format!("avouch secret put hub --preset github --value-stdin --env {env}");
            assert_eq!(read(&line).unwrap_err().code(), 2, "{env}");
        }
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parse("avouch secret put hub --preset github --narrow"));
        for line in [
            "avouch secret put hub --narrow",
            "avouch secret put hub --value-stdin",
            "avouch secret put hub --preset github",
            "avouch secret put hub --preset github --narrow --value-stdin",
            "avouch secret put hub --preset github --value-stdin --env A --no-env",
        ] {
            assert!(!parse(line), "{line}");
        }
    }
}
