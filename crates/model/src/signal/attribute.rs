//! Attributes, and the sets of them that identify metric series.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::interned::Name;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Value {
    /// A flag.
    Bool(bool),
    /// A count, or a time in Unix nanoseconds.
    Int(i64),
    /// A measure.
    Float(f64),
    /// Text.
    Text(Arc<str>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Arc::from(text))
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(count: i64) -> Self {
        Self::Int(count)
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(measure: f64) -> Self {
        Self::Float(measure)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

/// A key of [`crate::semconv`] and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// The key.
    #[serde(with = "crate::interned")]
    pub key: Name,
    /// The value.
    pub value: Value,
}

impl Attribute {
    /// An attribute with anything that converts to a [`Value`].
    pub fn new(key: &'static str, value: impl Into<Value>) -> Self {
        Self { key, value: value.into() }
    }
}

/// The attributes that identify a series. Clones share them and the bytes that they were encoded to,
/// as a series has a point of each instrument at each flush.
#[derive(Clone)]
pub struct Series(Arc<Inner>);

struct Inner {
    attributes: Vec<Attribute>,
    // The bytes that the first encoder made, and its number.
    encoded: OnceLock<(u128, Box<[u8]>)>,
}

impl Series {
    /// The bytes that `encode` returns. They are cached for the first `encoder` that asks: encoders
    /// that return different bytes for the same attributes have different numbers.
    pub fn encoded(
        &self,
        encoder: u128,
        encode: impl Fn(&[Attribute]) -> Vec<u8>,
    ) -> Cow<'_, [u8]> {
        let make = || encode(&self.0.attributes);
        let (of, kept) = self.0.encoded.get_or_init(|| (encoder, make().into()));
        if *of == encoder { Cow::Borrowed(kept) } else { Cow::Owned(make()) }
    }
}

impl From<Vec<Attribute>> for Series {
    fn from(attributes: Vec<Attribute>) -> Self {
        Self(Arc::new(Inner { attributes, encoded: OnceLock::new() }))
    }
}

impl std::ops::Deref for Series {
    type Target = [Attribute];

    fn deref(&self) -> &[Attribute] {
        &self.0.attributes
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.attributes.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self::from)
    }
}

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&**self).finish()
    }
}
