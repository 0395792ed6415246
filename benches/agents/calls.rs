//! The requests of a captured call, as those of other calls: each has a room, a job, a process and traces of its own,
//! so that none is a repeat.

use std::collections::BTreeSet;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use livekit_otel_agents::Reader;
use livekit_otel_model::Source;
use livekit_otel_model::foreign::Upload;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// As captures name it.
pub const TRACES: &str = "traces";
pub const LOGS: &str = "logs";
pub const METRICS: &str = "metrics";

/// The OTLP requests of a call, in their order.
pub struct Calls {
    requests: Vec<Request>,
    pub spans: usize,
    pub logs: usize,
}

struct Request {
    source: Source,
    body: Vec<u8>,
    // Where ids of the call are, behind prefixes, and where its other spans' ids are.
    of_call: Vec<usize>,
    of_cycle: Vec<usize>,
}

type Captured = (Source, Vec<u8>);

impl Calls {
    /// Those of a capture.
    pub fn read(capture: &str, kinds: &[&str]) -> Self {
        Self::new(&captured(capture, kinds), &ids(capture), &BTreeSet::new())
    }

    /// A call that goes on as long as one likes: what a captured one uploads but the spans of the whole job is a cycle,
    /// whose spans have other ids each time. The second uploads these spans.
    pub fn cycle_and_end(capture: &str) -> (Self, Self) {
        const WHOLE: [&str; 2] = ["job_entrypoint", "agent_session"];
        let is_whole = |span: &Span| WHOLE.contains(&span.name.as_str());
        let (mut cycle, mut end) = (captured(capture, &[TRACES, LOGS, METRICS]), Vec::new());
        let (mut of_call, mut of_cycle) = (ids(capture), BTreeSet::new());
        for (source, body) in &mut cycle {
            if *source != Source::AgentTraces {
                continue;
            }
            let (mut rest, mut whole) = (spans(body), spans(body));
            each(&mut rest, |span| !is_whole(span));
            each(&mut whole, is_whole);
            each(&mut rest, |span| of_cycle.insert(span.span_id.clone()));
            let mut has_any = false;
            each(&mut whole, |span| {
                has_any = true;
                of_call.insert(span.span_id.clone())
            });
            *body = rest.encode_to_vec();
            end.extend(has_any.then(|| (*source, whole.encode_to_vec())));
        }
        (Self::new(&cycle, &of_call, &of_cycle), Self::new(&end, &of_call, &of_cycle))
    }

    fn new(
        requests: &[Captured],
        of_call: &BTreeSet<Vec<u8>>,
        of_cycle: &BTreeSet<Vec<u8>>,
    ) -> Self {
        let (mut spans, mut logs) = (0, 0);
        let requests = requests.iter().map(|(source, body)| {
            match Reader::default().read(*source, body).unwrap().upload {
                Upload::Spans(all) => spans += all.len(),
                Upload::Logs(all) => logs += all.len(),
                Upload::Metrics(_) | Upload::Recording(_) => {}
            }
            let (of_call, of_cycle) = (places(body, of_call), places(body, of_cycle));
            Request { source: *source, body: body.clone(), of_call, of_cycle }
        });
        let requests = requests.collect();
        Self { requests, spans, logs }
    }

    /// What the first cycle of the first call uploads.
    pub fn uploads(&self) -> Vec<Upload> {
        let read = |request: &Request| Reader::default().read(request.source, &request.of(0, 0));
        self.requests.iter().map(|request| read(request).unwrap().upload).collect()
    }

    /// The requests of a cycle of the call with this number, with their heads; compressed as agents do, if wanted.
    pub fn call(&self, nth: usize, cycle: u32, token: &str, compress: bool) -> Vec<Vec<u8>> {
        let requests = self.requests.iter().map(|request| {
            let body = request.of(nth, cycle);
            let (body, encoding) = if compress { (gzip(&body), "gzip") } else { (body, "identity") };
            let head = format!(
                "POST {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: OTel-OTLP-Exporter-Python/1.45.2\r\n\
                 Accept: */*\r\nAuthorization: Bearer {token}\r\nContent-Type: application/x-protobuf\r\n\
                 Content-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
                path(request.source),
                body.len()
            );
            [head.as_bytes(), &body].concat()
        });
        requests.collect()
    }
}

impl Request {
    fn of(&self, nth: usize, cycle: u32) -> Vec<u8> {
        let mut body = self.body.clone();
        let digits = format!("{nth:07}");
        for at in &self.of_call {
            body[*at..at + 7].copy_from_slice(digits.as_bytes());
        }
        for at in &self.of_cycle {
            body[*at..at + 4].copy_from_slice(&cycle.to_be_bytes());
        }
        body
    }
}

/// The path on which agents send it.
pub fn path(source: Source) -> &'static str {
    match source {
        Source::AgentTraces => "/observability/traces/otlp/v0",
        Source::AgentLogs => "/observability/logs/otlp/v0",
        _ => "/observability/metrics/otlp/v0",
    }
}

fn captured(capture: &str, kinds: &[&str]) -> Vec<Captured> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/agents");
    let lines = std::fs::read_to_string(format!("{folder}/{capture}.agents.jsonl")).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let wanted = lines.filter(|line| kinds.iter().any(|kind| line["kind"] == **kind));
    let requests = wanted.map(|line| {
        let source = match line["kind"].as_str().unwrap() {
            TRACES => Source::AgentTraces,
            LOGS => Source::AgentLogs,
            _ => Source::AgentMetrics,
        };
        (source, STANDARD.decode(line["body_base64"].as_str().unwrap()).unwrap())
    });
    requests.collect()
}

// The texts and bytes that make a call another's.
fn ids(capture: &str) -> BTreeSet<Vec<u8>> {
    let mut ids = BTreeSet::new();
    for (source, body) in captured(capture, &[TRACES]) {
        let Upload::Spans(spans) = Reader::default().read(source, &body).unwrap().upload else {
            continue;
        };
        for span in spans {
            ids.insert(span.trace_id.to_vec());
            ids.extend(span.facts.room.map(|room| room.as_str().as_bytes().to_vec()));
            ids.extend(span.facts.job.map(|job| job.as_bytes().to_vec()));
            ids.extend(span.origin.process.as_ref().map(|process| process.as_bytes().to_vec()));
        }
    }
    ids
}

fn spans(body: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(body).unwrap()
}

fn each(request: &mut ExportTraceServiceRequest, mut keep: impl FnMut(&Span) -> bool) {
    let scopes = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    scopes.for_each(|scope| scope.spans.retain(&mut keep));
}

// Where these are in a body, behind the prefix of a SID.
fn places(body: &[u8], ids: &BTreeSet<Vec<u8>>) -> Vec<usize> {
    let mut places = Vec::new();
    for id in ids {
        let prefix = if id.get(2) == Some(&b'_') { 3 } else { 0 };
        let found = body.windows(id.len()).enumerate().filter(|(_, window)| window == id);
        places.extend(found.map(|(at, _)| at + prefix));
    }
    places
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}
