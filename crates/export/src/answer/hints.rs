//! The likely reason of a collector's answer, and what to do.

use http::StatusCode;
use tonic::Code;

use super::Asked;
use livekit_otel_transport::greeting::Unexpected;
use livekit_otel_transport::hint::{self, Attempt};

/// Of an answer over HTTP.
pub(super) fn of_http(status: StatusCode, words: &str, asked: &Asked) -> Option<String> {
    let attempted = &asked.attempted;
    match status.as_u16() {
        400 | 497 if wants_tls(words) => Some(hint::of_greeting(Unexpected::Tls, attempted)),
        401 | 403 => Some(credentials(asked)),
        404 | 405 => Some(path(attempted)),
        407 => Some("A proxy requires credentials. Set them in the proxy's URL.".to_owned()),
        413 => Some(size()),
        415 => Some(format!(
            "{} may not accept the compression. Set export.compression (OTEL_EXPORTER_OTLP_COMPRESSION) to none, or \
             check the port.",
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
pub(super) fn of_grpc(code: Code, words: &str, asked: &Asked) -> Option<String> {
    let attempted = &asked.attempted;
    match code {
        Code::Unauthenticated | Code::PermissionDenied => Some(credentials(asked)),
        // How Go's servers answer to a compression that they lack.
        Code::Unimplemented if words.contains("ompress") => Some(format!(
            "{} does not accept the compression. Set export.compression (OTEL_EXPORTER_OTLP_COMPRESSION) to none.",
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

fn credentials(asked: &Asked) -> String {
    let address = asked.attempted.address();
    if asked.has_headers {
        format!(
            "{address} does not accept the credentials. Check the token in export.headers \
             (OTEL_EXPORTER_OTLP_HEADERS)."
        )
    } else {
        format!(
            "{address} needs credentials, and no header is configured. Set export.headers \
             (OTEL_EXPORTER_OTLP_HEADERS)."
        )
    }
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
