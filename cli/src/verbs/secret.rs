//! `secret put`: the helper seals the value, then the issuer registers where it may go. In that order: a value
//! without a credential does nothing, a credential without a value would refuse calls.

use super::{Context, bound, credential, preset};
use crate::args::{SecretPut, SecretVerb};
use crate::failure::{Exit, Failure};
use crate::output::next;
use crate::progress::{self, SETTLING};
use crate::{files, presets, prompt, replies};
use avouch_policy::Binding;
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
    if let Some(name) = put.bound.preset.as_ref().filter(|_| put.narrow) {
        return preset::show(context.output, &presets::find(name)?);
    }
    let binding = bound::bind(&put.name, &put.bound)?;
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
    let request = PutCredentialRequest { name: credential, source: SOURCE.to_owned(), binding, ..Default::default() };
    Ok(admin.put_credential(request).await.map_err(|status| replies::failure(&status))?.into_inner())
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

/// The source that every node has: the store sealed on it.
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
