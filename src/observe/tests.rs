//! Lines of the log, and own traces at a collector.

use std::io::Write;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::config::Config;
use livekit_otel_export::settings::{Headers, Protocol};
use livekit_otel_livekit::keys::Keys;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(level: LevelFilter, format: LogFormat, log: impl FnOnce()) -> String {
    let written = Written::default();
    let writer = written.clone();
    let settings = LogSettings { level, format };
    let dispatch = dispatch(settings, None, move || writer.clone(), false);
    dispatcher::with_default(&dispatch, log);
    String::from_utf8(written.0.lock().clone()).unwrap()
}

#[test]
fn noisy_crates_are_logged_at_warn_and_above() {
    let text = logged(LevelFilter::DEBUG, LogFormat::Text, || {
        tracing::debug!(target: "livekit_otel::serve", "ours");
        tracing::info!(target: "h2::codec", "one");
        tracing::info!(target: "hyper_util::client", "two");
        tracing::info!(target: "opentelemetry_sdk", "three");
        tracing::warn!(target: "tonic", "trouble");
    });
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("ours") && text.contains("trouble"));
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn noisy_crates_are_not_logged_below_the_level() {
    let text = logged(LevelFilter::ERROR, LogFormat::Text, || {
        tracing::warn!(target: "tonic", "trouble");
        tracing::error!(target: "tonic", "disaster");
    });
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn json_is_an_object_a_line() {
    let text = logged(LevelFilter::INFO, LogFormat::Json, || tracing::info!(rooms = 2, "open"));
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["message"], &line["rooms"]), (&"open".into(), &2.into()));
}

type Requests = mpsc::UnboundedReceiver<(String, ExportTraceServiceRequest)>;

async fn http_collector() -> (String, Requests) {
    let (sender, requests) = mpsc::unbounded_channel();
    let take = move |headers: HeaderMap, body: Bytes| async move {
        let secret = headers["x-secret"].to_str().unwrap().to_owned();
        sender.send((secret, ExportTraceServiceRequest::decode(body).unwrap())).unwrap();
    };
    let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (endpoint, requests)
}

struct Collector(mpsc::UnboundedSender<(String, ExportTraceServiceRequest)>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let secret = request.metadata().get("x-secret").unwrap().to_str().unwrap().to_owned();
        self.0.send((secret, request.into_inner())).unwrap();
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn grpc_collector() -> (String, Requests) {
    let (sender, requests) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Collector(sender)))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    (endpoint, requests)
}

async fn sent(protocol: Protocol, endpoint: String, mut requests: Requests) {
    let mut settings = Config::for_keys(Keys::default()).export;
    settings.traces.protocol = protocol;
    settings.traces.endpoint = endpoint.parse().unwrap();
    let name = http::HeaderName::from_static("x-secret");
    settings.traces.headers =
        Headers(vec![(name, http::HeaderValue::from_static("100%25 s3cret"))]);
    let provider = own_traces::provider(&settings).unwrap();
    let log = LogSettings { level: LevelFilter::OFF, format: LogFormat::Text };
    let dispatch = dispatch(log, Some(&provider), std::io::sink, false);
    dispatcher::with_default(&dispatch, || {
        tracing::info_span!("ours").in_scope(|| {});
        tracing::info_span!(target: "h2", "theirs").in_scope(|| {});
    });
    Guard(Some(provider)).shutdown().await;
    let (secret, request) = requests.recv().await.unwrap();
    assert_eq!(secret, "100%25 s3cret");
    let resource = request.resource_spans[0].resource.clone().unwrap();
    assert_eq!(resource.attributes.len(), settings.resource.len());
    let scopes = request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
    let names: Vec<_> = scopes.flat_map(|scope| &scope.spans).map(|span| &span.name).collect();
    assert_eq!(names, ["ours"]);
    assert!(requests.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn own_spans_and_no_others_arrive_over_http() {
    let (endpoint, requests) = http_collector().await;
    sent(Protocol::HttpProtobuf, endpoint, requests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_spans_and_no_others_arrive_over_grpc() {
    let (endpoint, requests) = grpc_collector().await;
    sent(Protocol::Grpc, endpoint, requests).await;
}

#[test]
fn own_traces_without_a_runtime_are_refused() {
    let settings = Config::for_keys(Keys::default()).export;
    assert!(matches!(own_traces::provider(&settings), Err(InitError::NoRuntime)));
}
