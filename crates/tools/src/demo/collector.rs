//! An OTLP collector in this process: a gRPC server on a free port that keeps all requests.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1 as logs;
use opentelemetry_proto::tonic::collector::metrics::v1 as metrics;
use opentelemetry_proto::tonic::collector::trace::v1 as trace;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::{Request, Response, Status};

/// The largest message that it accepts, in bytes. This is the default of collectors.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// How long a shutdown waits for open connections.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// The requests that a [`Collector`] has answered, in order for each signal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Received {
    /// Requests with spans.
    pub traces: Vec<trace::ExportTraceServiceRequest>,
    /// Requests with log records.
    pub logs: Vec<logs::ExportLogsServiceRequest>,
    /// Requests with metrics.
    pub metrics: Vec<metrics::ExportMetricsServiceRequest>,
}

/// A running collector. It stops when it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    received: watch::Sender<Received>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Collector {
    /// Starts a collector on a free port of 127.0.0.1, for OTLP over gRPC, plain or with gzip.
    /// Messages over 4 MiB are refused, as collectors do by default.
    ///
    /// # Errors
    /// If no port is available.
    pub async fn start() -> io::Result<Self> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Like [`Collector::start`], on the given address.
    ///
    /// # Errors
    /// If the address can't be used.
    pub async fn start_on(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let received = watch::Sender::new(Received::default());
        let (stop, stopped) = oneshot::channel();
        let router = router(&received);
        let server = tokio::spawn(async move {
            let connections = TcpListenerStream::new(listener);
            let stopped = async { drop(stopped.await) };
            // It ends only by `stop`: a failing connection does not end the server.
            drop(router.serve_with_incoming_shutdown(connections, stopped).await);
        });
        Ok(Self { address, received, stop, server })
    }

    /// Its address in the format of `OTEL_EXPORTER_OTLP_ENDPOINT`: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has received so far.
    pub fn received(&self) -> Received {
        self.received.borrow().clone()
    }

    /// Waits until `wanted` holds for the received requests, and returns them. May wait for ever,
    /// so callers need a timeout.
    pub async fn received_when(&self, wanted: impl FnMut(&Received) -> bool) -> Received {
        let mut watched = self.received.subscribe();
        match watched.wait_for(wanted).await {
            Ok(received) => received.clone(),
            // Not reached: `self` holds the sender.
            Err(_) => self.received(),
        }
    }

    /// Stops it, and returns all received requests. New connections are refused, and connections
    /// that are still open after 2 s are closed by force.
    pub async fn stop(self) -> Received {
        drop(self.stop);
        let mut server = self.server;
        if tokio::time::timeout(STOP_WAIT, &mut server).await.is_err() {
            server.abort();
        }
        self.received.borrow().clone()
    }
}

fn router(received: &watch::Sender<Received>) -> tonic::transport::server::Router {
    let keep = Keep(received.clone());
    let traces = trace::trace_service_server::TraceServiceServer::new(keep.clone())
        .accept_compressed(Gzip)
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let logs = logs::logs_service_server::LogsServiceServer::new(keep.clone())
        .accept_compressed(Gzip)
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let metrics = metrics::metrics_service_server::MetricsServiceServer::new(keep)
        .accept_compressed(Gzip)
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    tonic::transport::Server::builder().add_service(traces).add_service(logs).add_service(metrics)
}

/// The three services. Each keeps the request and answers with success.
#[derive(Clone)]
struct Keep(watch::Sender<Received>);

#[tonic::async_trait]
impl trace::trace_service_server::TraceService for Keep {
    async fn export(
        &self,
        request: Request<trace::ExportTraceServiceRequest>,
    ) -> Result<Response<trace::ExportTraceServiceResponse>, Status> {
        self.0.send_modify(|received| received.traces.push(request.into_inner()));
        Ok(Response::new(trace::ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl logs::logs_service_server::LogsService for Keep {
    async fn export(
        &self,
        request: Request<logs::ExportLogsServiceRequest>,
    ) -> Result<Response<logs::ExportLogsServiceResponse>, Status> {
        self.0.send_modify(|received| received.logs.push(request.into_inner()));
        Ok(Response::new(logs::ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl metrics::metrics_service_server::MetricsService for Keep {
    async fn export(
        &self,
        request: Request<metrics::ExportMetricsServiceRequest>,
    ) -> Result<Response<metrics::ExportMetricsServiceResponse>, Status> {
        self.0.send_modify(|received| received.metrics.push(request.into_inner()));
        Ok(Response::new(metrics::ExportMetricsServiceResponse::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sample;
    use logs::logs_service_client::LogsServiceClient;
    use metrics::metrics_service_client::MetricsServiceClient;
    use trace::trace_service_client::TraceServiceClient;

    #[tokio::test]
    async fn requests_over_grpc_are_received_unchanged() {
        let sent = sample::call();
        let collector = Collector::start().await.unwrap();

        let mut traces = TraceServiceClient::connect(collector.endpoint()).await.unwrap();
        for request in &sent.traces {
            traces.export(request.clone()).await.unwrap();
        }
        let mut logs = LogsServiceClient::connect(collector.endpoint()).await.unwrap();
        for request in &sent.logs {
            logs.export(request.clone()).await.unwrap();
        }
        let mut metrics = MetricsServiceClient::connect(collector.endpoint()).await.unwrap();
        for request in &sent.metrics {
            metrics.export(request.clone()).await.unwrap();
        }

        assert_eq!(collector.received(), sent);
        assert_eq!(collector.stop().await, sent);
    }

    #[tokio::test]
    async fn a_compressed_request_is_accepted() {
        let collector = Collector::start().await.unwrap();
        let client = TraceServiceClient::connect(collector.endpoint()).await.unwrap();
        let request = sample::call().traces.remove(0);

        client.send_compressed(Gzip).export(request.clone()).await.unwrap();

        let received = collector.received_when(|received| !received.traces.is_empty()).await;
        assert_eq!(received.traces, [request]);
    }

    #[tokio::test]
    async fn a_message_over_4_mib_is_refused() {
        let collector = Collector::start().await.unwrap();
        let mut client = TraceServiceClient::connect(collector.endpoint()).await.unwrap();
        let mut request = sample::call().traces.remove(0);
        request.resource_spans[0].schema_url = "x".repeat(MAX_MESSAGE_BYTES);

        let refused = client.export(request).await.unwrap_err();

        assert_eq!(refused.code(), tonic::Code::OutOfRange);
        assert_eq!(collector.received(), Received::default());
    }

    #[tokio::test]
    async fn a_stopped_collector_accepts_no_connection() {
        let collector = Collector::start().await.unwrap();
        let endpoint = collector.endpoint();
        let _idle = TraceServiceClient::connect(endpoint.clone()).await.unwrap();

        collector.stop().await;

        assert!(TraceServiceClient::connect(endpoint).await.is_err());
    }
}
