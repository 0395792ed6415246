//! What a collector's answer means for a request: one pure function for each transport
//! (OTLP specification, "Failures" and "OTLP/HTTP response").
//!
//! The status decides. A body only adds how many records were rejected, or when to retry, so a body that is
//! too long, cut off or unreadable changes nothing. The specification names 200 alone as a success and
//! leaves other codes to HTTP, where any 2xx is a success (RFC 9110, 15.3). An HTML page, a redirect, or the 400 of
//! a TLS server to plain HTTP does not come from an OTLP endpoint; the operator can correct that, so the records are
//! kept.

mod hints;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::pb::{RetryInfo, Status as RpcStatus};

use crate::error::Cause;
use crate::settings::Target;
use livekit_otel_model::printable::{self, visible};
use livekit_otel_transport::dial::ProxyError;
use livekit_otel_transport::frames::status::{NoStatus, content_type};
use livekit_otel_transport::hint::{self, Attempt};
use livekit_otel_transport::secrets::Secrets;
use livekit_otel_transport::{chain, retry_after, words};

/// Where a request went, and with which credentials.
#[derive(Debug)]
pub(super) struct Asked {
    attempted: Attempt,
    secrets: Secrets,
    has_headers: bool,
}

impl Asked {
    /// Of requests to this target.
    pub(super) fn of(target: &Target) -> Self {
        let has_headers = !target.headers.0.is_empty();
        Self { attempted: target.attempt(), secrets: target.secrets(), has_headers }
    }

    // The collector's text as the log, the status and the list of dead letters show it.
    fn shown(&self, text: &str) -> String {
        let is_shown = |c: &char| printable::shown(*c) == *c || c.is_whitespace();
        let text: String = text.chars().filter(is_shown).collect();
        words::clean(&self.secrets.mask(&text))
    }
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The collector accepted it, except `rejected` of its records.
    Delivered {
        /// Records that the collector rejected (partial success). They are not sent again.
        rejected: u64,
        /// What it said of that, or a warning where it rejected none; mostly empty.
        words: String,
    },
    /// It may be accepted later.
    Retry {
        /// The delay that the collector asks for.
        after: Option<Duration>,
        /// Why it was not accepted.
        cause: Cause,
    },
    /// The answer is not from an OTLP endpoint: an operator has to correct that.
    Misconfigured {
        /// What the answer is.
        cause: Cause,
    },
    /// It is too large: its halves may be accepted.
    Halve {
        /// The collector's answer.
        cause: Cause,
    },
    /// It will never be accepted.
    Refused {
        /// The collector's answer.
        cause: Cause,
    },
}

/// The answer to a request over HTTP, received `now`; what arrived of its body, and whether that is whole.
pub(super) fn of_http(
    status: StatusCode,
    headers: &HeaderMap,
    (body, is_whole): (Bytes, bool),
    now: SystemTime,
    asked: &Asked,
) -> Answer {
    let is_message = is_whole && is_protobuf(headers);
    let message = if is_message { body.clone() } else { Bytes::new() };
    let cause = || http_cause(status, headers, &body, asked);
    match status.as_u16() {
        200..=299 if !words::is_page(headers) => delivered(message, asked),
        100..=399 => {
            let content_type = visible(&content_type(headers)).into_owned();
            let text = format!("HTTP status {status} with {content_type} is not OTLP");
            Answer::Misconfigured { cause: Cause::new(text, None) }
        }
        429 | 502 | 503 | 504 => {
            let after = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok());
            let after = after.and_then(|after| retry_after(after, now));
            // Without a time in the future the back-off applies.
            let after = after.filter(|after| !after.is_zero());
            let after = after.or_else(|| retry_info(&message).filter(|after| !after.is_zero()));
            Answer::Retry { after, cause: cause() }
        }
        413 => Answer::Halve { cause: cause() },
        400 | 497 if hints::wants_tls(&cause().text) => Answer::Misconfigured { cause: cause() },
        _ => Answer::Refused { cause: cause() },
    }
}

// Answers have the request's content type; one without a content type is read as that.
fn is_protobuf(headers: &HeaderMap) -> bool {
    let is_named = |text: &[u8]| text.to_ascii_lowercase().starts_with(b"application/x-protobuf");
    headers.get(CONTENT_TYPE).is_none_or(|value| is_named(value.as_bytes()))
        && !headers.contains_key(CONTENT_ENCODING)
}

// The status, and the words in the body: the message of its google.rpc.Status, or its text.
fn http_cause(status: StatusCode, headers: &HeaderMap, body: &[u8], asked: &Asked) -> Cause {
    let rpc = RpcStatus::decode(body).ok().filter(|_| is_protobuf(headers));
    let words = match rpc.filter(|rpc| !rpc.message.is_empty()) {
        Some(rpc) => asked.shown(&rpc.message),
        None => asked.shown(&words::whole(headers, body)),
    };
    let hint = hints::of_http(status, &words, asked);
    Cause::new(said(&status.to_string(), &words), hint)
}

