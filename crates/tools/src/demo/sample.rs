//! OTLP requests for tests: a call like the recorded one, and one where everything fails.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
    number_data_point::Value as Number,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::collector::Received;
use livekit_otel_model::semconv::{event, key, metric, span};

/// When the sample rooms start: 2026-11-23 04:09:21.936 UTC, in Unix milliseconds.
const BEGIN: f64 = 1_795_406_961_936.0;
const ROOM_SPAN: u64 = 1;

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    any(key, Value::StringValue(value.to_owned()))
}

fn float(key: &str, value: f64) -> KeyValue {
    any(key, Value::DoubleValue(value))
}

fn any(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn nanos(ms: f64) -> u64 {
    ((BEGIN + ms) * 1000.0).round() as u64 * 1000
}

/// A room under construction. Spans get consecutive ids.
pub(super) struct Room {
    sid: &'static str,
    trace: u8,
    next: u64,
    pub(super) spans: Vec<Span>,
}

impl Room {
    pub(super) fn new(sid: &'static str, name: &str, trace: u8, end_ms: f64) -> Self {
        let mut room = Self { sid, trace, next: ROOM_SPAN, spans: Vec::new() };
        room.add(span::ROOM, None, (0.0, end_ms), vec![text(key::ROOM_NAME, name)]);
        room
    }

    pub(super) fn add(
        &mut self,
        name: &str,
        parent: Option<u64>,
        (from, to): (f64, f64),
        mut attributes: Vec<KeyValue>,
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        attributes.push(text(key::ROOM_ID, self.sid));
        self.spans.push(Span {
            trace_id: vec![self.trace; 16],
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            name: name.to_owned(),
            start_time_unix_nano: nanos(from),
            end_time_unix_nano: nanos(to),
            attributes,
            ..Default::default()
        });
        id
    }

    pub(super) fn participant(&mut self, sid: &str, identity: &str, times: (f64, f64)) -> u64 {
        let who = [text(key::PARTICIPANT_ID, sid), text(key::PARTICIPANT_IDENTITY, identity)];
        self.add(span::PARTICIPANT, Some(ROOM_SPAN), times, who.to_vec())
    }

    fn publish(&mut self, above: u64, sid: &str, source: &str, mime: &str, t: (f64, f64, f64)) {
        let track = [text(key::TRACK_ID, sid), text(key::TRACK_SOURCE, source)];
        self.add(span::TRACK_PUBLISH, Some(above), (t.0, t.1), track.to_vec());
        let mut track = track.to_vec();
        track.push(text(key::TRACK_MIME_TYPE, mime));
        self.add(span::TRACK, Some(above), (t.1, t.2), track);
    }

    pub(super) fn subscribe(&mut self, above: u64, of: (&str, &str), times: (f64, f64)) -> u64 {
        let of = vec![text(key::PUBLISHER_ID, of.0), text(key::TRACK_ID, of.1)];
        self.add(span::TRACK_SUBSCRIBE, Some(above), times, of)
    }

    pub(super) fn with(&mut self, attribute: KeyValue) {
        self.spans.last_mut().unwrap().attributes.push(attribute);
    }

    pub(super) fn failed(&mut self, kind: &str, message: &str) {
        self.with(text(key::ERROR_TYPE, kind));
        self.with(text(key::ERROR, message));
        let status = Status { message: kind.to_owned(), code: 2 };
        self.spans.last_mut().unwrap().status = Some(status);
    }
}

pub(super) fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }
}

pub(super) fn logs(names: &[(&str, usize)]) -> ExportLogsServiceRequest {
    let record = |name: &str| LogRecord {
        event_name: name.to_owned(),
        time_unix_nano: nanos(0.0),
        severity_number: 9,
        ..Default::default()
    };
    let log_records = names.iter().flat_map(|(name, n)| vec![record(name); *n]).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    ExportLogsServiceRequest { resource_logs }
}

pub(super) fn metrics(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

/// A participant's series in one direction.
pub(super) fn series(sid: &str, identity: &str, direction: &str) -> Vec<KeyValue> {
    vec![
        text(key::ROOM_ID, "RM_XHuZ4ggjTArt"),
        text(key::PARTICIPANT_ID, sid),
        text(key::PARTICIPANT_IDENTITY, identity),
        text(key::DIRECTION, direction),
    ]
}

/// A point at `ms`; without a value it says that the series has ended.
pub(super) fn point(series: &[KeyValue], ms: f64, value: Option<f64>) -> NumberDataPoint {
    NumberDataPoint {
        attributes: series.to_vec(),
        start_time_unix_nano: nanos(0.0),
        time_unix_nano: nanos(ms),
        flags: u32::from(value.is_none()),
        value: value.map(Number::AsDouble),
        ..Default::default()
    }
}

pub(super) fn sum(name: &str, temporality: i32, data_points: Vec<NumberDataPoint>) -> Metric {
    let is_monotonic = true;
    let sum = Sum { data_points, aggregation_temporality: temporality, is_monotonic };
    let unit = "{packet}".to_owned();
    Metric { name: name.to_owned(), unit, data: Some(Data::Sum(sum)), ..Default::default() }
}

pub(super) fn gauge(name: &str, unit: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        data: Some(Data::Gauge(Gauge { data_points })),
        ..Default::default()
    }
}

