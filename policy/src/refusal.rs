//! What an agent reads when it is refused: the same words on every edge. A model reads them, so each says in one
//! sentence what happened, what to do and whether trying again helps; none says whether a name exists.

use avouch_words::Ulid;
use serde::Serialize;

/// The stable codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalCode {
    /// Policy, lock, unknown, not granted: one text for all.
    Denied,
    /// Two credentials for one slot.
    AmbiguousCredential,
    /// No binding, and unbound targets are not let through.
    UnboundHost,
    /// The request has no canonical form.
    BadRequest,
    /// CONNECT, SNI and `Host` do not agree.
    Misdirected,
    /// The lock state is older than the staleness bound.
    Stale,
    /// The intent could not be made durable.
    AuditUnavailable,
    /// The source did not give the value.
    SourceUnavailable,
    /// The tool's server could not be reached, or its certificate is not trusted.
    UpstreamUnreachable,
    /// The answer could not be framed or searched.
    UpstreamUnclean,
    /// The host resolved to an address that is not dialled.
    AddressRefused,
    /// Above a limit.
    TooLarge,
    /// A web page made the request.
    BrowserRequest,
    /// A placeholder stands where no credential is put in.
    PlaceholderMisplaced,
}

/// Whether trying again helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will be refused again.
    Never,
    /// It may pass after so many seconds.
    After(u32),
    /// It passes once a person has approved it.
    WhenApproved,
}

impl Retry {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::After(_) => "after",
            Self::WhenApproved => "when_approved",
        }
    }

    /// The seconds, with [`Retry::After`].
    pub const fn after_seconds(self) -> Option<u32> {
        match self {
            Self::After(seconds) => Some(seconds),
            Self::Never | Self::WhenApproved => None,
        }
    }
}

impl RefusalCode {
    /// All codes.
    pub const ALL: [Self; 14] = [
        Self::Denied,
        Self::AmbiguousCredential,
        Self::UnboundHost,
        Self::BadRequest,
        Self::Misdirected,
        Self::Stale,
        Self::AuditUnavailable,
        Self::SourceUnavailable,
        Self::UpstreamUnreachable,
        Self::UpstreamUnclean,
        Self::AddressRefused,
        Self::TooLarge,
        Self::BrowserRequest,
        Self::PlaceholderMisplaced,
    ];

    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::AmbiguousCredential => "ambiguous_credential",
            Self::UnboundHost => "unbound_host",
            Self::BadRequest => "bad_request",
            Self::Misdirected => "misdirected",
            Self::Stale => "stale",
            Self::AuditUnavailable => "audit_unavailable",
            Self::SourceUnavailable => "source_unavailable",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamUnclean => "upstream_unclean",
            Self::AddressRefused => "address_refused",
            Self::TooLarge => "too_large",
            Self::BrowserRequest => "browser_request",
            Self::PlaceholderMisplaced => "placeholder_misplaced",
        }
    }

    /// What happened, in one sentence.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Denied => "This call is not permitted.",
            Self::AmbiguousCredential => "More than one credential would fill the same place in this request.",
            Self::UnboundHost => "This host is not open to this agent.",
            Self::BadRequest => "The request line or a header can be read in more than one way.",
            Self::Misdirected => "The target of the connection and the host named in the request are not the same.",
            Self::Stale => "This node has not heard from its issuer recently enough to use credentials.",
            Self::AuditUnavailable => "The use of a credential could not be recorded, so it was not used.",
            Self::SourceUnavailable => "The store that holds the credential did not give it.",
            Self::UpstreamUnreachable => "The tool's server could not be reached over a trusted connection.",
            Self::UpstreamUnclean => "The tool's answer could not be checked for credentials and was withheld.",
            Self::AddressRefused => "The host leads to an address that is not open to agents.",
            Self::TooLarge => "The request is larger than is allowed.",
            Self::BrowserRequest => "A web page made this request, and credentials are not given to web pages.",
            Self::PlaceholderMisplaced => {
                "A placeholder (avouch:NAME) stands in this request where it is not replaced by a credential."
            }
        }
    }

    /// What to do now.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Denied => {
                "Do not try again or look for another way; tell the person you work for the decision id, with which an operator can see why."
            }
            Self::AmbiguousCredential => {
                "Do not try again; tell the person you work for the decision id, so that an operator leaves one grant for this request."
            }
            Self::UnboundHost => {
                "Do not try again; if the task needs this host, tell the person you work for, so that an operator opens it."
            }
            Self::BadRequest => {
                "Write the URL in its plain form (lower-case host, no user name, no '..', '//' or double escapes, upper-case method) and send each header once."
            }
            Self::Misdirected => {
                "Open a new connection to the host you mean, and let the Host header and the TLS server name be that host."
            }
            Self::Stale => "Wait, then send the same request again; if it goes on, tell the person you work for.",
            Self::AuditUnavailable => {
                "Wait, then send the same request again; if it goes on, tell the person you work for."
            }
            Self::SourceUnavailable => {
                "Wait, then send the same request again; if it goes on, tell the person you work for."
            }
            Self::UpstreamUnreachable => {
                "Check the URL, wait, then send the same request again; if it goes on, tell the person you work for."
            }
            Self::UpstreamUnclean => {
                "Ask for less, or for a plain uncompressed answer; the call may have taken effect, so look before you send it again."
            }
            Self::AddressRefused => {
                "Do not try again; if the task needs this host, tell the person you work for, so that an operator permits its address."
            }
            Self::TooLarge => "Send a smaller request: a shorter URL, fewer or shorter headers, or the body in parts.",
            Self::BrowserRequest => "Make the call from the agent's own HTTP client, not from a page in a browser.",
            Self::PlaceholderMisplaced => {
                "Put the placeholder only where the tool's own API takes its key, as in the Authorization header, and never in a URL, a body or another header."
            }
        }
    }

    /// Whether trying again helps.
    pub const fn retry(self) -> Retry {
        match self {
            Self::Stale => Retry::After(5),
            Self::AuditUnavailable => Retry::After(5),
            Self::SourceUnavailable => Retry::After(5),
            Self::UpstreamUnreachable => Retry::After(10),
            Self::Denied
            | Self::AmbiguousCredential
            | Self::UnboundHost
            | Self::BadRequest
            | Self::Misdirected
            | Self::UpstreamUnclean
            | Self::AddressRefused
            | Self::TooLarge
            | Self::BrowserRequest
            | Self::PlaceholderMisplaced => Retry::Never,
        }
    }

    /// The body of a refusal, `application/json`.
    pub fn json(self, decision: Ulid) -> String {
        let retry = self.retry();
        let body = Reply {
            error: ReplyError {
                code: self.as_str(),
                message: self.message(),
                action: self.action(),
                retry: retry.as_str(),
                retry_after_seconds: retry.after_seconds(),
                decision: decision.to_string(),
            },
        };
        // Plain texts and a number cannot fail to be written.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Reply {
    error: ReplyError,
}

#[derive(Serialize)]
struct ReplyError {
    code: &'static str,
    message: &'static str,
    action: &'static str,
    retry: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
    decision: String,
}

#[cfg(test)]
mod tests;
