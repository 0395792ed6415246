//! Random requests with content everywhere.

use livekit_otel_model::Source;
use livekit_otel_model::foreign::Upload;
use livekit_otel_model::privacy::Privacy;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, exemplar, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;

use super::made::{sent_log, sent_origin, sent_span};
use super::{DROP, PLAIN, contains, leaving};
use crate::{Content, Reader};

// Planted where it must not leave from.
const SAID: &str = "SAID-4f9c";
const NAME: &str = "NAME-77d1";

const TECHNICAL: &[&str] = &[
    "room_id",
    "lk.speech_id",
    "gen_ai.usage.input_tokens",
    "error.type",
    "exception.type",
    "tenant",
    "",
    "a.b",
];
const LOGGED: &[&str] =
    &["room_id", "lk.job_id", "logger.name", "exception.type", "code.line.number"];
const CONTENT: &[&str] = &[
    "lk.pii.chat_ctx",
    "gen_ai.input.messages",
    "gen_ai.prompt.variable.x",
    "chat.item",
    "exception.message",
    "exception.stacktrace",
    "lk.sip.h.from",
    "lk.sip.hostname",
    "session.tags",
    "error",
    "a.pii.b",
    "outcome.reason",
];
const WHO: &[&str] = &[
    "lk.pii.participant_identity",
    "lk.pii.room_name",
    "room",
    "participant",
    "lk.rpc.caller_identity",
];

// A value with `word` in each text and in the keys of its maps.
fn value(word: &'static str) -> BoxedStrategy<AnyValue> {
    let texts = "[a-z ]{0,6}".prop_map(move |text| Value::StringValue(format!("{text}{word}")));
    let leaf = prop_oneof![
        4 => texts,
        1 => any::<bool>().prop_map(Value::BoolValue),
        1 => any::<i64>().prop_map(Value::IntValue),
        1 => (-1e9..1e9).prop_map(Value::DoubleValue),
        1 => vec(any::<u8>(), 0..4).prop_map(move |bytes| {
            Value::BytesValue([bytes, word.as_bytes().to_vec()].concat())
        }),
    ];
    let leaf = leaf.prop_map(|value| AnyValue { value: Some(value) });
    let leaf = prop_oneof![9 => leaf, 1 => Just(AnyValue::default())];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let key = "[xyz]{1,3}".prop_map(move |key| format!("{key}{word}"));
        let entry = (key, inner.clone()).prop_map(|(key, value)| pair(key, value));
        let array = vec(inner, 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values }));
        let map = vec(entry, 0..3).prop_map(|values| Value::KvlistValue(KeyValueList { values }));
        prop_oneof![array, map].prop_map(|value| AnyValue { value: Some(value) })
    })
    .boxed()
}

fn pair(key: String, value: AnyValue) -> KeyValue {
    KeyValue { key, value: Some(value), ..KeyValue::default() }
}

// Attributes of which those of `CONTENT` and `WHO`, also in maps, have planted words. Without `planted`, there are none.
fn attributes(technical: &'static [&'static str], planted: bool) -> BoxedStrategy<Vec<KeyValue>> {
    let of = |keys: &'static [&'static str], word| {
        (select(keys), value(word)).prop_map(|(key, value)| pair(key.to_owned(), value))
    };
    let plain = of(technical, "");
    if !planted {
        return vec(plain, 0..5).boxed();
    }
    let planted = prop_oneof![3 => of(CONTENT, SAID), 1 => of(WHO, NAME)];
    let nested = (select(technical), vec(planted.clone(), 1..3), any::<bool>()).prop_map(
        |(key, values, is_array)| {
            let map = AnyValue { value: Some(Value::KvlistValue(KeyValueList { values })) };
            let array = Value::ArrayValue(ArrayValue { values: vec![map.clone()] });
            pair(key.to_owned(), if is_array { AnyValue { value: Some(array) } } else { map })
        },
    );
    vec(prop_oneof![3 => plain, 3 => planted, 1 => nested], 0..6).boxed()
}

fn text(planted: bool) -> &'static str {
    if planted { SAID } else { "" }
}

fn origin(planted: bool) -> BoxedStrategy<(Option<Resource>, Option<InstrumentationScope>)> {
    let resource =
        (attributes(TECHNICAL, planted), any::<u32>()).prop_map(|(attributes, dropped)| Resource {
            attributes,
            dropped_attributes_count: dropped,
            ..Resource::default()
        });
    let scope = (attributes(TECHNICAL, planted), "[a-z.]{0,5}", any::<u32>()).prop_map(
        |(attributes, name, dropped)| InstrumentationScope {
            name: name.clone(),
            version: name,
            attributes,
            dropped_attributes_count: dropped,
        },
    );
    (proptest::option::of(resource), proptest::option::of(scope)).boxed()
}

