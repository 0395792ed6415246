//! What a collector's answer means for a request: one pure function for each transport
//! (OTLP specification, "Failures" and "OTLP/HTTP response").

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::{Code, Status};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The collector took it, but for `rejected` of its records.
    Delivered {
        /// Records that the collector refused (partial success), never sent again.
        rejected: u64,
    },
    /// It may be taken later; the collector may say how much later.
    Retry {
        /// The collector's own wish.
        after: Option<Duration>,
        /// For the log.
        reason: String,
    },
    /// It is too large: its halves may be taken.
    Halve,
    /// It will never be taken.
    Refused {
        /// For the log.
        reason: String,
    },
}

/// The answer to a request over HTTP.
pub(super) fn of_http(status: StatusCode, retry_after: Option<&str>, body: Bytes) -> Answer {
    match status.as_u16() {
        200..=299 => Answer::Delivered { rejected: rejected(body) },
        429 | 502 | 503 | 504 => {
            // RFC 9110 allows a date too; no collector is known to send one.
            let after = retry_after.and_then(|after| after.trim().parse().ok());
            Answer::Retry { after: after.map(Duration::from_secs), reason: status.to_string() }
        }
        413 => Answer::Halve,
        _ => Answer::Refused { reason: status.to_string() },
    }
}

/// The answer to a request over gRPC.
pub(super) fn of_grpc(answer: Result<Bytes, Status>) -> Answer {
    let status = match answer {
        Ok(body) => return Answer::Delivered { rejected: rejected(body) },
        Err(status) => status,
    };
    let retry_info = retry_info(status.details());
    let reason = reason(&status);
    match status.code() {
        Code::ResourceExhausted if retry_info.is_none() => Answer::Halve,
        Code::OutOfRange if says_too_large(status.message()) => Answer::Halve,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Answer::Retry { after: retry_info, reason },
        // What tonic makes of a connection that broke under a request; a collector's own has no source.
        Code::Unknown | Code::Internal if std::error::Error::source(&status).is_some() => {
            Answer::Retry { after: None, reason }
        }
        _ => Answer::Refused { reason },
    }
}

// The code's name and what stands behind it, for the log.
fn reason(status: &Status) -> String {
    let cause = std::error::Error::source(status);
    let cause = cause.map_or_else(|| status.message().to_owned(), chain);
    let cause: String =
        cause.chars().filter(|each| !each.is_control()).take(LONGEST_REASON).collect();
    format!("{:?}: {cause}", status.code())
}

const LONGEST_REASON: usize = 200;

/// An error and what it is caused by.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Wrappers often say what they wrap.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

// gRPC implementations that answer OutOfRange to a message over their limit.
fn says_too_large(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["too large", "larger than", "too big", "exceed"].iter().any(|words| message.contains(words))
}

// The three responses have their partial success, and that its count, in the same fields.
fn rejected(body: Bytes) -> u64 {
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let rejected = response.partial_success.map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or(0)
}

// google.rpc.Status, Any, RetryInfo and Duration, as far as they matter here.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<AnyMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyMessage {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&info.value[..]).ok()?.delay.unwrap_or_default();
    let (seconds, nanos) = (u64::try_from(delay.seconds), u32::try_from(delay.nanos));
    Some(Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0).min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(answer: &Answer) -> &'static str {
        match answer {
            Answer::Delivered { .. } => "delivered",
            Answer::Retry { .. } => "retry",
            Answer::Halve => "halve",
            Answer::Refused { .. } => "refused",
        }
    }

    #[test]
    fn each_http_status_has_its_meaning() {
        let expected = |status: u16| match status {
            200..=299 => "delivered",
            429 | 502 | 503 | 504 => "retry",
            413 => "halve",
            _ => "refused",
        };
        for status in 100..=599 {
            let answer = of_http(StatusCode::from_u16(status).unwrap(), None, Bytes::new());
            assert_eq!(kind(&answer), expected(status), "{status}");
        }
        let answer = of_http(StatusCode::SERVICE_UNAVAILABLE, Some("7"), Bytes::new());
        assert!(matches!(answer, Answer::Retry { after: Some(after), .. } if after.as_secs() == 7));
    }

    #[test]
    fn each_grpc_code_has_its_meaning() {
        let table = [
            (Code::Cancelled, "retry"),
            (Code::Unknown, "refused"),
            (Code::InvalidArgument, "refused"),
            (Code::DeadlineExceeded, "retry"),
            (Code::NotFound, "refused"),
            (Code::AlreadyExists, "refused"),
            (Code::PermissionDenied, "refused"),
            (Code::ResourceExhausted, "halve"),
            (Code::FailedPrecondition, "refused"),
            (Code::Aborted, "retry"),
            (Code::OutOfRange, "retry"),
            (Code::Unimplemented, "refused"),
            (Code::Internal, "refused"),
            (Code::Unavailable, "retry"),
            (Code::DataLoss, "retry"),
            (Code::Unauthenticated, "refused"),
        ];
        for (code, expected) in table {
            assert_eq!(kind(&of_grpc(Err(Status::new(code, "")))), expected, "{code:?}");
        }
        let too_large = Status::out_of_range("decoded message length too large: found 5 bytes");
        assert_eq!(of_grpc(Err(too_large)), Answer::Halve);
    }

    #[test]
    fn an_exhausted_collector_that_says_when_is_asked_again_then() {
        let info = RetryInfo { delay: Some(Delay { seconds: 2, nanos: 500_000_000 }) };
        let any = AnyMessage {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        let details = RpcStatus { details: vec![any] }.encode_to_vec();
        let status = Status::with_details(Code::ResourceExhausted, "", details.into());
        let Answer::Retry { after, .. } = of_grpc(Err(status)) else { panic!("a retry") };
        assert_eq!(after, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn a_partial_success_counts_what_was_rejected() {
        let body = ExportTraceServiceResponse {
            partial_success: Some(
                opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess {
                    rejected_spans: 3,
                    error_message: "no".to_owned(),
                },
            ),
        };
        let body = Bytes::from(body.encode_to_vec());
        assert_eq!(of_grpc(Ok(body.clone())), Answer::Delivered { rejected: 3 });
        assert_eq!(of_http(StatusCode::OK, None, body), Answer::Delivered { rejected: 3 });
    }
}
