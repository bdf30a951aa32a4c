//! Everything that the agents had and read, and whether a secret is anywhere in it.

use super::canary;
use super::order::Report;
use crate::failure::{Exit, Failure};
use avouch_words::Secret;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Witness {
    all: Vec<Vec<u8>>,
}

impl Witness {
    /// Takes in what an agent reports to have read, and the report itself.
    pub fn hear(&mut self, report: Report) -> Report {
        self.all.extend(report.all_read());
        self.all.push(report.body.clone().into_bytes());
        report
    }

    /// How many bytes there are.
    pub fn size(&self) -> usize {
        self.all.iter().map(Vec::len).sum()
    }

    /// Fails if a secret is in any of it, in any spelling.
    pub fn saw_none_of(&self, secrets: &[&Secret]) -> Result<(), Failure> {
        for secret in secrets {
            for text in &self.all {
                if let Some(form) = canary::find(text, secret.expose()) {
                    return Err(Failure::new(Exit::Failure, format!("the agent has read a secret ({form})")));
                }
            }
        }
        Ok(())
    }
}
