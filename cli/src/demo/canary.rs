//! Looking for a secret: every way it can be spelled, and whether one of them is in what somebody read.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Every spelling of a value that a tool may echo, each with its name.
pub fn spellings(value: &[u8]) -> Vec<(String, String)> {
    let mut all = vec![("raw".to_owned(), String::from_utf8_lossy(value).into_owned())];
    for before in 0..3 {
        let shifted = [&b"xy"[..before], value].concat();
        all.push((format!("base64 at {before}"), STANDARD_NO_PAD.encode(&shifted)));
        all.push((format!("base64url at {before}"), URL_SAFE_NO_PAD.encode(&shifted)));
    }
    all.push(("percent".to_owned(), value.iter().map(|byte| format!("%{byte:02X}")).collect()));
    all.push(("percent in lower case".to_owned(), value.iter().map(|byte| format!("%{byte:02x}")).collect()));
    all.push(("percent where needed".to_owned(), percent(value)));
    all.push(("JSON".to_owned(), value.iter().map(|byte| format!("\\u{byte:04x}")).collect()));
    all.push(("JSON in upper case".to_owned(), value.iter().map(|byte| format!("\\u{byte:04X}")).collect()));
    all
}

/// The name of the first spelling of `value` that is somewhere in `text`.
pub fn find(text: &[u8], value: &[u8]) -> Option<String> {
    let contains = |needle: &[u8]| !needle.is_empty() && text.windows(needle.len()).any(|window| window == needle);
    let mut needles: Vec<_> = spellings(value)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("base64"))
        .map(|(name, form)| (name, form.into_bytes()))
        .collect();
    for before in 0..3 {
        needles.push((format!("base64 at {before}"), stable(value, before, |bytes| STANDARD_NO_PAD.encode(bytes))));
        needles.push((format!("base64url at {before}"), stable(value, before, |bytes| URL_SAFE_NO_PAD.encode(bytes))));
    }
    needles.into_iter().find(|(_, needle)| contains(needle)).map(|(name, _)| name)
}

/// The characters of base64 that are the same whatever stands before and after the value.
fn stable(value: &[u8], before: usize, encode: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let shifted = [&[0; 2][..before], value].concat();
    let whole = shifted.len() - shifted.len() % 3;
    let encoded = encode(&shifted[..whole]).into_bytes();
    let skipped = if before == 0 { 0 } else { 4 };
    encoded[skipped.min(encoded.len())..].to_vec()
}

fn percent(value: &[u8]) -> String {
    let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    value
        .iter()
        .map(|byte| if unreserved(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"s3cr3t/with+odd=bytes-0123456789";

    #[test]
    fn every_spelling_is_found_in_any_company() {
        for (name, form) in spellings(SECRET) {
            for (before, after) in [("", ""), ("x", "y"), ("token: ", "\r\n"), ("QUJD", "REVG")] {
                assert!(find(format!("{before}{form}{after}").as_bytes(), SECRET).is_some(), "{name}");
            }
        }
        for before in 0..6 {
            let company = [&b"abcdef"[..before], SECRET, b"tail"].concat();
            assert!(find(STANDARD_NO_PAD.encode(&company).as_bytes(), SECRET).is_some(), "behind {before}");
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        for text in [&b""[..], b"[scrubbed]", &SECRET[1..], &SECRET[..SECRET.len() - 1]] {
            assert_eq!(find(text, SECRET), None);
        }
    }
}
