//! A collector that remembers each record that it took, and is away when it is asked to be: it then
//! answers 503 on the connections that it has, and closes new ones.

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use tokio::net::TcpListener;

use crate::collector::text;
use livekit_otel_model::hex;

/// What was taken.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The ids of log records.
    pub(crate) events: BTreeSet<String>,
    /// Participants that have a span of their own.
    pub(crate) participants: BTreeSet<String>,
    /// A digest of each record's identity.
    pub(crate) records: HashSet<u64>,
    /// Records that were there before.
    pub(crate) repeated: Vec<String>,
    /// How many requests were taken.
    pub(crate) taken: u64,
    /// How many connections and requests were refused.
    pub(crate) refused: u64,
}

/// A running sink.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    pub(crate) port: u16,
    pub(crate) state: Arc<Mutex<State>>,
    is_away: Arc<AtomicBool>,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sink = Self { port, state: Arc::default(), is_away: Arc::default() };
        tokio::spawn(sink.clone().accept(listener));
        sink
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Relaxed);
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if self.is_away.load(Relaxed) {
                self.state.lock().unwrap().refused += 1;
                continue;
            }
            let sink = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| sink.answer(request));
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let answer = Response::builder();
        let body = match request.into_body().collect().await {
            Ok(body) if !self.is_away.load(Relaxed) => body.to_bytes(),
            _ => {
                self.state.lock().unwrap().refused += 1;
                let answer = answer.status(StatusCode::SERVICE_UNAVAILABLE);
                return Ok(answer.header(CONNECTION, "close").body(Full::default()).unwrap());
            }
        };
        let mut state = self.state.lock().unwrap();
        state.taken += 1;
        match &*path {
            "/v1/traces" => state.traces(body),
            "/v1/logs" => state.logs(body),
            _ => state.metrics(body),
        }
        Ok(answer.body(Full::default()).unwrap())
    }
}

impl State {
    fn took(&mut self, name: &str, identity: impl Hash) {
        let mut hasher = DefaultHasher::new();
        (name, identity).hash(&mut hasher);
        if !self.records.insert(hasher.finish()) {
            self.repeated.push(name.to_owned());
        }
    }

    fn traces(&mut self, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request.resource_spans.iter().flat_map(|one| &one.scope_spans);
        for span in scopes.flat_map(|one| &one.spans) {
            if span.name == "participant" {
                self.participants.extend(text(&span.attributes, "lk.participant_id"));
            }
            self.took(&format!("span {} {}", span.name, hex(&span.span_id)), ());
        }
    }

    fn logs(&mut self, body: Bytes) {
        let request = ExportLogsServiceRequest::decode(body).unwrap();
        let scopes = request.resource_logs.iter().flat_map(|one| &one.scope_logs);
        for log in scopes.flat_map(|one| &one.log_records) {
            let Some(id) = text(&log.attributes, "log.record.uid") else { continue };
            self.took(&format!("log {} {id}", log.event_name), ());
            self.events.insert(id);
        }
    }

    // What the program counts of itself is sent again and again, with other times.
    fn metrics(&mut self, body: Bytes) {
        let request = ExportMetricsServiceRequest::decode(body).unwrap();
        let scopes = request.resource_metrics.iter().flat_map(|one| &one.scope_metrics);
        for metric in scopes.flat_map(|one| &one.metrics) {
            let points: Vec<(u64, Vec<u8>)> = match metric.data.as_ref().unwrap() {
                Data::Gauge(gauge) => gauge.data_points.iter().map(point).collect(),
                Data::Sum(sum) => sum.data_points.iter().map(point).collect(),
                _ => continue,
            };
            for (at, identity) in points {
                self.took(&format!("point {} {at}", metric.name), identity);
            }
        }
    }
}

fn point(point: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint) -> (u64, Vec<u8>) {
    // All of the point: a series' last point and its end are of one time.
    (point.time_unix_nano, point.encode_to_vec())
}
