//! Posts uploads to one server, and again as long as it does not acknowledge them.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, StatusCode, response};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use livekit_token::AccessTokenError;
use prost::Message;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::capture::Upload;
use crate::destination::{Destination, Failure, Notices, Patience};
use livekit_otel_livekit::{token, uploads};
use livekit_otel_model::Source;
use livekit_otel_model::printable::visible;
use livekit_otel_transport::client;
use livekit_otel_transport::hint::{Attempt, Protocol};

// How long agents wait for an answer.
const REQUESTS: Duration = Duration::from_secs(10);
const RECORDINGS: Duration = Duration::from_mins(15);
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
    #[error("{to} answered {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// The server.
        to: Attempt,
        /// The status of the response.
        status: StatusCode,
        /// The text of the response, safe to show.
        message: String,
    },
    /// The server can't be reached, or is not able to accept it.
    #[error("{to} acknowledged no upload in {} s: {why}", .after.as_secs())]
    Away {
        /// The server.
        to: Attempt,
        /// How long it was sent again.
        after: Duration,
        /// The last failure.
        why: Box<Failure>,
    },
}

// A failed attempt.
enum Failed {
    // Another attempt would fail too.
    ForGood(UploadError),
    // The server may have asked for a pause.
    ForNow { why: Failure, asked: Option<Duration> },
}

/// The server's address and its API key. Connections are kept open.
pub(crate) struct Uploads {
    client: Client<client::PlainConnector, Full<Bytes>>,
    base: String,
    address: Attempt,
    key: String,
    secret: String,
    retry_for: Duration,
    notices: Notices,
}

impl Uploads {
    /// Uploads to the paths after a base, which is like `LIVEKIT_OBSERVABILITY_URL`.
    pub(crate) fn new(to: &Destination) -> Self {
        Self {
            client: client::plain(),
            base: to.uploads.to_string().trim_end_matches('/').to_owned(),
            address: Self::address(to),
            key: to.key.clone(),
            secret: to.secret.clone(),
            retry_for: to.retry_for,
            notices: Notices::default(),
        }
    }

    pub(crate) fn address(to: &Destination) -> Attempt {
        Attempt::new(&to.uploads, Protocol::Http)
    }

    /// Returns when the upload is acknowledged. Calls `retrying` before each retry.
    pub(crate) async fn send(
        &self,
        source: Source,
        upload: &Upload,
        mut retrying: impl FnMut(),
    ) -> Result<(), UploadError> {
        let body = if upload.is_gzip { gzip(&upload.body) } else { upload.body.clone() };
        let mut patience = Patience::new(self.retry_for);
        loop {
            let (why, asked) = match self.attempt(source, upload, body.clone()).await {
                Ok(()) => return Ok(()),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::ForNow { why, asked }) => (why, asked),
            };
            let pause = patience.pause(asked).filter(|_| !why.is_for_good());
            let Some(pause) = pause else {
                let (to, after) = (self.address.clone(), patience.spent());
                return Err(UploadError::Away { to, after, why: Box::new(why) });
            };
            // A busy server is not away.
            if asked.is_none() {
                self.notices.note(&self.address, &why.to_string());
            }
            retrying();
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, source: Source, upload: &Upload, body: Bytes) -> Result<(), Failed> {
        let to = format!("{}{}", self.base, uploads::path(source).unwrap_or_default());
        let request = self.request(&to, upload, body).map_err(Failed::ForGood)?;
        let limit = if source == Source::AgentRecordings { RECORDINGS } else { REQUESTS };
        let deadline = Instant::now() + limit;
        let for_now = |why| Failed::ForNow { why, asked: None };
        let answer = timeout_at(deadline, self.client.request(request)).await;
        let answer = answer
            .map_err(|_| for_now(Failure::new(format!("no response in {} s", limit.as_secs()))))?;
        let answer = answer.map_err(|error| for_now(Failure::of(&error, &self.address)))?;
        let (head, body) = answer.into_parts();
        // Only a connection whose response was read to the end can be used again.
        let text = client::read(body, deadline.saturating_duration_since(Instant::now())).await;
        if head.status.is_success() {
            return Ok(());
        }
        let (to, status) = (self.address.clone(), head.status);
        let message = message(&text.unwrap_or_default());
        let refused = UploadError::Refused { to, status, message };
        // What agents send again.
        if !matches!(status.as_u16(), 429 | 502..=504) {
            return Err(Failed::ForGood(refused));
        }
        Err(Failed::ForNow { why: Failure::new(refused.to_string()), asked: retry_after(&head) })
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

fn retry_after(head: &response::Parts) -> Option<Duration> {
    let wait = head.headers.get(RETRY_AFTER)?.to_str().ok()?;
    livekit_otel_transport::retry_after(wait, SystemTime::now())
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
    use crate::destination::tests::destination;

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
        let uploads = Uploads::new(&destination(listener.local_addr().unwrap()));
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
        let long = "HTTP/1.1 503 Busy\r\nRetry-After: 31";
        let gone = "HTTP/1.1 404 Not Found";
        let cases: [(&str, &[u8], &str); 5] = [
            (gone, protobuf, "answered 404 Not Found: not\u{fffd}here"),
            (gone, json, "answered 404 Not Found: not here"),
            (gone, b"", "answered 404 Not Found"),
            (gone, b"<html>", "answered 404 Not Found"),
            // Longer than it is sent again.
            (long, b"", "answered 503 Service Unavailable"),
        ];
        for (head, body, expected) in cases {
            let (sent, retried, _) = uploaded(&[(head, body)], Source::AgentLogs, false).await;
            let error = sent.unwrap_err().to_string();
            assert!(error.starts_with("127.0.0.1:") && error.ends_with(expected), "{error}");
            assert!(error.contains(" (http) ") && retried == 0, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_given_up() {
        let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = deaf.local_addr().unwrap();
        let content_type = HeaderValue::from_static("application/json");
        let upload = Upload { content_type, is_gzip: false, body: Bytes::new() };
        let uploads = Uploads::new(&destination(at));
        let error = uploads.send(Source::AgentLogs, &upload, || {}).await.unwrap_err();
        let expected = format!("{at} (http) acknowledged no upload in 37 s: no response in 10 s");
        assert_eq!(error.to_string(), expected);
    }
}
