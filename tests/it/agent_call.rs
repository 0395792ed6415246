//! The capture that the demo replays: both halves of a recorded call, of which only what is listed here
//! is kept. `UPDATE_GOLDEN=1` makes it anew.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest as Logs;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest as Metrics;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Traces;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use serde_json::{Map, Value, json};

use crate::uploads::captured;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CALL: &str = "examples/captures/agent-call.jsonl";
const NAMES: [(&str, &str); 5] = [
    ("alice@example.org", "caller"),
    ("ordinary-1", "support-1"),
    ("lookup_weather", "look_up"),
    ("charge_card", "charge"),
    ("transfer_to_billing", "transfer"),
];
// Of the server's messages: secrets, what describes people and programs, and what only takes space.
const DROPPED: [&str; 15] = [
    "turnPassword",
    "enabledCodecs",
    "address",
    "metadata",
    "attributes",
    "capabilities",
    "codecs",
    "name",
    "os",
    "osVersion",
    "deviceModel",
    "ntpReportDrift",
    "packetDrift",
    "rebasedReportDrift",
    "receivedReportDrift",
];
// Ids, numbers, and names of models and tools.
const KEPT: [&str; 46] = [
    "error.type",
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.token.type",
    "gen_ai.tool.name",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "job_id",
    "lk.close_reason",
    "lk.connection_state",
    "lk.disconnect_reason",
    "lk.dispatch_id",
    "lk.e2e_latency",
    "lk.end_of_turn_delay",
    "lk.eou.endpointing_delay",
    "lk.eou.wait_duration",
    "lk.first_frame_delay",
    "lk.generation_id",
    "lk.interrupted",
    "lk.interruption.source",
    "lk.job.accept_latency",
    "lk.job.assignment_latency",
    "lk.job.dispatch_latency",
    "lk.job.entrypoint_latency",
    "lk.job.launch_latency",
    "lk.job_id",
    "lk.new_state",
    "lk.old_state",
    "lk.on_user_turn_completed_delay",
    "lk.participant_id",
    "lk.participant_kind",
    "lk.response.ttfb",
    "lk.response.ttft",
    "lk.retry_count",
    "lk.room_sid",
    "lk.speech_id",
    "lk.track_sid",
    "lk.track_source",
    "lk.transcription_delay",
    "logger.name",
    "model_name",
    "model_provider",
    "room_id",
];
// JSON, of which numbers and the names of models are kept.
const MEASURES: [&str; 2] = ["lk.llm_metrics", "lk.tts_metrics"];
const BOUNDARY: &str = "made-up-boundary";

