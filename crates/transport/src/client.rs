//! An HTTP client that follows no redirect.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client as Legacy};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};

use crate::greeting::Greeting;

/// Connects to `http` URLs, and with the feature `tls` to `https` URLs.
#[cfg(feature = "tls")]
pub type Connector = Greeting<hyper_rustls::HttpsConnector<HttpConnector>>;
/// Connects to `http` URLs, and with the feature `tls` to `https` URLs.
#[cfg(not(feature = "tls"))]
pub type Connector = Greeting<HttpConnector>;
/// Connects to `http` URLs.
pub type PlainConnector = Greeting<HttpConnector>;

/// Sends requests over HTTP/1.1, and over TLS with the feature `tls`.
pub type Client = Legacy<Connector, Full<Bytes>>;

// Of an answer's body, and of the buffer for its head: hyper may fill it once more before it gives up.
const MAX_ANSWER: usize = 64 * 1024;

/// The system's certificates can't be used.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct CertificatesError(Box<dyn std::error::Error + Send + Sync>);

/// Reads an answer's body; `None` if it is longer than 64 KiB, or incomplete `within` that time. After a
/// longer body the connection is closed, otherwise it is reused.
pub async fn read(body: Incoming, within: Duration) -> Option<Bytes> {
    let body = Limited::new(body, MAX_ANSWER).collect();
    let body = tokio::time::timeout(within, body).await.ok()?;
    Some(body.ok()?.to_bytes())
}

/// TCP connections without Nagle's algorithm: it holds the last bytes until the receiver's acknowledgement,
/// which Linux delays by 40 ms.
pub fn tcp() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http
}

/// A client for `http` alone. An answer with a head of more than 128 KiB is an error.
pub fn plain() -> Legacy<PlainConnector, Full<Bytes>> {
    builder().build(with_http(tcp()))
}

/// A channel for gRPC that connects at the first call, and again after a connection is lost. `endpoint` has a
/// timeout for connecting, which includes TLS.
pub fn channel(endpoint: &Endpoint) -> Channel {
    let mut tcp = tcp();
    // tonic adds TLS.
    tcp.enforce_http(false);
    endpoint.connect_with_connector_lazy(Greeting::grpc(tcp))
}

/// Creates a client. An answer with a head of more than 128 KiB is an error.
///
/// # Errors
/// With `https`, if the system's certificates can't be used.
pub fn new(https: bool) -> Result<Client, CertificatesError> {
    Ok(builder().build(connector(https)?))
}

fn builder() -> Builder {
    let mut builder = Legacy::builder(TokioExecutor::new());
    // The timer closes idle connections.
    builder.pool_timer(TokioTimer::new()).http1_max_buf_size(MAX_ANSWER);
    builder
}

#[cfg(feature = "tls")]
fn connector(https: bool) -> Result<Connector, CertificatesError> {
    use crate::certificates;

    let config = match certificates::system() {
        Ok(config) => config,
        Err(error) if https => return Err(CertificatesError(error.into())),
        // A system may have no certificates and need none.
        Err(_) => certificates::none().map_err(|error| CertificatesError(error.into()))?,
    };
    Ok(with_tls(tcp(), config))
}

/// Connects through `tcp`, with TLS for `https` URLs.
#[cfg(feature = "tls")]
pub fn with_tls(mut tcp: HttpConnector, config: rustls::ClientConfig) -> Connector {
    tcp.enforce_http(false);
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Greeting::http1(https)
}

/// Connects through `tcp` to `http` URLs.
pub fn with_http(tcp: HttpConnector) -> PlainConnector {
    Greeting::http1(tcp)
}

#[cfg(not(feature = "tls"))]
#[allow(clippy::unnecessary_wraps)] // it fails with TLS only
fn connector(_: bool) -> Result<Connector, CertificatesError> {
    Ok(with_http(tcp()))
}
