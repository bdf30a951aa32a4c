//! Refusals, sorted by whose fault they are. Each has a stable code, one sentence and what to do next; the reason
//! behind a denial goes to the log and to operators, never to the one that was denied (rule A30).

use crate::authority::{AuthorityError, BadCsr};
use avouch_policy::Retry;
use avouch_words::{Millis, Ulid};
use std::time::Duration;

/// Whose fault it is that something was not done. It drives log level, status class and retry advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller asked for what it may not have, or asked badly.
    Caller,
    /// We are broken.
    Us,
    /// Nobody's: try again later.
    Later,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not allowed, or not there: the caller is not told which.
    #[error("denied: {0}")]
    Denied(Denial),
    /// The certificate request is not one we sign for.
    #[error("bad certificate request: {0}")]
    Csr(#[from] BadCsr),
    /// What the operator wrote cannot be.
    #[error("invalid: {0}")]
    Invalid(#[from] Invalid),
    /// There is no such thing; said to operators only.
    #[error("there is no {kind} {name:?}")]
    NotFound {
        /// What kind of thing.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// There is one already.
    #[error("there already is a {kind} {name:?}")]
    Exists {
        /// What kind of thing.
        kind: &'static str,
        /// The name that is taken.
        name: String,
    },
    /// No key that may sign now.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Why a node or an agent was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The join token was never made here, or was pruned.
    #[error("no such join token")]
    TokenUnknown,
    /// The join token's time is over.
    #[error("the join token has expired")]
    TokenExpired,
    /// The join token was used before, with another key.
    #[error("the join token was used before with another key")]
    TokenReplayed,
    /// The helper means another trust domain.
    #[error("the caller means another trust domain")]
    TrustDomain,
    /// The caller's clock is too far from ours.
    #[error("the caller's clock is too far off")]
    Clock,
    /// No such node joined, or it was banned.
    #[error("the node is unknown or banned")]
    Node,
    /// A node SVID that was superseded came back: the node's state was copied.
    #[error("the node's state was copied to a second machine")]
    NodeCloned,
    /// No such agent is registered.
    #[error("no such agent")]
    AgentUnknown,
    /// What was verified about the node does not match the agent's `nodes`.
    #[error("the agent may not run on this node")]
    NodeNotAllowed,
    /// A lock stands.
    #[error("locked by {0}")]
    Locked(Ulid),
    /// The instance is another node's or another agent's.
    #[error("the instance belongs elsewhere")]
    InstanceElsewhere,
    /// The instance has ended, or was never seen where one must live.
    #[error("the instance is not live")]
    InstanceNotLive,
    /// A workload asked for a reserved audience.
    #[error("the audience is reserved")]
    AudienceReserved,
    /// A brokered token was asked for an audience that is no source's.
    #[error("the audience is not a source's")]
    AudienceNotASource,
    /// No audience, too many, or one that is empty or too long.
    #[error("the audience list is empty, too long or holds a bad value")]
    AudienceInvalid,
}

impl Denial {
    /// A stable word for records.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::TokenUnknown => "token_unknown",
            Self::TokenExpired => "token_expired",
            Self::TokenReplayed => "token_replayed",
            Self::TrustDomain => "trust_domain",
            Self::Clock => "clock",
            Self::Node => "node",
            Self::NodeCloned => "node_cloned",
            Self::AgentUnknown => "agent_unknown",
            Self::NodeNotAllowed => "node_not_allowed",
            Self::Locked(_) => "locked",
            Self::InstanceElsewhere => "instance_elsewhere",
            Self::InstanceNotLive => "instance_not_live",
            Self::AudienceReserved => "audience_reserved",
            Self::AudienceNotASource => "audience_not_a_source",
            Self::AudienceInvalid => "audience_invalid",
        }
    }
}

/// What an operator wrote and what is wrong with it; said in full, as operators may know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct Invalid {
    /// The field, as it is called in the request.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: String,
}

