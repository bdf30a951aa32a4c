//! `secret put`: the helper seals the value, then the issuer registers where it may go. In that order: a value
//! without a credential does nothing, a credential without a value would refuse calls.

use super::{Context, credential, preset};
use crate::args::{SecretPut, SecretVerb};
use crate::failure::{Exit, Failure};
use crate::output::next;
use crate::progress::{self, SETTLING};
use crate::{files, presets, prompt, replies};
use avouch_policy::binding::{MAX_CA, PlaceholderInBody, Plain};
use avouch_policy::placeholder::PLACEHOLDER;
use avouch_policy::{Binding, BindingSpec, EnvironmentSpec};
use avouch_wire::admin::admin_client::AdminClient;
use avouch_wire::admin::{Credential, PutCredentialRequest};
use avouch_wire::local::PutSecretRequest;
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::tonic::transport::Channel;
use avouch_words::Name;
use std::io::{self, IsTerminal as _};

/// Seals a value and binds it.
pub async fn run(context: &Context, verb: SecretVerb) -> Result<(), Failure> {
    let SecretVerb::Put(put) = verb;
    if let Some(name) = put.preset.as_ref().filter(|_| put.narrow) {
        return preset::show(context.output, &presets::find(name)?);
    }
    let binding = bind(&put)?;
    // Both ends are looked at before the value is read: it is typed once.
    let mut helper = context.helper().await?;
    let mut admin = context.admin().await?;
    let value = value(&put)?;
    let stored = store(&mut helper, &mut admin, &put.name, &binding, value);
    let reply = progress::during(SETTLING, stored).await?;
    context.output.one(&credential::table(&[reply], context.output.now()))?;
    next(format!("avouch grant create --agent AGENT --credential {}", put.name));
    Ok(())
}

/// Seals a value, then binds it.
pub async fn store(
    helper: &mut HelperClient<Channel>,
    admin: &mut AdminClient<Channel>,
    name: &Name,
    binding: &Binding,
    value: Vec<u8>,
) -> Result<Credential, Failure> {
    let (credential, binding) = (name.to_string(), binding.canonical_json().to_vec());
    let request = PutSecretRequest { credential: credential.clone(), binding: binding.clone(), value };
    helper.put_secret(request).await.map_err(|status| replies::failure(&status))?;
    let request = PutCredentialRequest { name: credential, source: SOURCE.to_owned(), binding };
    Ok(admin.put_credential(request).await.map_err(|status| replies::failure(&status))?.into_inner())
}

