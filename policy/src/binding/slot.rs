//! Where in a request a value goes.

use serde::{Deserialize, Serialize};

/// A slot as it is written: `"bearer"`, `{"basic":{"username":"x"}}` or `{"header":{"name":"x-api-key"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SlotSpec {
    /// `Authorization: Bearer <value>`.
    Bearer,
    /// `Authorization: Basic <base64 of username:value>`.
    Basic {
        /// The user name; no colon.
        username: String,
    },
    /// `<name>: <prefix><value>`.
    Header {
        /// The header's name; letters of either case are the same.
        name: String,
        /// What stands before the value, a space at its end included.
        #[serde(skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
    },
}

/// A checked slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// `authorization: Bearer <value>`.
    Bearer,
    /// `authorization: Basic <base64 of username:value>`.
    Basic {
        /// The user name.
        username: String,
    },
    /// `<name>: <prefix><value>`.
    Header {
        /// The header's name in lower case.
        name: String,
        /// What stands before the value; may be empty.
        prefix: String,
    },
}

/// Why a slot cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSlot {
    /// RFC 7617 §2.
    #[error(
        "the user name of 'basic' is empty, longer than 128 bytes, or holds ':' or a byte outside printable ASCII; write it without them"
    )]
    Username,
    /// RFC 9110 §5.1.
    #[error(
        "the header name is empty, longer than 64 bytes, or holds a byte that header names cannot; use a plain name as x-api-key"
    )]
    HeaderName,
    /// See [`Slot::may_fill`].
    #[error(
        "the header '{0}' steers the connection, the message or the session and is never filled with a credential; name the header in which the tool expects its key"
    )]
    HeaderReserved(String),
    /// Control bytes, non-ASCII, too long.
    #[error(
        "the prefix is longer than 64 bytes, begins with a space, or holds a byte outside printable ASCII; write it as 'Token '"
    )]
    Prefix,
}

impl Slot {
    /// The longest user name, in bytes.
    pub const MAX_USERNAME: usize = 128;
    /// The longest header name, in bytes.
    pub const MAX_HEADER: usize = 64;
    /// The longest prefix, in bytes.
    pub const MAX_PREFIX: usize = 64;

    /// The lower-case name of the header that is filled. Two credentials that fill one header are ambiguous.
    pub fn header(&self) -> &str {
        match self {
            Self::Bearer | Self::Basic { .. } => "authorization",
            Self::Header { name, .. } => name,
        }
    }

    /// The slot as it is written.
    pub fn spec(&self) -> SlotSpec {
        match self {
            Self::Bearer => SlotSpec::Bearer,
            Self::Basic { username } => SlotSpec::Basic { username: username.clone() },
            Self::Header { name, prefix } => {
                SlotSpec::Header { name: name.clone(), prefix: (!prefix.is_empty()).then(|| prefix.clone()) }
            }
        }
    }

    /// Whether a credential may stand in the header of this lower-case name. Not in one that frames the message,
    /// speaks to the next hop, names the target or overrides it (cases A15 to A18), carries a browser's session or
    /// is read by avouch itself.
    pub fn may_fill(name: &str) -> bool {
        !RESERVED.contains(&name) && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    }
}

impl SlotSpec {
    /// Checks the slot.
    pub fn check(&self) -> Result<Slot, BadSlot> {
        match self {
            Self::Bearer => Ok(Slot::Bearer),
            Self::Basic { username } => {
                let fits = (1..=Slot::MAX_USERNAME).contains(&username.len())
                    && username.bytes().all(|b| (b.is_ascii_graphic() || b == b' ') && b != b':');
                if !fits {
                    return Err(BadSlot::Username);
                }
                Ok(Slot::Basic { username: username.clone() })
            }
            Self::Header { name, prefix } => {
                if !(1..=Slot::MAX_HEADER).contains(&name.len()) || !name.bytes().all(is_token_byte) {
                    return Err(BadSlot::HeaderName);
                }
                let name = name.to_ascii_lowercase();
                if !Slot::may_fill(&name) {
                    return Err(BadSlot::HeaderReserved(name));
                }
                let prefix = prefix.clone().unwrap_or_default();
                let fits = prefix.len() <= Slot::MAX_PREFIX
                    && !prefix.starts_with(' ')
                    && prefix.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
                if !fits {
                    return Err(BadSlot::Prefix);
                }
                Ok(Slot::Header { name, prefix })
            }
        }
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const RESERVED: [&str; 32] = [
    "accept-encoding",
    "age",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "cookie2",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "if-range",
    "keep-alive",
    "max-forwards",
    "origin",
    "range",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];
const RESERVED_PREFIXES: [&str; 5] = ["proxy-", "sec-", "x-forwarded-", "access-control-", ":"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_headers_are_no_slots_in_any_case() {
        for name in
            RESERVED.iter().chain(&["proxy-authorization", "Sec-Fetch-Site", "X-Forwarded-For", "Host", "CONNECTION"])
        {
            let spec = SlotSpec::Header { name: (*name).to_owned(), prefix: None };
            assert!(matches!(spec.check(), Err(BadSlot::HeaderReserved(_))), "{name}");
        }
        for name in ["", "a b", "a:b", "a\r\nb", "é", &"a".repeat(65)] {
            let spec = SlotSpec::Header { name: name.to_owned(), prefix: None };
            assert_eq!(spec.check(), Err(BadSlot::HeaderName), "{name:?}");
        }
    }

    #[test]
    fn nothing_that_ends_a_header_gets_into_one() {
        for username in ["", "a:b", "a\r\nb", "é", &"a".repeat(129)] {
            assert_eq!(
                SlotSpec::Basic { username: username.to_owned() }.check(),
                Err(BadSlot::Username),
                "{username:?}"
            );
        }
        for prefix in [" a", "a\r\n", "a\0", "é", &"a".repeat(65)] {
            let spec = SlotSpec::Header { name: "x-key".to_owned(), prefix: Some(prefix.to_owned()) };
            assert_eq!(spec.check(), Err(BadSlot::Prefix), "{prefix:?}");
        }
    }

    #[test]
    fn bearer_basic_and_an_authorization_header_fill_the_same_header() {
        let header =
            SlotSpec::Header { name: "Authorization".to_owned(), prefix: Some("Token ".to_owned()) }.check().unwrap();
        let basic = SlotSpec::Basic { username: "x".to_owned() }.check().unwrap();
        assert_eq!([Slot::Bearer.header(), basic.header(), header.header()], ["authorization"; 3]);
        assert_eq!(header.spec().check(), Ok(header));
    }

    #[test]
    fn slots_read_back_from_json_and_unknown_fields_are_refused() {
        for good in [
            r#""bearer""#,
            r#"{"basic":{"username":"x"}}"#,
            r#"{"header":{"name":"x-key"}}"#,
            r#"{"header":{"name":"x-key","prefix":"Token "}}"#,
        ] {
            let spec: SlotSpec = serde_json::from_str(good).unwrap();
            assert_eq!(serde_json::to_string(&spec).unwrap(), good);
        }
        for bad in [
            r#""cookie""#,
            r#"{"basic":{}}"#,
            r#"{"basic":{"username":"x","password":"y"}}"#,
            r#"{"header":{"name":"x","value":"y"}}"#,
        ] {
            assert!(serde_json::from_str::<SlotSpec>(bad).is_err(), "{bad}");
        }
    }
}
