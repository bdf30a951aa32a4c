//! The claims of a token as protobuf has JSON.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Value as Json};

/// An object as a `google.protobuf.Struct`. Numbers become doubles, as that type has no others (WAJ-22).
pub fn to_struct(object: &Map<String, Json>) -> Struct {
    Struct { fields: object.iter().map(|(name, value)| (name.clone(), to_value(value))).collect() }
}

fn to_value(value: &Json) -> Value {
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        Json::String(value) => Kind::StringValue(value.clone()),
        Json::Array(values) => Kind::ListValue(ListValue { values: values.iter().map(to_value).collect() }),
        Json::Object(object) => Kind::StructValue(to_struct(object)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_json_is_carried() {
        let Json::Object(object) = serde_json::json!({
            "exp": 1_700_000_000, "aud": ["a", "b"], "ok": true, "none": null, "act": {"sub": "x"}
        }) else {
            panic!("an object");
        };
        let fields = to_struct(&object).fields;
        assert_eq!(fields["exp"].kind, Some(Kind::NumberValue(1_700_000_000.0)));
        assert_eq!(fields["ok"].kind, Some(Kind::BoolValue(true)));
        assert_eq!(fields["none"].kind, Some(Kind::NullValue(0)));
        assert!(matches!(&fields["aud"].kind, Some(Kind::ListValue(list)) if list.values.len() == 2));
        assert!(matches!(&fields["act"].kind, Some(Kind::StructValue(inner)) if inner.fields.len() == 1));
    }
}
