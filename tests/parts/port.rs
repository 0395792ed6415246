//! Ports that have to be known before somebody listens at them.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that belongs to this process until it ends. A socket stays bound to it and never listens, so
/// connections are refused until a server listens there, in any process and as often as it is started. Linux
/// admits a server that binds this number with `SO_REUSEADDR`, as Rust, Go and Java do, and gives the port to
/// nobody who asks for a free one.
pub(crate) fn reserved_port() -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::mem::forget(socket);
    port
}

/// An address at which nobody listens, unless the test does.
#[allow(dead_code)] // of tests/it
pub(crate) fn nobody() -> SocketAddr {
    ([127, 0, 0, 1], reserved_port()).into()
}
