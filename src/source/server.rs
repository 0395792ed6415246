//! Serves a listener. Its connections are tasks of this crate, since those of axum and tonic can't be
//! aborted.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::codegen::Service;

use super::Peer;
use super::connections::{Connections, OpenRequest, Place};
use super::linger::Lingering;
#[cfg(feature = "tls")]
use super::protocol::TLS_HANDSHAKE;
use super::protocol::{Clients, Watched};
use super::tasks::{Tasks, stopped};
use super::tls::Acceptor;

// Between attempts to accept after an error, such as that no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
// For the last frames of an idle connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// A listener, and what it serves.
pub(super) struct Server {
    pub(super) listener: TcpListener,
    pub(super) router: Router,
    pub(super) builder: Builder<Tasks>,
    pub(super) tls: Option<Acceptor>,
    pub(super) connections: Connections,
    pub(super) clients: Arc<Clients>,
}

impl Server {
    /// Accepts connections until `stop`.
    pub(super) async fn serve(self, tasks: Tasks, stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stopped(stop.clone()) => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = tokio::select! {
                        () = stopped(stop.clone()) => return,
                        place = self.connections.place() => Arc::new(place),
                    };
                    let router = self.router.clone();
                    let clients = Arc::clone(&self.clients);
                    let service = Served { router, place: Arc::clone(&place), peer, clients };
                    let (tls, builder) = (self.tls.clone(), self.builder.clone());
                    let serving = connection(stream, tls, builder, service, stop.clone());
                    tasks.spawn(async move {
                        tokio::select! {
                            () = serving => {}
                            () = place.displaced() => {}
                        }
                    });
                }
                Err(error) => {
                    self.clients.not_accepted(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Acceptor>,
    builder: Builder<Tasks>,
    service: Served,
    stop: watch::Receiver<bool>,
) {
    // A sender waits for its small answer. Without this option, the answer is only late.
    let _ = stream.set_nodelay(true);
    // hyper's HTTP/2 has no time limit for the first bytes, and no graceful shutdown before them.
    let mut byte = [0];
    let first = tokio::select! {
        first = stream.peek(&mut byte) => first,
        () = service.place.idle() => return,
        () = stopped(stop.clone()) => return,
    };
    if !matches!(first, Ok(1)) {
        return;
    }
    service.clients.began(byte[0], service.peer);
    let stream = Lingering::new(stream);
    let Some(tls) = tls else { return serve_http(stream, builder, service, stop).await };
    // A handshake has the time limit of a request's head.
    #[cfg(feature = "tls")]
    tokio::select! {
        accepted = tls.accept(stream) => match accepted {
            Ok(stream) => serve_http(stream, builder, service, stop).await,
            // A client without TLS is reported already.
            Err(error) if byte[0] == TLS_HANDSHAKE => service.clients.failed(&error, service.peer),
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        },
        () = service.place.idle() => service.clients.was_slow(service.peer),
    }
    #[cfg(not(feature = "tls"))]
    drop(tls);
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    builder: Builder<Tasks>,
    service: Served,
    stop: watch::Receiver<bool>,
) {
    let (place, peer) = (Arc::clone(&service.place), service.peer);
    let clients = Arc::clone(&service.clients);
    let stream = Watched::new(stream, Arc::clone(&clients), peer);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = place.idle() => {
            serving.as_mut().graceful_shutdown();
            let Ok(ended) = tokio::time::timeout(FAREWELL, serving).await else { return };
            ended
        }
        () = stopped(stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        let is_too_large = error.downcast_ref().is_some_and(hyper::Error::is_parse_too_large);
        if is_too_large {
            clients.sent_too_large_a_head(peer);
        } else {
            tracing::debug!(%error, "a connection broke off");
        }
    }
}

/// A router. Each request has its connection and its peer as extensions, and keeps the connection in use.
#[derive(Clone)]
struct Served {
    router: Router,
    place: Arc<Place>,
    peer: SocketAddr,
    clients: Arc<Clients>,
}

impl hyper::service::Service<Request<Incoming>> for Served {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let open = self.place.request();
        request.extensions_mut().insert(Arc::clone(self.place.usage()));
        request.extensions_mut().insert(Peer(self.peer));
        let mut router = self.router.clone();
        Box::pin(async move {
            let response = router.call(request).await?;
            Ok(response.map(|body| Answer { body, _open: open }))
        })
    }
}

/// The body of an answer, which keeps its request open.
struct Answer {
    body: Body,
    _open: OpenRequest,
}

impl hyper::body::Body for Answer {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
