//! Agents' HTTP clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use livekit_token::{AccessToken, ObservabilityGrants};

use crate::process::{KEY, SECRET};

/// A connection to a server.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(http: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", http)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a request, which must be accepted.
    pub fn send(&mut self, request: &[u8]) {
        self.0.get_mut().write_all(request).unwrap();
        let (mut status, mut length) = (String::new(), 0);
        self.0.read_line(&mut status).unwrap();
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// The token of an agent.
pub fn token() -> String {
    let write = ObservabilityGrants::default().with_write();
    let token = AccessToken::with_api_key(KEY, SECRET).with_observability_grants(write);
    token.to_jwt().unwrap()
}
