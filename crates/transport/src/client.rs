//! An HTTP client that follows no redirect.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client as Legacy};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

#[cfg(feature = "tls")]
use crate::dial;
pub use crate::dial::CertificatesError;
use crate::dial::{Dialer, ProxyError};
use crate::greeting::{Greeting, Seen};
use crate::proxy::{Proxy, Route};

/// Connects to `http` URLs, and with the feature `tls` to `https` URLs.
#[cfg(feature = "tls")]
pub type Connector = Greeting<hyper_rustls::HttpsConnector<Dialer>>;
/// Connects to `http` URLs, and with the feature `tls` to `https` URLs.
#[cfg(not(feature = "tls"))]
pub type Connector = Greeting<Dialer>;
/// Connects to `http` URLs.
pub type PlainConnector = Greeting<HttpConnector>;

/// Sends requests over HTTP/1.1, and over TLS with the feature `tls`.
pub type Client = Legacy<Connector, Full<Bytes>>;

// Of an answer's body, and of the buffer for its head: hyper may fill it once more before it gives up.
const MAX_ANSWER: usize = 64 * 1024;

/// A request has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no connection, or it broke.
    #[error(transparent)]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// The proxy refused the request.
    #[error("{0}")]
    Proxy(#[from] ProxyError),
}

/// A client for targets of one route.
#[derive(Debug, Clone)]
pub struct Routed {
    client: Client,
    // A proxy that forwards plain HTTP requests, and reads its header from them.
    forwards: Option<Proxy>,
}

impl Routed {
    /// A client with a connector that was made for this route.
    pub fn new(client: Client, route: &Route) -> Self {
        Self { client, forwards: route.proxy().filter(|proxy| proxy.forwards()).cloned() }
    }

    /// Sends a request, and returns once the head of the answer was received.
    ///
    /// # Errors
    /// If there is no answer, or it is the refusal of a proxy that forwards the request.
    pub async fn request(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, RequestError> {
        let Some(proxy) = &self.forwards else { return Ok(self.client.request(request).await?) };
        if let Some(authorization) = proxy.authorization() {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let target = request.uri().clone();
        let answer = self.client.request(request).await?;
        match ProxyError::of_answer(proxy, &target, answer.status(), answer.headers()) {
            Some(refused) => Err(refused.into()),
            None => Ok(answer),
        }
    }
}

/// Reads an answer's body; `None` if it is longer than 64 KiB, or incomplete `within` that time. After a
/// longer body the connection is closed, otherwise it is reused.
pub async fn read(body: Incoming, within: Duration) -> Option<Bytes> {
    let (body, is_whole) = read_beginning(body, within).await;
    is_whole.then_some(body)
}

/// Like [`read`], with what arrived of the body, and whether it is whole.
pub async fn read_beginning(mut body: Incoming, within: Duration) -> (Bytes, bool) {
    let mut read = BytesMut::new();
    let reading = async {
        loop {
            match body.frame().await {
                None => return true,
                Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(_)) => return false,
            }
            if read.len() > MAX_ANSWER {
                return false;
            }
        }
    };
    let is_whole = tokio::time::timeout(within, reading).await.unwrap_or(false);
    read.truncate(MAX_ANSWER);
    (read.freeze(), is_whole)
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
    builder().build(Greeting::http1(tcp()))
}

/// A channel for gRPC. Its errors name the protocol of a server that does not speak gRPC.
#[derive(Debug, Clone)]
pub struct GrpcChannel {
    channel: Channel,
    seen: Seen,
}

impl GrpcChannel {
    fn new(endpoint: &Endpoint, dialer: Dialer) -> Self {
        let connector = Greeting::grpc(dialer);
        let seen = connector.seen();
        Self { channel: endpoint.connect_with_connector_lazy(connector), seen }
    }

    /// The channel, with tonic's own errors.
    pub fn into_inner(self) -> Channel {
        self.channel
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn explained(seen: &Seen, error: tonic::transport::Error) -> BoxError {
    seen.cause().map_or_else(|| error.into(), Into::into)
}

impl Service<Request<Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.channel.poll_ready(context).map_err(|error| explained(&self.seen, error))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answering, seen) = (self.channel.call(request), self.seen.clone());
        Box::pin(async move { answering.await.map_err(|error| explained(&seen, error)) })
    }
}

/// A channel for gRPC that connects directly, at the first call, and again after a connection is lost. `endpoint`
/// has a timeout for connecting, which includes TLS.
pub fn channel(endpoint: &Endpoint) -> GrpcChannel {
    GrpcChannel::new(endpoint, Dialer::direct(tcp()))
}

/// Like [`channel`], by this route. The endpoint's timeout for connecting includes the proxy's answer.
///
/// # Errors
/// With an `https` proxy, if the system's certificates can't be used.
pub fn routed_channel(
    endpoint: &Endpoint,
    route: &Route,
) -> Result<GrpcChannel, CertificatesError> {
    Ok(GrpcChannel::new(endpoint, Dialer::new(tcp(), route.proxy())?))
}

/// Creates a client that connects directly. An answer with a head of more than 128 KiB is an error.
///
/// # Errors
/// With `https`, if the system's certificates can't be used.
pub fn new(https: bool) -> Result<Client, CertificatesError> {
    Ok(builder().build(connector(https, None)?))
}

/// Like [`new`], by this route.
///
/// # Errors
/// With `https`, if the system's certificates can't be used.
pub fn routed(https: bool, route: &Route) -> Result<Routed, CertificatesError> {
    let client = builder().build(connector(https, route.proxy())?);
    Ok(Routed::new(client, route))
}

/// A client that trusts what `config` trusts, over `https` URLs. An answer with a head of more than 128 KiB is an error.
#[cfg(feature = "tls")]
pub fn trusting(config: rustls::ClientConfig) -> Client {
    builder().build(with_tls(Dialer::direct(tcp()), config))
}

fn builder() -> Builder {
    let mut builder = Legacy::builder(TokioExecutor::new());
    // The timer closes idle connections.
    builder.pool_timer(TokioTimer::new()).http1_max_buf_size(MAX_ANSWER);
    builder
}

#[cfg(feature = "tls")]
fn connector(https: bool, proxy: Option<&Proxy>) -> Result<Connector, CertificatesError> {
    Ok(with_tls(Dialer::new(tcp(), proxy)?, dial::system_tls(https)?))
}

#[cfg(not(feature = "tls"))]
fn connector(_: bool, proxy: Option<&Proxy>) -> Result<Connector, CertificatesError> {
    Ok(without_tls(Dialer::new(tcp(), proxy)?))
}

/// Connects through `dialer`, with TLS for `https` URLs.
#[cfg(feature = "tls")]
pub fn with_tls(dialer: Dialer, config: rustls::ClientConfig) -> Connector {
    Greeting::http1(dial::https(dialer, config))
}

/// Connects through `dialer` to `http` URLs.
#[cfg(not(feature = "tls"))]
pub fn without_tls(dialer: Dialer) -> Connector {
    Greeting::http1(dialer)
}
