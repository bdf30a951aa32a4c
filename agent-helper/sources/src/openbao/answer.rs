//! What a store says in JSON. Texts go into buffers that are wiped; a text with escapes is copied by the parser
//! first, into a buffer that the programs' allocator wipes when it is freed.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use avouch_words::Secret;

use super::client::Reply;
use crate::SourceFault;

/// The longest id of a lease or of a login, in bytes.
pub const ID_MAX: usize = 1024;

/// Around everything that the store answers. vaultrs unwraps it and drops the lease.
#[derive(Deserialize)]
pub(super) struct Answer<T> {
    pub(super) data: Option<T>,
    pub(super) auth: Option<Auth>,
    #[serde(default)]
    pub(super) lease_id: Option<String>,
    #[serde(default)]
    pub(super) lease_duration: Option<u64>,
    #[serde(default)]
    pub(super) renewable: Option<bool>,
}

/// A login.
#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: Text,
    #[serde(default)]
    pub(super) accessor: Option<String>,
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// A text that nobody prints.
pub(super) struct Text(pub(super) Secret);

/// Anything, of which only texts are kept.
pub(super) enum Any {
    Text(Secret),
    Other,
}

/// The fields of a secret.
pub(super) type Fields = BTreeMap<String, Any>;

impl Reply {
    /// The answer; what is none is garbage, and of what it is nothing is told.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<Answer<T>, SourceFault> {
        serde_json::from_slice(&self.body).map_err(|_| SourceFault::Garbage)
    }
}

impl<T> Answer<T> {
    pub(super) fn data(&mut self) -> Result<T, SourceFault> {
        self.data.take().ok_or(SourceFault::Garbage)
    }
}

/// An id that can be recorded and sent back.
pub(super) fn id(text: String) -> Result<String, SourceFault> {
    match !text.is_empty() && text.len() <= ID_MAX && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text),
        false => Err(SourceFault::Garbage),
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Any::deserialize(deserializer)? {
            Any::Text(text) => Ok(Self(text)),
            Any::Other => Err(serde::de::Error::custom("no text")),
        }
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Kept)
    }
}

struct Kept;

impl<'de> Visitor<'de> for Kept {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Any, E> {
        Ok(Any::Text(Secret::new(text.as_bytes().to_vec())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Any, E> {
        Ok(Any::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Any, E> {
        Ok(Any::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Any, E> {
        Ok(Any::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Any, E> {
        Ok(Any::Other)
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Any, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }
}
