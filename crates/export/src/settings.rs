//! Settings of the exporter: where each signal is sent, and how.

use std::time::Duration;

use livekit_otel_model::Signal;
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::Temporality;
use livekit_otel_transport::hint::{self, Attempt};
pub use livekit_otel_transport::proxy::Route;
use livekit_otel_transport::secrets::Secrets;
pub use livekit_otel_transport::tls::Tls;

/// Settings of an exporter.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The resource's attributes, `service.name` first.
    pub resource: Vec<(String, String)>,
    /// Where traces are sent.
    pub traces: Target,
    /// Where logs are sent.
    pub logs: Target,
    /// Where metrics are sent.
    pub metrics: Target,
    /// Whether sums and histograms count from their start or from the last flush.
    pub temporality: Temporality,
    /// Whether personal data is kept, hashed or left out.
    pub privacy: Privacy,
    /// The largest request, in bytes before compression. Collectors accept 4 MiB by default.
    pub max_request_bytes: usize,
    /// How much of each signal may wait in memory, in encoded bytes.
    pub max_queue_bytes: usize,
}

impl Settings {
    /// Where `signal` is sent.
    pub fn target(&self, signal: Signal) -> &Target {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }
}

/// Where and how one signal is sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Target {
    /// Whether it is sent at all (`OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER=none`, …).
    pub enabled: bool,
    /// The full URL: `http://host:4317` for gRPC, `http://host:4318/v1/traces` for HTTP.
    pub endpoint: http::Uri,
    /// The transport.
    pub protocol: Protocol,
    /// Headers of each request. Values may be secrets: `Debug` does not show them.
    pub headers: Headers,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How requests are compressed.
    pub compression: Compression,
    /// Certificates, for `https` endpoints.
    pub tls: Tls,
    /// The proxy, if the environment's variables name one for this endpoint.
    pub route: Route,
}

impl Target {
    /// An attempt to send a request there.
    pub fn attempt(&self) -> Attempt {
        let protocol = match self.protocol {
            Protocol::Grpc => hint::Protocol::OtlpGrpc,
            Protocol::HttpProtobuf => hint::Protocol::OtlpHttp,
        };
        Attempt::new(&self.endpoint, protocol).by(&self.route)
    }

    /// What no text about its requests may show.
    pub(super) fn secrets(&self) -> Secrets {
        Secrets::new(&self.endpoint, self.headers.0.iter().map(|(_, value)| value))
    }

    /// The endpoint for the log: host, port and path, without query and credentials.
    pub(super) fn printable(&self) -> String {
        let host = self.endpoint.host().unwrap_or_default();
        let port = self.endpoint.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{host}{port}{}", self.endpoint.path())
    }
}

/// OTLP's two transports with protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

/// Request headers. `Debug` shows their names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(http::HeaderName, http::HeaderValue)>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
