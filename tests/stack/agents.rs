//! Spans of an agent's job, recorded in tests/captures/agents, as if they were of another room and of now. They are
//! uploaded as the agent uploaded them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use livekit_otel_livekit::token;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::Value as Json;

use crate::program::{KEY, SECRET};

// Whose job was recorded.
const ROOM: &str = "RM_FUvZCBcbSXZo";
const JOB: &str = "AJ_VrX3jarp2Ciw";

// The spans that a model which fails for good, and an entrypoint which raises for that, mark.
const FAILED: [&str; 5] =
    ["llm_request_run", "llm_request", "llm_node", "agent_turn", "job_entrypoint"];

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As it was recorded: a call in which one tool fails, and one turn is interrupted.
    Recorded,
    /// The model fails in each turn, then the entrypoint.
    Failed,
}

/// Uploads the spans of a job in this room to a server that listens there. Returns how many they are.
pub(crate) fn upload(http: &str, room: &str, number: u8, end: End) -> usize {
    let mut requests = recorded();
    let last = spans(&mut requests).map(|span| span.end_time_unix_nano).max().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let later = u64::try_from(now).unwrap().wrapping_sub(last);
    let job = format!("AJ_recorded{number:04}");
    let renamed = |value: &str| match value {
        ROOM => Some(room.to_owned()),
        JOB => Some(job.clone()),
        _ => None,
    };
    for span in spans(&mut requests) {
        moved(span, later, number);
        for attribute in &mut span.attributes {
            rename(attribute, &renamed);
        }
        if end == End::Failed && FAILED.contains(&&*span.name) {
            fail(span);
        }
    }
    for resource in requests.iter_mut().flat_map(|request| &mut request.resource_spans) {
        let attributes = resource.resource.iter_mut().flat_map(|resource| &mut resource.attributes);
        attributes.for_each(|attribute| rename(attribute, &renamed));
    }
    for request in &requests {
        post(http, &request.encode_to_vec());
    }
    spans(&mut requests).count()
}

fn recorded() -> Vec<ExportTraceServiceRequest> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/agents/ordinary.agents.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let traces = lines.filter(|line| line["kind"] == "traces");
    let body = |line: Json| STANDARD.decode(line["body_base64"].as_str().unwrap()).unwrap();
    traces.map(|line| ExportTraceServiceRequest::decode(&*body(line)).unwrap()).collect()
}

fn spans(of: &mut [ExportTraceServiceRequest]) -> impl Iterator<Item = &mut Span> {
    let resources = of.iter_mut().flat_map(|request| &mut request.resource_spans);
    resources.flat_map(|resource| &mut resource.scope_spans).flat_map(|scope| &mut scope.spans)
}

// Each job has a trace and spans of its own.
fn moved(span: &mut Span, later: u64, number: u8) {
    span.trace_id[0] ^= number;
    span.span_id[0] ^= number;
    if let Some(first) = span.parent_span_id.first_mut() {
        *first ^= number;
    }
    span.links.clear();
    let times = [&mut span.start_time_unix_nano, &mut span.end_time_unix_nano];
    let of_events = span.events.iter_mut().map(|event| &mut event.time_unix_nano);
    for time in times.into_iter().chain(of_events) {
        *time = time.wrapping_add(later);
    }
}

fn rename(attribute: &mut KeyValue, renamed: &dyn Fn(&str) -> Option<String>) {
    let value = attribute.value.as_mut().and_then(|value| value.value.as_mut());
    if let Some(Value::StringValue(text)) = value {
        *text = renamed(text).unwrap_or_else(|| std::mem::take(text));
    }
}

fn fail(span: &mut Span) {
    span.status.get_or_insert_default().set_code(StatusCode::Error);
    span.attributes.retain(|attribute| attribute.key != "error.type");
    let value = Some(AnyValue { value: Some(Value::StringValue("APIStatusError".to_owned())) });
    span.attributes.push(KeyValue { key: "error.type".to_owned(), value, ..KeyValue::default() });
}

fn post(http: &str, body: &[u8]) {
    let mut stream = TcpStream::connect(http).unwrap();
    let head = format!(
        "POST /observability/traces/otlp/v0 HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        token::mint(KEY, SECRET).unwrap(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.lines().next().unwrap().contains(" 200 "), "{answer}");
}
