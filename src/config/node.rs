//! A value of the configuration file with its line.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A value and its place.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
    /// Whether it is left out when the tree is read again: it counts as not set, or its error is reported.
    pub(super) is_left_out: Cell<bool>,
}

/// Where a value was written.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A line of the file, from 1.
    Line(u64),
    /// This flag or variable, which overrides the file.
    Override(String),
}

impl Default for Place {
    fn default() -> Self {
        Self::Line(1)
    }
}

/// YAML without its types: the schema says what a value means.
#[derive(Debug, Default)]
pub(super) enum Value {
    #[default]
    Null,
    Text(String),
    /// A number or a boolean.
    Other(String),
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
}

impl Node {
    fn new(line: u64, value: Value) -> Self {
        Self { place: Place::Line(line), value, is_left_out: Cell::new(false) }
    }

    /// The text of a flag or variable.
    pub(super) fn overriding(origin: &str, text: &str) -> Self {
        let place = Place::Override(origin.to_owned());
        Self { place, value: Value::Text(text.to_owned()), is_left_out: Cell::new(false) }
    }

    /// The entry of a map.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key == name).map(|(_, node)| node)
    }

    /// Whether it is an empty text of the file; an empty text of a flag is a value.
    pub(super) fn is_empty(&self) -> bool {
        matches!((&self.value, &self.place), (Value::Text(text), Place::Line(_)) if text.trim().is_empty())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        // A key's line, as a map that is its value begins on the next one.
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Value>()? {
            entries.push((key.value, Node::new(key.referenced.line(), value)));
        }
        Ok(Value::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(value) = seq.next_element::<Spanned<Value>>()? {
            entries.push(Node::new(value.referenced.line(), value.value));
        }
        Ok(Value::List(entries))
    }
}