fn recorded(half: &str) -> Vec<Value> {
    let path = format!("{ROOT}/tests/captures/agents/ordinary.{half}.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn renamed(text: &str) -> String {
    NAMES.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

// A message of the server without what is dropped. A room's name stays.
fn message(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_room = fields.contains_key("emptyTimeout");
            let is_kept = |key: &str| !DROPPED.contains(&key) || is_room && key == "name";
            let fields = fields.iter().filter(|(key, _)| is_kept(key));
            Value::Object(fields.map(|(key, value)| (key.clone(), message(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(message).collect()),
        Value::String(text) => Value::String(renamed(text)),
        other => other.clone(),
    }
}

// The numbers in an object, and what names a model.
fn measures(text: &str) -> Option<String> {
    let Value::Object(read) = serde_json::from_str(text).ok()? else { return None };
    let mut kept: Map<String, Value> = read
        .iter()
        .filter(|(_, value)| value.is_number())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    kept.extend(read.get("metadata").map(|model| ("metadata".to_owned(), model.clone())));
    Some(Value::Object(kept).to_string())
}

fn keep(attributes: &mut Vec<KeyValue>) {
    attributes.retain_mut(|attribute| {
        let value = attribute.value.as_mut().and_then(|value| value.value.as_mut());
        match value {
            Some(Any::StringValue(text)) if MEASURES.contains(&&*attribute.key) => {
                *text = measures(text).unwrap_or_default();
                true
            }
            Some(Any::StringValue(text)) => {
                *text = renamed(text);
                KEPT.contains(&&*attribute.key)
            }
            Some(Any::IntValue(_) | Any::DoubleValue(_) | Any::BoolValue(_)) => {
                KEPT.contains(&&*attribute.key)
            }
            _ => false,
        }
    });
}

fn traces(body: &[u8]) -> Vec<u8> {
    let mut request = Traces::decode(body).unwrap();
    let scopes = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        keep(&mut span.attributes);
        span.events.iter_mut().for_each(|event| keep(&mut event.attributes));
        span.events.retain(|event| event.name != "exception");
        span.links.iter_mut().for_each(|link| keep(&mut link.attributes));
        if let Some(status) = &mut span.status {
            status.message.clear();
        }
    }
    request.encode_to_vec()
}

// The records of the framework whose text is a constant of it.
fn logs(body: &[u8]) -> Option<Vec<u8>> {
    let constants = include_str!("../../crates/agents/src/texts/bodies.txt");
    let constants: BTreeSet<&str> = constants.lines().collect();
    let mut request = Logs::decode(body).unwrap();
    for resource in &mut request.resource_logs {
        for scope in &mut resource.scope_logs {
            let is_framework =
                scope.scope.as_ref().is_some_and(|scope| scope.name == "livekit.agents");
            scope.log_records.retain_mut(|record| {
                keep(&mut record.attributes);
                let text = match &record.body {
                    Some(AnyValue { value: Some(Any::StringValue(text)) }) => text.as_str(),
                    _ => "",
                };
                is_framework && constants.contains(text)
            });
        }
        resource.scope_logs.retain(|scope| !scope.log_records.is_empty());
    }
    request.resource_logs.retain(|resource| !resource.scope_logs.is_empty());
    (!request.resource_logs.is_empty()).then(|| request.encode_to_vec())
}

fn metrics(body: &[u8]) -> Vec<u8> {
    let mut request = Metrics::decode(body).unwrap();
    let scopes = request.resource_metrics.iter_mut().flat_map(|each| &mut each.scope_metrics);
    for metric in scopes.flat_map(|scope| &mut scope.metrics) {
        match &mut metric.data {
            Some(Data::Sum(sum)) => {
                for point in &mut sum.data_points {
                    keep(&mut point.attributes);
                    point.exemplars.clear();
                }
            }
            Some(Data::Histogram(histogram)) => {
                for point in &mut histogram.data_points {
                    keep(&mut point.attributes);
                    point.exemplars.clear();
                }
            }
            _ => panic!("{} is of another kind", metric.name),
        }
    }
    request.encode_to_vec()
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    room_id: String,
    #[prost(uint64, tag = "3")]
    duration: u64,
    #[prost(message, optional, tag = "4")]
    start_time: Option<Timestamp>,
    #[prost(string, tag = "8")]
    job_id: String,
    #[prost(string, tag = "11")]
    session_summary: String,
}

// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

// The header with the summary's numbers, and an empty history.
fn recording(body: &[u8]) -> Vec<u8> {
    let part = |name: &str| {
        let find = |bytes: &[u8], word: &[u8]| {
            bytes.windows(word.len()).position(|window| window == word).unwrap()
        };
        let after = &body[find(body, format!("name=\"{name}\"").as_bytes())..];
        let after = &after[find(after, b"\r\n\r\n") + 4..];
        after[..find(after, b"\r\n--")].to_vec()
    };
    let mut header = Header::decode(&*part("header")).unwrap();
    let summary: Value = serde_json::from_str(&header.session_summary).unwrap();
    let kept = ["usage", "sdk_version", "duration_ms", "user_turns", "errors", "close_reason"];
    let kept = kept.map(|key| (key.to_owned(), summary[key].clone()));
    header.session_summary = Value::Object(kept.into_iter().collect()).to_string();
    let mut to = Vec::new();
    for (name, media, content) in [
        ("header", "application/protobuf", header.encode_to_vec()),
        ("chat_history", "application/json", b"{\"items\":[]}".to_vec()),
    ] {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Type: {media}\r\nContent-Disposition: form-data; name=\"{name}\"; \
             filename=\"{name}\"\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        to.extend([head.as_bytes(), &content, b"\r\n"].concat());
    }
    to.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
    to
}

// The capture's text.
fn made() -> String {
    let mut lines: Vec<Value> = recorded("server")
        .iter()
        .map(|line| json!({"at": line["at"], "kind": line["kind"], "body": message(&line["body"])}))
        .collect();
    for (line, upload) in recorded("agents").iter().zip(captured("ordinary.agents")) {
        let mut headers = json!({"Content-Type": upload.content_type, "Content-Encoding": "gzip"});
        let body = match line["kind"].as_str().unwrap() {
            "traces" => Some(traces(&upload.body)),
            "logs" => logs(&upload.body),
            "metrics" => Some(metrics(&upload.body)),
            _ => {
                headers =
                    json!({"Content-Type": format!("multipart/form-data; boundary={BOUNDARY}")});
                Some(recording(&upload.body))
            }
        };
        let line = |body: Vec<u8>| {
            let body = STANDARD.encode(body);
            json!({"at": line["at"], "path": upload.path, "headers": headers, "body_base64": body})
        };
        lines.extend(body.map(line));
    }
    lines.sort_by_key(|line| line["at"].as_i64());
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    lines.join("\n") + "\n"
}

// Words of at least four letters, and numbers of at least four digits.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphabetic());
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    words.chain(numbers).filter(|word| word.len() >= 4).map(str::to_lowercase).collect()
}

// What was said, as the recorded call's history has it: all texts, prompts, and tools' arguments and results.
fn said() -> BTreeSet<String> {
    fn walk(value: &Value, is_content: bool, to: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                let content = ["content", "instructions", "arguments", "output"];
                for (key, value) in fields {
                    walk(value, is_content || content.contains(&key.as_str()), to);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, is_content, to)),
            Value::String(text) if is_content => to.extend(words(text)),
            _ => {}
        }
    }
    let uploads = captured("ordinary.agents");
    let recording = uploads.iter().find(|upload| upload.path.contains("recordings")).unwrap();
    let text = String::from_utf8_lossy(&recording.body);
    let history = &text[text.find("{\"items\"").unwrap()..];
    let history = &history[..history.find("\r\n--").unwrap()];
    let mut said = BTreeSet::new();
    walk(&serde_json::from_str(history).unwrap(), false, &mut said);
    said
}

