//! The sections of a configuration file that set the exporter, and how serde reads their values.
//!
//! The file's format and the collection of errors are up to the program.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::values::{self, Parsed, Pii};
use crate::settings::{Compression, Protocol};
use livekit_otel_model::privacy::Content;
use livekit_otel_model::signal::Temporality;

/// The sections that set the exporter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sections {
    /// `export`
    pub export: Export,
    /// `resource`: attributes of the resource. Variables override them by name.
    pub resource: Pairs,
    /// `privacy`
    pub privacy: Personal,
}

/// `export`: the collector. `OTEL_EXPORTER_OTLP_*` override it, for each signal if they name one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Export {
    /// The collector's URL. By default `http://localhost:4317`, with `http/protobuf` port 4318.
    pub endpoint: Option<String>,
    /// `grpc` or `http/protobuf`.
    #[serde(deserialize_with = "protocol")]
    pub protocol: Protocol,
    /// Headers of each request.
    pub headers: Pairs,
    /// How long a request may take, up to 24h.
    #[serde(deserialize_with = "positive_duration")]
    pub timeout: Duration,
    /// `none`, `gzip` or `zstd`.
    #[serde(deserialize_with = "compression")]
    pub compression: Compression,
    /// A PEM file with the authorities that sign the collector's certificate; by default the system's.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the client's certificate; needs `client_key` too.
    pub client_certificate: Option<PathBuf>,
    /// A PEM file with the client's key.
    pub client_key: Option<PathBuf>,
    /// Size of a request, from 4KiB to 64MiB; at most `max_queue`.
    // A quarter of what collectors accept by default: as several requests are in flight at once,
    // larger ones would be no faster, and take more memory at both ends.
    #[serde(deserialize_with = "request")]
    pub max_request: usize,
    /// Memory for queued records of each signal.
    #[serde(deserialize_with = "memory")]
    pub max_queue: usize,
    /// `cumulative`, `delta` or `lowmemory`.
    #[serde(deserialize_with = "temporality")]
    pub temporality: Temporality,
}

impl Default for Export {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: Protocol::Grpc,
            headers: Pairs::default(),
            timeout: Duration::from_secs(10),
            compression: Compression::default(),
            certificate: None,
            client_certificate: None,
            client_key: None,
            max_request: 1 << 20,
            max_queue: 64 << 20,
            temporality: Temporality::default(),
        }
    }
}

/// `privacy`: how personal data is sent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Personal {
    /// `plain`, `hash` or `drop`; `hash` needs `hash_key` too.
    #[serde(deserialize_with = "pii")]
    pub pii: Pii,
    /// The key of the hashes, of at least 16 bytes.
    pub hash_key: Option<Secret>,
    /// `drop` or `plain`: what was said in a call, and other content that agents upload.
    #[serde(deserialize_with = "content")]
    pub content: Content,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A text that must be written as a text: a number would not be kept as it was written, `1.10` is 1.1.
/// The deserializer refuses numbers and booleans for a newtype of this name. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Verbatim(pub String);

impl fmt::Debug for Verbatim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verbatim")
    }
}

/// A map with keys of the operator's choice, in the file's order. `Debug` does not show the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pairs(pub Vec<(String, String)>);

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, Verbatim(value))) = map.next_entry()? {
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}

/// Reads a text and parses it: for `deserialize_with`.
///
/// # Errors
/// What the value should have been.
pub fn parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: fn(&str) -> Parsed<T>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

/// Makes a function for `deserialize_with` of each named parser in `values`. It reads a `T`, or an
/// `Option<T>` for a setting without a fixed default.
#[macro_export]
macro_rules! deserialize_with {
    ($($name:ident: $type:ty),* $(,)?) => {$(
        fn $name<'de, D, T>(deserializer: D) -> Result<T, D::Error>
        where
            D: serde::Deserializer<'de>,
            T: From<$type>,
        {
            $crate::configure::schema::parsed(deserializer, values::$name).map(T::from)
        }
    )*};
}

deserialize_with! {
    compression: Compression,
    content: Content,
    memory: usize,
    pii: Pii,
    positive_duration: Duration,
    protocol: Protocol,
    request: usize,
    temporality: Temporality,
}
