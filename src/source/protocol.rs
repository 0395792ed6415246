//! What a client speaks to a listener that serves something else, and why a TLS handshake failed: one
//! warning a minute for each cause, with what to do.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::refusals::Warnings;
use livekit_otel_ledger::Listener;

// So many bytes distinguish HTTP/2's preface from a request of HTTP/1.
const ENOUGH: usize = 4;
/// The type of the first record of a TLS connection (RFC 8446, 5.1).
pub(super) const TLS_HANDSHAKE: u8 = 22;

/// The version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Tls,
    Http(Version),
    Other,
}

impl Spoken {
    // `None` if there are too few bytes to know.
    fn of(first: &[u8]) -> Option<Self> {
        if first.first() == Some(&TLS_HANDSHAKE) {
            return Some(Self::Tls);
        }
        let first = first.get(..ENOUGH)?;
        // RFC 9113, 3.4. A method is a token in capital letters.
        Some(match first {
            b"PRI " => Self::Http(Version::Http2),
            _ if first.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b' ') => {
                Self::Http(Version::Http1)
            }
            _ => Self::Other,
        })
    }
}

/// A listener, and the clients that it can't serve.
#[derive(Debug)]
pub(super) struct Clients {
    listener: Listener,
    address: SocketAddr,
    version: Version,
    is_tls: bool,
    warnings: Warnings<&'static str>,
}

impl Clients {
    pub(super) fn new(
        listener: Listener,
        address: SocketAddr,
        version: Version,
        is_tls: bool,
    ) -> Self {
        Self { listener, address, version, is_tls, warnings: Warnings::default() }
    }

    /// The first byte of a connection has arrived.
    pub(super) fn began(&self, first: u8, peer: SocketAddr) {
        if self.is_tls && first != TLS_HANDSHAKE {
            self.warn(
                "plain",
                "a client does not speak TLS to a listener that does. Use https:// in its URL",
                peer,
            );
        } else if !self.is_tls && first == TLS_HANDSHAKE {
            self.warn("tls", self.without_tls(), peer);
        }
    }

    // The first bytes of HTTP, after TLS if there is any.
    fn spoke(&self, spoken: Spoken, peer: SocketAddr) {
        let Spoken::Http(version) = spoken else { return };
        match (self.version, version) {
            (Version::Http1, Version::Http2) => self.warn("http2", self.no_http2(), peer),
            (Version::Http2, Version::Http1) => self.warn("http1", NO_HTTP1, peer),
            _ => {}
        }
    }

    /// The head of a request has too many bytes or headers.
    pub(super) fn sent_too_large_a_head(&self, peer: SocketAddr) {
        self.warn("head_too_large", TOO_LARGE_A_HEAD, peer);
    }

    /// The system accepts no connection.
    pub(super) fn not_accepted(&self, error: &io::Error) {
        let (listener, address) = (self.listener.as_str(), tracing::field::display(self.address));
        let Some(failed) = self.warnings.due("not_accepted", Instant::now()) else { return };
        let hint = limit(error);
        tracing::warn!(listener, address, failed, "a connection can't be accepted: {error}{hint}");
    }

    /// A handshake did not end in time.
    #[cfg(feature = "tls")]
    pub(super) fn was_slow(&self, peer: SocketAddr) {
        self.warn("slow", "a TLS handshake did not end within listen.idle_timeout", peer);
    }

    /// A handshake failed.
    #[cfg(feature = "tls")]
    pub(super) fn failed(&self, error: &io::Error, peer: SocketAddr) {
        let (cause, text) = handshake::cause(error, self.listener, self.no_protocol());
        self.warn(cause, &text, peer);
    }

    fn warn(&self, cause: &'static str, text: &str, peer: SocketAddr) {
        let (listener, address) = (self.listener.as_str(), tracing::field::display(self.address));
        let due = self.warnings.due_from(cause, Some(peer), Instant::now());
        let peer = tracing::field::display(peer);
        // Not "connection refused", which is the error of a client.
        if let Some((refused, peers)) = due {
            let peers = peers.map(tracing::field::display);
            tracing::warn!(
                listener,
                address,
                cause,
                refused,
                peer,
                peers,
                "a connection can't be served: {text}"
            );
        } else {
            tracing::debug!(listener, address, cause, peer, "a connection can't be served: {text}");
        }
    }

    fn without_tls(&self) -> &'static str {
        match self.listener {
            Listener::Webhooks | Listener::Streams => {
                "a client speaks TLS to a listener without. Use http:// in its URL, or set \
                 listen.tls.certificate and listen.tls.key"
            }
            _ => "a client speaks TLS to a listener without. Use http:// in its URL",
        }
    }

    fn no_http2(&self) -> &'static str {
        match self.listener {
            Listener::Webhooks => {
                "a client speaks HTTP/2 to the listener for webhooks, which serves HTTP/1.1. gRPC is for \
                 listen.grpc"
            }
            _ => "a client speaks HTTP/2 to a listener that serves HTTP/1.1",
        }
    }

    #[cfg(feature = "tls")]
    fn no_protocol(&self) -> &'static str {
        match self.version {
            Version::Http1 => "the client offers no HTTP/1.1. gRPC is for listen.grpc",
            Version::Http2 => {
                "the client offers no HTTP/2. Webhooks and uploads over HTTP are for listen.http"
            }
        }
    }
}

// Which limit is reached, if it is one.
fn limit(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(EMFILE) => ". Raise the process's limit of open files (ulimit -n, LimitNOFILE)",
        Some(ENFILE) => ". Raise the system's limit of open files (fs.file-max)",
        _ => "",
    }
}

// Linux, and the BSDs.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

const TOO_LARGE_A_HEAD: &str =
    "the head of a request has more than 32 KiB or 64 headers. Does a proxy add headers?";

const NO_HTTP1: &str = "a client speaks HTTP/1 to the listener for streams, which serves gRPC. Webhooks and uploads \
     over HTTP are for listen.http";

/// A connection whose first bytes show the version of HTTP.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    // Until enough has arrived.
    first: Option<First>,
}

#[derive(Debug)]
struct First {
    bytes: Vec<u8>,
    clients: Arc<Clients>,
    peer: SocketAddr,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, clients: Arc<Clients>, peer: SocketAddr) -> Self {
        Self { stream, first: Some(First { bytes: Vec::new(), clients, peer }) }
    }

    fn arrived(&mut self, bytes: &[u8]) {
        let Some(first) = &mut self.first else { return };
        first.bytes.extend(bytes.iter().take(ENOUGH));
        let Some(spoken) = Spoken::of(&first.bytes) else { return };
        first.clients.spoke(spoken, first.peer);
        self.first = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, to);
        if self.first.is_some() {
            self.arrived(&to.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(feature = "tls")]
mod handshake;

#[cfg(test)]
mod tests;
