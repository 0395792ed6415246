//! OTLP/HTTP with protobuf bodies.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;

use crate::answer::{self, Answer, Asked};
use crate::error::StartError;
use crate::settings::{Compression, Target};
use livekit_otel_model::Signal;
use livekit_otel_transport::client::{self, Connector, Routed};
use livekit_otel_transport::dial::Dialer;

#[derive(Debug)]
pub(crate) struct Http {
    client: Routed,
    endpoint: Uri,
    asked: Asked,
    headers: HeaderMap,
    compression: Compression,
    timeout: Duration,
}

impl Http {
    pub(super) fn new(signal: Signal, target: &Target) -> Result<Self, StartError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &target.headers.0 {
            headers.append(name.clone(), value.clone());
        }
        Ok(Self {
            client: client(signal, target)?,
            endpoint: target.endpoint.clone(),
            asked: Asked::of(target),
            headers,
            compression: target.compression,
            timeout: target.timeout,
        })
    }

    pub(super) async fn send(&self, request: Bytes) -> Answer {
        let began = Instant::now();
        match tokio::time::timeout(self.timeout, self.attempt(request)).await {
            Ok(Ok(response)) => {
                let (head, body) = response.into_parts();
                let left = self.timeout.saturating_sub(began.elapsed());
                let body = client::read_beginning(body, left).await;
                let now = SystemTime::now();
                answer::of_http(head.status, &head.headers, body, now, &self.asked)
            }
            Ok(Err(error)) => {
                let cause = answer::of_error(&*error, &self.asked);
                Answer::Retry { after: None, cause }
            }
            Err(_) => answer::too_late(self.timeout, &self.asked),
        }
    }

    // Returns once the head of the answer was received.
    async fn attempt(
        &self,
        body: Bytes,
    ) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::post(&self.endpoint);
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
        }
        request = request.header(CONTENT_TYPE, "application/x-protobuf");
        let body = match self.compression {
            Compression::None => body,
            Compression::Gzip => {
                request = request.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                gzip(&body)?
            }
            Compression::Zstd => {
                request = request.header(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
                zstd::bulk::compress(&body, zstd::DEFAULT_COMPRESSION_LEVEL)?.into()
            }
        };
        Ok(self.client.request(request.body(Full::new(body))?).await?)
    }
}

pub(super) fn client(signal: Signal, target: &Target) -> Result<Routed, StartError> {
    let client = Client::builder(TokioExecutor::new()).build(connector(signal, target)?);
    Ok(Routed::new(client, &target.route))
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder =
        GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

fn dialer(signal: Signal, target: &Target) -> Result<Dialer, StartError> {
    let mut tcp = client::tcp();
    tcp.set_connect_timeout(Some(target.timeout));
    Dialer::new(tcp, target.route.proxy()).map_err(|error| StartError::tls(signal, error))
}

#[cfg(feature = "tls")]
fn connector(signal: Signal, target: &Target) -> Result<Connector, StartError> {
    use livekit_otel_transport::certificates;

    let config = match target.endpoint.scheme_str() {
        Some("https") => target.tls.for_http(),
        _ => certificates::none().map_err(certificates::TlsError::from),
    };
    let config = config.map_err(|error| StartError::tls(signal, error))?;
    Ok(client::with_tls(dialer(signal, target)?, config))
}

#[cfg(not(feature = "tls"))]
fn connector(signal: Signal, target: &Target) -> Result<Connector, StartError> {
    Ok(client::without_tls(dialer(signal, target)?))
}
