//! A collector that fails by script: OTLP over HTTP, each request answered as a seed decides.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livekit_otel_model::hex;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::random::Random;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    Slow,
    PartialSuccess,
    Refused,
    Reset,
    Hangs,
    HalfAnswered,
    LaterBySeconds,
    Unavailable,
    TooLarge,
    TakenAtLength,
    UnavailableAtLength,
    Page,
}

const FATES: [Fate; 13] = [
    Fate::Taken,
    Fate::Slow,
    Fate::PartialSuccess,
    Fate::Refused,
    Fate::Reset,
    Fate::Hangs,
    Fate::HalfAnswered,
    Fate::LaterBySeconds,
    Fate::Unavailable,
    Fate::TooLarge,
    Fate::TakenAtLength,
    Fate::UnavailableAtLength,
    Fate::Page,
];

// More than the program reads of an answer.
const AT_LENGTH: usize = 1 << 20;

/// A request that was read whole.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// In which life of the program it came.
    pub(crate) life: u64,
    pub(crate) signal: &'static str,
    /// Whether it was answered that it was taken.
    pub(crate) acknowledged: bool,
    pub(crate) records: Vec<String>,
}

/// What has arrived.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) deliveries: Vec<Delivery>,
    /// Each span's bytes, by its id.
    pub(crate) spans: BTreeMap<String, Vec<u8>>,
    /// The participants that have a span of their own.
    pub(crate) participants: BTreeSet<String>,
    /// The ids of the events that log records describe.
    pub(crate) events: BTreeSet<String>,
    /// The highest sum of a participant's packets, for each start of its series: one that ended
    /// begins anew.
    pub(crate) packets: BTreeMap<String, BTreeMap<u64, i64>>,
    /// The records of requests that were too large: they arrive in halves.
    pub(crate) halved: BTreeSet<String>,
    /// What must not be.
    pub(crate) faults: Vec<String>,
    life: u64,
    newest: Option<SocketAddr>,
    /// From then on nothing fails any more.
    pub(crate) is_healthy: bool,
    /// Whether it takes nothing: it ends each connection.
    pub(crate) is_away: bool,
}

/// A running collector.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    pub(crate) port: u16,
    pub(crate) arrived: Arc<Mutex<Arrived>>,
}

impl Collector {
    pub(crate) async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let arrived: Arc<Mutex<Arrived>> = Arc::default();
        let shared = Arc::clone(&arrived);
        tokio::spawn(async move {
            let mut random = Random::new(seed);
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let life = {
                    let mut arrived = shared.lock().unwrap();
                    arrived.newest = Some(peer);
                    arrived.life
                };
                tokio::spawn(serve(stream, life, random.fork(), Arc::clone(&shared)));
            }
        });
        Self { port, arrived }
    }

    /// What connects from now on is of this life.
    pub(crate) async fn begin(&self, life: u64) {
        // What connected before is accepted before this is.
        let own = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let own = Some(own.local_addr().unwrap());
        while self.arrived.lock().unwrap().newest != own {
            tokio::task::yield_now().await;
        }
        self.arrived.lock().unwrap().life = life;
    }
}

async fn serve(mut stream: TcpStream, life: u64, mut random: Random, arrived: Arc<Mutex<Arrived>>) {
    let mut buffer = Vec::new();
    loop {
        let (is_healthy, is_away) = {
            let arrived = arrived.lock().unwrap();
            (arrived.is_healthy, arrived.is_away)
        };
        // Most requests are taken.
        let fate = if is_healthy || random.below(3) > 0 { Fate::Taken } else { random.of(&FATES) };
        if fate == Fate::Refused || is_away {
            return;
        }
        let Some((path, body)) = request(&mut stream, &mut buffer, fate == Fate::Reset).await
        else {
            return;
        };
        let answer: &[u8] = match fate {
            Fate::Slow => {
                tokio::time::sleep(Duration::from_millis(40)).await;
                b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            }
            Fate::Hangs => {
                arrive(&arrived, life, &path, &body, false);
                tokio::time::sleep(Duration::from_secs(3)).await;
                return;
            }
            Fate::HalfAnswered => {
                arrive(&arrived, life, &path, &body, false);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await;
                return;
            }
            Fate::LaterBySeconds => {
                b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
            }
            Fate::Unavailable => b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            Fate::TooLarge => b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n",
            Fate::PartialSuccess => {
                arrive(&arrived, life, &path, &body, true);
                let _ = stream.write_all(&partial_success()).await;
                continue;
            }
            Fate::TakenAtLength => &at_length("200 OK"),
            Fate::UnavailableAtLength => &at_length("503 Busy"),
            Fate::Page => {
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
            }
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        };
        let is_taken = matches!(fate, Fate::Taken | Fate::Slow | Fate::TakenAtLength);
        // One record that is too large is set aside: that is another test. A metric is one of many
        // points.
        let names = records(&path, &body, &mut Arrived::default());
        let is_one = path == "/v1/metrics" || names.len() < 2;
        let answer = if fate == Fate::TooLarge && is_one {
            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".as_slice()
        } else {
            answer
        };
        if fate == Fate::TooLarge && !is_one {
            arrived.lock().unwrap().halved.extend(names);
        }
        if is_taken {
            // It counts as taken from before the answer: a kill may hit what is on its way.
            arrive(&arrived, life, &path, &body, true);
        }
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

fn at_length(status: &str) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {AT_LENGTH}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + AT_LENGTH, b'x');
    answer
}

