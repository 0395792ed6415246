//! Connections that fail with a cause where the server speaks another protocol. hyper would say of the same
//! bytes that a frame has an invalid size, or that it can't read the HTTP version.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use thiserror::Error;
use tonic::codegen::Service;

/// The protocol of a server's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unexpected {
    /// HTTP/1, on a connection for gRPC.
    #[error("the answer is HTTP/1, not gRPC")]
    Http1,
    /// An HTTP/2 frame, on a connection for HTTP/1.
    #[error("the answer is HTTP/2, not HTTP/1")]
    Http2,
    /// A TLS record, on a connection without TLS.
    #[error("the answer is TLS, on a connection without TLS")]
    Tls,
    /// Neither of them.
    #[error("the answer is neither HTTP nor TLS")]
    Unknown,
}

/// The protocol that a client expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// HTTP/1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
    /// Whatever the server sends: TLS judges it.
    Any,
}

impl Expected {
    // A server's first HTTP/2 frame holds its settings, and is shorter than 64 KiB (RFC 9113, 3.4 and 4.2). A
    // TLS record of an alert begins with 21 (RFC 8446, 5.1).
    fn judge(self, first: u8) -> Result<(), Unexpected> {
        match (self, first) {
            // The parser of HTTP/1 skips empty lines.
            (Self::Any, _) | (Self::Http2, 0) | (Self::Http1, b'H' | b'\r' | b'\n') => Ok(()),
            (Self::Http1, 0) => Err(Unexpected::Http2),
            (_, 20..=23) => Err(Unexpected::Tls),
            (Self::Http2, b'H') => Err(Unexpected::Http1),
            (Self::Http1 | Self::Http2, _) => Err(Unexpected::Unknown),
        }
    }
}

/// Connects as `C` does. Reading from the connection fails with [`Unexpected`] where the server's first byte is of
/// another protocol.
#[derive(Debug, Clone)]
pub struct Greeting<C> {
    connector: C,
    // Of `http` and of `https` URLs.
    expected: [Expected; 2],
    seen: Seen,
}

/// What the server of the last connection spoke, if that was not expected. A request that waits for its connection is
/// cancelled without a cause where that connection fails.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<AtomicU8>);

impl Seen {
    const ALL: [Unexpected; 4] =
        [Unexpected::Http1, Unexpected::Http2, Unexpected::Tls, Unexpected::Unknown];

    fn set(&self, unexpected: Option<Unexpected>) {
        let place = unexpected.and_then(|of| Self::ALL.iter().position(|each| *each == of));
        let number = place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(0);
        self.0.store(number, Relaxed);
    }

    /// Instead of an error that is a consequence of it.
    pub(crate) fn cause(&self) -> Option<Unexpected> {
        let place = usize::from(self.0.load(Relaxed)).checked_sub(1)?;
        Self::ALL.get(place).copied()
    }
}

impl<C> Greeting<C> {
    /// Expects HTTP/1 of `connector`'s connections, which include TLS.
    pub fn http1(connector: C) -> Self {
        Self { connector, expected: [Expected::Http1; 2], seen: Seen::default() }
    }

    /// Expects HTTP/2 of `connector`'s connections for `http` URLs, and anything for `https` URLs, for which
    /// tonic adds TLS.
    pub fn grpc(connector: C) -> Self {
        Self { connector, expected: [Expected::Http2, Expected::Any], seen: Seen::default() }
    }

    /// What the servers of its connections speak.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.clone()
    }
}

impl<C> Service<Uri> for Greeting<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = Greeted<C::Response>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let expected = self.expected[usize::from(uri.scheme_str() == Some("https"))];
        let (connecting, seen) = (self.connector.call(uri), self.seen());
        seen.set(None);
        Box::pin(
            async move { Ok(Greeted { io: connecting.await?, expected: Some(expected), seen }) },
        )
    }
}

/// A connection of [`Greeting`].
#[derive(Debug)]
pub struct Greeted<T> {
    io: T,
    // Until the first byte.
    expected: Option<Expected>,
    seen: Seen,
}

impl<T: Read + Unpin> Greeted<T> {
    // Reads the first byte, and judges it; `None` at the end.
    fn read_first(
        &mut self,
        expected: Expected,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<u8>>> {
        let mut first = [0];
        let mut read = ReadBuf::new(&mut first);
        ready!(Pin::new(&mut self.io).poll_read(context, read.unfilled()))?;
        let [first] = *read.filled() else { return Poll::Ready(Ok(None)) };
        self.expected = None;
        Poll::Ready(match expected.judge(first) {
            Ok(()) => Ok(Some(first)),
            Err(error) => {
                self.seen.set(Some(error));
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        })
    }

    // A server may answer and close the connection before it has read the request. The answer can be read still: a
    // closed connection is always readable, once the runtime has noticed.
    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(Err(error)) = &written else { return written };
        let Some(expected) = self.expected.filter(|_| is_closed(error)) else { return written };
        match ready!(self.read_first(expected, context)) {
            Err(error) if error.get_ref().is_some_and(|error| error.is::<Unexpected>()) => {
                Poll::Ready(Err(error))
            }
            _ => written,
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl<T: Read + Unpin> Read for Greeted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(expected) = self.expected else {
            return Pin::new(&mut self.io).poll_read(context, to);
        };
        if let Some(first) = ready!(self.read_first(expected, context))? {
            to.put_slice(&[first]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Read + Write + Unpin> Write for Greeted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.written(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.written(written, context)
    }
}

impl<T: Connection> Connection for Greeted<T> {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_shows_the_protocol() {
        use Expected::{Any, Http1, Http2};
        let frame = b"\0\0\x06\x04\0";
        let alert = b"\x15\x03\x03\0\x02";
        for (expected, greeting, judged) in [
            (Http1, &b"HTTP/1.1 200 OK"[..], Ok(())),
            (Http1, b"\r\nHTTP/1.1 200 OK", Ok(())),
            (Http1, frame, Err(Unexpected::Http2)),
            (Http1, alert, Err(Unexpected::Tls)),
            (Http1, b"SSH-2.0-OpenSSH", Err(Unexpected::Unknown)),
            (Http2, frame, Ok(())),
            (Http2, b"HTTP/1.1 400 Bad Request", Err(Unexpected::Http1)),
            (Http2, alert, Err(Unexpected::Tls)),
            (Http2, b"-ERR unknown command", Err(Unexpected::Unknown)),
            (Any, alert, Ok(())),
            (Any, b"SSH-2.0-OpenSSH", Ok(())),
        ] {
            assert_eq!(expected.judge(greeting[0]), judged, "{expected:?} {greeting:?}");
        }
    }
}
