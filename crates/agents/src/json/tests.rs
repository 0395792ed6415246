use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

use super::{LOGS, METRICS, TRACES, encode, schema};

fn read<M: Message + Default>(message: &'static schema::Message, json: &str) -> Option<M> {
    let bytes = encode(json.as_bytes(), message).ok()?;
    Some(M::decode(&*bytes).unwrap())
}

fn logs(json: &str) -> Option<ExportLogsServiceRequest> {
    read(&LOGS, json)
}

#[test]
fn empty_ids_text_integers_nulls_and_unknown_fields_are_read() {
    let json = r#"{"resourceLogs":[{"resource":null,"later":{"a":[1,{}]},"scopeLogs":[{"scope":{"name":"s","version":null},
        "logRecords":[{"timeUnixNano":"1795982857386000000","observedTimeUnixNano":1795982857386000000,
        "severityNumber":9,"severityText":"INFO","traceId":"","spanId":null,"attributes":[
        {"key":"i","value":{"intValue":"-3"}},{"key":"d","value":{"doubleValue":1}},{"key":"n","value":null},
        {"key":"b","value":{"bytesValue":"AQI="}},{"key":"e","value":{"unknownValue":1}},
        {"key":"a","value":{"arrayValue":{"values":[{"boolValue":true},null,{"kvlistValue":{"values":[]}}]}}}],
        "body":{"stringValue":"a \"text\" \u00e9"}}]}]}],"another":3}"#;
    let read = logs(json).unwrap();
    let record = &read.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.time_unix_nano, 1_795_982_857_386_000_000);
    assert_eq!(record.observed_time_unix_nano, record.time_unix_nano);
    assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "INFO"));
    assert!(record.trace_id.is_empty() && record.span_id.is_empty());
    let value = |nth: usize| record.attributes[nth].value.clone().and_then(|value| value.value);
    assert_eq!(value(0), Some(Value::IntValue(-3)));
    assert_eq!(value(1), Some(Value::DoubleValue(1.0)));
    assert_eq!((value(2), value(4)), (None, None));
    assert_eq!(value(3), Some(Value::BytesValue(vec![1, 2])));
    let Some(Value::ArrayValue(array)) = value(5) else { panic!("no array") };
    assert_eq!(array.values.len(), 3);
    assert_eq!(array.values[1].value, None);
    let body = record.body.clone().unwrap().value;
    assert_eq!(body, Some(Value::StringValue("a \"text\" é".to_owned())));
}

#[test]
fn a_span_has_its_ids_in_hex() {
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C",
        "spanId":"eee19b7ec3c1b174","parentSpanId":"","flags":256,"kind":2,"droppedEventsCount":4,
        "status":{"code":2,"message":"m"},"links":[{"traceId":"5b8efff798038103d269b633813fc60c"}]}]}]}]}"#;
    let read: ExportTraceServiceRequest = read(&TRACES, json).unwrap();
    let span = &read.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.trace_id.len(), span.trace_id[0], span.span_id[7]), (16, 0x5b, 0x74));
    assert_eq!((span.flags, span.kind, span.dropped_events_count), (256, 2, 4));
    assert_eq!(span.links[0].trace_id, span.trace_id);
    assert_eq!(span.status.clone().unwrap().code, 2);
}

#[test]
fn points_have_numbers_that_are_no_json() {
    let json = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","histogram":{"aggregationTemporality":1,
        "dataPoints":[{"count":"3","sum":"NaN","bucketCounts":["1",2],"explicitBounds":[5],"max":"Infinity"}]}},
        {"sum":{"isMonotonic":true,"dataPoints":[{"asInt":"-2"},{"asDouble":2}]}},
        {"summary":{"dataPoints":[{"count":1},{}]}}]}]}]}"#;
    let read: ExportMetricsServiceRequest = read(&METRICS, json).unwrap();
    let metrics = &read.resource_metrics[0].scope_metrics[0].metrics;
    let Some(Data::Histogram(histogram)) = &metrics[0].data else { panic!("no histogram") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, &*point.bucket_counts), (3, &[1, 2][..]));
    assert!(point.sum.unwrap().is_nan());
    assert_eq!((point.max, point.min), (Some(f64::INFINITY), None));
    assert!(matches!(&metrics[1].data, Some(Data::Sum(sum)) if sum.data_points.len() == 2));
    assert!(matches!(&metrics[2].data, Some(Data::Summary(data)) if data.data_points.len() == 2));
}

#[test]
fn what_is_no_otlp_is_refused() {
    let wrong = [
        "{",
        "{}}",
        "[]",
        r#"{"resourceLogs":{}}"#,
        r#"{"resourceLogs":[3]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"5b8"}]}]}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"+1"}]}]}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":"many"}]}]}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":-1}]}]}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":3}]}]}]}"#,
    ];
    for json in wrong {
        assert!(logs(json).is_none(), "{json}");
    }
    // Deeper than JSON's reader goes.
    let deep = r#"{"arrayValue":{"values":["#.repeat(200);
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{deep}"#);
    assert!(logs(&json).is_none());
}
