//! The program as it is installed, and its honest senders.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use livekit_otel_durable::memory;
use livekit_otel_transport::frames::RawCodec;
use livekit_token::AccessToken;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::program::{KEY, Program, SECRET};
use crate::{MEMORY_LIMIT, PATIENCE};

// LiveKit's sender tries for 15 s, and obeys a Retry-After of a second.
const TRIES: usize = 15;

/// A running `serve` with a `memory_limit`.
pub(crate) struct Server {
    pub(crate) program: Program,
    _folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// With more of `listen`.
    pub(crate) fn start_with(listen: &str) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_livekit-otel")), listen)
    }

    /// With no more file descriptors than an option of `ulimit` lets it have.
    pub(crate) fn start_limited(ulimit: &str) -> Self {
        let mut shell = Command::new("/bin/sh");
        let run = format!("ulimit {ulimit}; exec \"$0\" \"$@\"");
        shell.args(["-c", &run, env!("CARGO_BIN_EXE_livekit-otel")]);
        Self::start_by(shell, "")
    }

    fn start_by(command: Command, listen: &str) -> Self {
        crate::many_files();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("livekit-otel.yaml");
        let text = format!(
            "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'{listen}}}\n\
             memory_limit: {MEMORY_LIMIT}\n\
             export: {{endpoint: 'http://127.0.0.1:1'}}\nshutdown_timeout: 1s\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { program: Program::start_by(command, &config), _folder: folder }
    }

    /// Its memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        memory::resident(Some(self.program.child.id())).unwrap()
    }

    // A webhook's last answer. LiveKit's sender obeys a 503's Retry-After, for a time.
    async fn accepted_webhook(&self) -> String {
        for _ in 1..TRIES {
            let answer = webhook(&self.program.http);
            if !answer.starts_with("HTTP/1.1 503") {
                return answer;
            }
            assert!(answer.contains("retry-after: "), "{answer}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        webhook(&self.program.http)
    }

    /// All that an operator and a LiveKit server expect of it, while it is abused.
    pub(crate) async fn is_well(&self) {
        let resident = self.resident();
        assert!(resident < MEMORY_LIMIT, "it takes {} MiB", resident >> 20);
        for path in ["/healthz", "/readyz", "/status", "/metrics"] {
            let answer = get(&self.program.admin, path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
        for path in ["/healthz", "/readyz"] {
            let answer = get(&self.program.http, path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
        let answer = self.accepted_webhook().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        tokio::time::timeout(PATIENCE, stream(&self.program.grpc)).await.unwrap().unwrap();
    }
}

/// What a probe gets; nothing where it has to wait for too long.
pub(crate) fn get(to: &str, path: &str) -> String {
    exchange(
        to,
        &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"),
        PATIENCE,
    )
}

/// What is answered to a request within a time.
pub(crate) fn exchange(to: &str, request: &str, within: Duration) -> String {
    let deadline = Instant::now() + within;
    let mut stream = TcpStream::connect_timeout(&to.parse().unwrap(), within).unwrap();
    stream.set_read_timeout(Some(within)).unwrap();
    // It may be closed before all of it is written.
    let _ = stream.write_all(request.as_bytes());
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut part)
        && Instant::now() < deadline
    {
        answer.extend_from_slice(&part[..n]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A token for a webhook's body.
pub(crate) fn signed(body: &[u8]) -> String {
    let token = AccessToken::with_api_key(KEY, SECRET);
    token.with_sha256(&STANDARD.encode(Sha256::digest(body))).to_jwt().unwrap()
}

/// Sends a webhook as a server does, and returns the answer.
pub(crate) fn webhook(to: &str) -> String {
    let body = r#"{"event":"room_started","id":"EV_1","room":{"sid":"RM_1"}}"#;
    let (token, length) = (signed(body.as_bytes()), body.len());
    let request = format!(
        "POST /webhook HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: {token}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    exchange(to, &request, PATIENCE)
}

/// Opens a stream of events, ends it, and has it acknowledged.
pub(crate) async fn stream(to: &str) -> Result<(), tonic::Status> {
    let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap();
    let channel: Channel = endpoint.connect().await.map_err(|error| failed(&error))?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| failed(&error))?;
    let path = "/livekit.AnalyticsRecorderService/IngestEvents".parse().unwrap();
    // AnalyticsEvents { events: [ { room_id: "RM_1" } ] }
    let message = Bytes::from_static(b"\x0a\x06\x1a\x04RM_1");
    let request = tonic::Request::new(tokio_stream::iter([message]));
    grpc.client_streaming(request, path, RawCodec).await.map(drop)
}

fn failed(error: &tonic::transport::Error) -> tonic::Status {
    tonic::Status::unavailable(error.to_string())
}
