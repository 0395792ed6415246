//! Posts uploads to one server, with the retries of LiveKit's agents.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, StatusCode, Uri, response};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use livekit_token::AccessTokenError;
use prost::Message;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::capture::Upload;
use livekit_otel_livekit::{token, uploads};
use livekit_otel_model::Source;
use livekit_otel_model::printable::visible;
use livekit_otel_transport::chain;
use livekit_otel_transport::client::{self, PlainConnector};

// For how long agents send the same again.
const REQUESTS: Duration = Duration::from_secs(10);
const RECORDINGS: Duration = Duration::from_mins(15);
const PAUSE: Duration = Duration::from_secs(1);
// Of an answer's text, in characters.
const SHOWN: usize = 200;

/// Why an upload was not accepted.
#[derive(Debug, Error)]
pub enum UploadError {
    /// The key or the secret is empty.
    #[error("its token can't be signed: {0}")]
    Sign(#[from] AccessTokenError),
    /// The request can't be made.
    #[error("the request can't be made: {0}")]
    Request(#[from] http::Error),
    /// It was answered with an error.
    #[error("it was answered {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// The status of the response.
        status: StatusCode,
        /// The text of the response, safe to show.
        message: String,
    },
    /// The server can't be reached, or the connection broke.
    #[error("it could not be sent: {0}")]
    Unreachable(String),
}

/// The server's address and its API key. Connections are kept open.
pub(crate) struct Uploads {
    client: Client<PlainConnector, Full<Bytes>>,
    base: String,
    key: String,
    secret: String,
}

impl Uploads {
    /// Uploads to the paths after `base`, which is like `LIVEKIT_OBSERVABILITY_URL`.
    pub(crate) fn new(base: &Uri, key: &str, secret: &str) -> Self {
        let base = base.to_string().trim_end_matches('/').to_owned();
        Self { client: client::plain(), base, key: key.to_owned(), secret: secret.to_owned() }
    }

