//! A recording's header as a log record.

use std::sync::Arc;
use std::time::Duration;

use super::job::{Job, Mode};
use super::names::close_reason;
use super::place::Context;
use crate::ids;
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::Recording;
use livekit_otel_model::semconv::{event as name, key};
use livekit_otel_model::signal::{Attribute, LogRecord, Severity, SpanId, TraceId, Value};

// A job has one session, but an application may begin more.
const MOST: usize = 64;
// What the models of a kind used, by the names of `livekit.agents.metrics.usage`, and whether it is a count.
const USAGE: [(&str, &str, &str, bool); 5] = [
    ("llm", "input_tokens", key::USAGE_INPUT_TOKENS, true),
    ("llm", "output_tokens", key::USAGE_OUTPUT_TOKENS, true),
    ("tts", "characters_count", key::RECORDING_SPEECH_CHARACTERS, true),
    ("tts", "audio_duration", key::RECORDING_SPEECH_DURATION, false),
    ("stt", "audio_duration", key::RECORDING_TRANSCRIBED_DURATION, false),
];

impl Job {
    /// The log record of a recording that was received at `now`; `None` for a copy.
    pub(super) fn recording(
        &mut self,
        recording: &Recording,
        now: Time,
        cx: &mut Context<'_>,
    ) -> Option<LogRecord> {
        self.hear(&recording.facts, now);
        if !self.recordings.insert(recording.start) {
            return None;
        }
        self.learnt.recording(recording, &mut cx.values());
        if self.recordings.len() > MOST {
            self.recordings.pop_first();
        }
        let inferred = || (ids::trace(cx.room), ids::room(cx.room));
        let place = cx.sessions.room_place(cx.room, recording.start.unwrap_or(now));
        let place = place.or_else(|| (self.mode == Some(Mode::Join)).then(inferred));
        Some(record(recording, place, now))
    }
}

/// The log record, which belongs to that span.
pub(super) fn record(
    recording: &Recording,
    context: Option<(TraceId, SpanId)>,
    now: Time,
) -> LogRecord {
    let mut attributes = Vec::new();
    let mut add = |key, value: Option<Value>| {
        attributes.extend(value.map(|value| Attribute { key, value }));
    };
    add(key::ROOM_ID, recording.facts.room.as_ref().map(|room| room.shared().into()));
    add(key::JOB_ID, recording.facts.job.as_ref().map(|job| Arc::clone(job).into()));
    add(key::DURATION, recording.duration.map(Value::from));
    add(
        key::CLOSE_REASON,
        recording.close_reason.as_deref().map(|it| Value::from(&*close_reason(it))),
    );
    add(key::RECORDING_USER_TURNS, recording.user_turns.map(Value::from));
    let errors: u64 = recording.errors.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
    let mut failed: Vec<_> = recording.errors.iter().filter(|(_, count)| *count > 0).collect();
    failed.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then(a.cmp(b)));
    add(key::RECORDING_ERRORS, (errors > 0).then(|| errors.into()));
    add(key::ERROR_TYPE, failed.first().map(|(what, _)| Arc::clone(what).into()));
    for (kind, amount, key, is_count) in USAGE {
        add(key, used(recording, kind, amount, is_count));
    }
    let (audio, history) = recording.sizes;
    add(key::RECORDING_AUDIO_SIZE, Some(audio.into()));
    add(key::RECORDING_HISTORY_SIZE, Some(history.into()));
    let took = recording.duration.and_then(|it| Duration::try_from_secs_f64(it).ok());
    LogRecord {
        event_name: name::AGENT_SESSION_RECORDED.into(),
        time: recording.start.map_or(now, |start| start + took.unwrap_or_default()),
        observed: now,
        severity: if failed.is_empty() { Severity::Info } else { Severity::Error },
        context,
        attributes,
    }
}

// How much all models of a kind used; `None` if none did.
#[expect(clippy::cast_possible_truncation, reason = "a count of tokens is far below 2^53")]
fn used(recording: &Recording, kind: &str, amount: &str, is_count: bool) -> Option<Value> {
    let models = recording.usage.iter().filter(|model| &*model.kind == kind);
    let amounts = models.flat_map(|model| &model.amounts).filter(|(name, _)| &**name == amount);
    let all: f64 = amounts.map(|(_, amount)| amount).sum();
    let value = if is_count { Value::Int(all as i64) } else { Value::Float(all) };
    (all > 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_otel_model::foreign::ModelUsage;

    fn model(kind: &str, name: &str, amounts: &[(&str, f64)]) -> ModelUsage {
        ModelUsage {
            kind: kind.into(),
            model: name.into(),
            amounts: amounts.iter().map(|(name, amount)| ((*name).into(), *amount)).collect(),
            ..ModelUsage::default()
        }
    }

    #[test]
    fn a_header_is_summed_up() {
        let start = Time::from_secs(1_795_981_975);
        let recording = Recording {
            start,
            duration: Some(28.5),
            close_reason: Some("CR_PARTICIPANT_DISCONNECTED".into()),
            user_turns: Some(6),
            errors: vec![("stt".into(), 1), ("llm".into(), 2), ("tts".into(), 0)],
            usage: vec![
                model("llm", "a", &[("input_tokens", 900.0), ("note", 7.0)]),
                model("llm", "b", &[("input_tokens", 20.0)]),
                model("tts", "c", &[("audio_duration", 19.4)]),
            ],
            sizes: (300_000, 9777),
            ..Recording::default()
        };
        let record = record(&recording, None, start.unwrap());
        let attributes: Vec<_> =
            record.attributes.into_iter().map(|it| (it.key, it.value)).collect();
        let expected: Vec<(&str, Value)> = vec![
            (key::DURATION, 28.5.into()),
            (key::CLOSE_REASON, "participant_disconnected".into()),
            (key::RECORDING_USER_TURNS, 6i64.into()),
            (key::RECORDING_ERRORS, 3i64.into()),
            (key::ERROR_TYPE, "llm".into()),
            (key::USAGE_INPUT_TOKENS, 920i64.into()),
            (key::RECORDING_SPEECH_DURATION, 19.4.into()),
            (key::RECORDING_AUDIO_SIZE, 300_000i64.into()),
            (key::RECORDING_HISTORY_SIZE, 9777i64.into()),
        ];
        assert_eq!(attributes, expected);
        assert_eq!(record.time, start.unwrap() + Duration::from_millis(28_500));
        assert_eq!(record.severity, Severity::Error);
    }
}
