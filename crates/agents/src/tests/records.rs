//! Single records.

use livekit_otel_model::Source;
use livekit_otel_model::event::{ParticipantSid, RoomSid};
use livekit_otel_model::foreign::{Facts, ForeignLog, ForeignSpan, Upload};
use livekit_otel_model::privacy::Privacy;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::made::{attribute, logs, sent_span, span, spans, text};
use super::{DROP, PLAIN, contains, leaving};
use crate::{Content, Reader};

const CLEAR: Reader = Reader { privacy: Privacy::Plain, content: Content::Drop };

fn read(reader: &Reader, sent: Vec<Span>) -> (Vec<ForeignSpan>, u64) {
    let read = reader.read(Source::AgentTraces, &spans(sent)).unwrap();
    let Upload::Spans(spans) = read.upload else { panic!("no spans") };
    assert_eq!(spans.len() as u64, read.items);
    (spans, read.unusable)
}

fn one(reader: &Reader, sent: Span) -> ForeignSpan {
    let (mut spans, unusable) = read(reader, vec![sent]);
    assert_eq!(unusable, 0);
    spans.remove(0)
}

fn log(reader: &Reader, scope: &str, record: LogRecord) -> ForeignLog {
    let read = reader.read(Source::OtlpLogs, &logs(scope, vec![record])).unwrap();
    let Upload::Logs(mut logs) = read.upload else { panic!("no log records") };
    logs.remove(0)
}

fn keys(attributes: &[KeyValue]) -> Vec<&str> {
    attributes.iter().map(|attribute| attribute.key.as_str()).collect()
}

#[test]
fn a_span_without_valid_ids_is_counted_and_the_others_are_kept() {
    let wrong = [
        Span { trace_id: vec![0; 16], ..span(vec![]) },
        Span { trace_id: vec![1; 15], ..span(vec![]) },
        Span { trace_id: vec![], ..span(vec![]) },
        Span { span_id: vec![0; 8], ..span(vec![]) },
        Span { span_id: vec![1; 16], ..span(vec![]) },
        Span { parent_span_id: vec![1; 7], ..span(vec![]) },
    ];
    let right = Span { parent_span_id: vec![0; 8], ..span(vec![]) };
    let (spans, unusable) = read(&DROP, [wrong.to_vec(), vec![right]].concat());
    assert_eq!((spans.len(), unusable), (1, 6));
    assert_eq!(spans[0].parent, None);
}

#[test]
fn a_link_to_nothing_is_a_dropped_link() {
    let good = span::Link { trace_id: vec![1; 16], span_id: vec![2; 8], ..Default::default() };
    let bad = span::Link { trace_id: vec![0; 16], ..good.clone() };
    let sent = Span { links: vec![bad, good.clone()], dropped_links_count: 2, ..span(vec![]) };
    let sent = sent_span(&one(&DROP, sent));
    assert_eq!((sent.links, sent.dropped_links_count), (vec![good], 3));
}

#[test]
fn facts_have_two_spellings() {
    for (room, job) in
        [("room_id", "job_id"), ("lk.room_id", "lk.job_id"), ("lk.room_sid", "job_id")]
    {
        let attributes = vec![
            attribute(room, text("RM_1")),
            attribute(job, text("AJ_1")),
            attribute("lk.participant_id", text("PA_1")),
        ];
        let facts = one(&DROP, span(attributes)).facts;
        assert_eq!((facts.room, facts.job.as_deref()), (RoomSid::new("RM_1"), Some("AJ_1")));
        assert_eq!(facts.participant, ParticipantSid::new("PA_1"));
    }
    let wrong = vec![attribute("room_id", text("")), attribute("job_id", Value::IntValue(3))];
    assert_eq!(one(&DROP, span(wrong)).facts, Facts::default());
}

