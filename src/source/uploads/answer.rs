//! Answers to uploads: OTLP's responses (OTLP 1.9, "OTLP/HTTP Response" and "OTLP/gRPC Response"), and
//! `google.rpc.Status` for what is refused.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::source::refusals::advice;
use livekit_otel_durable::journal::Journal;
use livekit_otel_ledger::Refused;
use livekit_otel_model::Source;

// A client gives up 10 s after its first attempt, and at once if it should wait for longer than is left.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The encoding of a request, which is also that of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

impl Format {
    /// That of a content type; `None` if it is neither.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let media = value.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else {
            media.eq_ignore_ascii_case("application/x-protobuf").then_some(Self::Protobuf)
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

/// Why an upload is refused. Python's agents stop all uploads of a session at a 401 whose text contains
/// "data recording is disabled" or "disabled by owner": no text here may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    NotServed,
    Unauthorized,
    ContentType,
    Compression,
    /// It has `size` bytes or more, of which `setting` allows `max`.
    TooLarge {
        size: u64,
        max: u64,
        setting: &'static str,
    },
    Malformed,
    Slow,
    Busy(Busy),
}

/// Why an upload should be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// There is no memory for it.
    Memory,
    /// Others needed its memory.
    Displaced,
    /// The journal is above 7/8 of its limit, full, or can't be written; so many bytes did not fit.
    Journal(usize),
    /// A recording can't be written.
    Recording,
}

impl Problem {
    #[cfg(test)]
    const ALL: [Self; 8] = [
        Self::NotServed,
        Self::Unauthorized,
        Self::ContentType,
        Self::Compression,
        Self::TooLarge { size: 2, max: 1, setting: "agents.max_body" },
        Self::Malformed,
        Self::Slow,
        Self::Busy(Busy::Journal(1)),
    ];

