//! Uploads of agents and plain OTLP, through the sockets of a server.

mod answers;
mod grpc;
mod recordings;
mod repeats;

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use livekit_otel::config::Config;
use livekit_otel::serve::Server;
use livekit_otel_ledger::{Input, Refused};
use livekit_otel_livekit::token;
use livekit_otel_model::Source;
use serde_json::Value;

use crate::serve::{KEY, SECRET, config};

pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const JSON: &str = "application/json";

/// An upload of a capture.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    pub(crate) is_gzip: bool,
}

impl Upload {
    pub(crate) fn source(&self) -> Source {
        match self.path.rsplit('/').find(|part| !["v0", "otlp"].contains(part)) {
            Some("traces") => Source::AgentTraces,
            Some("logs") => Source::AgentLogs,
            Some("metrics") => Source::AgentMetrics,
            _ => Source::AgentRecordings,
        }
    }

    // As it went over the wire.
    fn sent(&self) -> Vec<u8> {
        if self.is_gzip { gzip(&self.body) } else { self.body.clone() }
    }

    async fn send(&self, server: &Server) -> Answer {
        let authorization = authorization();
        let mut headers = vec![
            ("content-type", self.content_type.as_str()),
            ("authorization", authorization.as_str()),
        ];
        headers.extend(self.is_gzip.then_some(("content-encoding", "gzip")));
        post(server, &self.path, &headers, self.sent()).await
    }
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// The uploads of a capture, in their order.
pub(crate) fn captured(name: &str) -> Vec<Upload> {
    let path = format!("{}/tests/captures/agents/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        Upload {
            path: text("path"),
            content_type: text("content_type"),
            body: STANDARD.decode(text("body_base64")).unwrap(),
            is_gzip: text("content_encoding") == "gzip",
        }
    };
    text.lines().map(line).collect()
}

/// The first upload of a source in the ordinary call.
pub(crate) fn first(source: Source) -> Upload {
    captured("ordinary.agents").into_iter().find(|upload| upload.source() == source).unwrap()
}

pub(crate) fn authorization() -> String {
    format!("Bearer {}", token::mint(KEY, SECRET).unwrap())
}

/// An answer: its status, headers and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) async fn post(
    server: &Server,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    post_to(server.http(), path, headers, body).await
}

/// Sends a POST request to a listener.
pub(crate) async fn post_to(
    to: std::net::SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let mut request = Request::post(format!("http://{to}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

/// Sends a GET request to a listener.
pub(crate) async fn get(to: std::net::SocketAddr, path: &str) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.get(format!("http://{to}{path}").parse().unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

/// A server without a collector.
pub(crate) async fn serving(change: impl FnOnce(&mut Config)) -> Server {
    let mut config = config("http://127.0.0.1:1");
    config.shutdown_timeout = std::time::Duration::from_millis(10);
    change(&mut config);
    Server::start(config).await.unwrap()
}

pub(crate) fn row(server: &Server, source: Source) -> Input {
    server.ledger().inputs.into_iter().find(|row| row.source == source).unwrap()
}

pub(crate) fn refused(server: &Server, source: Source, why: Refused) -> u64 {
    row(server, source).refused.iter().find(|(reason, _)| *reason == why).unwrap().1
}