#[test]
fn a_log_record_has_the_facts_of_its_scope_but_not_of_its_resource() {
    let facts = |room: &str| {
        let redacted = attribute("lk.redaction.enabled", Value::BoolValue(true));
        vec![attribute("room_id", text(room)), attribute("job_id", text("AJ_1")), redacted]
    };
    let log_records = vec![
        LogRecord::default(),
        LogRecord {
            attributes: vec![attribute("room_id", text("RM_own"))],
            ..LogRecord::default()
        },
    ];
    let scope = Some(InstrumentationScope { attributes: facts("RM_1"), ..Default::default() });
    let scope_logs = vec![
        ScopeLogs { scope, log_records: log_records.clone(), ..ScopeLogs::default() },
        ScopeLogs { log_records, ..ScopeLogs::default() },
    ];
    let resource = Some(Resource { attributes: facts("RM_first"), ..Resource::default() });
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let read = DROP.read(Source::AgentLogs, &request).unwrap();
    let Upload::Logs(logs) = read.upload else { panic!("no log records") };
    let rooms = logs.iter().map(|log| log.facts.room.clone()).collect::<Vec<_>>();
    assert_eq!(rooms, [RoomSid::new("RM_1"), RoomSid::new("RM_own"), None, RoomSid::new("RM_own")]);
    assert!(logs[..2].iter().all(|log| log.facts.is_redacted && log.facts.job.is_some()));
    assert!(logs[2..].iter().all(|log| !log.facts.is_redacted && log.facts.job.is_none()));
    assert!(logs.iter().all(|log| log.origin.is_framework));
}

#[test]
fn plain_otlp_is_marked_in_each_record() {
    let attributes = || vec![attribute("room_id", text("RM_1"))];
    for (source, expected) in [(Source::AgentTraces, false), (Source::OtlpTraces, true)] {
        let read = DROP.read(source, &spans(vec![span(attributes())])).unwrap();
        let Upload::Spans(read) = read.upload else { panic!("no spans") };
        assert_eq!(read[0].facts.is_plain, expected);
    }
    for (source, expected) in [(Source::AgentLogs, false), (Source::OtlpLogs, true)] {
        let read = DROP.read(source, &logs("a", vec![LogRecord::default()])).unwrap();
        let Upload::Logs(read) = read.upload else { panic!("no log records") };
        assert_eq!(read[0].facts.is_plain, expected);
    }
}

#[test]
fn any_flag_but_false_says_that_a_job_is_redacted() {
    let is_redacted = |value: Value| {
        let attributes = vec![attribute("lk.redaction.enabled", value)];
        one(&PLAIN, span(attributes)).facts.is_redacted
    };
    assert!(is_redacted(Value::BoolValue(true)) && is_redacted(text("yes")));
    assert!(!is_redacted(Value::BoolValue(false)));
}

#[test]
fn a_status_message_becomes_the_type_of_the_error() {
    let failed = |attributes| Span {
        status: Some(Status { message: "no Ada in Lyon".to_owned(), code: 2 }),
        ..span(attributes)
    };
    let typed = vec![attribute("error.type", text("tool_error"))];
    let exception = span::Event {
        attributes: vec![
            attribute("exception.type", text("ToolError")),
            attribute("exception.message", text("no Ada in Lyon")),
        ],
        ..Default::default()
    };
    let thrown = Span { events: vec![exception], ..failed(vec![]) };
    for (sent, expected) in
        [(failed(typed), "tool_error"), (thrown, "ToolError"), (failed(vec![]), "")]
    {
        let read = one(&DROP, sent.clone());
        assert_eq!(read.failure.as_deref(), Some(expected));
        assert_eq!(sent_span(&read).status, Some(Status { message: expected.to_owned(), code: 2 }));
        let plain = one(&PLAIN, sent.clone());
        assert_eq!(sent_span(&plain), sent);
        let redacted = Span::decode(plain.body.redacted.unwrap()).unwrap();
        assert_eq!(redacted.status.unwrap().message, expected);
    }
    let long = failed(vec![attribute("error.type", text(&"x".repeat(5000)))]);
    assert_eq!(one(&DROP, long).failure.map(|failure| failure.len()), Some(128));
    let fine = Span { status: Some(Status { code: 1, ..Default::default() }), ..span(vec![]) };
    assert_eq!(one(&DROP, fine).failure, None);
}

