//! How a source is entered, and what a try at it shows: for operators, who are shown no value.

use crate::{Lease, Part, SourceFault};

/// What a source is, as operators are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Where it is: an address, a file, a command.
    pub place: String,
    /// How it is entered, in the word that the settings use; `none` where nobody logs in.
    pub login: &'static str,
    /// What it is shown of whoever enters.
    pub shown: Shown,
}

/// What a source is shown of whoever enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A brokered JWT-SVID for this audience, which the issuer has to reserve.
    Jwt {
        /// The audience.
        audience: String,
    },
    /// A brokered X.509-SVID.
    X509,
    /// Nothing: what the node has opens it, whoever asks.
    Nothing,
}

/// What a try showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// Whom the source takes the entrant for, where it says so.
    pub seen_as: Option<String>,
    /// The names of what the source lets it do, where it says so: policies, an assumed role.
    pub rights: Vec<String>,
    /// What the reference leads to; none if none was asked for.
    pub found: Option<Result<Found, SourceFault>>,
}

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A value is there.
    Value {
        /// How long it is.
        bytes: usize,
        /// Which version it is, where the source counts them.
        version: Option<String>,
    },
    /// It is made for each call, and would be made. Nothing was made.
    OnDemand,
}

impl Found {
    /// What is told of something that was read.
    pub fn of(lease: &Lease) -> Result<Self, SourceFault> {
        let value = lease.part(Part::Value).ok_or(SourceFault::Garbage)?;
        Ok(Self::Value { bytes: value.len(), version: lease.version.clone() })
    }
}