/// The answer to a request over gRPC.
pub(super) fn of_grpc(answer: Result<Bytes, Status>, asked: &Asked) -> Answer {
    let status = match answer {
        Ok(body) => return delivered(body, asked),
        Err(status) => status,
    };
    if let Some(source) = std::error::Error::source(&status) {
        return match source.downcast_ref() {
            Some(NoStatus::NotGrpc { .. }) => {
                Answer::Misconfigured { cause: Cause::new(asked.shown(&source.to_string()), None) }
            }
            // A status with a cause is tonic's own, for a connection that broke.
            _ => Answer::Retry { after: None, cause: of_error(source, asked) },
        };
    }
    let retry_info = retry_info(status.details());
    let words = asked.shown(status.message());
    let hint = hints::of_grpc(status.code(), &words, asked);
    let cause = Cause::new(said(&format!("{:?}", status.code()), &words), hint);
    match status.code() {
        Code::ResourceExhausted if retry_info.is_none() => Answer::Halve { cause },
        Code::OutOfRange if says_too_large(status.message()) => Answer::Halve { cause },
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => {
            let after = retry_info.filter(|after| !after.is_zero());
            // Its size is not what keeps it from being accepted.
            Answer::Retry { after, cause: Cause { hint: None, ..cause } }
        }
        _ => Answer::Refused { cause },
    }
}

