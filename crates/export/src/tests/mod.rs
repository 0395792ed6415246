//! Delivery to collectors with scripted answers, over real sockets.

mod answers;
mod dead_letters;
mod dropped;
mod foreign;
#[cfg(feature = "tls")]
mod hints;
pub(crate) mod log;
mod privacy;
mod proxy;
mod queue;
mod reports;
#[cfg(feature = "tls")]
mod tls;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use crate::settings::{Compression, Headers, Protocol, Route, Settings, Target, Tls};
use crate::{Exporter, StartError, encode};
use livekit_otel_durable::journal::DeadLetters;
use livekit_otel_ledger::Output;
use livekit_otel_ledger::{Ledger, Lost};
use livekit_otel_model::Signal;
use livekit_otel_model::event::Time;
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{LogRecord, Severity, Span, SpanKind, Temporality};
use livekit_otel_model::sink::Sink;

type Scripted = Result<ExportLogsServiceResponse, Status>;

/// A collector of logs that gives its scripted answers, then accepts everything.
struct Script {
    answers: Mutex<VecDeque<Scripted>>,
    requests: mpsc::UnboundedSender<(ExportLogsServiceRequest, HeaderMap)>,
}

#[tonic::async_trait]
impl LogsService for Script {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let _ = self.requests.send((request.into_inner(), headers));
        let answer = self.answers.lock().pop_front();
        answer.unwrap_or_else(|| Ok(ExportLogsServiceResponse::default())).map(Response::new)
    }
}

type Requests = mpsc::UnboundedReceiver<(ExportLogsServiceRequest, HeaderMap)>;

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

// An address that is the test's until its process ends. A socket stays bound to it and never listens, so that it
// refuses connections until a listener binds it by its number.
fn reserved() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address
}

fn scripted(answers: Vec<Scripted>) -> (LogsServiceServer<Script>, Requests) {
    let (requests, received) = mpsc::unbounded_channel();
    let script = Script { answers: Mutex::new(answers.into()), requests };
    let service = LogsServiceServer::new(script)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    (service, received)
}

fn serve(listener: TcpListener, answers: Vec<Scripted>) -> Requests {
    let (service, received) = scripted(answers);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    received
}

fn settings(endpoint: &str, protocol: Protocol) -> Settings {
    let target = |enabled| Target {
        enabled,
        endpoint: endpoint.parse().unwrap(),
        protocol,
        headers: Headers(vec![("x-tenant".parse().unwrap(), "a".parse().unwrap())]),
        timeout: Duration::from_secs(5),
        compression: Compression::Gzip,
        tls: Tls::default(),
        route: Route::Direct,
    };
    Settings {
        resource: vec![("service.name".to_owned(), "test".to_owned())],
        traces: target(false),
        logs: target(true),
        metrics: target(false),
        temporality: Temporality::Cumulative,
        privacy: Privacy::Plain,
        max_request_bytes: 100_000,
        max_queue_bytes: 1_000_000,
    }
}

struct Fixture {
    exporter: Exporter,
    ledger: Arc<Ledger>,
    dead_letters: Arc<DeadLetters>,
}

fn exporting(settings: &Settings) -> Fixture {
    let ledger = Arc::new(Ledger::default());
    let dead_letters = Arc::new(DeadLetters::in_memory(1_000_000));
    let exporter = Exporter::start(settings, Arc::clone(&ledger), &dead_letters).unwrap();
    Fixture { exporter, ledger, dead_letters }
}

impl Fixture {
    fn log(&self, names: &[&str]) {
        let logs: Vec<_> = names.iter().map(|name| record(name)).collect();
        self.exporter.logs(&logs);
    }

    async fn shutdown(&self) -> Output {
        self.exporter.shutdown(Instant::now() + Duration::from_secs(10)).await;
        self.logs()
    }

    fn logs(&self) -> Output {
        self.ledger.snapshot().outputs[Signal::Logs as usize].clone()
    }
}

fn lost(output: &Output, why: Lost) -> u64 {
    output.lost.iter().find(|(reason, _)| *reason == why).unwrap().1
}

fn record(name: &str) -> LogRecord {
    let at = Time::from_secs(1_795_406_960).unwrap();
    LogRecord {
        event_name: name.into(),
        time: at,
        observed: at,
        severity: Severity::Info,
        context: Some(([1; 16], [2; 8])),
        attributes: Vec::new(),
    }
}

fn names(request: &ExportLogsServiceRequest) -> Vec<&str> {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.flat_map(|scope| &scope.log_records).map(|log| log.event_name.as_str()).collect()
}

