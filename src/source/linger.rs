//! Closes a connection so that the answer arrives. If a connection is closed while its sender still
//! sends a body, the sender gets a reset, which discards the answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

// Limits to reading and discarding the rest of a refused body.
const TIME: Duration = Duration::from_secs(2);
const BYTES: usize = 8 << 20;

/// A connection whose shutdown first reads what still arrives.
#[derive(Debug)]
pub(super) struct Lingering {
    stream: TcpStream,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

impl Lingering {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, closing: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl AsyncWrite for Lingering {
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
        let Self { stream, closing } = &mut *self;
        let closing = match closing {
            Some(closing) => closing,
            None => {
                // Ends the answer, so that its reader need not wait for the rest.
                ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
                closing.insert(Closing { deadline: Box::pin(sleep(TIME)), left: BYTES })
            }
        };
        let mut scratch = [0; 16 << 10];
        loop {
            let mut part = ReadBuf::new(&mut scratch);
            // An end or an error ends the shutdown too.
            let read = Pin::new(&mut *stream).poll_read(context, &mut part);
            let size = part.filled().len();
            match read {
                Poll::Ready(Ok(())) if size > 0 && size < closing.left => closing.left -= size,
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return closing.deadline.as_mut().poll(context).map(Ok),
            }
        }
    }
}
