//! OTLP's gRPC services.

use livekit_otel::serve::Server;
use livekit_otel_ledger::Refused;
use livekit_otel_model::Source;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::answers::spans;
use super::{authorization, first, refused, row, serving};
use crate::serve::stop;

async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.grpc())).unwrap().connect().await.unwrap()
}

fn traces(ids: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(spans(ids).as_slice()).unwrap()
}

#[tokio::test]
async fn each_service_accepts_what_an_agent_records() {
    let server = serving(|_| {}).await;
    let channel = channel(&server).await;
    let body = |source| first(source).body;
    let request = ExportLogsServiceRequest::decode(body(Source::AgentLogs).as_slice()).unwrap();
    LogsServiceClient::new(channel.clone()).export(request).await.unwrap();
    let request =
        ExportMetricsServiceRequest::decode(body(Source::AgentMetrics).as_slice()).unwrap();
    MetricsServiceClient::new(channel.clone()).export(request).await.unwrap();
    let request = ExportTraceServiceRequest::decode(body(Source::AgentTraces).as_slice()).unwrap();
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = TraceServiceClient::new(channel.clone()).send_compressed(encoding);
        let answer = client.export(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.partial_success, None);
    }
    for source in [Source::OtlpTraces, Source::OtlpLogs, Source::OtlpMetrics] {
        assert!(row(&server, source).accepted > 0, "{source:?}");
    }
    let of_traces = row(&server, Source::OtlpTraces);
    assert_eq!(of_traces.duplicates * 2, of_traces.accepted, "the second was a repeat");
    stop(server).await;
}

#[tokio::test]
async fn records_that_can_not_be_used_are_a_partial_success() {
    let server = serving(|_| {}).await;
    let mut client = TraceServiceClient::new(channel(&server).await);
    let answer = client.export(traces(&[1, 0, 0])).await.unwrap().into_inner();
    assert_eq!(answer.partial_success.unwrap().rejected_spans, 2);
    assert_eq!(row(&server, Source::OtlpTraces).accepted, 1);
    stop(server).await;
}

#[tokio::test]
async fn a_proxy_needs_a_token() {
    let server = serving(|_| {}).await;
    let mut client = TraceServiceClient::new(channel(&server).await);
    let mut from_a_proxy = Request::new(traces(&[1]));
    from_a_proxy.metadata_mut().insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    let status = client.export(from_a_proxy).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(refused(&server, Source::OtlpTraces, Refused::NoToken), 1);
    let mut with_a_token = Request::new(traces(&[1]));
    let headers = with_a_token.metadata_mut();
    headers.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    headers.insert("authorization", authorization().parse().unwrap());
    client.export(with_a_token).await.unwrap();
    stop(server).await;
}

#[tokio::test]
async fn what_is_too_large_is_not_sent_again_and_what_is_not_served_is_unimplemented() {
    let server = serving(|config| config.uploads.max_body = 1000).await;
    let mut client = TraceServiceClient::new(channel(&server).await);
    let many: Vec<_> = (1..=200).collect();
    let status = client.export(traces(&many)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(tonic_types::StatusExt::get_error_details(&status).retry_info().is_none());
    assert_eq!(refused(&server, Source::OtlpTraces, Refused::TooLarge), 1);
    stop(server).await;
    let server = serving(|config| config.uploads.enabled = Some(false)).await;
    let mut client = TraceServiceClient::new(channel(&server).await);
    let status = client.export(traces(&[1])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