#[test]
fn content_is_found_in_nested_maps_by_its_key_or_its_path() {
    let map = |key: &str, inner: Value| {
        Value::KvlistValue(KeyValueList { values: vec![attribute(key, inner)] })
    };
    let sent = vec![
        attribute("a", map("lk.pii.keyterms", text("secret"))),
        attribute("gen_ai", map("input", map("messages", text("secret")))),
        attribute("outcome", map("reason", text("secret"))),
        attribute("b", map("c", text("open"))),
    ];
    let bytes = leaving(&Upload::Spans(vec![one(&CLEAR, span(sent))]), false);
    assert!(!contains(&bytes, "secret") && contains(&bytes, "open") && contains(&bytes, "outcome"));
}

#[test]
fn a_person_whose_value_is_no_text_is_content() {
    let map = KeyValueList { values: vec![attribute("a", text("secret"))] };
    let sent = vec![
        attribute("participant", Value::KvlistValue(map)),
        KeyValue {
            key: "participant".to_owned(),
            value: Some(AnyValue::default()),
            ..Default::default()
        },
    ];
    let read = one(&CLEAR, span(sent));
    assert_eq!(keys(&sent_span(&read).attributes), ["participant"]);
}

#[test]
fn what_an_application_logs_is_content() {
    let record = |body: &str| LogRecord {
        body: Some(AnyValue { value: Some(text(body)) }),
        severity_text: "INFO".to_owned(),
        attributes: vec![
            attribute("city", text("Lyon")),
            attribute("role", text("user")),
            attribute("room", text("ordinary-1")),
            attribute("job_id", text("AJ_1")),
        ],
        ..Default::default()
    };
    let sent = |scope, body| LogRecord::decode(log(&CLEAR, scope, record(body)).body.sent).unwrap();
    let own = sent("my-agent", "looking up Lyon");
    assert_eq!((own.body, keys(&own.attributes)), (None, vec!["room", "job_id"]));
    assert_eq!(own.severity_text, "INFO");
    let livekits = sent("livekit.agents", "received user transcript");
    assert!(livekits.body.is_some());
    assert_eq!(keys(&livekits.attributes), ["role", "room", "job_id"]);
}

#[test]
fn a_request_of_another_kind_is_unreadable() {
    for source in [Source::Webhook, Source::Events, Source::Stats, Source::NodeRooms, Source::Api] {
        assert!(CLEAR.read(source, b"").is_err());
    }
    assert!(CLEAR.read(Source::AgentTraces, b"\x0a\xff").is_err());
    assert_eq!(CLEAR.read(Source::AgentTraces, b"").unwrap().items, 0);
}

#[test]
fn a_request_that_would_take_far_more_memory_than_its_bytes_is_refused() {
    let nested = |number: u32, content: &[u8]| {
        let mut bytes = Vec::new();
        encode_key(number, WireType::LengthDelimited, &mut bytes);
        encode_varint(content.len() as u64, &mut bytes);
        [&bytes[..], content].concat()
    };
    let group = |scopes: &[u8]| nested(1, &nested(2, scopes));
    // Empty spans; a span's empty attributes; an attribute's empty items.
    let attribute = nested(9, &nested(2, &nested(5, &[0x0a, 0].repeat(100_000))));
    let bombs =
        [[0x12, 0].repeat(100_000), nested(2, &[0x4a, 0].repeat(100_000)), nested(2, &attribute)];
    for bomb in bombs {
        assert!(CLEAR.read(Source::AgentTraces, &group(&bomb)).is_err());
    }
    let many = vec![span(vec![self::attribute("a", Value::BoolValue(true)); 14]); 2_000];
    let read = CLEAR.read(Source::AgentTraces, &spans(many)).unwrap();
    assert_eq!((read.items, read.unusable), (2_000, 0));
}
