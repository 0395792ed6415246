//! A line of the waterfall: a span, or something open that becomes one.

use super::live::{self, Subject, WORK_IDS, WORKS};
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Span, SpanId, TraceId, Value};
use livekit_otel_tools::labels::AttributeLookup;

/// A finished span, or an open one.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ui) struct Bar {
    /// The name of the span.
    pub(in crate::ui) name: &'static str,
    /// The ids of a sent span; `None` while it is open.
    pub(in crate::ui) sent: Option<(TraceId, SpanId)>,
    pub(in crate::ui) start: Time,
    /// `None` while it is open.
    pub(in crate::ui) end: Option<Time>,
    pub(in crate::ui) attributes: Vec<Attribute>,
    /// When it was first reported to be stuck.
    pub(in crate::ui) stuck_at: Option<Time>,
}

impl Bar {
    pub(super) fn of(span: Span) -> Self {
        Self {
            name: span.name,
            sent: Some((span.trace_id, span.span_id)),
            start: span.start,
            end: Some(span.end),
            attributes: span.attributes,
            stuck_at: None,
        }
    }

    /// What identifies it among the spans of its room.
    pub(super) fn subject(&self) -> Option<Subject> {
        live::subject(self.name, &self.attributes, self.sent.map(|(_, id)| id))
    }

    pub(in crate::ui) fn text(&self, key: &str) -> Option<&str> {
        self.attributes.text(key)
    }

    pub(in crate::ui) fn participant(&self) -> Option<&str> {
        self.text(key::PARTICIPANT_ID)
    }

    /// Whether it failed: only then it has an error type.
    pub(in crate::ui) fn failed(&self) -> bool {
        self.text(key::ERROR_TYPE).is_some()
    }

    /// The error type.
    pub(in crate::ui) fn error_type(&self) -> &str {
        self.text(key::ERROR_TYPE).unwrap_or("error")
    }

    /// The error message.
    pub(in crate::ui) fn error_message(&self) -> Option<&str> {
        self.text(key::ERROR)
    }

    /// Why a running egress is stuck, if it is.
    pub(in crate::ui) fn stuck(&self) -> Option<&str> {
        self.text(key::EGRESS_STUCK_REASON).filter(|_| self.end.is_none())
    }

    /// The id of an operation.
    pub(in crate::ui) fn work_id(&self) -> Option<&str> {
        let place = WORKS.iter().position(|name| *name == self.name)?;
        self.text(WORK_IDS.get(place)?)
    }

    /// Whether it is an egress, an ingress, a SIP call or transfer, or an agent's job or dispatch.
    pub(in crate::ui) fn is_work(&self) -> bool {
        WORKS.contains(&self.name)
    }

    /// Its approximate size in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + bytes(&self.attributes)
    }

    /// Adds the attributes of an older record that are not known.
    pub(super) fn learn_missing(&mut self, more: &[Attribute]) {
        for attribute in more {
            if self.attributes.iter().all(|known| known.key != attribute.key) {
                self.attributes.push(attribute.clone());
            }
        }
    }

    /// Adds the attributes of a later record, or replaces them.
    pub(super) fn learn(&mut self, more: &[Attribute]) {
        for attribute in more {
            match self.attributes.iter_mut().find(|known| known.key == attribute.key) {
                Some(known) => known.value = attribute.value.clone(),
                None => self.attributes.push(attribute.clone()),
            }
        }
    }
}

/// The approximate size of attributes in memory. It is an upper bound, as texts are shared.
pub(super) fn bytes(attributes: &[Attribute]) -> usize {
    let text = |attribute: &Attribute| match &attribute.value {
        Value::Text(text) => text.len(),
        _ => 0,
    };
    size_of_val(attributes) + attributes.iter().map(text).sum::<usize>()
}
