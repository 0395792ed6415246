//! Links the span that a call is made in and the spans of the room to each other: from an API
//! handler's trace to the room's, and back.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use livekit_otel_engine::ids;
use livekit_otel_model::event::{Caller, ParticipantSid, RoomSid, TrackSid};

/// The subject of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) room: &'a str,
    pub(super) participant: &'a str,
    // A published track.
    pub(super) track: &'a str,
}

/// Links the current `tracing` span to the span of the call's subject, and returns the current one.
/// `None` outside of a span, and without tracing-opentelemetry's layer.
pub(super) fn link(target: Target<'_>) -> Option<Caller> {
    let span = tracing::Span::current();
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let current = context.span();
    let current = current.span_context();
    if !current.is_valid() {
        return None;
    }
    if let Some(subject) = span_context(target) {
        span.add_link(subject);
    }
    Some(Caller { trace_id: current.trace_id().to_bytes(), span_id: current.span_id().to_bytes() })
}

fn span_context(target: Target<'_>) -> Option<SpanContext> {
    let room = RoomSid::new(target.room)?;
    let participant = ParticipantSid::new(target.participant);
    let span_id = match (participant, TrackSid::new(target.track)) {
        (Some(participant), Some(track)) => ids::track(&room, &participant, &track),
        (Some(participant), None) => ids::participant(&room, &participant),
        (None, _) => ids::room(&room),
    };
    Some(SpanContext::new(
        TraceId::from_bytes(ids::trace(&room)),
        SpanId::from_bytes(span_id),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    ))
}
