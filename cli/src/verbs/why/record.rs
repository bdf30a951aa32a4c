//! A decision as the entries of the log tell it.

use crate::failure::{Exit, Failure};
use avouch_audit::entry::{Body, Entry};
use avouch_audit::record::{Caller, HelperEvent, Outcome, Request, Use};
use avouch_policy::RefusalCode;
use avouch_wire::admin::WhyReply;
use avouch_words::Millis;

/// What the records of one decision hold together.
pub struct Record {
    pub decision: String,
    pub time: Millis,
    pub node: String,
    pub caller: Caller,
    /// None where it had no canonical form.
    pub request: Option<Request>,
    /// What was put in, and by which grants.
    pub uses: Vec<Use>,
    pub policy_version: u64,
    /// What the agent was told, if it was refused.
    pub refusal: Option<String>,
    /// Why, if a decision refused it.
    pub reason: Option<String>,
    pub mismatch: Option<String>,
    pub lock: Option<String>,
    /// The credentials that a refusal turned on.
    pub credentials: Vec<String>,
    /// How a permitted call ended, once it has.
    pub outcome: Option<Outcome>,
}

impl Record {
    /// Puts the entries together. Those of other nodes that use the same identifier are left out.
    pub fn read(decision: &str, reply: &WhyReply) -> Result<Self, Failure> {
        let mut found: Option<Self> = None;
        for bytes in &reply.entries {
            let Ok(entry) = Entry::decode(bytes) else { continue };
            let Body::Record(record) = entry.body else { continue };
            let (time, node) = (record.time.millis(), entry.writer.to_string());
            match (record.event, &mut found) {
                (HelperEvent::Intent { caller, request, uses, policy_version, .. }, None) => {
                    let mut made = Self::begin(decision, time, node, caller, policy_version.0);
                    (made.request, made.uses) = (Some(request), uses);
                    found = Some(made);
                }
                (denied @ HelperEvent::Denied { .. }, None) => found = Self::denied(decision, time, node, denied),
                (HelperEvent::Outcome { outcome, .. }, Some(known)) if known.node == node => {
                    if let Outcome::Error { kind, .. } = &outcome {
                        known.refusal = Some(kind.as_str().to_owned());
                    }
                    known.outcome = Some(outcome);
                }
                // A call that was permitted and refused before it was sent.
                (HelperEvent::Denied { refusal, reason, .. }, Some(known)) if known.node == node => {
                    known.refusal = Some(refusal.as_str().to_owned());
                    known.reason = Some(reason.as_str().to_owned());
                }
                _ => {}
            }
        }
        found.ok_or_else(|| {
            Failure::new(Exit::Failure, format!("the records of decision {decision} cannot be read"))
                .then("Use an avouch of the same version as the issuer.")
        })
    }

    fn begin(decision: &str, time: Millis, node: String, caller: Caller, policy_version: u64) -> Self {
        Self {
            decision: decision.to_owned(),
            time,
            node,
            caller,
            request: None,
            uses: Vec::new(),
            policy_version,
            refusal: None,
            reason: None,
            mismatch: None,
            lock: None,
            credentials: Vec::new(),
            outcome: None,
        }
    }

    fn denied(decision: &str, time: Millis, node: String, event: HelperEvent) -> Option<Self> {
        let HelperEvent::Denied {
            caller, refusal, reason, mismatch, lock, credentials, request, policy_version, ..
        } = event
        else {
            return None;
        };
        Some(Self {
            request,
            refusal: Some(refusal.as_str().to_owned()),
            reason: Some(reason.as_str().to_owned()),
            mismatch: mismatch.map(|word| word.as_str().to_owned()),
            lock: lock.map(|lock| lock.to_string()),
            credentials: credentials.iter().map(ToString::to_string).collect(),
            ..Self::begin(decision, time, node, caller, policy_version.0)
        })
    }

    /// `allowed`, `refused`, or `passed` for what went on without a credential.
    pub fn verdict(&self) -> &'static str {
        match (&self.refusal, self.uses.is_empty()) {
            (Some(_), _) => "refused",
            (None, true) => "passed",
            (None, false) => "allowed",
        }
    }

    /// What the agent was told, if it is a code of ours.
    pub fn code(&self) -> Option<RefusalCode> {
        let word = self.refusal.as_deref()?;
        RefusalCode::ALL.into_iter().find(|code| code.as_str() == word)
    }

    /// Where a placeholder stood that refused the request; empty where it named what does not go with it. No record
    /// holds the placeholder itself.
    pub fn placeholder(&self) -> Option<&str> {
        match self.reason.as_deref()? {
            "placeholder" => Some(""),
            "placeholder_misplaced" => Some(self.mismatch.as_deref().unwrap_or_default()),
            _ => None,
        }
    }

    /// The credential whose value the store did not give.
    pub fn credential_without_value(&self) -> Option<&str> {
        let missing = self.code() == Some(RefusalCode::SourceUnavailable);
        self.uses.first().filter(|_| missing).map(|one| one.credential.as_str())
    }

    /// The request in one line.
    pub fn line(&self) -> String {
        let Some(request) = &self.request else { return "a request that can be read in more than one way".to_owned() };
        let (method, path, keys) = (request.method.as_str(), request.path.as_str(), request.query_keys.as_str());
        let query = keys.split('&').filter(|key| !key.is_empty()).map(|key| format!("{key}=…")).collect::<Vec<_>>();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        match method {
            avouch_policy::request::TUNNEL => format!("a tunnel to {}", self.origin()),
            _ => format!("{method} {}{path}{query}", self.origin()),
        }
    }

    /// Its origin.
    pub fn origin(&self) -> String {
        let Some(request) = &self.request else { return String::new() };
        format!("{}://{}:{}", request.scheme.as_str(), request.host.as_str(), request.port)
    }
}