    /// Returns when the upload is acknowledged. Calls `retrying` before each retry.
    pub(crate) async fn send(
        &self,
        source: Source,
        upload: &Upload,
        mut retrying: impl FnMut(),
    ) -> Result<(), UploadError> {
        let path = uploads::path(source).unwrap_or_default();
        let to = format!("{}{path}", self.base);
        let body = if upload.is_gzip { gzip(&upload.body) } else { upload.body.clone() };
        let patience = if source == Source::AgentRecordings { RECORDINGS } else { REQUESTS };
        let deadline = Instant::now() + patience;
        loop {
            let request = self.request(&to, upload, body.clone())?;
            let answer = timeout_at(deadline, self.client.request(request)).await;
            let answer = answer.map_err(|_| {
                UploadError::Unreachable(format!("no response in {} s", patience.as_secs()))
            })?;
            let answer = answer.map_err(|error| UploadError::Unreachable(chain(&error)))?;
            let (head, body) = answer.into_parts();
            // Only a connection whose response was read to the end can be used again.
            let text = client::read(body, deadline.saturating_duration_since(Instant::now())).await;
            if head.status.is_success() {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = retry_after(&head).filter(|wait| *wait < left);
            let Some(wait) = wait else {
                let message = message(&text.unwrap_or_default());
                return Err(UploadError::Refused { status: head.status, message });
            };
            retrying();
            tokio::time::sleep(wait).await;
        }
    }

    fn request(
        &self,
        to: &str,
        upload: &Upload,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, UploadError> {
        let token = format!("Bearer {}", token::mint(&self.key, &self.secret)?);
        // A JWT has only characters that a header may have.
        let mut token = HeaderValue::try_from(token).map_err(|_| AccessTokenError::InvalidKeys)?;
        token.set_sensitive(true);
        let mut request = Request::post(to)
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, &upload.content_type);
        if upload.is_gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        Ok(request.body(Full::new(body))?)
    }
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    drop(encoder.write_all(body));
    encoder.finish().unwrap_or_default().into()
}

// How long to wait before the next attempt; `None` if a retry does not help.
fn retry_after(head: &response::Parts) -> Option<Duration> {
    if !matches!(head.status.as_u16(), 429 | 502..=504) {
        return None;
    }
    let wait = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let wait = wait.and_then(|value| livekit_otel_transport::retry_after(value, SystemTime::now()));
    Some(wait.unwrap_or(PAUSE))
}

// That of a `google.rpc.Status`, as protobuf or JSON.
fn message(body: &[u8]) -> String {
    #[derive(Message)]
    struct Status {
        #[prost(string, tag = "2")]
        message: String,
    }
    let json = || serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = match body.first() {
        Some(b'{') => json().and_then(|status| status["message"].as_str().map(str::to_owned)),
        _ => Status::decode(body).ok().map(|status| status.message),
    };
    visible(&message.unwrap_or_default()).chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const BUSY: &str = "HTTP/1.1 503 Busy\r\nRetry-After: 0";
    const OK: &str = "HTTP/1.1 200 OK";

    // One request: its head in lower case, and its body.
    async fn receive(stream: &mut tokio::net::TcpStream) -> (String, Vec<u8>) {
        let mut read = Vec::new();
        loop {
            stream.read_buf(&mut read).await.unwrap();
            let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(read[..end].to_vec()).unwrap().to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            if read.len() >= end + 4 + length.parse::<usize>().unwrap() {
                return (head, read.split_off(end + 4));
            }
        }
    }

    // Uploads to a server that gives these answers in turn, each with a body.
    async fn uploaded(
        answers: &[(&str, &[u8])],
        source: Source,
        is_gzip: bool,
    ) -> (Result<(), UploadError>, u32, Vec<(String, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/base/", listener.local_addr().unwrap()).parse().unwrap();
        let uploads = Uploads::new(&base, "key", "a-made-up-secret");
        let content_type = HeaderValue::from_static("application/x-protobuf");
        let upload = Upload { content_type, is_gzip, body: Bytes::from_static(b"what was said") };
        let mut retried = 0;
        let sending = uploads.send(source, &upload, || retried += 1);
        let answering = async {
            let mut requests = Vec::new();
            for (head, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                requests.push(receive(&mut stream).await);
                let length = body.len();
                let end = format!("\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                let answer = [head.as_bytes(), end.as_bytes(), body].concat();
                stream.write_all(&answer).await.unwrap();
            }
            requests
        };
        let (sent, requests) = tokio::join!(sending, answering);
        (sent, retried, requests)
    }

    #[tokio::test]
    async fn an_upload_goes_to_its_path_with_its_type_compression_and_a_token() {
        for (source, path, is_gzip) in [
            (Source::AgentTraces, "/observability/traces/otlp/v0", true),
            (Source::AgentRecordings, "/observability/recordings/v0", false),
            (Source::OtlpLogs, "/v1/logs", true),
        ] {
            let (sent, _, requests) = uploaded(&[(OK, b"")], source, is_gzip).await;
            sent.unwrap();
            let [(head, body)] = &requests[..] else { panic!("{requests:?}") };
            assert!(head.starts_with(&format!("post /base{path} ")), "{head}");
            assert!(head.contains("content-type: application/x-protobuf"), "{head}");
            assert!(head.contains("authorization: bearer ey"), "{head}");
            assert_eq!(head.contains("content-encoding: gzip"), is_gzip, "{head}");
            let mut plain = body.clone();
            if is_gzip {
                plain.clear();
                GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
            }
            assert_eq!(plain, b"what was said");
        }
    }

    #[tokio::test]
    async fn a_busy_server_gets_the_same_again() {
        let answers: [(&str, &[u8]); 3] = [(BUSY, b""), (BUSY, b""), (OK, b"")];
        let (sent, retried, requests) = uploaded(&answers, Source::AgentLogs, true).await;
        sent.unwrap();
        assert_eq!((retried, requests.len()), (2, 3));
        assert!(requests.iter().all(|(_, body)| *body == requests[0].1));
    }

    #[tokio::test]
    async fn a_refusal_is_not_retried_and_has_the_text_of_the_status() {
        let protobuf = b"\x08\x05\x12\x08not\x1bhere";
        let json = br#"{"code":5,"message":"not here"}"#;
        let long = "HTTP/1.1 503 Busy\r\nRetry-After: 11";
        let gone = "HTTP/1.1 404 Not Found";
        let cases: [(&str, &[u8], &str); 5] = [
            (gone, protobuf, "it was answered 404 Not Found: not\u{fffd}here"),
            (gone, json, "it was answered 404 Not Found: not here"),
            (gone, b"", "it was answered 404 Not Found"),
            (gone, b"<html>", "it was answered 404 Not Found"),
            // Longer than agents wait.
            (long, b"", "it was answered 503 Service Unavailable"),
        ];
        for (head, body, expected) in cases {
            let (sent, retried, _) = uploaded(&[(head, body)], Source::AgentLogs, false).await;
            assert_eq!((sent.unwrap_err().to_string(), retried), (expected.to_owned(), 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_given_up() {
        let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", deaf.local_addr().unwrap()).parse().unwrap();
        let content_type = HeaderValue::from_static("application/json");
        let upload = Upload { content_type, is_gzip: false, body: Bytes::new() };
        let uploads = Uploads::new(&base, "key", "a-made-up-secret");
        let error = uploads.send(Source::AgentLogs, &upload, || {}).await.unwrap_err();
        assert_eq!(error.to_string(), "it could not be sent: no response in 10 s");
    }
}