const USERS: [(&str, &str); 3] = [
    ("PA_ZVunvGtQABQw", "user-0-0"),
    ("PA_iwMdxzZgvScj", "user-0-1"),
    ("PA_HANHxREy4zKS", "user-0-2"),
];
const MICROPHONES: [&str; 3] = ["TR_AMakEfVXVKtgGF", "TR_AM3h5r7eAcq5s3", "TR_AMQVkzMFej7ZKx"];
const CAMERAS: [&str; 2] = ["TR_VC7a2aHPFN2JYn", "TR_VCwyvLT8F9FVVq"];

fn call_spans() -> Vec<Span> {
    let mut room = Room::new("RM_XHuZ4ggjTArt", "standup-0", 0x5b, 42_539.0);
    let stays = [(1.0, 40_028.8), (2.0, 42_038.5), (3.0, 42_027.7)];
    let people = [0, 1, 2].map(|n| {
        let id = room.participant(USERS[n].0, USERS[n].1, stays[n]);
        room.with(text(key::DISCONNECT_REASON, "CLIENT_INITIATED"));
        id
    });
    let connected = [24.5, 24.2, 22.2];
    for (n, person) in people.into_iter().enumerate() {
        room.add(span::PARTICIPANT_CONNECT, Some(person), (stays[n].0, connected[n]), vec![]);
    }
    let audio = "audio/opus";
    room.publish(people[0], MICROPHONES[0], "SOURCE_MICROPHONE", audio, (25.3, 70.0, 40_028.7));
    room.with(float(key::TRACK_MUTED_DURATION, 3.999));
    room.publish(people[0], CAMERAS[0], "SOURCE_CAMERA", "video/VP8", (26.5, 109.0, 40_028.7));
    room.publish(people[1], MICROPHONES[1], "SOURCE_MICROPHONE", audio, (34.3, 72.6, 42_038.0));
    room.publish(people[1], CAMERAS[1], "SOURCE_CAMERA", "video/VP8", (34.9, 76.7, 41_258.4));
    room.publish(people[2], MICROPHONES[2], "SOURCE_MICROPHONE", audio, (24.8, 50.4, 42_027.6));
    let answered = [209.1, 213.0, 228.7];
    for (n, person) in people.into_iter().enumerate() {
        for (publisher, sid) in [(0, MICROPHONES[0]), (1, MICROPHONES[1]), (2, MICROPHONES[2])] {
            if publisher != n {
                room.subscribe(person, (USERS[publisher].0, sid), (72.5, answered[n]));
            }
        }
        for (publisher, sid) in [(0, CAMERAS[0]), (1, CAMERAS[1])] {
            if publisher != n {
                room.subscribe(person, (USERS[publisher].0, sid), (109.2, answered[n]));
            }
        }
    }
    room.spans
}

fn call_metrics() -> Vec<Metric> {
    let measured = [
        (0, "upstream", 3996.0, 0.0, Some(0.001), Some(0.000_674), 3.688),
        (0, "downstream", 5908.0, 1.0, Some(0.001), None, 4.5),
        (1, "upstream", 4099.0, 0.0, Some(0.001), Some(0.000_585), 4.5),
        (1, "downstream", 5861.0, 12.0, Some(0.001), None, 4.5),
        (2, "upstream", 2099.0, 63.0, Some(0.002), Some(0.000_557), 4.5),
        (2, "downstream", 7766.0, 0.0, None, None, 4.5),
    ];
    let mut points: [Vec<NumberDataPoint>; 5] = Default::default();
    for (n, direction, packets, lost, round_trip, jitter, score) in measured {
        let series = series(USERS[n].0, USERS[n].1, direction);
        for (place, total) in [(0, packets), (1, lost)] {
            points[place].push(point(&series, 0.0, Some(0.0)));
            points[place].push(point(&series, 27_079.0, Some(total / 2.0)));
            points[place].push(point(&series, 57_080.0, Some(total)));
            points[place].push(point(&series, 87_080.0, None));
        }
        for (place, value) in [(2, round_trip), (3, jitter), (4, Some(score))] {
            points[place].extend(value.map(|value| point(&series, 57_080.0, Some(value))));
        }
    }
    let [packets, lost, round_trip, jitter, score] = points;
    vec![
        sum(metric::STREAM_PACKETS, 2, packets),
        sum(metric::STREAM_PACKETS_LOST, 2, lost),
        gauge(metric::STREAM_ROUND_TRIP, "s", round_trip),
        gauge(metric::STREAM_JITTER, "s", jitter),
        gauge(metric::STREAM_SCORE, "1", score),
    ]
}

