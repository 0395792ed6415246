//! What all records of a simulated agent's job have.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::jobs::Job;
use super::plan::{Plan, Visit};
use livekit_otel_model::event::Time;

// Made up, to be as long as what is said.
const WORDS: &str = "word after word of a made-up call ";

/// A job, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobOf<'a> {
    pub(super) start: Time,
    pub(super) plan: &'a Plan,
    pub(super) visit: &'a Visit,
    pub(super) job: &'a Job,
}

impl JobOf<'_> {
    /// Why the session ends, as agents say it.
    pub(super) fn close_reason(&self) -> &'static str {
        let is_failed = self.job.turns.iter().any(|turn| turn.is_failed);
        if is_failed { "error" } else { "participant_disconnected" }
    }

    /// The ids that each record of a job has.
    pub(super) fn ids(&self) -> Vec<KeyValue> {
        vec![text("room_id", &self.plan.sid), text("job_id", &self.job.id)]
    }

    pub(super) fn nanos(&self, at: Duration) -> u64 {
        (self.start + at).nanos()
    }
}

/// About as many characters as are spoken in a time, at most 170.
pub(super) fn said_for(time: Duration) -> &'static str {
    const SAID: &str = "word after word of a made-up call word after word of a made-up call word after word of a \
         made-up call word after word of a made-up call word after word of a made-up call";
    let length = usize::try_from(time.as_millis() / 70).unwrap_or(usize::MAX);
    &SAID[..length.min(SAID.len())]
}

/// A conversation of about so many bytes.
pub(super) fn conversation(bytes: usize) -> String {
    WORDS.repeat(bytes / WORDS.len())
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

pub(super) fn number(key: &str, value: f64) -> KeyValue {
    pair(key, Value::DoubleValue(value))
}

pub(super) fn flag(key: &str, value: bool) -> KeyValue {
    pair(key, Value::BoolValue(value))
}

fn pair(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