// The three responses have the same shape.
fn partial_success() -> Vec<u8> {
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "one".to_owned() };
    let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}

async fn request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    reset: bool,
) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(head) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let text = String::from_utf8(buffer[..head].to_vec()).unwrap();
            let path = text.split(' ').nth(1).unwrap().to_owned();
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
            });
            let length: usize = length.unwrap_or_default();
            if reset {
                stream.set_zero_linger().unwrap();
                return None;
            }
            let start = head + 4;
            if buffer.len() >= start + length {
                let body = buffer[start..start + length].to_vec();
                buffer.drain(..start + length);
                return Some((path, body));
            }
        }
        match stream.read_buf(buffer).await {
            Ok(1..) => {}
            _ => return None,
        }
    }
}

fn arrive(arrived: &Mutex<Arrived>, life: u64, path: &str, body: &[u8], acknowledged: bool) {
    let mut arrived = arrived.lock().unwrap();
    let records = records(path, body, &mut arrived);
    let signal = match path {
        "/v1/traces" => "traces",
        "/v1/logs" => "logs",
        _ => "metrics",
    };
    arrived.deliveries.push(Delivery { life, signal, acknowledged, records });
}

// Notes the contents of a request; returns a name for each of its records.
fn records(path: &str, body: &[u8], to: &mut Arrived) -> Vec<String> {
    match path {
        "/v1/traces" => spans(body, to),
        "/v1/logs" => logs(body, to),
        _ => points(body, to),
    }
}

pub(crate) fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn spans(body: &[u8], to: &mut Arrived) -> Vec<String> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut names = Vec::new();
    for span in
        request.resource_spans.iter().flat_map(|one| &one.scope_spans).flat_map(|one| &one.spans)
    {
        let id = hex(&span.span_id);
        let bytes = span.encode_to_vec();
        if span.name == "participant" {
            to.participants.extend(text(&span.attributes, "lk.participant_id"));
        }
        if to.spans.insert(id.clone(), bytes.clone()).is_some_and(|before| before != bytes) {
            to.faults.push(format!("two spans {id}: {span:?}"));
        }
        names.push(id);
    }
    names
}

fn logs(body: &[u8], to: &mut Arrived) -> Vec<String> {
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let logs = request.resource_logs.iter().flat_map(|one| &one.scope_logs);
    let ids: Vec<_> = logs
        .flat_map(|one| &one.log_records)
        .filter_map(|log| text(&log.attributes, "log.record.uid"))
        .collect();
    to.events.extend(ids.iter().cloned());
    ids
}

fn points(body: &[u8], to: &mut Arrived) -> Vec<String> {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let mut names = Vec::new();
    let scopes = request.resource_metrics.iter().flat_map(|one| &one.scope_metrics);
    let of_livekit = scopes.filter(|one| one.scope.as_ref().is_some_and(|s| s.name == "livekit"));
    for metric in of_livekit.flat_map(|one| &one.metrics) {
        let Some(metric::Data::Sum(sum)) = &metric.data else { continue };
        for point in &sum.data_points {
            let who = text(&point.attributes, "lk.participant_id");
            // A participant has several series of a metric, which may leave in several requests.
            let mut series = DefaultHasher::new();
            point.attributes.iter().for_each(|one| one.encode_to_vec().hash(&mut series));
            let (at, series) = (point.time_unix_nano, series.finish());
            names.push(format!("{} {who:?} {at} {series:x}", metric.name));
            if let (Some(who), Some(number_data_point::Value::AsInt(value))) = (who, point.value)
                && metric.name == livekit_otel_model::semconv::metric::STREAM_PACKETS
            {
                let starts = to.packets.entry(who).or_default();
                let highest = starts.entry(point.start_time_unix_nano).or_default();
                *highest = (*highest).max(value);
            }
        }
    }
    names
}
