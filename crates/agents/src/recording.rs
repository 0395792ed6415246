//! The headers of recordings: `livekit.MetricsRecordingHeader` of LiveKit's protocol 1.54, and the session's summary in
//! it, which is JSON (`report.to_dict` of livekit-agents 1.8.9). Only numbers, ids and names of models are read.

use std::sync::Arc;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::Deserialize;
use serde_json::{Map, Value};

use livekit_otel_model::event::{RoomSid, Time};
use livekit_otel_model::foreign::{Facts, ModelUsage, Recording};

use crate::unreadable::Unreadable;

// More of anything in a summary is left out.
const MOST: usize = 64;
const LONGEST: usize = 128;

// Fields that LiveKit's message does not have.
const AUDIO_SIZE: u32 = 15_001;
const HISTORY_SIZE: u32 = 15_002;

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    room_id: String,
    // In milliseconds.
    #[prost(uint64, tag = "3")]
    duration: u64,
    #[prost(message, optional, tag = "4")]
    start_time: Option<Timestamp>,
    #[prost(string, tag = "8")]
    job_id: String,
    #[prost(bool, tag = "10")]
    redaction_enabled: bool,
    #[prost(string, tag = "11")]
    session_summary: String,
    #[prost(uint64, tag = "15001")]
    audio_size: u64,
    #[prost(uint64, tag = "15002")]
    history_size: u64,
}

// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    usage: Option<Vec<Map<String, Value>>>,
    sdk_version: Option<String>,
    duration_ms: Option<f64>,
    user_turns: Option<u64>,
    errors: Option<Map<String, Value>>,
    close_reason: Option<String>,
}

/// The header of a recording followed by the sizes of its audio and history in bytes, as [`crate::Reader`] reads them.
pub fn with_sizes(header: &[u8], audio: u64, history: u64) -> Vec<u8> {
    let mut bytes = header.to_vec();
    for (field, size) in [(AUDIO_SIZE, audio), (HISTORY_SIZE, history)] {
        encode_key(field, WireType::Varint, &mut bytes);
        encode_varint(size, &mut bytes);
    }
    bytes
}

/// Reads a header. One without a room's and a job's id is none.
pub(crate) fn read(raw: &[u8]) -> Result<Recording, Unreadable> {
    let header = Header::decode(raw).map_err(|_| Unreadable)?;
    let job = Some(header.job_id).filter(|job| is_short(job)).map(Arc::from);
    let facts = Facts {
        room: RoomSid::new(&header.room_id).filter(|room| is_short(room.as_str())),
        job,
        is_redacted: header.redaction_enabled,
        ..Facts::default()
    };
    if facts.room.is_none() && facts.job.is_none() {
        return Err(Unreadable);
    }
    // A summary that is not understood is as good as none: the rest is known.
    let summary: Summary = serde_json::from_str(&header.session_summary).unwrap_or_default();
    let millis = Some(header.duration as f64).filter(|millis| *millis > 0.0);
    let millis = millis.or(summary.duration_ms).filter(|millis| *millis >= 0.0);
    Ok(Recording {
        facts,
        start: header.start_time.and_then(|start| start.time()),
        duration: millis.map(|millis| millis / 1000.0),
        close_reason: summary.close_reason.filter(|reason| is_enum(reason)).map(Arc::from),
        user_turns: summary.user_turns,
        errors: summary.errors.as_ref().map(errors).unwrap_or_default(),
        usage: summary.usage.unwrap_or_default().iter().take(MOST).filter_map(usage).collect(),
        sdk_version: summary.sdk_version.filter(|version| is_version(version)).map(Arc::from),
        sizes: (header.audio_size, header.history_size),
    })
}

impl Timestamp {
    fn time(&self) -> Option<Time> {
        let nanos = u64::try_from(self.seconds).ok()?.checked_mul(1_000_000_000)?;
        Time::from_nanos(nanos.checked_add(u64::try_from(self.nanos).ok()?)?)
    }
}

fn errors(errors: &Map<String, Value>) -> Vec<(Arc<str>, u64)> {
    let errors = errors.iter().filter(|(kind, _)| is_name(kind)).take(MOST);
    let errors =
        errors.filter_map(|(kind, count)| Some((Arc::from(kind.as_str()), count.as_u64()?)));
    errors.filter(|(_, count)| *count > 0).collect()
}

fn usage(usage: &Map<String, Value>) -> Option<ModelUsage> {
    let text = |key: &str| usage.get(key).and_then(Value::as_str).filter(|text| is_short(text));
    let kind = text("type").filter(|kind| is_name(kind))?;
    let amounts = usage.iter().filter(|(name, _)| is_name(name)).take(MOST);
    let amounts =
        amounts.filter_map(|(name, amount)| Some((name.as_str().into(), amount.as_f64()?)));
    Some(ModelUsage {
        kind: kind.strip_suffix("_usage").unwrap_or(kind).into(),
        provider: text("provider").unwrap_or_default().into(),
        model: text("model").unwrap_or_default().into(),
        amounts: amounts.filter(|(_, amount)| *amount != 0.0).collect(),
    })
}

fn is_short(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST
}

fn is_name(text: &str) -> bool {
    is_short(text) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

// `agent.CloseReason`'s values, of which a later version may have more.
fn is_enum(text: &str) -> bool {
    text.starts_with("CR_") && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn is_version(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".+-_".contains(&byte);
    text.len() <= 32 && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(summary: &str) -> Vec<u8> {
        let header = Header {
            room_id: "RM_1".to_owned(),
            job_id: "AJ_1".to_owned(),
            start_time: Some(Timestamp { seconds: 1_795_981_975, nanos: 15_000_000 }),
            duration: 28_155,
            redaction_enabled: true,
            session_summary: summary.to_owned(),
            ..Header::default()
        };
        header.encode_to_vec()
    }

    const SUMMARY: &str = r#"{"room":"secret","tags":["secret"],"timestamp":1.5,"sdk_version":"1.8.9",
        "usage":[{"type":"llm_usage","provider":"p","model":"m","input_tokens":920,"output_tokens":0,"note":"secret"}],
        "duration_ms":28155,"user_turns":6,"errors":{"llm":2,"stt":0},"close_reason":"CR_ERROR"}"#;

    #[test]
    fn a_header_becomes_its_numbers_ids_and_names_of_models() {
        let read = read(&with_sizes(&header(SUMMARY), 327_000, 9_777)).unwrap();
        assert_eq!(read.facts.room, RoomSid::new("RM_1"));
        assert_eq!(read.facts.job.as_deref(), Some("AJ_1"));
        assert!(read.facts.is_redacted);
        assert_eq!(read.start, Time::from_nanos(1_795_981_975_015_000_000));
        assert_eq!((read.duration, read.user_turns), (Some(28.155), Some(6)));
        assert_eq!(read.close_reason.as_deref(), Some("CR_ERROR"));
        assert_eq!(read.errors, [("llm".into(), 2)]);
        assert_eq!(read.usage[0].amounts, [("input_tokens".into(), 920.0)]);
        assert_eq!((&*read.usage[0].kind, &*read.usage[0].model), ("llm", "m"));
        assert_eq!(read.sizes, (327_000, 9_777));
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn a_small_header_and_a_strange_summary_are_read_as_far_as_they_go() {
        for summary in ["", "[]", "{\"close_reason\":\"because Ada left\",\"usage\":null}"] {
            let read = read(&header(summary)).unwrap();
            assert_eq!((read.close_reason, read.usage), (None, Vec::new()));
        }
        assert!(super::read(b"\x1a").is_err());
        assert!(super::read(b"").is_err());
    }
}
