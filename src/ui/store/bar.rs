//! A thing with a beginning and an end: a span, or what is going to be one.

use std::sync::Arc;

use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Span, SpanId, TraceId, Value};
use livekit_otel_tools::labels::AttributeLookup;

/// What a line of the waterfall shows.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ui) struct Bar {
    /// As spans are named.
    pub(in crate::ui) name: &'static str,
    /// The ids of a span that has been sent; what is still open has none.
    pub(in crate::ui) sent: Option<(TraceId, SpanId)>,
    pub(in crate::ui) start: Time,
    /// None while it goes on.
    pub(in crate::ui) end: Option<Time>,
    /// Why it failed; empty where nobody said.
    pub(in crate::ui) failure: Option<Arc<str>>,
    pub(in crate::ui) attributes: Vec<Attribute>,
}

impl Bar {
    pub(super) fn of(span: Span) -> Self {
        Self {
            name: span.name,
            sent: Some((span.trace_id, span.span_id)),
            start: span.start,
            end: Some(span.end),
            failure: span.failure,
            attributes: span.attributes,
        }
    }

    pub(in crate::ui) fn text(&self, key: &str) -> Option<&str> {
        self.attributes.text(key)
    }

    pub(in crate::ui) fn participant(&self) -> Option<&str> {
        self.text(key::PARTICIPANT_SID)
    }

    /// Whether it is a failure: by its status or by an error type.
    pub(in crate::ui) fn failed(&self) -> bool {
        self.failure.is_some() || self.text(key::ERROR_TYPE).is_some()
    }

    /// The kind of failure.
    pub(in crate::ui) fn error_type(&self) -> &str {
        self.text(key::ERROR_TYPE).unwrap_or("error")
    }

    /// What the failure is told to be, in words.
    pub(in crate::ui) fn error_message(&self) -> Option<&str> {
        let status = self.failure.as_deref().filter(|message| !message.is_empty());
        status.or_else(|| self.text(key::ERROR_MESSAGE))
    }

    /// Some bytes: what it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let failure = self.failure.as_ref().map_or(0, |message| message.len());
        size_of::<Self>() + failure + bytes(&self.attributes)
    }

    /// Takes over what a later record says of it.
    pub(super) fn learn(&mut self, more: &[Attribute]) {
        for attribute in more {
            match self.attributes.iter_mut().find(|known| known.key == attribute.key) {
                Some(known) => known.value = attribute.value.clone(),
                None => self.attributes.push(attribute.clone()),
            }
        }
    }
}

/// What attributes take in memory, about: texts are shared, so that is more than they do.
pub(super) fn bytes(attributes: &[Attribute]) -> usize {
    let text = |attribute: &Attribute| match &attribute.value {
        Value::Text(text) => text.len(),
        _ => 0,
    };
    size_of_val(attributes) + attributes.iter().map(text).sum::<usize>()
}