    fn text(self) -> &'static str {
        match self {
            Self::NotServed => {
                "uploads are served on loopback addresses only, unless agents.enabled is true"
            }
            Self::Unauthorized => "an access token that grants observability.write is needed",
            Self::ContentType => "the content type is not supported",
            Self::Compression => "only gzip, zstd and identity are supported",
            Self::TooLarge { .. } => "the upload is too large",
            Self::Malformed => "the upload is malformed",
            Self::Slow => "the upload took too long",
            Self::Busy(_) => "busy, try again",
        }
    }

    /// What an operator reads.
    pub(super) fn advice(self, journal: &Journal) -> String {
        match self {
            Self::TooLarge { size, max, setting } => advice::too_large(size, max, setting),
            Self::Busy(busy) => busy.advice(journal),
            problem => problem.text().to_owned(),
        }
    }

    fn is_busy(self) -> bool {
        matches!(self, Self::Busy(_))
    }

    /// The reason that the ledger counts.
    pub(super) fn refused(self) -> Refused {
        match self {
            Self::NotServed => Refused::WrongPath,
            Self::Unauthorized => Refused::Unauthorized,
            Self::TooLarge { .. } => Refused::TooLarge,
            Self::ContentType | Self::Compression | Self::Malformed | Self::Slow => {
                Refused::Malformed
            }
            Self::Busy(_) => Refused::Busy,
        }
    }

    fn http(self) -> StatusCode {
        match self {
            Self::NotServed => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ContentType | Self::Compression => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(self) -> Code {
        match self {
            Self::NotServed | Self::Compression => Code::Unimplemented,
            Self::Unauthorized => Code::Unauthenticated,
            Self::ContentType | Self::Malformed => Code::InvalidArgument,
            // Without a RetryInfo, a client does not send it again.
            Self::TooLarge { .. } => Code::ResourceExhausted,
            Self::Slow => Code::DeadlineExceeded,
            Self::Busy(_) => Code::Unavailable,
        }
    }

    /// As a gRPC status, with a `RetryInfo` if the client should send it again.
    pub(super) fn status(self) -> Status {
        if self.is_busy() {
            let details = ErrorDetails::with_retry_info(Some(RETRY));
            return Status::with_error_details(self.code(), self.text(), details);
        }
        let status = Status::with_error_details(self.code(), self.text(), ErrorDetails::new());
        if self == Self::Compression {
            let mut status = status;
            let known = tonic::metadata::MetadataValue::from_static("identity,gzip,zstd");
            status.metadata_mut().insert("grpc-accept-encoding", known);
            return status;
        }
        status
    }

    /// As an HTTP response with a `google.rpc.Status`.
    pub(super) fn response(self, format: Format) -> Response {
        let body = match format {
            Format::Protobuf => Bytes::copy_from_slice(self.status().details()),
            Format::Json => {
                let mut status = json!({"code": self.code() as i32, "message": self.text()});
                if self.is_busy() {
                    let retry = "type.googleapis.com/google.rpc.RetryInfo";
                    status["details"] = json!([{"@type": retry, "retryDelay": "1s"}]);
                }
                status.to_string().into()
            }
        };
        let mut response = (self.http(), Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, format.content_type());
        if self.is_busy() {
            headers.insert(RETRY_AFTER, RETRY_SECONDS);
        }
        // The rest of the body is not read.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

impl Busy {
    fn advice(self, journal: &Journal) -> String {
        let text = match self {
            Self::Memory => "the memory for unfinished uploads (agents.unfinished) is in use",
            Self::Displaced => {
                "it did not arrive while others waited for its memory (agents.unfinished)"
            }
            Self::Journal(size) => return journal.why_refused(size, true),
            Self::Recording => "its recording can't be written to agents.recordings.dir",
        };
        text.to_owned()
    }
}

/// The response to an accepted request of which `rejected` records can't be used.
pub(super) fn accepted(format: Format, source: Source, rejected: u64) -> Response {
    let body = match format {
        Format::Protobuf => message(rejected),
        Format::Json if rejected == 0 => Bytes::from_static(b"{}"),
        Format::Json => {
            let count = match source {
                Source::AgentTraces | Source::OtlpTraces => "rejectedSpans",
                Source::AgentLogs | Source::OtlpLogs => "rejectedLogRecords",
                _ => "rejectedDataPoints",
            };
            let partial = json!({count: rejected.to_string(), "errorMessage": REJECTED});
            json!({ "partialSuccess": partial }).to_string().into()
        }
    };
    let mut response = Body::from(body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, format.content_type());
    response
}

const REJECTED: &str = "records without a valid id or time, or of an unsupported type";

/// The same as a protobuf message: all three responses have these fields. `partial_success` is field 1; in
/// it the count is field 1, the error message field 2.
pub(super) fn message(rejected: u64) -> Bytes {
    let mut message = BytesMut::new();
    if rejected == 0 {
        return message.freeze();
    }
    let mut partial = BytesMut::new();
    partial.put_u8(1 << 3);
    varint(&mut partial, rejected);
    partial.put_u8(2 << 3 | 2);
    varint(&mut partial, REJECTED.len() as u64);
    partial.put_slice(REJECTED.as_bytes());
    message.put_u8(1 << 3 | 2);
    varint(&mut message, partial.len() as u64);
    message.put_slice(&partial);
    message.freeze()
}

fn varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_silences_an_agent() {
        for problem in Problem::ALL {
            for phrase in ["data recording is disabled", "disabled by owner"] {
                assert!(!problem.text().contains(phrase), "{problem:?}");
            }
        }
    }

    #[test]
    fn only_what_may_be_sent_again_asks_for_it() {
        for problem in Problem::ALL {
            let response = problem.response(Format::Protobuf);
            let retries = response.headers().contains_key(RETRY_AFTER);
            let details = problem.status().get_error_details();
            let delay = details.retry_info().and_then(|info| info.retry_delay);
            assert_eq!(
                (retries, delay),
                match problem {
                    Problem::Busy(_) => (true, Some(RETRY)),
                    _ => (false, None),
                }
            );
            // What clients retry: OTLP 1.9, "Retryable Response Codes" and "Failures".
            assert_eq!(matches!(response.status().as_u16(), 429 | 502..=504), retries);
        }
    }
}