fn span_strategy(planted: bool) -> BoxedStrategy<Span> {
    let attributes = move || attributes(TECHNICAL, planted);
    let names: &[&str] =
        if planted { &["gen_ai.choice", "exception", "x"] } else { &["exception", "x"] };
    let name = select(names).prop_map(str::to_owned);
    let event = (attributes(), name, any::<(u64, u32)>()).prop_map(
        move |(mut attributes, name, numbers)| {
            if name.starts_with("gen_ai.") {
                let said = AnyValue { value: Some(Value::StringValue(SAID.to_owned())) };
                attributes.push(pair("content".to_owned(), said));
            }
            let (time_unix_nano, dropped_attributes_count) = numbers;
            span::Event { time_unix_nano, name, attributes, dropped_attributes_count }
        },
    );
    let link =
        (attributes(), any::<([u8; 16], [u8; 8], u32, u32)>()).prop_map(|(attributes, ids)| {
            let (mut trace_id, mut span_id, flags, dropped) = ids;
            (trace_id[0], span_id[0]) = (1, 1);
            span::Link {
                trace_id: trace_id.to_vec(),
                span_id: span_id.to_vec(),
                trace_state: "a=b".to_owned(),
                attributes,
                dropped_attributes_count: dropped,
                flags,
            }
        });
    let numbers = any::<([u8; 16], [u8; 8], Option<[u8; 8]>, (u64, u64), (u32, u32, u32, u32))>();
    let parts =
        (attributes(), vec(event, 0..3), vec(link, 0..3), numbers, proptest::option::of(0..3));
    parts
        .prop_map(move |(attributes, events, links, numbers, code)| {
            let (mut trace_id, mut span_id, parent, (start, end), counts) = numbers;
            (trace_id[15], span_id[7]) = (1, 1);
            let parent = parent.filter(|id| *id != [0; 8]);
            Span {
                trace_id: trace_id.to_vec(),
                span_id: span_id.to_vec(),
                parent_span_id: parent.map(|id| id.to_vec()).unwrap_or_default(),
                trace_state: "vendor=1".to_owned(),
                flags: counts.0,
                name: "name".to_owned(),
                kind: 3,
                start_time_unix_nano: start,
                end_time_unix_nano: end,
                attributes,
                dropped_attributes_count: counts.1,
                events,
                dropped_events_count: counts.2,
                links,
                dropped_links_count: counts.3,
                status: code.map(|code| Status { message: text(planted).to_owned(), code }),
            }
        })
        .boxed()
}

fn traces(planted: bool) -> BoxedStrategy<ExportTraceServiceRequest> {
    let request = (origin(planted), vec(span_strategy(planted), 1..4)).prop_map(
        |((resource, scope), spans)| {
            let scope_spans = vec![ScopeSpans { scope, spans, schema_url: "s".to_owned() }];
            let resource_spans =
                ResourceSpans { resource, scope_spans, schema_url: "r".to_owned() };
            ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
        },
    );
    request.boxed()
}

fn log_record(planted: bool) -> BoxedStrategy<LogRecord> {
    let body = if planted {
        value(SAID).boxed()
    } else {
        Just(AnyValue { value: Some(Value::StringValue("chat item".to_owned())) }).boxed()
    };
    // Not allowlisted, and so content.
    let other = ("[a-z]{9}", value(SAID)).prop_map(|(key, value)| pair(key, value));
    let other = vec(other, 0..if planted { 3 } else { 1 });
    let other = other.prop_filter("none", move |other| planted || other.is_empty());
    let numbers = any::<(u64, u64, u32, u32, Option<([u8; 16], [u8; 8])>)>();
    (attributes(LOGGED, planted), other, proptest::option::of(body), numbers)
        .prop_map(
            move |(mut attributes, other, body, (time, observed, flags, dropped, context))| {
                attributes.extend(other);
                let (trace_id, span_id) = context.unwrap_or_default();
                let is_valid = trace_id != [0; 16] && span_id != [0; 8];
                LogRecord {
                    time_unix_nano: time,
                    observed_time_unix_nano: observed,
                    severity_number: 9,
                    severity_text: if planted { SAID } else { "INFO" }.to_owned(),
                    body,
                    attributes,
                    dropped_attributes_count: dropped,
                    flags,
                    trace_id: if is_valid { trace_id.to_vec() } else { Vec::new() },
                    span_id: if is_valid { span_id.to_vec() } else { Vec::new() },
                    event_name: text(planted).to_owned(),
                }
            },
        )
        .boxed()
}

fn logs(planted: bool) -> BoxedStrategy<ExportLogsServiceRequest> {
    let request = (origin(planted), vec(log_record(planted), 1..4)).prop_map(
        |((resource, scope), log_records)| {
            let scope_logs = vec![ScopeLogs { scope, log_records, schema_url: "s".to_owned() }];
            let resource_logs = ResourceLogs { resource, scope_logs, schema_url: "r".to_owned() };
            ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
        },
    );
    request.boxed()
}

