//! Attributes that several kinds of records share.

use std::sync::Arc;

use crate::facts::Description;
use livekit_otel_model::event::{Detail, DetailValue, TrackKind};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Value};

/// A detail as an attribute.
pub(super) fn attribute(detail: &Detail) -> Attribute {
    let value = match &detail.value {
        DetailValue::Text(text) => Value::Text(Arc::clone(text)),
        DetailValue::Int(count) => Value::Int(*count),
        DetailValue::Float(measure) => Value::Float(*measure),
        DetailValue::Bool(flag) => Value::Bool(*flag),
    };
    Attribute { key: detail.key, value }
}

/// The attributes of a track's description.
pub(super) fn track_attributes(track: &Description, to: &mut Vec<Attribute>) {
    if let Some(kind) = track.kind.and_then(TrackKind::name) {
        to.push(Attribute::new(key::TRACK_KIND, kind));
    }
    if let Some(source) = track.source {
        to.push(Attribute::new(key::TRACK_SOURCE, source.name()));
    }
    if let Some(mime_type) = &track.mime_type {
        to.push(Attribute::new(key::TRACK_MIME_TYPE, Arc::clone(mime_type)));
    }
}
