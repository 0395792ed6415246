//! What the engine reads of a record's attributes. A resource is never asked: with livekit-agents' thread executor all
//! jobs of a worker come under the resource of the first.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use livekit_otel_model::event::{ParticipantSid, RoomSid, Time};
use livekit_otel_model::foreign::Facts;
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{SpanId, TraceId};

// LiveKit's ids have about 15 bytes, models' names up to 60.
const LONGEST_ID: usize = 128;

/// The keys of a room's id: those of today's agents and of LiveKit's registry. `lk.room_sid` is on `job_entrypoint`.
const ROOM: [&str; 3] = [key::ROOM_ID, "room_id", "lk.room_sid"];
const JOB: [&str; 2] = [key::JOB_ID, "job_id"];
const REDACTED: &str = "lk.redaction.enabled";

/// Reads the facts of `attributes`. What is already in `facts` stays.
pub(crate) fn read(attributes: &[KeyValue], facts: &mut Facts) {
    for attribute in attributes {
        let (key, value) = (attribute.key.as_str(), attribute.value.as_ref());
        if ROOM.contains(&key) {
            facts.room = facts.room.take().or_else(|| id(value).and_then(RoomSid::new));
        } else if JOB.contains(&key) {
            facts.job = facts.job.take().or_else(|| id(value).map(Arc::from));
        } else if key == key::PARTICIPANT_ID {
            let read = || id(value).and_then(ParticipantSid::new);
            facts.participant = facts.participant.take().or_else(read);
        } else if key == REDACTED {
            facts.is_redacted |= is_set(value);
        }
    }
}

/// Whether a metric's point has the key only as a fact.
pub(crate) fn is_fact_of_point(key: &str) -> bool {
    ROOM.contains(&key) || JOB.contains(&key) || key == REDACTED
}

/// Whether a resource is that of LiveKit's framework, which names a room there.
pub(crate) fn is_framework(resource: &[KeyValue]) -> bool {
    resource.iter().any(|attribute| ROOM[..2].contains(&attribute.key.as_str()))
}

/// The text of the attribute `key`.
pub(crate) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    text_of(attribute.value.as_ref())
}

/// A name of bounded length.
pub(crate) fn cut(text: &str) -> Arc<str> {
    text.get(..text.floor_char_boundary(LONGEST_ID)).unwrap_or(text).into()
}

/// A trace's id; `None` if it has another length or is zero, which W3C Trace Context calls invalid.
pub(crate) fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    TraceId::try_from(bytes).ok().filter(|id| id != &TraceId::default())
}

/// A span's id; `None` if it has another length or is zero.
pub(crate) fn span_id(bytes: &[u8]) -> Option<SpanId> {
    SpanId::try_from(bytes).ok().filter(|id| id != &SpanId::default())
}

/// A trace and a span; `None` unless both are valid.
pub(crate) fn context(trace: &[u8], span: &[u8]) -> Option<(TraceId, SpanId)> {
    Some((trace_id(trace)?, span_id(span)?))
}

/// A time; one that is not set is 1970.
pub(crate) fn time(nanos: u64) -> Time {
    Time::from_nanos(nanos).unwrap_or_else(|| Time::from_system(std::time::UNIX_EPOCH))
}

pub(crate) fn text_of(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn id(value: Option<&AnyValue>) -> Option<&str> {
    text_of(value).filter(|text| !text.is_empty() && text.len() <= LONGEST_ID)
}

// Anything but a false flag: what says something about redaction must not be taken for its absence.
fn is_set(value: Option<&AnyValue>) -> bool {
    let value = value.and_then(|value| value.value.as_ref());
    !matches!(value, None | Some(Value::BoolValue(false)))
}
