//! Why a verb did not do what it was asked to: one sentence, what to do next, and a stable exit code.

use serde_json::{Value, json};
use std::fmt;

/// What a script may go by. The numbers never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something went wrong that has no number of its own.
    Failure = 1,
    /// The command line or a file it names is not right.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Policy, a lock or the caller's rights say no.
    Denied = 4,
    /// The caller has no identity here.
    NotAttested = 5,
    /// The issuer or the helper does not answer.
    Unreachable = 7,
    /// A token, an SVID or a lock has run out, or was taken back.
    Expired = 8,
    /// It took too long.
    Timeout = 124,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::Denied,
        Self::NotAttested,
        Self::Unreachable,
        Self::Expired,
        Self::Timeout,
    ];

    /// The word that stands for the number in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::NotAttested => "no_identity",
            Self::Unreachable => "unreachable",
            Self::Expired => "expired",
            Self::Timeout => "timeout",
        }
    }
}

/// A verb's failure, as a person reads it.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    sentence: String,
    action: Option<String>,
}

impl Failure {
    /// A failure with its sentence, which names what was tried and why it did not go.
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self::with_code(exit as u8, sentence)
    }

    /// The same, with a code that another part of avouch has chosen from the same table.
    pub fn with_code(code: u8, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), action: None }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn then(mut self, action: impl Into<String>) -> Self {
        let action = action.into();
        self.action = (!action.is_empty()).then_some(action);
        self
    }

    /// The same for scripts.
    pub fn json(&self) -> Value {
        let word = Exit::ALL.into_iter().find(|exit| *exit as u8 == self.code).unwrap_or(Exit::Failure);
        json!({"error": {
            "exit": self.code,
            "code": word.as_str(),
            "message": self.sentence,
            "action": self.action,
        }})
    }

    /// What happened, without what to do about it.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        match &self.action {
            Some(action) => write!(f, "\n  {action}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::new(Exit::Failure, format!("{error:#}")),
        }
    }
}
