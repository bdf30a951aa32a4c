//! What is printed: how many held, which had no control on this host, and each line that failed.

use crate::corpus::Case;
use crate::places::{Came, Outcomes};
use serde_json::Value;

/// What came of all places.
pub struct Table<'a> {
    cases: &'a [Case],
    outside: Outcomes,
    inside: Vec<(String, Outcomes)>,
}

impl<'a> Table<'a> {
    /// With the controls.
    pub fn new(cases: &'a [Case], outside: Outcomes) -> Self {
        Self { cases, outside, inside: Vec::new() }
    }

    /// Adds the sessions of a profile.
    pub fn add(&mut self, profile: &str, outcomes: Outcomes) {
        self.inside.push((profile.to_owned(), outcomes));
    }

    /// Prints it. True if nothing got out and nothing broke.
    pub fn print(&self, caller: &str, missing: &Value) -> bool {
        let (mut held, mut failed) = (0, Vec::new());
        let mut without = Vec::new();
        for case in self.cases {
            let control = self.outside.get(&case.name);
            if let Some(Came::Failed(why)) = control {
                without.push(format!("{} ({})", case.name, if why.is_empty() { "nothing came of it" } else { why }));
            }
            for (profile, outcomes) in &self.inside {
                let line = match outcomes.get(&case.name) {
                    None => continue,
                    Some(Came::Out) => "GOT OUT".to_owned(),
                    // What does not even work outside shows nothing.
                    Some(Came::Failed(_)) if !matches!(control, Some(Came::Out)) => continue,
                    Some(Came::Failed(why)) if case.reasons.iter().any(|reason| is(reason, why)) => {
                        held += 1;
                        continue;
                    }
                    Some(Came::Failed(why)) => format!("broke: {why:?}, expected one of {:?}", case.reasons),
                };
                let reach = if case.reach.is_empty() { String::new() } else { format!(" ({})", case.reach) };
                failed.push(format!("{caller} | {profile} | {} | {line}{reach}", case.name));
            }
        }
        for line in &failed {
            println!("{line}");
        }
        println!(
            "called by {caller}: {held} held, {} with no control on this host, {} failed",
            without.len(),
            failed.len()
        );
        for line in &without {
            println!("no control on this host: {line}");
        }
        if let Value::Object(missing) = missing {
            for (name, why) in missing {
                println!("this host has no {name}: {}", why.as_str().unwrap_or_default());
            }
        }
        failed.is_empty()
    }
}

fn is(reason: &str, why: &str) -> bool {
    if reason.is_empty() { why.is_empty() } else { why.contains(reason) }
}
