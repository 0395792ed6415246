//! Serde's view of a [`Node`]: errors know their place and value.

use std::fmt;
use std::slice::Iter;

use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::node::{Node, Place, Value};
use livekit_otel_export::configure::Problem;

/// What `config print` writes in place of a secret.
pub(super) const MASK: &str = "********";
/// In place of the rest of a key with a colon, which could be a secret.
const CUT: &str = ":…";
/// The newtype of texts that must be written as texts.
const VERBATIM: &str = "Verbatim";

/// Why the tree must be read again. The node is then left out, if its place is known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The first value that counts as not set.
    #[error("not set")]
    NotSet,
    /// The first error.
    #[error("{problem}")]
    Wrong {
        /// What is wrong.
        problem: Problem,
        /// Whether its place is known.
        is_placed: bool,
    },
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::Wrong { problem: Problem::new("", what.to_string()), is_placed: false }
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::custom(format!("unknown key, must be one of {}", known.join(", ")))
    }
}

impl Error {
    // The innermost place is the error's.
    fn at(self, at: &At<'_>, value: Option<&str>) -> Self {
        let Self::Wrong { mut problem, is_placed: false } = self else { return self };
        at.node.is_left_out.set(true);
        problem.at = at.to_string();
        if let Some(value) = value {
            problem = problem.with_value(value);
        }
        Self::Wrong { problem, is_placed: true }
    }
}

/// A node with its dotted key.
#[derive(Debug, Clone)]
pub(super) struct At<'a> {
    file: &'a str,
    pub(super) key: String,
    pub(super) node: &'a Node,
    /// Whether the schema names it, so that it has a default.
    is_setting: bool,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node.place {
            Place::Line(line) => write!(f, "{}:{line}: {}", self.file, self.key),
            Place::Override(origin) => f.write_str(origin),
        }
    }
}

impl<'a> At<'a> {
    pub(super) fn root(file: &'a str, node: &'a Node) -> Self {
        Self { file, key: String::new(), node, is_setting: false }
    }

    pub(super) fn entry(&self, key: &str, node: &'a Node) -> Self {
        // `key:secret` without a space is a key.
        let key = match key.split_once(':') {
            Some((before, _)) => format!("{before}{CUT}"),
            None => key.to_owned(),
        };
        let key = if self.key.is_empty() { key } else { format!("{}.{key}", self.key) };
        Self { key, node, is_setting: false, ..*self }
    }

    fn element(&self, nth: usize, node: &'a Node) -> Self {
        Self { key: format!("{}[{nth}]", self.key), node, is_setting: false, ..*self }
    }

    // An empty text in place of a single value counts as not set. In place of a section or a list it is
    // an error.
    fn check_set(&self) -> Result<(), Error> {
        if matches!(&self.node.value, Value::Text(text) if text.contains(MASK)) {
            return Err(self.wrong("is masked by `config print`: must be the real value"));
        }
        if self.is_setting && self.node.is_empty() {
            self.node.is_left_out.set(true);
            return Err(Error::NotSet);
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> Error {
        <Error as de::Error>::custom(what).at(self, None)
    }
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.check_set()?;
        match &self.node.value {
            Value::Text(text) | Value::Other(text) => visitor.visit_str(text.trim()),
            Value::Null if self.key.ends_with(CUT) => {
                Err(self.wrong("has no value: put a space after the colon"))
            }
            Value::Null => Err(self.wrong("has no value")),
            Value::Map(_) | Value::List(_) => Err(self.wrong("must be a single value")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Text(text) if name == VERBATIM => {
                self.check_set()?;
                visitor.visit_newtype_struct(text.as_str().into_deserializer())
            }
            Value::Other(_) if name == VERBATIM => {
                Err(self.wrong("is a number or boolean: put it in quotes"))
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Map(map) => {
                visitor.visit_map(Entries { rest: map.iter(), map: self, fields, next: None })
            }
            Value::Null => {
                visitor.visit_map(Entries { rest: [].iter(), map: self, fields, next: None })
            }
            Value::Text(text) if text.contains(':') => {
                Err(self.wrong("must be a map: put a space after the colon"))
            }
            _ => Err(self.wrong("must be a map")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(list) => {
                let list = list.iter().enumerate().map(|(nth, node)| self.element(nth, node));
                let mut elements = list.filter(|element| !element.node.is_left_out.get());
                visitor.visit_seq(Elements(&mut elements))
            }
            _ => Err(self.wrong("must be a list")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

/// The entries of a section, or of a map with keys of the operator's choice.
struct Entries<'a> {
    map: At<'a>,
    rest: Iter<'a, (String, Node)>,
    /// The section's keys; those that are not set are left out.
    fields: &'static [&'static str],
    next: Option<At<'a>>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let is_setting = |key: &str| self.fields.contains(&key);
        let is_left_out = |key: &str, node: &Node| {
            node.is_left_out.get() || (matches!(node.value, Value::Null) && is_setting(key))
        };
        let Some((key, node)) = self.rest.find(|(key, node)| !is_left_out(key, node)) else {
            return Ok(None);
        };
        let at = At { is_setting: is_setting(key), ..self.map.entry(key, node) };
        let field = seed.deserialize(key.as_str().into_deserializer());
        let field = field.map_err(|error: Error| error.at(&at, None))?;
        self.next = Some(at);
        Ok(Some(field))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let at = self.next.take().unwrap_or_else(|| self.map.clone());
        let value = match &at.node.value {
            Value::Text(text) | Value::Other(text) => Some(text.as_str()),
            _ => None,
        };
        seed.deserialize(at.clone()).map_err(|error| error.at(&at, value))
    }
}

/// The elements of a list.
struct Elements<'i, 'a>(&'i mut dyn Iterator<Item = At<'a>>);

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(at) = self.0.next() else { return Ok(None) };
        seed.deserialize(at.clone()).map(Some).map_err(|error| error.at(&at, None))
    }
}
