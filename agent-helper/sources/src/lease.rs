//! What a source gives, and what is owed for it.

use avouch_words::{Millis, Name, Secret, Ulid};

use crate::Doing;

/// One part of what was leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The value: the token, the password.
    Value,
    /// Whom the value is the password of, where the source makes up the name.
    Username,
    /// A certificate, PEM.
    Certificate,
    /// Its private key, PEM.
    PrivateKey,
    /// The certificates above it, PEM.
    CaChain,
}

/// One issue of a credential.
#[derive(Debug)]
pub struct Lease {
    parts: Vec<(Part, Secret)>,
    /// The id of its [`Obligation`], where something is owed for it.
    pub id: Option<String>,
    /// When it ends, where the source says so.
    pub expires: Option<Millis>,
    /// Which version of the value it is, where the source counts them.
    pub version: Option<String>,
}

impl Lease {
    /// A value for which nothing is owed.
    pub fn of(value: Secret) -> Self {
        Self::of_parts(vec![(Part::Value, value)])
    }

    /// Several parts, each at most once, for which nothing is owed.
    pub fn of_parts(parts: Vec<(Part, Secret)>) -> Self {
        Self { parts, id: None, expires: None, version: None }
    }

    /// One part, if it was leased.
    pub fn part(&self, part: Part) -> Option<&Secret> {
        self.parts.iter().find(|(one, _)| *one == part).map(|(_, value)| value)
    }

    /// The value, if it was leased.
    pub fn into_value(self) -> Option<Secret> {
        self.parts.into_iter().find(|(one, _)| *one == Part::Value).map(|(_, value)| value)
    }

    /// All of them.
    pub fn parts(&self) -> &[(Part, Secret)] {
        &self.parts
    }
}

/// What is owed to a source: it has to be given back. It opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// To whom.
    pub source: Name,
    /// What.
    pub kind: ObligationKind,
    /// The lease's id, or the login token's accessor; never the token.
    pub id: String,
    /// The accessor of the login that it was made with, and dies with.
    pub parent: Option<String>,
    /// The agent it was made for.
    pub agent: Option<Name>,
    /// Which of its instances.
    pub instance: Option<Ulid>,
    /// The credential it is an issue of; none for a login.
    pub credential: Option<Name>,
    /// When it ends by itself.
    pub expires: Millis,
    /// Whether it can be made to last longer.
    pub renewable: bool,
}

/// What can be owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObligationKind {
    /// A login, by its token's accessor.
    Token,
    /// A lease, by its id.
    Lease,
}

/// Where obligations are recorded.
pub trait Obligations: Send + Sync {
    /// Records one; when it returns, it is durable. One of the same source and id is replaced.
    fn record(&self, owed: Obligation) -> Doing<'_, ()>;
    /// It was given back, or has ended: it is owed no more.
    fn settled<'a>(&'a self, source: &'a Name, id: &'a str) -> Doing<'a, ()>;
}
