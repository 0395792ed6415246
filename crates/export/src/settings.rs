//! Where the signals go and how: what the configuration decides.

use std::path::PathBuf;
use std::time::Duration;

use crate::privacy::Privacy;
use livekit_otel_model::Signal;
use livekit_otel_model::signal::Temporality;

/// What the exporter is told at start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The resource's attributes, `service.name` first.
    pub resource: Vec<(String, String)>,
    /// Where traces go.
    pub traces: Target,
    /// Where logs go.
    pub logs: Target,
    /// Where metrics go.
    pub metrics: Target,
    /// Whether sums and histograms count from their start or from the last flush.
    pub temporality: Temporality,
    /// What becomes of personal data.
    pub privacy: Privacy,
    /// Largest encoded request, in bytes before compression. Collectors take 4 MiB by default.
    pub max_request_bytes: usize,
    /// How much may wait for delivery, in encoded bytes per signal.
    pub max_queue_bytes: usize,
}

impl Settings {
    /// Where `signal` goes.
    pub fn target(&self, signal: Signal) -> &Target {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }
}

/// One signal's destination.
#[derive(Debug, Clone)]
pub struct Target {
    /// Whether it is sent at all (`OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER=none`, …).
    pub enabled: bool,
    /// The full URL: `http://host:4317` for gRPC, `http://host:4318/v1/traces` for HTTP.
    pub endpoint: http::Uri,
    /// How it is sent.
    pub protocol: Protocol,
    /// Headers of each request. Values may be secrets: `Debug` does not show them.
    pub headers: Headers,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How requests are compressed.
    pub compression: Compression,
    /// Certificates, for `https` endpoints.
    pub tls: Tls,
}

impl Target {
    /// The endpoint for the log: its host, port and path, without a query and credentials.
    pub(super) fn shown(&self) -> String {
        let host = self.endpoint.host().unwrap_or_default();
        let port = self.endpoint.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{host}{port}{}", self.endpoint.path())
    }
}

/// OTLP's two transports with protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

/// Request headers; their values never show in `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(http::HeaderName, http::HeaderValue)>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// PEM files, as the `OTEL_EXPORTER_OTLP_CERTIFICATE` family names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Trusted instead of the system's certificates.
    pub ca: Option<PathBuf>,
    /// The client's certificate, for mTLS.
    pub client_certificate: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
}
