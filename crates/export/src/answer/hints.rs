//! The likely reason of a collector's answer, and what to do.

use http::StatusCode;
use tonic::Code;

use livekit_otel_transport::greeting::Unexpected;
use livekit_otel_transport::hint::{self, Attempt};

/// Of an answer over HTTP.
pub(super) fn of_http(status: StatusCode, words: &str, attempted: &Attempt) -> Option<String> {
    match status.as_u16() {
        400 | 497 if wants_tls(words) => Some(hint::of_greeting(Unexpected::Tls, attempted)),
        401 | 403 => Some(credentials(attempted)),
        404 | 405 => Some(path(attempted)),
        407 => Some("A proxy requires credentials. Set them in the proxy's URL.".to_owned()),
        413 => Some(size()),
        415 => Some(format!(
            "{} may not accept the compression. Set export.compression to none, or check the port.",
            attempted.address()
        )),
        502 | 504 => Some(format!(
            "A proxy at {} does not reach the collector. Check that the collector runs.",
            attempted.address()
        )),
        _ => None,
    }
}

/// Of a gRPC status.
pub(super) fn of_grpc(code: Code, words: &str, attempted: &Attempt) -> Option<String> {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => Some(credentials(attempted)),
        // How Go's servers answer to a compression that they lack.
        Code::Unimplemented if words.contains("ompress") => Some(format!(
            "{} does not accept the compression. Set export.compression to none.",
            attempted.address()
        )),
        Code::Unimplemented => Some(format!(
            "{} does not receive this signal over gRPC. Add a pipeline for it to the collector, or check the port.",
            attempted.address()
        )),
        Code::ResourceExhausted | Code::OutOfRange => Some(size()),
        _ => None,
    }
}

/// Whether a TLS server says that the request was not over TLS, as those of Go and nginx do.
pub(super) fn wants_tls(words: &str) -> bool {
    words.contains("HTTP request") && words.contains("HTTPS")
}

fn credentials(attempted: &Attempt) -> String {
    let address = attempted.address();
    format!("{address} does not accept the credentials. Check the token in export.headers.")
}

fn path(attempted: &Attempt) -> String {
    let address = attempted.address();
    format!(
        "{address} receives no OTLP at this path. The usual paths are /v1/traces, /v1/logs and /v1/metrics; check \
         the endpoint's path and port."
    )
}

fn size() -> String {
    "Set export.max_request below the collector's limit.".to_owned()
}
