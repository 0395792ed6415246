//! Connections, made directly or through a proxy: for requests over plain HTTP the proxy itself, for anything
//! else a tunnel (RFC 9110, 9.3.6).

use std::error::Error;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use thiserror::Error;
use tonic::codegen::Service;

use crate::proxy::{Proxy, host_port};
use crate::words;

// Of the head of the proxy's answer.
const MAX_HEAD: usize = 16 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;

/// The system's certificates can't be used.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct CertificatesError(Box<dyn std::error::Error + Send + Sync>);

/// A connection through a proxy can't be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// There is no connection to the proxy.
    #[error("can't connect to the proxy {proxy} ({})", .proxy.variable())]
    Unreachable {
        /// The proxy.
        proxy: Box<Proxy>,
        /// Why.
        #[source]
        error: BoxError,
    },
    /// The proxy did not answer as one.
    #[error("the proxy {proxy} ({}) does not answer as a proxy", .proxy.variable())]
    NoProxy {
        /// The proxy.
        proxy: Box<Proxy>,
        /// Why.
        #[source]
        error: hyper::Error,
    },
    /// The proxy refused.
    #[error("the proxy {proxy} ({}) answered {status} for {target}", .proxy.variable())]
    Refused {
        /// The proxy.
        proxy: Box<Proxy>,
        /// The target's host and port.
        target: String,
        /// The proxy's answer.
        status: StatusCode,
    },
}

impl ProxyError {
    /// The proxy's error among an error and its causes.
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// The refusal of a plain HTTP request by the proxy itself. `None` if the answer is, by its looks, the target's.
    pub(crate) fn of_answer(
        proxy: &Proxy,
        target: &Uri,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Self> {
        is_of_proxy(status, headers).then(|| {
            let (proxy, target) = (Box::new(proxy.clone()), host_port(target));
            Self::Refused { proxy, target, status }
        })
    }
}

// Proxies answer for themselves by a page for people, which no API does; some say so in a header: Squid, and
// those of RFC 9209 (2.1.1). Pages that say what is too large, or when to retry, are as good as the target's.
fn is_of_proxy(status: StatusCode, headers: &HeaderMap) -> bool {
    match status.as_u16() {
        407 => true,
        413 | 429 => false,
        400..=599 => {
            let of_squid = headers.contains_key("x-squid-error");
            let says = headers.get("proxy-status").map(|value| value.as_bytes());
            let is_error = says.is_some_and(|says| says.windows(6).any(|part| part == b"error="));
            of_squid || is_error || !matches!(status.as_u16(), 502..=504) && words::is_page(headers)
        }
        _ => false,
    }
}

/// Connects to a URL's host, directly or through a proxy.
#[derive(Debug, Clone)]
pub struct Dialer {
    tcp: HttpConnector,
    proxied: Option<(Proxy, ToProxy)>,
}

#[cfg(feature = "tls")]
type ToProxy = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type ToProxy = HttpConnector;

impl Dialer {
    /// Connects by `tcp`.
    pub fn direct(mut tcp: HttpConnector) -> Self {
        tcp.enforce_http(false);
        Self { tcp, proxied: None }
    }

    /// Connects by `tcp`, to the proxy if there is one.
    ///
    /// # Errors
    /// With an `https` proxy, if the system's certificates can't be used.
    pub fn new(mut tcp: HttpConnector, proxy: Option<&Proxy>) -> Result<Self, CertificatesError> {
        tcp.enforce_http(false);
        let proxied = match proxy {
            Some(proxy) => Some((proxy.clone(), to_proxy(tcp.clone(), proxy)?)),
            None => None,
        };
        Ok(Self { tcp, proxied })
    }
}

#[cfg(feature = "tls")]
fn to_proxy(tcp: HttpConnector, proxy: &Proxy) -> Result<ToProxy, CertificatesError> {
    Ok(https(tcp, system_tls(proxy.is_https())?))
}

#[cfg(not(feature = "tls"))]
#[allow(clippy::unnecessary_wraps)] // it fails with TLS only
fn to_proxy(tcp: HttpConnector, _: &Proxy) -> Result<ToProxy, CertificatesError> {
    Ok(tcp)
}

/// Trusts the system's certificates; no server where there are none and `https` is not needed.
///
/// # Errors
/// With `https`, if the system's certificates can't be used.
#[cfg(feature = "tls")]
pub(crate) fn system_tls(https: bool) -> Result<rustls::ClientConfig, CertificatesError> {
    use crate::certificates;

    match certificates::system() {
        Err(error) if https => Err(CertificatesError(error.into())),
        Err(_) => certificates::none().map_err(|error| CertificatesError(error.into())),
        Ok(config) => Ok(config),
    }
}

/// `tcp` has to accept `https` URLs.
#[cfg(feature = "tls")]
pub(crate) fn https<T>(tcp: T, config: rustls::ClientConfig) -> hyper_rustls::HttpsConnector<T> {
    hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp)
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some((proxy, connector)) = &mut self.proxied else {
            let connecting = self.tcp.call(target);
            return Box::pin(async { Ok(Stream::new(connecting.await?, false)) });
        };
        let (proxy, connecting) = (proxy.clone(), connector.call(proxy.uri().clone()));
        Box::pin(async move {
            let to_proxy = connecting.await.map_err(|error| {
                #[allow(clippy::useless_conversion)] // without TLS it is of another type
                let (proxy, error) = (Box::new(proxy.clone()), error.into());
                ProxyError::Unreachable { proxy, error }
            })?;
            if !proxy.forwards() {
                return Ok(tunnel(to_proxy, &proxy, &target).await?);
            }
            Ok(Stream::new(to_proxy, true))
        })
    }
}

async fn tunnel<T>(to_proxy: T, proxy: &Proxy, target: &Uri) -> Result<Stream, ProxyError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let failed = |error| ProxyError::NoProxy { proxy: Box::new(proxy.clone()), error };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder.handshake(to_proxy).await.map_err(failed)?;
    // Ends with the tunnel, or when `sender` is dropped; its error is the request's too.
    tokio::spawn(connection.with_upgrades());
    let target = host_port(target);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = http::Method::CONNECT;
    if let (Ok(uri), Ok(host)) = (target.parse(), target.parse()) {
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, host);
    }
    if let Some(authorization) = proxy.authorization() {
        request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    let answer = sender.send_request(request).await.map_err(failed)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(ProxyError::Refused { proxy: Box::new(proxy.clone()), target, status });
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(failed)?;
    Ok(Stream::new(upgraded, false))
}

trait ReadWrite: Read + Write + Send {}

impl<T: Read + Write + Send> ReadWrite for T {}

/// A connection to a target, or to a proxy that forwards requests.
#[allow(missing_debug_implementations)] // what it wraps has none
pub struct Stream {
    inner: Pin<Box<dyn ReadWrite>>,
    forwards: bool,
}

impl Stream {
    fn new(inner: impl ReadWrite + 'static, forwards: bool) -> Self {
        Self { inner: Box::pin(inner), forwards }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        // hyper then names the whole URL in the request.
        Connected::new().proxy(self.forwards)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner.as_mut().poll_write_vectored(cx, bytes)
    }
}