#[tokio::test]
async fn a_record_reaches_the_collector_with_resource_scope_and_headers() {
    let (listener, address) = bound().await;
    let mut received = serve(listener, Vec::new());
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["a", "b"]);
    let (request, headers) = received.recv().await.unwrap();
    assert_eq!(names(&request), ["a", "b"]);
    let resource = &request.resource_logs[0];
    assert_eq!(resource.resource.as_ref().unwrap().attributes[0].key, "service.name");
    assert_eq!(resource.scope_logs[0].scope.as_ref().unwrap().name, "livekit");
    assert_eq!(headers["x-tenant"], "a");
    let output = fixture.shutdown().await;
    assert_eq!((output.accepted, output.delivered, output.waiting()), (2, 2, 0));
}

#[tokio::test]
async fn records_queued_before_the_collector_starts_are_delivered_when_it_does() {
    let address = reserved();
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["early"]);
    // The first attempt has failed once the record is in flight and not delivered.
    tokio::time::timeout(Duration::from_mins(1), async {
        while !fixture.exporter.is_in_flight(Signal::Logs) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let mut received = serve(listener, Vec::new());
    let (request, _) = received.recv().await.unwrap();
    assert_eq!(names(&request), ["early"]);
    assert_eq!(fixture.shutdown().await.delivered, 1);
}

#[tokio::test]
async fn a_partial_success_is_counted_and_not_sent_again() {
    let (listener, address) = bound().await;
    let partial = ExportLogsPartialSuccess { rejected_log_records: 2, ..Default::default() };
    let answer = ExportLogsServiceResponse { partial_success: Some(partial) };
    let mut received = serve(listener, vec![Ok(answer)]);
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["a", "b", "c"]);
    received.recv().await.unwrap();
    let output = fixture.shutdown().await;
    assert_eq!((output.delivered, lost(&output, Lost::Rejected)), (1, 2));
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_down_to_the_record_at_fault() {
    let (listener, address) = bound().await;
    let too_large = || Err(Status::resource_exhausted("message too large"));
    // abcd, then ab, then a are refused for their size; b and cd are accepted.
    let mut received = serve(listener, vec![too_large(), too_large(), too_large()]);
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["a", "b", "c", "d"]);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (request, _) = received.recv().await.unwrap();
        seen.push(names(&request).concat());
    }
    assert_eq!(seen, ["abcd", "ab", "a", "b", "cd"]);
    let output = fixture.shutdown().await;
    assert_eq!((output.delivered, output.dead_letters), (3, 1));
    assert_eq!(fixture.dead_letters.len(), 1);
}

#[tokio::test]
async fn a_refused_request_is_a_dead_letter_and_the_next_one_is_sent() {
    let (listener, address) = bound().await;
    let mut received = serve(listener, vec![Err(Status::invalid_argument("no"))]);
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["a"]);
    received.recv().await.unwrap();
    fixture.log(&["b"]);
    received.recv().await.unwrap();
    let output = fixture.shutdown().await;
    assert_eq!((output.delivered, output.dead_letters, output.waiting()), (1, 1, 0));
}

#[tokio::test]
async fn a_request_that_may_be_accepted_later_is_sent_again() {
    let (listener, address) = bound().await;
    let mut received = serve(listener, vec![Err(Status::unavailable("busy"))]);
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["a"]);
    received.recv().await.unwrap();
    let output = fixture.shutdown().await;
    assert_eq!(names(&received.recv().await.unwrap().0), ["a"]);
    assert_eq!((output.delivered, output.lost_sum()), (1, 0));
}

#[tokio::test]
async fn shutdown_counts_undelivered_records_as_lost() {
    let address = reserved();
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["a", "b"]);
    let undelivered = fixture.exporter.shutdown(Instant::now()).await;
    assert_eq!((undelivered.logs, undelivered.total()), (2, 2));
    let output = fixture.logs();
    assert_eq!((lost(&output, Lost::Shutdown), output.waiting()), (2, 0));
}

#[tokio::test]
async fn a_full_queue_keeps_its_records_and_counts_new_ones_as_lost() {
    let address = reserved();
    let mut settings = settings(&format!("http://{address}"), Protocol::Grpc);
    settings.max_queue_bytes = encode::log(&Privacy::Plain, &record("a")).bytes.len() * 2;
    let fixture = exporting(&settings);
    fixture.log(&["a", "b", "c"]);
    assert_eq!(lost(&fixture.logs(), Lost::QueueFull), 1);
    fixture.exporter.shutdown(Instant::now()).await;
    let output = fixture.logs();
    assert_eq!((lost(&output, Lost::Shutdown), output.waiting()), (2, 0));
}