/// Three participants, five tracks, ten subscriptions, 42.5 s, as in a recorded call.
pub(super) fn call() -> Received {
    let events = [
        (event::PARTICIPANT_ACTIVE, 3),
        (event::PARTICIPANT_JOINED, 3),
        (event::PARTICIPANT_LEFT, 3),
        (event::ROOM_CREATED, 1),
        (event::ROOM_ENDED, 1),
        (event::TRACK_MUTED, 1),
        (event::TRACK_PUBLISH_REQUESTED, 5),
        (event::TRACK_PUBLISHED, 5),
        (event::TRACK_SUBSCRIBE_REQUESTED, 11),
        (event::TRACK_SUBSCRIBED, 10),
        (event::TRACK_UNMUTED, 1),
        (event::TRACK_UNPUBLISHED, 5),
        (event::WEBHOOK, 18),
    ];
    let mut spans = call_spans();
    let later = spans.split_off(9);
    Received {
        traces: vec![traces(spans), traces(later)],
        logs: vec![logs(&events)],
        metrics: vec![metrics(call_metrics())],
    }
}

/// A room with failures and with names that try to control the terminal.
pub(super) fn troubled() -> Received {
    let mut room = Room::new("RM_trouble", "ops \x1b[31mred\x1b[0m 会議", 0x7c, 95_000.0);
    room.spans[0].attributes.push(text(key::END_INFERRED, "shutdown"));
    let evil = "\x1b[2J\x1b]0;owned\x07eve\r\n\u{202e}\u{9b}31m";
    let eve = room.participant("PA_eve", evil, (500.0, 95_000.0));
    room.with(text(key::END_INFERRED, "room_ended"));
    room.add(span::PARTICIPANT_CONNECT, Some(eve), (500.0, 20_500.0), vec![]);
    room.failed(
        "connection_aborted",
        "the media connection was never made, whatever was tried, for 20 s",
    );
    let wide = "佐藤さんの長い長い長い名前のアイデンティティ";
    let sato = room.participant("PA_sato", wide, (2_000.0, 90_000.0));
    room.with(text(key::DISCONNECT_REASON, "CLIENT_INITIATED"));
    room.publish(
        sato,
        "TR_screen",
        "SOURCE_SCREENSHARE",
        "video/AV1",
        (2_000.0, 2_050.0, 90_000.0),
    );
    for n in 0..20 {
        let at = 3_000.0 + f64::from(n) * 4_000.0;
        room.subscribe(sato, ("PA_eve", "TR_gone"), (at, at + 700.0));
    }
    room.failed("timeout", "");
    room.with(any(key::ATTEMPTS, Value::IntValue(3)));
    Received { traces: vec![traces(room.spans)], ..Received::default() }
}

/// A room with a job of an agent: a greeting, a turn with a tool that failed, an interrupted turn whose
/// model failed, and a job of which nothing but many turns has arrived.
pub(super) fn answered() -> Received {
    let mut room = Room::new("RM_answered", "help", 0x5c, 30_000.0);
    room.participant("PA_caller", "caller", (100.0, 29_000.0));
    room.participant("PA_agent", "agent-AJ_1", (300.0, 29_500.0));
    let ours = room.spans.len();
    let job = |job: &str| vec![text("room_id", "RM_answered"), text("job_id", job)];
    let with = |more: Vec<KeyValue>| [job("AJ_1"), more].concat();
    let root = room.add("job_entrypoint", Some(ROOM_SPAN), (200.0, 29_800.0), job("AJ_1"));
    let session = room.add("agent_session", Some(root), (210.0, 29_000.0), job("AJ_1"));
    room.add("agent_turn", Some(session), (300.0, 1_400.0), job("AJ_1"));
    let lossy = with(vec![float(key::NETWORK_LOSS, 0.031)]);
    room.add("user_turn", Some(session), (2_000.0, 4_000.0), lossy);
    let latency = with(vec![
        float("lk.e2e_latency", 0.92),
        float("lk.end_of_turn_delay", 0.4),
        float(key::NETWORK_LOSS, 0.0),
    ]);
    let turn = room.add("agent_turn", Some(session), (4_000.0, 7_000.0), latency);
    let first = |key| with(vec![float(key, 0.1)]);
    room.add("llm_node", Some(turn), (4_000.0, 4_200.0), first("lk.response.ttft"));
    let failed = with(vec![text(key::ERROR_TYPE, "tool_error")]);
    room.add("function_tool", Some(turn), (4_200.0, 4_450.0), failed);
    room.add("llm_node", Some(turn), (4_450.0, 4_700.0), first("lk.response.ttft"));
    room.add("tts_node", Some(turn), (4_700.0, 4_900.0), first("lk.response.ttfb"));
    room.add("agent_speaking", Some(turn), (4_800.0, 7_000.0), job("AJ_1"));
    let failed = with(vec![
        any("lk.interrupted", Value::BoolValue(true)),
        text(key::ERROR_TYPE, "APIConnectionError"),
    ]);
    room.add("agent_turn", Some(session), (9_000.0, 10_000.0), failed);
    for nth in 0..25 {
        let from = f64::from(nth * 1_000);
        room.add("agent_turn", Some(999), (from + 500.0, from + 900.0), job("AJ_2"));
    }
    // Agents have their own name of the room's id.
    for span in &mut room.spans[ours..] {
        span.attributes.retain(|attribute| attribute.key != key::ROOM_ID);
    }
    Received { traces: vec![traces(room.spans)], ..Received::default() }
}