/// The binding that the flags make, over what the preset says.
pub(super) fn bind(put: &SecretPut) -> Result<Binding, Failure> {
    let ca = put.ca.as_ref().map(|path| {
        let read = std::fs::File::open(path).and_then(|file| files::read_limited(file, MAX_CA));
        let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
        text.map_err(|error| Failure::new(Exit::Usage, format!("cannot read --ca {}: {error}", path.display())))
    });
    let mut spec = match &put.preset {
        Some(name) => presets::find(name)?.binding(put.to.clone(), put.slot.clone())?,
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
    if put.no_env {
        spec.environment = None;
    }
    if let Some(text) = &put.env {
        spec.environment = Some(variable(text, &put.name)?);
    }
    spec.check().map_err(|error| {
        Failure::new(Exit::Usage, format!("this binding cannot be: {}", error.to_string().replace('\n', "\n  ")))
    })
}

/// Without a preset the flags say everything.
fn bare(put: &SecretPut) -> Result<BindingSpec, Failure> {
    let (Some(to), Some(slot)) = (put.to.clone(), put.slot.clone()) else {
        return Err(Failure::new(Exit::Usage, "without --preset there have to be --to and --as"));
    };
    Ok(BindingSpec {
        to,
        methods: Vec::new(),
        paths: Vec::new(),
        query: Vec::new(),
        slot,
        plain: None,
        address: None,
        ca: None,
        environment: None,
        requires: Vec::new(),
        placeholder_in_body: None,
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

fn value(put: &SecretPut) -> Result<Vec<u8>, Failure> {
    let mut value = match &put.value_file {
        Some(path) => files::read_private(path, LONGEST)?,
        None => match io::stdin().is_terminal() {
            true => prompt::hidden(&format!("Value of {}", put.name), LONGEST),
            false => files::read_limited(io::stdin().lock(), LONGEST),
        }
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read the value from stdin: {error}")))?,
    };
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    if value.len() < SHORTEST {
        let sentence = format!("a value of {} bytes is too short to be scrubbed from what comes back", value.len());
        return Err(Failure::new(Exit::Usage, sentence).then("Use one of at least 8 bytes."));
    }
    Ok(value)
}

/// The one source there is: the store sealed on the node.
pub const SOURCE: &str = "sealed";
/// The shortest value that can be told from chance in an answer.
const SHORTEST: usize = 8;
/// The longest value, in bytes.
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use avouch_policy::SlotSpec;
    use clap::Parser as _;

    fn put(line: &str) -> SecretPut {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        match cli.command {
            crate::args::Command::Secret { verb: SecretVerb::Put(put) } => *put,
            _ => panic!("another verb"),
        }
    }

    #[test]
    fn a_binding_that_could_never_match_says_all_that_is_wrong() {
        let line = "avouch secret put c --value-stdin --to http://tool.example.test --method get --path x --as bearer";
        let failure = bind(&put(line)).unwrap_err();
        assert_eq!(failure.code(), 2);
        for said in ["to: ", "methods: get", "paths: x"] {
            assert!(failure.to_string().contains(said), "{failure}");
        }
    }

    #[test]
    fn the_flags_make_the_binding() {
        let line = "avouch secret put c --value-stdin --to https://tool.test:8443 --method GET --path /a/** --query q --as basic:me --address 127.0.0.1:9";
        let spec = bind(&put(line)).unwrap().spec();
        assert_eq!((spec.to.as_str(), spec.query.as_slice()), ("https://tool.test:8443", &["q".to_owned()][..]));
        assert_eq!(spec.address.as_deref(), Some("127.0.0.1:9"));
    }

    #[test]
    fn a_preset_is_enough_and_flags_stand_over_it() {
        let spec = bind(&put("avouch secret put hub --preset github --value-stdin")).unwrap().spec();
        assert_eq!((spec.to.as_str(), spec.slot), ("https://api.github.com:443", SlotSpec::Bearer));
        assert_eq!(spec.environment.unwrap().name, "GITHUB_TOKEN");
        let line = "avouch secret put hub --preset slack --value-stdin --to https://127.0.0.1:8443 --address 127.0.0.1:8443 --method GET --path /x --query y --as header:x-key --require session:contained:work --placeholder-in-body data --env A_TOKEN=b-avouch:hub";
        let spec = bind(&put(line)).unwrap().spec();
        assert_eq!(spec.to, "https://127.0.0.1:8443");
        assert_eq!((spec.methods, spec.paths, spec.query), (vec!["GET".into()], vec!["/x".into()], vec!["y".into()]));
        assert_eq!(spec.slot, SlotSpec::Header { name: "x-key".into(), prefix: None });
        assert_eq!(spec.requires, ["session:contained:work"]);
        assert_eq!(spec.placeholder_in_body, Some(PlaceholderInBody::Data));
        assert_eq!(spec.environment, Some(EnvironmentSpec { name: "A_TOKEN".into(), prefix: Some("b-".into()) }));
        // The prefix that a tool wants goes before the credential's own name.
        let slack = bind(&put("avouch secret put team --preset slack --value-stdin")).unwrap();
        let team = Name::parse("team").unwrap();
        assert_eq!(slack.environment().unwrap().value(&team), "xoxb-avouch:team");
        assert!(
            bind(&put("avouch secret put a --preset slack --no-env --value-stdin")).unwrap().environment().is_none()
        );
    }

    #[test]
    fn what_a_preset_leaves_open_is_asked_for_and_a_slip_finds_the_nearest() {
        let failure = bind(&put("avouch secret put jira --preset jira --value-stdin")).unwrap_err();
        assert_eq!(failure.code(), 2);
        let said = failure.to_string();
        assert!(
            said.contains("--to https://your-site.atlassian.net") && said.contains("--as basic:you@example.com"),
            "{said}"
        );
        let line = "avouch secret put jira --preset jira --value-stdin --to https://acme.atlassian.net --as basic:me@acme.test";
        assert!(bind(&put(line)).is_ok());
        let failure = bind(&put("avouch secret put hub --preset gihtub --value-stdin")).unwrap_err();
        assert_eq!(failure.code(), 3);
        assert!(failure.to_string().contains("The nearest is github;"), "{failure}");
        for env in ["PATH", "A=avouch:other", "A=avouch:hub-2", "A=b"] {
            let line = format!("avouch secret put hub --preset github --value-stdin --env {env}");
            assert_eq!(bind(&put(&line)).unwrap_err().code(), 2, "{env}");
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

    #[test]
    fn one_end_of_line_is_no_part_of_a_value_and_short_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v");
        files::create_private(&path, b"12345678\r\n").unwrap();
        let mut put = put("avouch secret put c --value-file x --to https://t --method GET --path / --as bearer");
        put.value_file = Some(path.clone());
        assert_eq!(value(&put).unwrap(), b"12345678");
        std::fs::write(&path, b"1234567\n").unwrap();
        let failure = value(&put).unwrap_err();
        assert!(failure.to_string().contains("too short to be scrubbed"), "{failure}");
        assert_eq!(failure.code(), 2);
    }
}