#[tokio::test]
async fn a_disabled_signal_is_counted_and_not_sent() {
    let fixture = exporting(&settings("http://127.0.0.1:9", Protocol::Grpc));
    let at = Time::from_secs(1_795_406_960).unwrap();
    let span = Span {
        trace_id: [1; 16],
        span_id: [2; 8],
        parent: None,
        name: "room",
        kind: SpanKind::Internal,
        start: at,
        end: at,
        attributes: Vec::new(),
        links: Vec::new(),
    };
    fixture.exporter.spans(&[span]);
    let output = fixture.ledger.snapshot().outputs[Signal::Traces as usize].clone();
    assert_eq!((output.accepted, lost(&output, Lost::Disabled)), (1, 1));
}

const COMPRESSIONS: [(Compression, Option<&str>); 3] = [
    (Compression::None, None),
    (Compression::Gzip, Some("gzip")),
    (Compression::Zstd, Some("zstd")),
];

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn grpc_carries_the_same_request_however_it_is_compressed() {
    let mut requests = Vec::new();
    for (compression, encoding) in COMPRESSIONS {
        let (listener, address) = bound().await;
        let mut received = serve(listener, Vec::new());
        let mut settings = settings(&format!("http://{address}"), Protocol::Grpc);
        settings.logs.compression = compression;
        let fixture = exporting(&settings);
        fixture.log(&["a", "b"]);
        let (request, headers) = received.recv().await.unwrap();
        assert_eq!(header(&headers, "grpc-encoding"), encoding);
        requests.push(request);
        assert_eq!(fixture.shutdown().await.delivered, 2);
    }
    assert_eq!(names(&requests[0]), ["a", "b"]);
    assert!(requests.iter().all(|request| *request == requests[0]));
}

fn decompressed(body: &[u8], encoding: Option<&str>) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut body: Box<dyn std::io::Read> = match encoding {
        None => Box::new(body),
        Some("gzip") => Box::new(flate2::read::GzDecoder::new(body)),
        Some("zstd") => Box::new(zstd::Decoder::new(body).unwrap()),
        Some(other) => panic!("{other}"),
    };
    body.read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test]
async fn http_carries_the_same_request_however_it_is_compressed() {
    let mut requests = Vec::new();
    for (compression, encoding) in COMPRESSIONS {
        let (listener, address) = bound().await;
        let (sender, mut received) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::from([StatusCode::SERVICE_UNAVAILABLE])));
        let handler = move |headers: HeaderMap, body: Bytes| {
            let _ = sender.send((headers, body));
            let answer = answers.lock().pop_front();
            async move { answer.unwrap_or(StatusCode::OK).into_response() }
        };
        let app = axum::Router::new().route("/v1/logs", axum::routing::post(handler));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut settings = settings(&format!("http://{address}/v1/logs"), Protocol::HttpProtobuf);
        settings.logs.compression = compression;
        let fixture = exporting(&settings);
        fixture.log(&["a"]);
        for _ in 0..2 {
            let (headers, body) = received.recv().await.unwrap();
            assert_eq!(headers["content-type"], "application/x-protobuf");
            assert_eq!(headers["x-tenant"], "a");
            assert_eq!(header(&headers, "content-encoding"), encoding);
            requests.push(decompressed(&body, encoding));
        }
        assert_eq!(fixture.shutdown().await.delivered, 1);
    }
    let request = ExportLogsServiceRequest::decode(&requests[0][..]).unwrap();
    assert_eq!(names(&request), ["a"]);
    assert!(requests.iter().all(|request| *request == requests[0]));
}

#[tokio::test]
async fn an_endpoint_without_host_or_http_is_an_error_at_start() {
    for endpoint in ["ftp://collector", "/path"] {
        let ledger = Arc::new(Ledger::default());
        let dead_letters = Arc::new(DeadLetters::in_memory(0));
        let started = Exporter::start(&settings(endpoint, Protocol::Grpc), ledger, &dead_letters);
        assert!(matches!(started, Err(StartError::Endpoint("logs"))), "{endpoint}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_missing_certificate_is_an_error_at_start() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let mut settings = settings("https://collector:4317", protocol);
        settings.logs.tls = Tls::default().with_ca("no/such/file.pem");
        let ledger = Arc::new(Ledger::default());
        let error =
            Exporter::start(&settings, ledger, &Arc::new(DeadLetters::in_memory(0))).unwrap_err();
        let error = livekit_otel_transport::chain(&error);
        assert!(error.contains("no/such/file.pem"), "{error}");
    }
}
