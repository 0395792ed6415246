//! The floor of intake: a bare hyper server in a process of its own, which reads the same bodies and
//! answers 200. It verifies, decodes and stores nothing.

use std::convert::Infallible;
use std::process::Command;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The argument that makes this bench the server; its port follows.
pub const ARGUMENT: &str = "floor-server";

pub fn command(port: u16) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([ARGUMENT, &port.to_string()]);
    command
}

/// Serves until it is killed.
pub fn serve(port: u16) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            // A client that hangs up is no concern of the floor.
            tokio::spawn(async move { connection.await.ok() });
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    assert!(body.is_ok_and(|body| !body.to_bytes().is_empty()), "a webhook has a body");
    Ok(Response::new(Full::default()))
}
