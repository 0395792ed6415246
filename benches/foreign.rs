//! What the spans of an agent's call cost on one core from the engine to a request's bytes, beside prost, which
//! encodes the same requests from messages that were built beforehand. `cargo bench --bench foreign`.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "telemetry/clock.rs"]
#[allow(dead_code)] // the wall, which CPU time replaces here
mod clock;

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livekit_otel_agents::Reader;
use livekit_otel_export::{Settings, foreign_requests};
use livekit_otel_model::Source;
use livekit_otel_model::foreign::{Foreign, ForeignSpan, Upload};
use livekit_otel_model::signal::Link;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use clock::took;

// The program's own.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;
// At least, in each round.
const SPANS: usize = 200_000;

fn main() {
    println!("spans of a captured call, encoded to requests; the best of {ROUNDS}");
    println!("{:>26}{:>10}{:>12}{:>10}{:>10}", "", "ns CPU", "spans/s", "ratio", "target");
    let all = spans();
    // As the reader made them, and as the engine joins them: each turn's span has a link to the participant's.
    let link = Link { trace_id: [1; 16], span_id: [2; 8] };
    let joined = all.iter().cloned().map(|span| ForeignSpan { added_links: vec![link], ..span });
    for (name, spans) in [("unchanged", all.clone()), ("with a link added", joined.collect())] {
        run(name, spans);
    }
}

fn run(name: &str, spans: Vec<ForeignSpan>) {
    let records = Foreign { spans, ..Foreign::default() };
    let settings = Settings::default();
    let spans = records.spans.len();
    let requests = || foreign_requests(&settings, &records)[0].clone();
    let messages: Vec<_> =
        requests().into_iter().map(|it| ExportTraceServiceRequest::decode(it).unwrap()).collect();
    let ours = best(spans, || drop(black_box(requests())));
    let prost = best(spans, || {
        for message in &messages {
            drop(black_box(message.encode_to_vec()));
        }
    });
    let row = |what: &str, ns: f64| {
        println!("{what:>26}{ns:>10.0}{:>12.0}{:>10.2}{:>10}", 1e9 / ns, ns / prost, "1.0");
    };
    row(name, ours);
    row("prost", prost);
}

// Nanoseconds of CPU for each span.
fn best(spans: usize, work: impl Fn()) -> f64 {
    let times = SPANS.div_ceil(spans);
    let round = || took(|| (0..times).for_each(|_| work())).1.cpu_ns_per(times * spans);
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn spans() -> Vec<ForeignSpan> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/agents");
    let lines = std::fs::read_to_string(format!("{folder}/ordinary.agents.jsonl")).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut all = Vec::new();
    for line in lines.filter(|line| line["kind"] == "traces") {
        let body = STANDARD.decode(line["body_base64"].as_str().unwrap()).unwrap();
        let read = Reader::default().read(Source::AgentTraces, &body).unwrap();
        let Upload::Spans(spans) = read.upload else { panic!("spans") };
        all.extend(spans);
    }
    all
}
