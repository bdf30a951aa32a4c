//! Placeholders: `avouch:<name>`, which stands where a tool insists on a value. In a slot it is replaced by the
//! credential that it names; anywhere else it shows that a value would have gone where it must not, and the request
//! is refused (cases A21, A22). It is no secret and hides nothing: it is found in the forms in which tools write it
//! (as it is, percent-encoded, JSON-escaped, in Basic), and who wants to hide one can.

mod watch;

pub use watch::Watch;

use crate::request::CanonicalRequest;
use aho_corasick::AhoCorasick;
use avouch_words::Name;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::sync::LazyLock;

/// What every placeholder begins with.
pub const PLACEHOLDER: &str = "avouch:";
/// The fields in which programs send a key, if not in the slot's own: a client's own never goes on to a bound host.
pub const KEY_FIELDS: [&str; 2] = ["authorization", "x-api-key"];

/// Where in a request a placeholder stands that is not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the path.
    Path,
    /// In the query.
    Query,
    /// In the name of a header field.
    HeaderName,
    /// In the value of a header field.
    Header,
    /// In the body.
    Body,
}

impl Place {
    /// A stable word for records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::HeaderName => "header_name",
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

/// A header field with a placeholder in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// In its name.
    Name,
    /// In its value.
    Value {
        /// The field's name in lower case.
        header: String,
        /// The credential named, where the value is a placeholder and no more than what tools write around one; none
        /// where it could not be said what is to be replaced.
        credential: Option<Name>,
    },
}

/// The placeholder in a header field, if there is one. `Host` is not looked at: it is the target that was judged,
/// and a machine may be called `avouch`.
pub fn in_field(name: &str, value: &[u8]) -> Option<Placed> {
    if name.eq_ignore_ascii_case("host") {
        return None;
    }
    // `avouch:github: x` is a field of the name `avouch` to every parser.
    let end = name.len().saturating_sub(MARK.len());
    if name.get(end..).is_some_and(|end| end.eq_ignore_ascii_case(MARK))
        || (name.contains('%') && find(name.as_bytes()).is_some())
    {
        return Some(Placed::Name);
    }
    let value_with = |credential| Some(Placed::Value { header: name.to_ascii_lowercase(), credential });
    if let Some(at) = find(value) {
        return value_with(alone(value, at, false));
    }
    let pair = basic(value)?;
    find(&pair).and_then(|at| value_with(alone(&pair, at, true)))
}

/// Where a placeholder stands in what is left of the head: the path or the query.
pub(crate) fn in_target(request: &CanonicalRequest) -> Option<Place> {
    if find(request.path().as_bytes()).is_some() {
        return Some(Place::Path);
    }
    let query = request.target().get(request.path().len()..).unwrap_or_default().as_bytes();
    let found = find(query).is_some() || (query.contains(&b'%') && find(&unescaped(query)).is_some());
    found.then_some(Place::Query)
}

/// Where the first placeholder begins.
pub fn find(bytes: &[u8]) -> Option<usize> {
    // Without the automaton nothing can be shown to hold none.
    let Some(forms) = FORMS.as_ref() else { return Some(0) };
    forms.find_iter(bytes).find(|hit| bytes.get(hit.end()).is_some_and(begins_name)).map(|hit| hit.start())
}

/// The credential that the placeholder at `at` names, where it is the only one and nothing comes after it; in Basic
/// it may be the user's part or the password's.
fn alone(value: &[u8], at: usize, is_pair: bool) -> Option<Name> {
    let named = value[at..].strip_prefix(PLACEHOLDER.as_bytes())?;
    let length = named.iter().position(|b| !in_name(b)).unwrap_or(named.len());
    let (name, rest) = named.split_at(length);
    let ends = rest.is_empty() || (is_pair && rest.starts_with(b":") && find(rest).is_none());
    let name = std::str::from_utf8(name).ok().filter(|_| ends)?;
    Name::parse(name).ok()
}

/// What Basic credentials say.
fn basic(value: &[u8]) -> Option<Vec<u8>> {
    const SCHEME: &[u8] = b"basic ";
    let coded = value.get(SCHEME.len()..).filter(|_| value[..SCHEME.len()].eq_ignore_ascii_case(SCHEME))?;
    LENIENT.decode(coded.trim_ascii()).ok()
}

/// With all percent escapes taken out once.
fn unescaped(query: &[u8]) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(query.len());
    let mut rest = query;
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(digit(*high).unwrap_or(0) << 4 | digit(*low).unwrap_or(0));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// The first byte of a [`Name`].
fn begins_name(byte: &u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Any other byte of a [`Name`].
fn in_name(byte: &u8) -> bool {
    begins_name(byte) || matches!(byte, b'-' | b'_' | b'.')
}

const MARK: &str = "avouch";
const FORM_TEXTS: [&str; 7] =
    [PLACEHOLDER, "avouch%3A", "avouch%3a", "avouch%253A", "avouch%253a", "avouch\\u003A", "avouch\\u003a"];
/// The longest of the forms, in bytes, with the one byte after it that makes it one.
const LONGEST: usize = "avouch\\u003a".len() + 1;

static FORMS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(FORM_TEXTS).ok());
static LENIENT: LazyLock<GeneralPurpose> = LazyLock::new(|| {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, config)
});

#[cfg(test)]
mod tests;
