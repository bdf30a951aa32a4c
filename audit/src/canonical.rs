//! The one form in which records are written, hashed and signed: JCS (RFC 8785). What a general serializer puts
//! out is never hashed, and what is read has to be canonical already, byte for byte.

use serde::{Serialize, de::DeserializeOwned};

/// The longest record or entry, in bytes.
pub const MAX_RECORD: usize = 32 * 1024;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadForm {
    /// Above [`MAX_RECORD`].
    #[error("it is longer than {MAX_RECORD} bytes")]
    TooLong,
    /// Not JSON, an unknown field or code, a missing field, a value out of its type.
    #[error("it is not a record of a known type with its fields and no others")]
    Unknown,
    /// Another spelling of a valid record: other order, spaces, escapes, a field twice.
    #[error("it is not in canonical form")]
    NotCanonical,
}

/// Writes a record.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, BadForm> {
    let bytes = serde_json_canonicalizer::to_vec(value).map_err(|_| BadForm::Unknown)?;
    if bytes.len() > MAX_RECORD {
        return Err(BadForm::TooLong);
    }
    Ok(bytes)
}

/// Reads a record, and refuses every spelling but the canonical one: what is written again has to be the same
/// bytes, so nothing can ride along outside of the known fields.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, BadForm> {
    if bytes.len() > MAX_RECORD {
        return Err(BadForm::TooLong);
    }
    let value: T = serde_json::from_slice(bytes).map_err(|_| BadForm::Unknown)?;
    if encode(&value)? != bytes {
        return Err(BadForm::NotCanonical);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair {
        b: u32,
        a: String,
    }

    #[test]
    fn only_the_canonical_spelling_is_read() {
        let pair = Pair { b: 1, a: "é\n".to_owned() };
        let bytes = encode(&pair).unwrap();
        assert_eq!(bytes, "{\"a\":\"é\\n\",\"b\":1}".as_bytes());
        assert_eq!(decode::<Pair>(&bytes), Ok(pair));
        for other in [
            r#"{"b":1,"a":"x"}"#,
            r#"{"a":"x", "b":1}"#,
            r#"{"a":"x","b":1}
"#,
            r#"{"a":"\u0078","b":1}"#,
            r#"{"a":"x","b":1,"c":2}"#,
        ] {
            assert_eq!(decode::<Pair>(other.as_bytes()), Err(BadForm::NotCanonical), "{other}");
        }
        for no in [r#"{"a":"x"}"#, r#"{"a":"x","b":1,"b":1}"#, r#"{"a":"x","b":1.5}"#, "", "[", "\u{feff}{}"] {
            assert_eq!(decode::<Pair>(no.as_bytes()), Err(BadForm::Unknown), "{no}");
        }
    }

    #[test]
    fn keys_sort_by_utf16_and_long_records_are_refused() {
        // RFC 8785 §3.2.3: U+1F600 (a surrogate pair) sorts before U+FB33.
        let map: BTreeMap<&str, u8> = [("\u{fb33}", 1), ("\u{1f600}", 2)].into();
        assert_eq!(encode(&map).unwrap(), "{\"\u{1f600}\":2,\"\u{fb33}\":1}".as_bytes());
        let at = "x".repeat(MAX_RECORD - 2);
        assert!(encode(&at).is_ok());
        assert_eq!(encode(&format!("{at}x")), Err(BadForm::TooLong));
        assert_eq!(decode::<String>(format!("\"{at}x\"").as_bytes()), Err(BadForm::TooLong));
    }
}
