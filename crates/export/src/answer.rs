//! What a collector's answer means for a request: one pure function for each transport
//! (OTLP specification, "Failures" and "OTLP/HTTP response").
//!
//! The status decides. A body only adds how many records were rejected, or when to retry, so a body that is
//! too long, cut off or unreadable changes nothing. The specification names 200 alone as a success and
//! leaves other codes to HTTP, where any 2xx is a success (RFC 9110, 15.3). An HTML page or a
//! redirect does not come from an OTLP endpoint; the operator can correct that, so the records are kept.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::pb::{RetryInfo, Status as RpcStatus};

use livekit_otel_model::printable;
use livekit_otel_transport::frames::status::{NoStatus, content_type};
use livekit_otel_transport::retry_after;

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The collector accepted it, except `rejected` of its records.
    Delivered {
        /// Records that the collector rejected (partial success). They are not sent again.
        rejected: u64,
    },
    /// It may be accepted later.
    Retry {
        /// The delay that the collector asks for.
        after: Option<Duration>,
        /// For the log.
        reason: String,
    },
    /// The answer is not from an OTLP endpoint: an operator has to correct that.
    Misconfigured {
        /// For the log.
        reason: String,
    },
    /// It is too large: its halves may be accepted.
    Halve,
    /// It will never be accepted.
    Refused {
        /// For the log.
        reason: String,
    },
}

/// The answer to a request over HTTP, received `now`; `body` where it was short and complete.
pub(super) fn of_http(
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<Bytes>,
    now: SystemTime,
) -> Answer {
    let body = body.filter(|_| is_protobuf(headers)).unwrap_or_default();
    match status.as_u16() {
        200..=299 if !is_page(headers) => Answer::Delivered { rejected: rejected(body) },
        100..=399 => {
            let content_type = content_type(headers);
            let reason = format!("HTTP status {status} with {content_type} is not OTLP");
            Answer::Misconfigured { reason }
        }
        429 | 502 | 503 | 504 => {
            let after = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok());
            let after = after.and_then(|after| retry_after(after, now));
            // Without a time in the future the back-off applies.
            let after = after.filter(|after| !after.is_zero());
            let after = after.or_else(|| retry_info(&body).filter(|after| !after.is_zero()));
            Answer::Retry { after, reason: http_reason(status, &body) }
        }
        413 => Answer::Halve,
        _ => Answer::Refused { reason: http_reason(status, &body) },
    }
}

// Answers have the request's content type; one without a content type is read as that.
fn is_protobuf(headers: &HeaderMap) -> bool {
    let is_named = |text: &[u8]| text.to_ascii_lowercase().starts_with(b"application/x-protobuf");
    headers.get(CONTENT_TYPE).is_none_or(|value| is_named(value.as_bytes()))
        && !headers.contains_key(CONTENT_ENCODING)
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let text = value.as_bytes().to_ascii_lowercase();
        text.starts_with(b"text/html") || text.starts_with(b"application/xhtml")
    })
}