// Everything in the capture that is text, decoded.
fn shown(capture: &str) -> String {
    let mut text = String::new();
    for line in capture.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if let Some(body) = line.as_object_mut().unwrap().remove("body_base64") {
            let body = STANDARD.decode(body.as_str().unwrap()).unwrap();
            text += &String::from_utf8_lossy(&body);
        }
        text += &line.to_string();
    }
    text
}

#[test]
fn the_demos_capture_is_the_recorded_call_without_what_is_not_listed() {
    let path = format!("{ROOT}/{CALL}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, made()).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap() == made(), "UPDATE_GOLDEN=1 makes {CALL} anew");
}

#[test]
fn no_word_that_was_said_is_in_the_demos_capture() {
    let said = said();
    for word in ["weather", "alice", "lyon", "secret", "4111", "sunny"] {
        assert!(said.contains(word), "{said:?}");
    }
    let capture = std::fs::read_to_string(format!("{ROOT}/{CALL}")).unwrap();
    let shown = words(&shown(&capture));
    assert!(shown.contains("agent"), "it can't be read");
    // Words of the protocol as well.
    let allowed = ["connect", "name", "number", "time", "tool"].map(str::to_owned);
    let both: Vec<_> = said.intersection(&shown).filter(|word| !allowed.contains(word)).collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn no_person_address_or_secret_is_in_the_demos_capture() {
    let capture = std::fs::read_to_string(format!("{ROOT}/{CALL}")).unwrap();
    let shown = shown(&capture);
    for word in
        ["Liddell", "example.org", "+33", "team", "turnPassword", "eyJ", "Authorization", "/opt/"]
    {
        assert!(!shown.contains(word), "{word}");
    }
    assert!(capture.len() < 160 << 10, "{} bytes", capture.len());
}
