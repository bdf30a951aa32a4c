//! Scheme, host and port: where a credential may go. Compared as exact bytes after one parse (case A13); a host
//! that has two spellings (upper case, a trailing dot, an IP address in octal) is refused instead of folded.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `http` or `https`; nothing else carries a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain text; only to loopback, and only where the binding says so.
    Http,
    /// Verified TLS.
    Https,
}

impl Scheme {
    /// As it is written before `://`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is meant when none is written.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host in the one spelling that is accepted: a lower-case name without a trailing dot, a dotted quad, or an IPv6
/// address in brackets as RFC 5952 writes it. An internationalised name is only its `xn--` bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(String);

impl Host {
    /// The longest host, in bytes (RFC 1035 §2.3.4, without the trailing dot).
    pub const MAX: usize = 253;
    /// The longest label of a name, in bytes.
    pub const MAX_LABEL: usize = 63;

    /// Reads a host; IPv6 in brackets.
    pub fn parse(text: &str) -> Result<Self, BadOrigin> {
        if text.is_empty() || text.len() > Self::MAX {
            return Err(BadOrigin::HostLength);
        }
        if text.starts_with('[') {
            check_ipv6(text)?;
        } else {
            check_name_or_ipv4(text)?;
        }
        Ok(Self(text.to_owned()))
    }

    /// As it is written in a URL, IPv6 in brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        let bare = self.0.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&self.0);
        bare.parse().ok()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Scheme, host and port, written `https://api.example.test:443`: the port is always there.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

/// Why a text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadOrigin {
    /// Also any scheme in another case.
    #[error("the scheme is not http:// or https:// in lower case")]
    Scheme,
    /// Empty, or above [`Host::MAX`].
    #[error("the host is empty or longer than 253 bytes")]
    HostLength,
    /// Upper case, `@`, `%`, control bytes, non-ASCII, an empty or overlong label, a trailing dot.
    #[error(
        "the host is not a lower-case DNS name of labels of a-z, 0-9, '-' and '_' without a trailing dot (write international names as xn--)"
    )]
    HostName,
    /// Octal, hexadecimal, short or single-number forms.
    #[error("the host is an IPv4 address that is not written as four decimal numbers without leading zeros")]
    Ipv4,
    /// Also a zone, and any spelling but that of RFC 5952.
    #[error(
        "the host is an IPv6 address that is not in brackets, has a zone, or is not in its shortest lower-case form"
    )]
    Ipv6,
    /// Empty, zero, above 65535, a leading zero or a sign.
    #[error("the port is not a number from 1 to 65535 without leading zeros")]
    Port,
    /// In CONNECT, where nothing else says which port is meant.
    #[error("the port is missing")]
    PortMissing,
    /// In a binding's `to`.
    #[error("there is something after the port; an origin is only scheme, host and port")]
    Trailing,
}

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`.
    pub fn parse(text: &str) -> Result<Self, BadOrigin> {
        let (scheme, authority) = split_scheme(text)?;
        if authority.contains(['/', '?', '#']) {
            return Err(BadOrigin::Trailing);
        }
        Self::from_authority(scheme, authority.as_bytes())
    }

    /// Reads `host` or `host:port`, as in a `Host` header.
    pub fn from_authority(scheme: Scheme, authority: &[u8]) -> Result<Self, BadOrigin> {
        let (host, port) = split_authority(authority)?;
        Ok(Self { scheme, host: Host::parse(host)?, port: port.map_or(Ok(scheme.default_port()), parse_port)? })
    }

    /// Reads the `host:port` of a CONNECT, which leads to TLS.
    pub fn from_connect(authority: &[u8]) -> Result<Self, BadOrigin> {
        let (host, port) = split_authority(authority)?;
        let port = parse_port(port.ok_or(BadOrigin::PortMissing)?)?;
        Ok(Self { scheme: Scheme::Https, host: Host::parse(host)?, port })
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands in a `Host` header: the port only where it is not the scheme's own.
    pub fn host_header(&self) -> String {
        if self.port == self.scheme.default_port() {
            return self.host.0.clone();
        }
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The scheme and what stands after `://`.
pub(crate) fn split_scheme(text: &str) -> Result<(Scheme, &str), BadOrigin> {
    if let Some(rest) = text.strip_prefix("https://") {
        return Ok((Scheme::Https, rest));
    }
    text.strip_prefix("http://").map(|rest| (Scheme::Http, rest)).ok_or(BadOrigin::Scheme)
}

fn split_authority(authority: &[u8]) -> Result<(&str, Option<&str>), BadOrigin> {
    let text = std::str::from_utf8(authority).map_err(|_| BadOrigin::HostName)?;
    let host_end = if text.starts_with('[') {
        text.find(']').ok_or(BadOrigin::Ipv6)? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(host_end);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(BadOrigin::HostName),
    }
}

fn parse_port(text: &str) -> Result<u16, BadOrigin> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if !digits {
        return Err(BadOrigin::Port);
    }
    text.parse().map_err(|_| BadOrigin::Port)
}

fn check_ipv6(text: &str) -> Result<(), BadOrigin> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(BadOrigin::Ipv6)?;
    let address: Ipv6Addr = bare.parse().map_err(|_| BadOrigin::Ipv6)?;
    if address.to_string() != bare {
        return Err(BadOrigin::Ipv6);
    }
    Ok(())
}

fn check_name_or_ipv4(text: &str) -> Result<(), BadOrigin> {
    let mut last = "";
    for label in text.split('.') {
        let fits = (1..=Host::MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-');
        if !fits {
            return Err(BadOrigin::HostName);
        }
        last = label;
    }
    // As resolvers read it, a name whose last label is a number is an address, in one of many spellings.
    if is_number(last) {
        let address: Ipv4Addr = text.parse().map_err(|_| BadOrigin::Ipv4)?;
        if address.to_string() != text {
            return Err(BadOrigin::Ipv4);
        }
    }
    Ok(())
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || label.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests;
