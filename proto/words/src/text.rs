//! The words as JSON strings: written as their text, read by their own parser, so that a value that came out of
//! JSON is as valid as any other.

use crate::{Digest, Name, Selector, SpiffeId, TrustDomain, Ulid};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;

macro_rules! by_text {
    ($($word:ident, $what:literal, $parse:expr;)*) => {$(
        impl Serialize for $word {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $word {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $word;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$word, E> {
                        // The value itself stays out of the error: it may be anything.
                        $parse(text).ok_or_else(|| E::custom(concat!("not ", $what)))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

by_text! {
    Name, "a name", |text| Name::parse(text).ok();
    Ulid, "a ULID", |text| Ulid::parse(text).ok();
    Selector, "a selector", |text| Selector::parse(text).ok();
    SpiffeId, "a SPIFFE ID", |text| SpiffeId::parse(text).ok();
    TrustDomain, "a trust domain", |text| TrustDomain::parse(text).ok();
    Digest, "64 lower-case hexadecimal digits", Digest::parse;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_json_are_their_text_and_read_back_only_if_valid() {
        let name: Name = serde_json::from_str(r#""researcher""#).unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), r#""researcher""#);
        let id: SpiffeId = serde_json::from_str(r#""spiffe://td/agent/a""#).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""spiffe://td/agent/a""#);
        let digest = Digest::of(&[b"x"]);
        assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
        assert!(serde_json::from_str::<Name>(r#""A B""#).is_err());
        assert!(serde_json::from_str::<Name>("7").is_err());
        assert!(serde_json::from_str::<SpiffeId>(r#""spiffe://td/../x""#).is_err());
        assert!(serde_json::from_str::<Ulid>(r#""x""#).is_err());
        let error = serde_json::from_str::<Selector>(r#""s3cr3t""#).unwrap_err().to_string();
        assert!(!error.contains("s3cr3t"), "{error}");
    }
}
