//! OTLP/gRPC.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use crate::answer::{self, Answer, Asked};
use crate::error::StartError;
use crate::settings::{Compression, Target};
use livekit_otel_model::Signal;
use livekit_otel_transport::client::{self, GrpcChannel};
use livekit_otel_transport::frames::RawCodec;
use livekit_otel_transport::frames::status::{ByStatus, MAX_HEADERS};

const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Grpc {
    channel: ByStatus<GrpcChannel>,
    asked: Asked,
    path: &'static str,
    headers: MetadataMap,
    compression: Option<CompressionEncoding>,
    timeout: Duration,
}

impl Grpc {
    pub(super) fn new(signal: Signal, target: &Target) -> Result<Self, StartError> {
        let channel = channel(signal, target)?;
        let mut headers = http::HeaderMap::new();
        for (name, value) in &target.headers.0 {
            headers.append(name.clone(), value.clone());
        }
        Ok(Self {
            channel: ByStatus(channel),
            asked: Asked::of(target),
            path: path(signal),
            headers: MetadataMap::from_headers(headers),
            compression: match target.compression {
                Compression::None => None,
                Compression::Gzip => Some(CompressionEncoding::Gzip),
                Compression::Zstd => Some(CompressionEncoding::Zstd),
            },
            timeout: target.timeout,
        })
    }

    pub(super) async fn send(&self, request: Bytes) -> Answer {
        match tokio::time::timeout(self.timeout, self.attempt(request)).await {
            Ok(answer) => answer::of_grpc(answer, &self.asked),
            Err(_) => answer::too_late(self.timeout, &self.asked),
        }
    }

    async fn attempt(&self, request: Bytes) -> Result<Bytes, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        if let Some(encoding) = self.compression {
            grpc = grpc.send_compressed(encoding);
        }
        grpc.ready().await.map_err(Status::from_error)?;
        let request = Request::from_parts(self.headers.clone(), http::Extensions::new(), request);
        let path = PathAndQuery::from_static(self.path);
        Ok(grpc.unary(request, path, RawCodec).await?.into_inner())
    }
}

pub(super) fn channel(signal: Signal, target: &Target) -> Result<GrpcChannel, StartError> {
    let mut endpoint = Endpoint::from(target.endpoint.clone())
        .connect_timeout(target.timeout)
        // TCP would keep a silent connection for a quarter of an hour.
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .http2_max_header_list_size(MAX_HEADERS);
    if target.endpoint.scheme_str() == Some("https") {
        endpoint = with_tls(endpoint, signal, target)?;
    }
    client::routed_channel(&endpoint, &target.route).map_err(|error| StartError::tls(signal, error))
}

fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

#[cfg(feature = "tls")]
fn with_tls(endpoint: Endpoint, signal: Signal, target: &Target) -> Result<Endpoint, StartError> {
    let config = target.tls.for_grpc().map_err(|error| StartError::tls(signal, error))?;
    endpoint.tls_config(config).map_err(|error| StartError::tls(signal, error))
}

#[cfg(not(feature = "tls"))]
fn with_tls(_: Endpoint, signal: Signal, _: &Target) -> Result<Endpoint, StartError> {
    Err(StartError::NoTls(signal.as_str()))
}