// The status, and the message of the google.rpc.Status in the body.
fn http_reason(status: StatusCode, body: &[u8]) -> String {
    match RpcStatus::decode(body) {
        Ok(rpc) if !rpc.message.is_empty() => format!("{status}: {}", shortened(&rpc.message)),
        _ => status.to_string(),
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
    if let Some(cause) = std::error::Error::source(&status) {
        return match cause.downcast_ref() {
            Some(NoStatus::NotGrpc { .. }) => Answer::Misconfigured { reason: cause.to_string() },
            // A status with a cause is tonic's own, for a connection that broke.
            _ => Answer::Retry { after: None, reason },
        };
    }
    match status.code() {
        Code::ResourceExhausted if retry_info.is_none() => Answer::Halve,
        Code::OutOfRange if says_too_large(status.message()) => Answer::Halve,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => {
            let after = retry_info.filter(|after| !after.is_zero());
            Answer::Retry { after, reason }
        }
        _ => Answer::Refused { reason },
    }
}

// The code's name, and the message or cause, for the log.
fn reason(status: &Status) -> String {
    let cause = std::error::Error::source(status);
    let cause = cause.map_or_else(|| status.message().to_owned(), livekit_otel_transport::chain);
    format!("{:?}: {}", status.code(), shortened(&cause))
}

// The collector's text as the log and the list of dead letters show it.
fn shortened(text: &str) -> String {
    text.chars().map(printable::shown).take(LONGEST_REASON).collect()
}

const LONGEST_REASON: usize = 200;

// Some gRPC implementations answer OutOfRange to a message over their limit.
fn says_too_large(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["too large", "larger than", "too big", "exceed"].iter().any(|words| message.contains(words))
}

// The responses of the three signals have the same field numbers down to the count.
fn rejected(body: Bytes) -> u64 {
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let rejected = response.partial_success.map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or(0)
}

fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&info.value[..]).ok()?.retry_delay.unwrap_or_default();
    // By hand: prost-types' conversion overflows at the least i64.
    let (seconds, nanos) = (u64::try_from(delay.seconds), u32::try_from(delay.nanos));
    Some(Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0).min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn kind(answer: &Answer) -> &'static str {
        match answer {
            Answer::Delivered { .. } => "delivered",
            Answer::Retry { .. } => "retry",
            Answer::Misconfigured { .. } => "misconfigured",
            Answer::Halve => "halve",
            Answer::Refused { .. } => "refused",
        }
    }

    fn http(status: u16, retry_after: Option<&str>) -> Answer {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let headers = retry_after.map(|after| (RETRY_AFTER, after.parse().unwrap()));
        of_http(StatusCode::from_u16(status).unwrap(), &headers.into_iter().collect(), None, now)
    }

    // The answer with a body of this type.
    fn with_body(status: u16, content_type: Option<&str>, body: &impl Message) -> Answer {
        let headers = content_type.map(|text| (CONTENT_TYPE, text.parse().unwrap()));
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.encode_to_vec());
        let headers = headers.into_iter().collect();
        of_http(status, &headers, Some(body.into()), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn each_http_status_has_its_meaning() {
        let expected = |status: u16| match status {
            200..=299 => "delivered",
            100..=399 => "misconfigured",
            429 | 502 | 503 | 504 => "retry",
            413 => "halve",
            _ => "refused",
        };
        for status in 100..=599 {
            assert_eq!(kind(&http(status, None)), expected(status), "{status}");
            assert_eq!(kind(&http(status, Some("7"))), expected(status), "{status}");
        }
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        for (text, expected) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("0", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999", None),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:48:37 GMT", None),
            ("Sun, 06 Nov 1994", None),
        ] {
            let Answer::Retry { after, .. } = http(503, Some(text)) else { panic!("a retry") };
            assert_eq!(after, expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn each_grpc_code_has_its_meaning() {
        // Alone, and with a RetryInfo.
        let table = [
            (Code::Cancelled, "retry", "retry"),
            (Code::Unknown, "refused", "refused"),
            (Code::InvalidArgument, "refused", "refused"),
            (Code::DeadlineExceeded, "retry", "retry"),
            (Code::NotFound, "refused", "refused"),
            (Code::AlreadyExists, "refused", "refused"),
            (Code::PermissionDenied, "refused", "refused"),
            (Code::ResourceExhausted, "halve", "retry"),
            (Code::FailedPrecondition, "refused", "refused"),
            (Code::Aborted, "retry", "retry"),
            (Code::OutOfRange, "retry", "retry"),
            (Code::Unimplemented, "refused", "refused"),
            (Code::Internal, "refused", "refused"),
            (Code::Unavailable, "retry", "retry"),
            (Code::DataLoss, "retry", "retry"),
            (Code::Unauthenticated, "refused", "refused"),
        ];
        for (code, alone, with_retry_info) in table {
            assert_eq!(kind(&of_grpc(Err(Status::new(code, "")))), alone, "{code:?}");
            assert_eq!(kind(&of_grpc(Err(asks(code, Some(1))))), with_retry_info, "{code:?}");
        }
        let too_large = Status::out_of_range("decoded message length too large: found 5 bytes");
        assert_eq!(of_grpc(Err(too_large)), Answer::Halve);
    }

    // A status with a RetryInfo of so many milliseconds, or of no delay.
    fn asks(code: Code, millis: Option<u64>) -> Status {
        let delay = millis.map(Duration::from_millis);
        Status::with_error_details(code, "no", ErrorDetails::with_retry_info(delay))
    }

    #[test]
    fn the_message_and_delay_in_a_body_are_read_where_it_is_protobuf() {
        let busy = RpcStatus::decode(asks(Code::Unavailable, Some(2500)).details()).unwrap();
        let reason = "503 Service Unavailable: no".to_owned();
        let expected = Answer::Retry { after: Some(Duration::from_millis(2500)), reason };
        assert_eq!(with_body(503, Some("application/x-protobuf"), &busy), expected);
        assert_eq!(with_body(503, None, &busy), expected);
        assert_eq!(with_body(503, Some("text/html"), &busy), http(503, None));
        let invalid = RpcStatus { message: "a\u{1b}[31mb".to_owned(), ..busy };
        let reason = "400 Bad Request: a\u{fffd}[31mb".to_owned();
        assert_eq!(with_body(400, None, &invalid), Answer::Refused { reason });
    }

    #[test]
    fn an_html_page_is_not_a_delivery() {
        let page = |status, content_type| {
            kind(&with_body(status, Some(content_type), &RpcStatus::default()))
        };
        for content_type in ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"] {
            assert_eq!(page(200, content_type), "misconfigured", "{content_type}");
            assert_eq!(page(404, content_type), "refused", "{content_type}");
        }
        for content_type in ["", "text/plain", "application/json", "application/x-protobuf"] {
            assert_eq!(page(200, content_type), "delivered", "{content_type}");
        }
    }

    #[test]
    fn a_delay_that_the_collector_asks_for_is_used() {
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            for (millis, expected) in [(Some(2500), Some(2500)), (Some(0), None), (None, None)] {
                let answer = of_grpc(Err(asks(code, millis)));
                let Answer::Retry { after, .. } = answer else { panic!("a retry") };
                assert_eq!(after, expected.map(Duration::from_millis), "{code:?} {millis:?}");
            }
        }
    }

    #[test]
    fn a_delay_of_any_value_is_read() {
        let mut details = RpcStatus::decode(asks(Code::Unavailable, Some(1)).details()).unwrap();
        let mut read = |seconds, nanos| {
            let mut info = RetryInfo::decode(&details.details[0].value[..]).unwrap();
            let delay = info.retry_delay.as_mut().unwrap();
            (delay.seconds, delay.nanos) = (seconds, nanos);
            details.details[0].value = info.encode_to_vec();
            retry_info(&details.encode_to_vec())
        };
        assert_eq!(read(i64::MIN, i32::MIN), Some(Duration::ZERO));
        assert_eq!(read(-1, 5), Some(Duration::from_nanos(5)));
        assert_eq!(read(1, i32::MAX), Some(Duration::new(1, 999_999_999)));
        assert_eq!(read(i64::MAX, 0), Some(Duration::from_secs(i64::MAX.unsigned_abs())));
    }

    #[test]
    fn a_broken_connection_is_not_an_answer_of_the_collector() {
        for code in 0..=16 {
            let mut status = Status::new(Code::from(code), "");
            status.set_source(std::sync::Arc::new(std::io::Error::other("broken pipe")));
            assert_eq!(kind(&of_grpc(Err(status))), "retry", "{code:?}");
        }
    }

    #[test]
    fn a_partial_success_counts_the_rejected_records() {
        let message = ExportTraceServiceResponse {
            partial_success: Some(
                opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess {
                    rejected_spans: 3,
                    error_message: "no".to_owned(),
                },
            ),
        };
        let body = Bytes::from(message.encode_to_vec());
        assert_eq!(of_grpc(Ok(body)), Answer::Delivered { rejected: 3 });
        let rejected = |content_type| with_body(200, content_type, &message);
        assert_eq!(rejected(None), Answer::Delivered { rejected: 3 });
        let protobuf = rejected(Some("application/x-protobuf"));
        assert_eq!(protobuf, Answer::Delivered { rejected: 3 });
        assert_eq!(rejected(Some("text/plain")), Answer::Delivered { rejected: 0 });
    }
}
