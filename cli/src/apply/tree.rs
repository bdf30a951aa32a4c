//! A document as it is written, with the line of everything in it.

use super::{Fault, Place};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;
use std::fmt;

/// A value, and where it begins.
#[derive(Debug)]
pub struct Tree {
    /// From 1.
    pub line: u64,
    /// What it is.
    pub node: Node,
}

/// What a value is.
#[derive(Debug)]
pub enum Node {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Tree>),
    /// Values by key, in order, each key with its line.
    Map(Vec<(String, u64, Tree)>),
}

/// The documents of a text.
pub fn documents(file: &str, text: &str) -> Result<Vec<Tree>, Fault> {
    // A key that stands twice is refused by the reader itself.
    serde_saphyr::from_multiple::<Tree>(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let said = error.without_snippet().to_string();
        let sentence = said.lines().next().unwrap_or_default().to_owned();
        Fault { place: Place { file: file.to_owned(), line }, path: String::new(), sentence }
    })
}

impl Tree {
    /// As JSON.
    pub fn json(&self) -> Value {
        match &self.node {
            Node::Null => Value::Null,
            Node::Flag(flag) => Value::Bool(*flag),
            Node::Number(number) => Value::from(*number),
            Node::Text(text) => Value::from(text.as_str()),
            Node::List(list) => list.iter().map(Self::json).collect(),
            Node::Map(map) => Value::Object(map.iter().map(|(key, _, tree)| (key.clone(), tree.json())).collect()),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Node>::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), node: value })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a whole number, true or false, a list or keys with values")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Number(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Node, E> {
        i64::try_from(number).map(Node::Number).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut read = Vec::new();
        while let Some(tree) = list.next_element()? {
            read.push(tree);
        }
        Ok(Node::List(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut read = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            read.push((key.value, key.referenced.line(), map.next_value()?));
        }
        Ok(Node::Map(read))
    }
}
