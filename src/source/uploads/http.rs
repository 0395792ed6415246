//! The paths of uploads.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING};
use http::request::Parts;
use http::{Method, StatusCode};
use tracing::Instrument;

use super::answer::{self, Format, Problem};
use super::body::{self, Memory};
use super::intake::Door;
use super::recordings;
use crate::source::connections::Use;
use crate::source::encoding::Encoding;
use livekit_otel_ledger::Refused;
use livekit_otel_livekit::uploads;
use livekit_otel_model::Source;

/// Serves the paths of uploads, and 404 for all that no other route serves. LiveKit's paths may follow any
/// base path, since agents append them to `LIVEKIT_OBSERVABILITY_URL`.
pub(in crate::source) fn router(door: Door) -> Router {
    Router::new().fallback(serve).with_state(door)
}

fn route(path: &str) -> Option<(&'static str, Source)> {
    let source = uploads::source(path)?;
    Some((uploads::path(source)?, source))
}

// The span follows OpenTelemetry's conventions for HTTP servers.
async fn serve(State(door): State<Door>, request: Request) -> Response {
    let Some((route, source)) = route(request.uri().path()) else {
        door.intake.not_served(&request);
        return StatusCode::NOT_FOUND.into_response();
    };
    if request.method() != Method::POST {
        door.intake.refusals.count(source, Refused::WrongPath);
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")]).into_response();
    }
    let span = tracing::debug_span!(
        "POST upload",
        otel.name = format!("POST {route}"),
        otel.kind = "server",
        http.request.method = "POST",
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    let (parts, body) = request.into_parts();
    let accepted = accept(&door, source, &parts, body).instrument(span.clone()).await;
    let format = Format::of(&parts.headers).unwrap_or(Format::Protobuf);
    let response = match accepted {
        Ok(_) if source == Source::AgentRecordings => StatusCode::OK.into_response(),
        Ok(rejected) => answer::accepted(format, source, rejected),
        Err(problem) => problem.response(format),
    };
    span.record("http.response.status_code", response.status().as_u16());
    response
}

async fn accept(door: &Door, source: Source, head: &Parts, body: Body) -> Result<u64, Problem> {
    // The token is checked before the body is read.
    door.admit(source, &head.headers, &head.extensions)?;
    let accepted = if source == Source::AgentRecordings {
        recordings::receive(&door.intake, head, body).await.map(|()| 0)
    } else {
        request(door, source, head, body).await
    };
    accepted.map_err(|problem| door.intake.refused(source, problem, &head.extensions))
}

async fn request(door: &Door, source: Source, head: &Parts, body: Body) -> Result<u64, Problem> {
    let intake = &door.intake;
    let format = Format::of(&head.headers).ok_or(Problem::ContentType)?;
    let encoding = Encoding::of(head.headers.get(CONTENT_ENCODING)).ok_or(Problem::Compression)?;
    let used = head.extensions.get::<Arc<Use>>();
    let mut memory = Memory::new(&intake.budget, used);
    let reading = (encoding, intake.max_body);
    let content = body::read(&head.headers, body, (&mut memory, used), reading).await?;
    let content = of_format(format, content).ok_or(Problem::Malformed)?;
    intake.request(source, content, memory).await
}

// The journal has no content type: JSON is what begins with a brace, and no OTLP message does.
fn of_format(format: Format, content: Bytes) -> Option<Bytes> {
    match format {
        Format::Json => {
            let start = content.iter().position(|byte| !byte.is_ascii_whitespace())?;
            (content[start] == b'{').then(|| content.slice(start..))
        }
        Format::Protobuf => (content.first() != Some(&b'{')).then_some(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_says_the_format() {
        let json =
            |body: &'static str| of_format(Format::Json, Bytes::from_static(body.as_bytes()));
        assert_eq!(json(" \r\n{}").unwrap(), "{}");
        assert_eq!([json(""), json("[]"), json("\n\x12\0")], [None, None, None]);
        let protobuf = |body| of_format(Format::Protobuf, Bytes::from_static(body));
        assert_eq!(protobuf(b"").unwrap(), "");
        assert_eq!(protobuf(b"\n\0").unwrap(), "\n\0");
        assert_eq!(protobuf(b"{}"), None);
    }
}
