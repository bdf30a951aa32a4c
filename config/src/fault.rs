//! What is wrong in a settings file, all of it at once.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key with the tables it is in, as `svid.x509_ttl`; empty if the file is not TOML.
    pub key: String,
    /// The line it is on, counted from 1; none for a key that is not there.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a key. Each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is not TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// There is no such key, and another one is near.
    #[error("there is no key `{key}`: did you mean `{nearest}`?")]
    Near {
        /// The key that was written.
        key: String,
        /// The key that is nearest.
        nearest: String,
    },
    /// There is no such key, and none is near.
    #[error("there is no key `{key}` here: the keys are {known}")]
    Unknown {
        /// The key that was written.
        key: String,
        /// What is known in this table.
        known: String,
    },
    /// A key that has no default is not there.
    #[error("the key `{key}` is missing: {action}")]
    Missing {
        /// The key.
        key: String,
        /// What to write.
        action: &'static str,
    },
    /// The value is of another type.
    #[error("`{key}` must be {wanted}, not {found}")]
    Type {
        /// The key.
        key: String,
        /// What it has to be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The value is of the right type and wrong.
    #[error("`{key}` {sentence}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong and what to do, as the rest of a sentence.
        sentence: String,
    },
}

/// Everything that is wrong in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFaults {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, in the order of its lines; never empty.
    pub faults: Vec<ConfigFault>,
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (at, fault) in self.faults.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            match fault.line {
                Some(line) => write!(f, "{file}:{line}: {}", fault.problem)?,
                None => write!(f, "{file}: {}", fault.problem)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}
