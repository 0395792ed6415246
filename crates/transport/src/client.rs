//! The HTTP client: it follows no redirect.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

/// Sends requests over HTTP/1.1, with TLS where the build has it.
pub type Client = Legacy<Connector, Full<Bytes>>;

const MAX_ANSWER: usize = 64 * 1024;

/// An answer's body, where it was whole `within` that time and no longer than 64 KiB. Of one that is longer
/// the connection is closed; one that was read to its end is used again.
pub async fn read(body: Incoming, within: Duration) -> Option<Bytes> {
    let body = Limited::new(body, MAX_ANSWER).collect();
    let body = tokio::time::timeout(within, body).await.ok()?;
    Some(body.ok()?.to_bytes())
}

/// Connections whose last bytes do not wait for an acknowledgement, which Linux delays by 40 ms.
pub fn tcp() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http
}

/// A client for `http` alone.
pub fn plain() -> Legacy<HttpConnector, Full<Bytes>> {
    Legacy::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(tcp())
}

/// With `https`, a system without certificates is an error: why they can't be used.
pub fn new(https: bool) -> Result<Client, String> {
    // The timer closes connections that nothing was sent on for long.
    let mut builder = Legacy::builder(TokioExecutor::new());
    Ok(builder.pool_timer(TokioTimer::new()).build(connector(https)?))
}

#[cfg(feature = "tls")]
fn connector(https: bool) -> Result<Connector, String> {
    use hyper_rustls::ConfigBuilderExt;

    let error = |error: &dyn std::fmt::Display| error.to_string();
    let builder = || {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|failed| error(&failed))
    };
    let config = match builder()?.with_native_roots() {
        Ok(config) => config,
        Err(none) if https => return Err(error(&none)),
        // Some machines have none, and need none; an extra https webhook fails then.
        Err(_) => builder()?.with_root_certificates(rustls::RootCertStore::empty()),
    };
    let mut http = tcp();
    http.enforce_http(false);
    Ok(hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config.with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .wrap_connector(http))
}

#[cfg(not(feature = "tls"))]
#[allow(clippy::unnecessary_wraps)] // with TLS there are certificates to read
fn connector(_: bool) -> Result<Connector, String> {
    Ok(tcp())
}
