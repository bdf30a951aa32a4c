//! Settings of the issuer's public listener: what everybody may read, and under which URL.

use crate::parse;
use crate::read::{Table, Value};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What everybody may read of the issuer, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// The issuer's URL: the `iss` of tokens, and what all paths begin with.
    pub url: PublicUrl,
    /// Where it is served; a URL alone is only named in tokens.
    pub door: Option<PublicDoor>,
}

/// Where the public documents are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicDoor {
    /// The address.
    pub listen: SocketAddr,
    /// What is shown there.
    pub tls: PublicTls,
}

/// How the public listener shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicTls {
    /// With a certificate that browsers and clouds believe (SPIFFE `https_web`).
    Web {
        /// The chain, PEM, leaf first. Read again when it changes.
        certificate_file: PathBuf,
        /// Its key, PEM, 0600.
        key_file: PathBuf,
    },
    /// With the issuer's own SVID (SPIFFE `https_spiffe`).
    Spiffe,
    /// Not at all: plain HTTP on a loopback address, for a reverse proxy in front.
    Off,
}

/// The URL of an OpenID issuer: `https`, a host, perhaps a port and a path, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    text: String,
    prefix: usize,
    loopback: bool,
}

/// A key that signs tokens for the audiences that want RS256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaKey {
    /// The audiences; none publishes the key and uses it for nothing yet.
    pub audiences: Vec<String>,
    /// The private key: PEM, PKCS#8 or PKCS#1, 0600.
    pub key_file: PathBuf,
}

impl PublicUrl {
    /// Reads it. `http` is for loopback hosts alone.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_URL {
            return Err("is longer than 255 bytes");
        }
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("must begin with https://"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let is_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err("must name a host in lower case, without a user");
        }
        if !port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)) {
            return Err("has a port that is no number from 1 to 65535");
        }
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let fits = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_path);
        if !path.split('/').skip(1).all(fits) {
            return Err("has a path that is not plain: write /name/name, without / at the end, query or fragment");
        }
        let loopback = host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
        if !secure && !loopback {
            return Err("must begin with https://: plain http is for this machine alone");
        }
        Ok(Self { text: text.to_owned(), prefix: text.len() - path.len(), loopback })
    }

    /// The whole of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its path: empty, or beginning with `/` and not ending with it.
    pub fn prefix(&self) -> &str {
        &self.text[self.prefix..]
    }

    /// Whether only this machine can reach it, so that no vendor ever will.
    pub fn is_local(&self) -> bool {
        self.loopback
    }
}

pub(crate) fn public(root: &Table<'_, '_>) -> Option<Option<Public>> {
    root.table("public", |table| {
        let url = table.or("url", None, |value| self::url(value).map(Some));
        let listen = table.or("listen", None, |value| parse::address(value).map(Some));
        let certificate_file = table.or("certificate_file", None, |value| parse::path(value).map(Some));
        let key_file = table.or("key_file", None, |value| parse::path(value).map(Some));
        let mode = table.or("tls", "web", |value| match value.text()? {
            mode @ ("web" | "spiffe" | "off") => Some(mode),
            other => value.wrong(format!("must be web, spiffe or off, not {other:?}")),
        });
        let (url, listen, mode) = (url?, listen?, mode?);
        let (certificate_file, key_file) = (certificate_file?, key_file?);
        let wrong = |key: &'static str, sentence: &str| {
            table.wrong(key, sentence.to_owned());
            None
        };
        let Some(url) = url else {
            return match listen {
                Some(_) => wrong("listen", "needs `public.url`, under which it is reached"),
                None => Some(None),
            };
        };
        let Some(listen) = listen else {
            return Some(Some(Public { url, door: None }));
        };
        let tls = match (mode, certificate_file, key_file) {
            ("web", Some(certificate_file), Some(key_file)) => PublicTls::Web { certificate_file, key_file },
            ("web", _, _) => return wrong("listen", "needs `public.certificate_file` and `public.key_file`"),
            (_, Some(_), _) | (_, _, Some(_)) => {
                return wrong("tls", "leaves no use for a certificate file or its key");
            }
            ("spiffe", ..) => PublicTls::Spiffe,
            _ if !listen.ip().is_loopback() => {
                return wrong("listen", "must be a loopback address where tls = \"off\": take 127.0.0.1 or [::1]");
            }
            _ => PublicTls::Off,
        };
        if tls != PublicTls::Off && !url.text.starts_with("https://") {
            return wrong("url", "must begin with https:// where TLS is served");
        }
        Some(Some(Public { url, door: Some(PublicDoor { listen, tls }) }))
    })
}

pub(crate) fn rsa(root: &Table<'_, '_>) -> Option<Vec<RsaKey>> {
    root.table("jwt", |table| {
        table.or("rsa", Vec::new(), |value| {
            let keys = value.list(|value| {
                value.element(|table| {
                    let audiences = table.or("audiences", Vec::new(), |value| value.list(audience));
                    let key_file = table.must("key_file", "name the file of the private key", parse::path);
                    Some(RsaKey { audiences: audiences?, key_file: key_file? })
                })
            })?;
            let mut all: Vec<&String> = keys.iter().flat_map(|key| &key.audiences).collect();
            all.sort();
            if keys.len() > MAX_KEYS || all.len() > MAX_AUDIENCES {
                return value.wrong(format!("is too much: at most {MAX_KEYS} keys and {MAX_AUDIENCES} audiences"));
            }
            match all.windows(2).find(|pair| pair[0] == pair[1]) {
                Some(twice) => value.wrong(format!("names the audience {:?} twice", twice[0])),
                None => Some(keys),
            }
        })
    })
}

fn url(value: &Value<'_, '_>) -> Option<PublicUrl> {
    PublicUrl::parse(value.text()?).map_or_else(|why| value.wrong(why), Some)
}

fn audience(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text()?;
    let fits = !text.is_empty() && text.len() <= MAX_URL && !text.chars().any(char::is_control);
    if fits { Some(text.to_owned()) } else { value.wrong(format!("must be 1 to {MAX_URL} bytes long")) }
}

/// The longest URL or audience, in bytes.
const MAX_URL: usize = 255;
/// RSA keys at a time: one in use and one published ahead, for a few vendors.
const MAX_KEYS: usize = 8;
/// Audiences of all of them.
const MAX_AUDIENCES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_plain_path_and_nothing_else() {
        for (text, prefix) in [
            ("https://id.example.com", ""),
            ("https://id.example.com:8443/avouch/prod", "/avouch/prod"),
            ("http://127.0.0.1:8080/a", "/a"),
            ("http://localhost:1", ""),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!((url.as_str(), url.prefix()), (text, prefix));
        }
        for bad in [
            "id.example.com",
            "http://id.example.com",
            "http://127.0.0.1.example.com",
            "https://",
            "https://ID.example.com",
            "https://me@id.example.com",
            "https://id.example.com/",
            "https://id.example.com/a/",
            "https://id.example.com/a/../b",
            "https://id.example.com/a?b",
            "https://id.example.com/a#b",
            "https://id.example.com/%61",
            "https://id.example.com:0",
            "https://id.example.com:080",
            "https://id.example.com:",
        ] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(PublicUrl::parse(&format!("https://{}", "a".repeat(248))).is_err());
        assert!(PublicUrl::parse("http://127.0.0.1:1").unwrap().is_local());
        assert!(!PublicUrl::parse("https://127.example.com").unwrap().is_local());
    }
}
