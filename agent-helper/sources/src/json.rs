//! Fields of a JSON object that holds secrets: what is text is wiped when dropped, what is not is not kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// An object by its keys.
pub(crate) type Fields = BTreeMap<String, Field>;

/// One of its values.
pub(crate) enum Field {
    Text(Zeroizing<String>),
    /// A number, a list, an object, nothing.
    Other,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadField)
    }
}

struct ReadField;

impl<'de> Visitor<'de> for ReadField {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_kept() {
        let json = r#"{"a":"x\ny","b":1,"c":-1.5,"d":[1,{"a":2}],"e":{"a":"no"},"f":null,"g":true}"#;
        let fields: Fields = serde_json::from_str(json).unwrap();
        let text = |key: &str| match &fields[key] {
            Field::Text(text) => Some(text.to_string()),
            Field::Other => None,
        };
        assert_eq!(text("a").unwrap(), "x\ny");
        assert!(["b", "c", "d", "e", "f", "g"].iter().all(|key| text(key).is_none()));
    }
}
