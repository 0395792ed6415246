//! The program's own traces, sent by the SDK's exporter over connections like those of the telemetry.

use std::collections::HashMap;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Protocol as OtlpProtocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
    tonic_types::metadata::MetadataMap,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{self, SdkTracerProvider, SpanData};
use tokio::runtime::Handle;

use super::InitError;
use livekit_otel_export as export;
use livekit_otel_export::settings::{Protocol, Settings, Target};
use livekit_otel_model::Signal;
use livekit_otel_transport::client::{self, Routed};

/// Sends spans in batches to the target of the traces.
pub(super) fn provider(settings: &Settings) -> Result<SdkTracerProvider, InitError> {
    let runtime = Handle::try_current().map_err(|_| InitError::NoRuntime)?;
    let inner = match settings.traces.protocol {
        Protocol::Grpc => grpc(&settings.traces)?,
        _ => http(&settings.traces)?,
    };
    let attributes = settings.resource.iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone()));
    let resource = Resource::builder_empty().with_attributes(attributes).build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(OnRuntime { inner, runtime })
        .build())
}

fn grpc(target: &Target) -> Result<SpanExporter, InitError> {
    let headers = target.headers.0.iter().cloned().collect();
    Ok(SpanExporter::builder()
        .with_tonic()
        .with_protocol(OtlpProtocol::Grpc)
        .with_channel(export::channel(Signal::Traces, target)?)
        .with_timeout(target.timeout)
        .with_metadata(MetadataMap::from_headers(headers))
        .build()?)
}

fn http(target: &Target) -> Result<SpanExporter, InitError> {
    // The exporter percent-decodes header values.
    let header = |(name, value): &(http::HeaderName, http::HeaderValue)| {
        let value = value.to_str().ok()?.replace('%', "%25");
        Some((name.to_string(), value))
    };
    let headers: HashMap<_, _> = target.headers.0.iter().filter_map(header).collect();
    Ok(SpanExporter::builder()
        .with_http()
        .with_http_client(Client {
            inner: export::client(Signal::Traces, target)?,
            timeout: target.timeout,
        })
        .with_protocol(OtlpProtocol::HttpBinary)
        .with_endpoint(target.endpoint.to_string())
        .with_timeout(target.timeout)
        .with_headers(headers)
        .build()?)
}

/// The client of the telemetry's exporter: the SDK's own knows neither certificates nor proxies.
#[derive(Debug)]
struct Client {
    inner: Routed,
    timeout: Duration,
}

#[tonic::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let answer = self.inner.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            // The status is enough, where the body is too long.
            let body = client::read(body, self.timeout).await.unwrap_or_default();
            Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(self.timeout, exchange).await?
    }
}

/// Enters a runtime to export: the batch processor has a thread of its own, and hyper's client needs a
/// runtime.
#[derive(Debug)]
struct OnRuntime {
    inner: SpanExporter,
    runtime: Handle,
}

impl trace::SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut export = Box::pin(self.inner.export(batch));
        poll_fn(move |cx| {
            let _entered = self.runtime.enter();
            export.as_mut().poll(cx)
        })
        .await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