/// There is no answer, because of this error.
pub(super) fn of_error(error: &(dyn std::error::Error + 'static), asked: &Asked) -> Cause {
    // What a proxy's error is a cause of says nothing more.
    let text = ProxyError::find(error).map_or_else(|| chain(error), |proxy| chain(proxy));
    Cause::new(asked.shown(&text), hint::hint(error, &asked.attempted))
}

/// There is no answer within this time.
pub(super) fn too_late(within: Duration, asked: &Asked) -> Answer {
    let text = format!("no answer within {}", humantime::format_duration(within));
    Answer::Retry { after: None, cause: Cause::new(text, Some(hint::silent(&asked.attempted))) }
}

fn said(status: &str, words: &str) -> String {
    if words.is_empty() { status.to_owned() } else { format!("{status}: {words}") }
}

// Some gRPC implementations answer OutOfRange to a message over their limit.
fn says_too_large(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["too large", "larger than", "too big", "exceed"].iter().any(|words| message.contains(words))
}

// The responses of the three signals have the same field numbers down to the count and the message.
fn delivered(body: Bytes, asked: &Asked) -> Answer {
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let partial = response.partial_success.unwrap_or_default();
    let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
    Answer::Delivered { rejected, words: asked.shown(&partial.error_message) }
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
    use std::fmt::Write;

    use http::Uri;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;
    use livekit_otel_transport::hint::Protocol;

    fn kind(answer: &Answer) -> &'static str {
        match answer {
            Answer::Delivered { .. } => "delivered",
            Answer::Retry { .. } => "retry",
            Answer::Misconfigured { .. } => "misconfigured",
            Answer::Halve { .. } => "halve",
            Answer::Refused { .. } => "refused",
        }
    }

    fn asked(protocol: Protocol) -> Asked {
        let url = Uri::from_static("http://collector:4317/?key=k3y-of-url");
        let headers = [http::HeaderValue::from_static("Bearer s3cret")];
        let (attempted, secrets) = (Attempt::new(&url, protocol), Secrets::new(&url, &headers));
        Asked { attempted, secrets, has_headers: true }
    }

    fn of_grpc(answer: Result<Bytes, Status>) -> Answer {
        super::of_grpc(answer, &asked(Protocol::OtlpGrpc))
    }

    fn of_http(status: u16, headers: &HeaderMap, body: Option<Bytes>, now: SystemTime) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        let body = (body.unwrap_or_default(), true);
        super::of_http(status, headers, body, now, &asked(Protocol::OtlpHttp))
    }

    fn http(status: u16, retry_after: Option<&str>) -> Answer {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let headers = retry_after.map(|after| (RETRY_AFTER, after.parse().unwrap()));
        of_http(status, &headers.into_iter().collect(), None, now)
    }

    // The answer with a body of this type.
    fn with_body(status: u16, content_type: Option<&str>, body: &impl Message) -> Answer {
        let headers = content_type.map(|text| (CONTENT_TYPE, text.parse().unwrap()));
        let (headers, body) = (headers.into_iter().collect(), body.encode_to_vec().into());
        of_http(status, &headers, Some(body), SystemTime::UNIX_EPOCH)
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
        assert_eq!(kind(&of_grpc(Err(too_large))), "halve");
    }

    // A status with a RetryInfo of so many milliseconds, or of no delay.
    fn asks(code: Code, millis: Option<u64>) -> Status {
        let delay = millis.map(Duration::from_millis);
        Status::with_error_details(code, "no", ErrorDetails::with_retry_info(delay))
    }

    #[test]
    fn the_message_and_delay_in_a_body_are_read_where_it_is_protobuf() {
        let busy = RpcStatus::decode(asks(Code::Unavailable, Some(2500)).details()).unwrap();
        let cause = Cause::new("503 Service Unavailable: no", None);
        let expected = Answer::Retry { after: Some(Duration::from_millis(2500)), cause };
        assert_eq!(with_body(503, Some("application/x-protobuf"), &busy), expected);
        assert_eq!(with_body(503, None, &busy), expected);
        assert_eq!(with_body(503, Some("text/html"), &busy), http(503, None));
        let invalid = RpcStatus { message: "a\u{1b}[31mb".to_owned(), ..busy };
        let cause = Cause::new("400 Bad Request: a[31mb", None);
        assert_eq!(with_body(400, None, &invalid), Answer::Refused { cause });
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
        let answer =
            |rejected, words: &str| Answer::Delivered { rejected, words: words.to_owned() };
        let body = Bytes::from(message.encode_to_vec());
        assert_eq!(of_grpc(Ok(body)), answer(3, "no"));
        let rejected = |content_type| with_body(200, content_type, &message);
        assert_eq!(rejected(None), answer(3, "no"));
        assert_eq!(rejected(Some("application/x-protobuf")), answer(3, "no"));
        assert_eq!(rejected(Some("text/plain")), answer(0, ""));
    }

    #[test]
    fn an_answer_that_quotes_the_credentials_is_shown_without_them() {
        let words = format!(
            "{} no s3cret, no k3y-of-url, no eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
            "x".repeat(190)
        );
        // Cut before, it would be the beginning of the secret.
        let long = |text: &str| format!("{}{text}", "x".repeat(197));
        let expected = format!("{} no …, no", "x".repeat(190));
        let json = HeaderMap::from_iter([(CONTENT_TYPE, "application/json".parse().unwrap())]);
        let body = |words: &str| Some(format!(r#"{{"message":"{words}"}}"#).into());
        let rpc = |words: &str| RpcStatus { message: words.to_owned(), ..RpcStatus::default() };
        let partial = |words: &str| ExportTraceServiceResponse {
            partial_success: Some(
                opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess {
                    rejected_spans: 1,
                    error_message: words.to_owned(),
                },
            ),
        };
        for text in [&words[..], &long(" s3cret"), &long("s3cret")] {
            for answer in [
                of_http(403, &json, body(text), SystemTime::UNIX_EPOCH),
                with_body(403, None, &rpc(text)),
                with_body(200, None, &partial(text)),
                of_grpc(Err(Status::permission_denied(text))),
                of_grpc(Ok(partial(text).encode_to_vec().into())),
            ] {
                let shown = format!("{answer:?}");
                assert!(!shown.contains("s3"), "{shown}");
            }
        }
        let answer = of_http(403, &json, body(&words), SystemTime::UNIX_EPOCH);
        assert!(format!("{answer:?}").contains(&expected[180..]), "{answer:?}");
    }

    #[test]
    fn each_answer_is_quoted_with_its_likely_reason() {
        let plain = HeaderMap::from_iter([(CONTENT_TYPE, "text/plain".parse().unwrap())]);
        let of_status =
            |status| of_http(status, &plain, Some("no\n".into()), SystemTime::UNIX_EPOCH);
        let mut answers: Vec<_> = [400, 401, 404, 407, 413, 415, 429, 502].map(of_status).into();
        let https = "Client sent an HTTP request to an HTTPS server.";
        answers.push(of_http(400, &plain, Some(https.into()), SystemTime::UNIX_EPOCH));
        let compressed = "grpc: Decompressor is not installed for grpc-encoding \"zstd\"";
        answers.extend(
            [
                Status::unauthenticated("no token"),
                Status::unimplemented("unknown service"),
                Status::unimplemented(compressed),
                Status::resource_exhausted("too large"),
                Status::invalid_argument("a\u{1b}[31m\u{202e}\nb"),
                Status::unavailable("é".repeat(300)),
                asks(Code::ResourceExhausted, Some(1)),
            ]
            .map(|status| of_grpc(Err(status))),
        );
        let anonymous = Asked { has_headers: false, ..asked(Protocol::OtlpHttp) };
        let (status, body) = (StatusCode::FORBIDDEN, (Bytes::from("no"), true));
        answers.push(super::of_http(status, &plain, body, SystemTime::UNIX_EPOCH, &anonymous));
        let mut texts = String::new();
        for answer in answers {
            let (Answer::Retry { cause, .. }
            | Answer::Misconfigured { cause }
            | Answer::Halve { cause }
            | Answer::Refused { cause }) = &answer
            else {
                panic!("it is not accepted")
            };
            let hint = cause.hint.as_deref().unwrap_or("-");
            writeln!(texts, "{}: {}\n  {hint}", kind(&answer), cause.text).unwrap();
        }
        assert_eq!(texts, include_str!("answer/causes.txt"));
    }
}
