//! The database secrets engine: a user of its own for each issue, who goes when the lease is given back.

use serde::Deserialize;
use vaultrs::api::database::requests::GenerateCredentialsRequest;

use super::answer::Text;
use super::fault::Asked;
use super::lease::Given;
use super::login::Entered;
use super::reference::Role;
use crate::value::{usable, usable_name};
use crate::{Lease, Part, SourceFault};

#[derive(Deserialize)]
struct Credentials {
    username: Text,
    password: Text,
}

/// Credentials of a role. vaultrs has a function for this that drops the lease.
pub(super) async fn issue(entered: &Entered, role: &Role) -> Result<Given, SourceFault> {
    let asked = GenerateCredentialsRequest { mount: role.mount.clone(), name: role.role.clone() };
    let reply = entered.ask(asked, Asked::Role).await?;
    let mut answer = reply.read::<Credentials>()?;
    let Credentials { username, password } = answer.data()?;
    let parts = vec![(Part::Value, password.0), (Part::Username, username.0)];
    // The lease is known from here on, so it is given back even if what came with it is of no use.
    let is_usable = usable(&parts[0].1) && usable_name(&parts[1].1);
    let given = Given::of(answer, Lease::of_parts(parts), is_usable)?;
    match given.id {
        Some(_) => Ok(given),
        // A user that nobody could take back.
        None => Err(SourceFault::Garbage),
    }
}
