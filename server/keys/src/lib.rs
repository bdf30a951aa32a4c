//! Key managers. Now there is one: keys made here, sealed under a key file that lies outside the state directory, so
//! that neither the database nor a backup of it can sign anything. No network, no SQL.

mod file;
mod rsa;
mod sealed;
mod software;

pub use file::{Absent, KeyFile, KeyFileError};
pub use rsa::{NotRsa, RsaKey};
pub use sealed::SealedKeys;
