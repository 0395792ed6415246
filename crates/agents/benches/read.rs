//! What the reader of uploads costs on one core, for the requests of an ordinary call, beside decoding and encoding
//! them with prost, which is the least that a program does that passes them on.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livekit_otel_agents::{Content, Reader};
use livekit_otel_model::Source;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

const FOR: Duration = Duration::from_secs(2);

fn main() {
    println!("{:>8}{:>24}{:>12}{:>12}{:>12}", "", "", "ns a record", "records/s", "MB/s");
    let drop = Reader::default();
    let plain = Reader { content: Content::Plain, ..Reader::default() };
    for (kind, capture, source) in [
        ("traces", "ordinary", Source::AgentTraces),
        ("logs", "ordinary", Source::AgentLogs),
        ("logs", "node-ordinary", Source::AgentLogs),
    ] {
        let requests = requests(capture, kind);
        let records = requests.iter().map(|raw| drop.read(source, raw).unwrap().items).sum();
        let name = format!("{kind} of {capture}");
        println!("{name}");
        let read = |reader: &Reader, raw: &[u8]| drop_it(reader.read(source, raw).unwrap());
        measure("content dropped", &requests, records, |raw| read(&drop, raw));
        measure("content plain", &requests, records, |raw| read(&plain, raw));
        if capture == "ordinary" {
            measure("prost alone", &requests, records, |raw| prost(kind, raw));
        }
    }
}

fn drop_it<T>(read: T) {
    drop(black_box(read));
}

fn prost(kind: &str, raw: &[u8]) {
    if kind == "traces" {
        drop_it(ExportTraceServiceRequest::decode(raw).unwrap().encode_to_vec());
    } else {
        drop_it(ExportLogsServiceRequest::decode(raw).unwrap().encode_to_vec());
    }
}

fn measure(what: &str, requests: &[Vec<u8>], records: u64, mut read: impl FnMut(&[u8])) {
    let (began, mut rounds) = (Instant::now(), 0_u32);
    while began.elapsed() < FOR {
        for raw in requests {
            read(raw);
        }
        rounds += 1;
    }
    let a_round = began.elapsed().as_secs_f64() / f64::from(rounds);
    let bytes: usize = requests.iter().map(Vec::len).sum();
    let (ns, rate) = (a_round * 1e9 / records as f64, records as f64 / a_round);
    println!("{:>8}{what:>24}{ns:>12.0}{rate:>12.0}{:>12.0}", "", bytes as f64 / a_round / 1e6);
}

fn requests(capture: &str, kind: &str) -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/agents");
    let lines = std::fs::read_to_string(format!("{folder}/{capture}.agents.jsonl")).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let lines = lines.filter(|line| line["kind"] == kind);
    lines.map(|line| STANDARD.decode(line["body_base64"].as_str().unwrap()).unwrap()).collect()
}
