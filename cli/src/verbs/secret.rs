//! `secret put`: the helper seals the value, then the issuer registers where it may go. In that order: a value
//! without a credential does nothing, a credential without a value would refuse calls.

use super::{Context, credential};
use crate::args::{SecretPut, SecretVerb};
use crate::failure::{Exit, Failure};
use crate::output::next;
use crate::{files, prompt, replies};
use avouch_policy::binding::{MAX_CA, Plain};
use avouch_policy::{Binding, BindingSpec};
use avouch_wire::admin::PutCredentialRequest;
use avouch_wire::local::PutSecretRequest;
use std::io::{self, IsTerminal as _};

/// Seals a value and binds it.
pub async fn run(context: &Context, verb: SecretVerb) -> Result<(), Failure> {
    let SecretVerb::Put(put) = verb;
    let binding = bind(&put)?;
    // Both ends are looked at before the value is read: it is typed once.
    let mut helper = context.helper().await?;
    let mut admin = context.admin().await?;
    let value = value(&put)?;
    let (credential, binding) = (put.name.to_string(), binding.canonical_json().to_vec());
    let request = PutSecretRequest { credential: credential.clone(), binding: binding.clone(), value };
    helper.put_secret(request).await.map_err(|status| replies::failure(&status))?;
    let request = PutCredentialRequest { name: credential, source: SOURCE.to_owned(), binding };
    let reply = admin.put_credential(request).await.map_err(|status| replies::failure(&status))?;
    context.output.one(&credential::table(&[reply.into_inner()], context.output.now()))?;
    next(format!("avouch grant create --agent AGENT --credential {}", put.name));
    Ok(())
}

fn bind(put: &SecretPut) -> Result<Binding, Failure> {
    let ca = put.ca.as_ref().map(|path| {
        let read = std::fs::File::open(path).and_then(|file| files::read_limited(file, MAX_CA));
        let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
        text.map_err(|error| Failure::new(Exit::Usage, format!("cannot read --ca {}: {error}", path.display())))
    });
    let spec = BindingSpec {
        to: put.to.clone(),
        methods: put.method.clone(),
        paths: put.path.clone(),
        query: put.query.clone(),
        slot: put.slot.clone(),
        plain: put.plain.as_ref().map(|_| Plain::Loopback),
        address: put.address.clone(),
        ca: ca.transpose()?,
        environment: None,
        requires: Vec::new(),
        placeholder_in_body: None,
    };
    spec.check().map_err(|error| {
        Failure::new(Exit::Usage, format!("this binding cannot be: {}", error.to_string().replace('\n', "\n  ")))
    })
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