impl Invalid {
    /// A field and what is wrong with it.
    pub fn new(field: &'static str, fault: impl ToString) -> Self {
        Self { field, fault: fault.to_string() }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl Refusal {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Denied(_) | Self::Csr(_) | Self::Invalid(_) | Self::NotFound { .. } | Self::Exists { .. } => {
                Fault::Caller
            }
            Self::Authority(AuthorityError::NoneActive | AuthorityError::EndsTooSoon) => Fault::Later,
            Self::Authority(_) => Fault::Us,
        }
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Denied(Denial::TokenExpired) => "token_expired",
            Self::Denied(Denial::TokenReplayed) => "token_used",
            Self::Denied(Denial::TrustDomain) => "wrong_trust_domain",
            Self::Denied(Denial::Clock) => "clock_off",
            Self::Denied(_) => "denied",
            Self::Csr(_) => "bad_csr",
            Self::Invalid(_) => "bad_request",
            Self::NotFound { .. } => "not_found",
            Self::Exists { .. } => "exists",
            Self::Authority(AuthorityError::NoneActive | AuthorityError::EndsTooSoon) => "unavailable",
            Self::Authority(_) => "internal",
        }
    }

    /// One sentence that the caller may read. Who shows a join token's 32 random bytes may learn what became of it.
    pub fn message(&self) -> String {
        match self {
            Self::Denied(Denial::TokenExpired) => "The join token has expired.".to_owned(),
            Self::Denied(Denial::TokenReplayed) => "The join token was used before, with another key.".to_owned(),
            Self::Denied(Denial::TrustDomain) => "This issuer serves another trust domain.".to_owned(),
            Self::Denied(Denial::Clock) => {
                format!(
                    "The clocks of this node and of the issuer differ by more than {} s.",
                    MAX_CLOCK_DIFFERENCE.as_secs()
                )
            }
            Self::Denied(_) => "Not allowed.".to_owned(),
            Self::Csr(bad) => format!("The certificate request was refused: {bad}."),
            Self::Invalid(invalid) => format!("{invalid}."),
            Self::NotFound { .. } | Self::Exists { .. } => format!("{self}."),
            Self::Authority(AuthorityError::NoneActive | AuthorityError::EndsTooSoon) => {
                "The issuer has no key that may sign now.".to_owned()
            }
            Self::Authority(_) => "The issuer failed.".to_owned(),
        }
    }

    /// What to do next.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Denied(Denial::TokenExpired | Denial::TokenReplayed | Denial::TokenUnknown) => {
                "Make a new join token and join with it."
            }
            Self::Denied(Denial::Clock) => "Set the clock of this node and of the issuer.",
            Self::Denied(Denial::TrustDomain) => "Compare the trust domain in both configurations.",
            Self::Denied(_) => "Ask an operator, who can look the decision up.",
            Self::Csr(_) => "Send a PKCS#10 request for a P-256 key, signed by that key.",
            Self::Invalid(_) => "Correct the field and ask again.",
            Self::NotFound { .. } => "List what there is.",
            Self::Exists { .. } => "Choose another name.",
            Self::Authority(AuthorityError::NoneActive | AuthorityError::EndsTooSoon) => "Ask again later.",
            Self::Authority(_) => "Look at the issuer's log.",
        }
    }

    /// Whether asking again can help.
    pub const fn retry(&self) -> Retry {
        match self.fault() {
            Fault::Caller => Retry::Never,
            Fault::Us | Fault::Later => Retry::After(RETRY_AFTER_SECONDS),
        }
    }
}

/// The most two clocks may differ at enrolment.
pub const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(30);
/// How long to wait when the fault is not the caller's.
pub const RETRY_AFTER_SECONDS: u32 = 2;

/// Refuses a caller whose clock is more than [`MAX_CLOCK_DIFFERENCE`] from ours, either way.
pub fn check_clock(theirs: Millis, ours: Millis) -> Result<(), Denial> {
    let apart = theirs.since(ours).max(ours.since(theirs));
    if apart > MAX_CLOCK_DIFFERENCE { Err(Denial::Clock) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_and_what_is_forbidden_look_the_same() {
        let lock = Ulid::new(Millis(1), [1; 10]);
        let alike = [
            Denial::AgentUnknown,
            Denial::NodeNotAllowed,
            Denial::Locked(lock),
            Denial::InstanceElsewhere,
            Denial::InstanceNotLive,
            Denial::AudienceReserved,
            Denial::Node,
        ];
        let seen = |denial: Denial| {
            let refusal = Refusal::from(denial);
            (refusal.code(), refusal.message(), refusal.action(), refusal.retry())
        };
        for denial in alike {
            assert_eq!(seen(denial), seen(Denial::AgentUnknown), "{denial:?}");
        }
    }

    #[test]
    fn clocks_may_differ_by_thirty_seconds_and_no_more() {
        let now = Millis(1_700_000_000_000);
        for apart in [0, 30_000, -30_000] {
            assert_eq!(check_clock(Millis(now.0 + apart), now), Ok(()));
        }
        for apart in [30_001, -30_001, i64::MAX, i64::MIN] {
            assert_eq!(check_clock(Millis(now.0.saturating_add(apart)), now), Err(Denial::Clock), "{apart}");
        }
    }
}
