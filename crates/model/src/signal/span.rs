//! Finished spans.

use serde::{Deserialize, Serialize};

use super::attribute::{Attribute, Value};
use crate::event::Time;
use crate::semconv::key;

/// 16 bytes, never all zero.
pub type TraceId = [u8; 16];
/// 8 bytes, never all zero.
pub type SpanId = [u8; 8];

/// A finished span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// Its parent span; a room's span has none.
    pub parent: Option<SpanId>,
    /// Its name (see [`crate::semconv::span`]).
    pub name: &'static str,
    /// Whether it is a call, and which side of it.
    pub kind: SpanKind,
    /// When it began.
    pub start: Time,
    /// When it ended; never before `start`.
    pub end: Time,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// Links to related spans of which it is not a child.
    pub links: Vec<Link>,
}

impl Span {
    /// Its `error.type`, which is also its status message, if it failed; other spans have no status.
    pub fn failure(&self) -> Option<&str> {
        let error_type =
            self.attributes.iter().find(|attribute| attribute.key == key::ERROR_TYPE)?;
        match &error_type.value {
            Value::Text(error_type) => Some(error_type),
            _ => None,
        }
    }
}

/// The kinds of OTLP's spans that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum SpanKind {
    #[default]
    Internal,
    Server,
    Client,
}

/// A link from one span to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other's trace.
    pub trace_id: TraceId,
    /// The other's id.
    pub span_id: SpanId,
}