fn metrics(planted: bool) -> BoxedStrategy<ExportMetricsServiceRequest> {
    let exemplar = attributes(TECHNICAL, planted).prop_map(|filtered_attributes| Exemplar {
        filtered_attributes,
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        value: Some(exemplar::Value::AsInt(1)),
        ..Exemplar::default()
    });
    let point = (attributes(TECHNICAL, planted), vec(exemplar, 0..2)).prop_map(
        |(attributes, exemplars)| {
            let value = Some(number_data_point::Value::AsInt(3));
            NumberDataPoint { attributes, exemplars, value, ..NumberDataPoint::default() }
        },
    );
    let request =
        (origin(planted), vec(point, 1..3)).prop_map(|((resource, scope), data_points)| {
            let data = Some(metric::Data::Gauge(Gauge { data_points }));
            let metrics = vec![Metric { name: "m".to_owned(), data, ..Metric::default() }];
            let scope_metrics = vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }];
            let resource_metrics =
                vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
            ExportMetricsServiceRequest { resource_metrics }
        });
    request.boxed()
}

// Whether a planted word leaves with any setting that forbids it.
fn check(source: Source, raw: &[u8]) -> Result<(), TestCaseError> {
    let hashed = Reader { privacy: super::hash(), content: Content::Drop };
    for reader in [DROP, hashed] {
        let read = reader.read(source, raw).unwrap();
        prop_assert_eq!(read.unusable, 0);
        let bytes = leaving(&read.upload, false);
        prop_assert!(!contains(&bytes, SAID), "said: {:?}", read.upload);
        prop_assert!(!contains(&bytes, NAME), "named: {:?}", read.upload);
    }
    let read = PLAIN.read(source, raw).unwrap();
    prop_assert!(!contains(&leaving(&read.upload, true), SAID), "redacted: {:?}", read.upload);
    let personal = Reader { privacy: Privacy::Drop, content: Content::Plain };
    let read = personal.read(source, raw).unwrap();
    prop_assert!(!contains(&leaving(&read.upload, false), NAME), "named: {:?}", read.upload);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_planted_word_leaves_in_spans(request in traces(true)) {
        check(Source::AgentTraces, &request.encode_to_vec())?;
    }

    #[test]
    fn no_planted_word_leaves_in_log_records(request in logs(true)) {
        check(Source::OtlpLogs, &request.encode_to_vec())?;
    }

    #[test]
    fn no_planted_word_leaves_in_metrics(request in metrics(true)) {
        check(Source::AgentMetrics, &request.encode_to_vec())?;
    }

    #[test]
    fn spans_pass_whole(with in traces(true), without in traces(false)) {
        // With content, all of them; without, those that have none.
        let dropping = Reader { privacy: Privacy::Plain, content: Content::Drop };
        for (reader, request) in [(PLAIN, with), (dropping, without.clone()), (PLAIN, without)] {
            let read = reader.read(Source::OtlpTraces, &request.encode_to_vec()).unwrap();
            let Upload::Spans(spans) = read.upload else { panic!("no spans") };
            let sent: Vec<_> = spans.iter().map(sent_span).collect();
            let group = &request.resource_spans[0];
            prop_assert_eq!(&sent, &group.scope_spans[0].spans);
            prop_assert_eq!(&*spans[0].origin.resource_schema, "r");
            prop_assert_eq!(&*spans[0].origin.scope_schema, "s");
        }
    }

    #[test]
    fn log_records_pass_whole(with in logs(true), without in logs(false)) {
        let dropping = Reader { privacy: Privacy::Plain, content: Content::Drop };
        for (reader, request) in [(PLAIN, with), (dropping, without)] {
            let read = reader.read(Source::OtlpLogs, &request.encode_to_vec()).unwrap();
            let Upload::Logs(logs) = read.upload else { panic!("no log records") };
            let sent: Vec<_> = logs.iter().map(sent_log).collect();
            prop_assert_eq!(&sent, &request.resource_logs[0].scope_logs[0].log_records);
        }
    }

    #[test]
    fn a_resource_and_a_scope_without_content_pass_whole(request in traces(false)) {
        let read = DROP.read(Source::OtlpTraces, &request.encode_to_vec()).unwrap();
        let Upload::Spans(spans) = read.upload else { panic!("no spans") };
        let group = &request.resource_spans[0];
        let (resource, scope) = sent_origin(&spans[0].origin);
        prop_assert_eq!(resource, group.resource.clone().unwrap_or_default());
        prop_assert_eq!(scope, group.scope_spans[0].scope.clone().unwrap_or_default());
    }
}

fn sources() -> impl Strategy<Value = Source> {
    select(&[
        Source::AgentTraces,
        Source::AgentLogs,
        Source::AgentMetrics,
        Source::AgentRecordings,
        Source::OtlpTraces,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(source in sources(), bytes in vec(any::<u8>(), 0..64)) {
        drop(DROP.read(source, &bytes));
        let json = [b"{".to_vec(), bytes].concat();
        drop(PLAIN.read(source, &json));
    }

    #[test]
    fn damaged_requests_are_read_or_refused(
        request in traces(true),
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = request.encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for reader in [DROP, PLAIN] {
            drop(reader.read(Source::AgentTraces, &bytes));
            drop(reader.read(Source::AgentTraces, &bytes[..cut.index(bytes.len())]));
        }
    }
}
