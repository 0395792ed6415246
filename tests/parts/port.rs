//! Ports that must be known before a listener starts.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that belongs to this process until it ends. A socket stays bound to it and never listens, so
/// connections are refused until a server listens there, in any process and as often as it is started. Linux
/// admits a server that binds this number with `SO_REUSEADDR`, as Rust, Go and Java do, and never assigns the
/// port where a free one is requested.
pub(crate) fn reserved_port() -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::mem::forget(socket);
    port
}

/// An address without a listener, until the test starts one.
#[allow(dead_code)] // of tests/it
pub(crate) fn unused_address() -> SocketAddr {
    ([127, 0, 0, 1], reserved_port()).into()
}
