//! Spans.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{Span, span, status};

use livekit_otel_model::foreign::{ForeignLink, ForeignSpan, Origin};
use livekit_otel_model::semconv::key;

use crate::classes::{Place, is_content_event};
use crate::clean::Pass;
use crate::facts;
use crate::measured::{self, Unit};
use crate::origin::{Program, encoded};
use crate::rules::Rules;

/// The spans of a request, and how many of its spans have no valid ids.
pub(crate) fn read(
    rules: &Rules<'_>,
    request: ExportTraceServiceRequest,
) -> (Vec<ForeignSpan>, u64) {
    let scopes = request.resource_spans.iter().flat_map(|each| &each.scope_spans);
    let all = scopes.map(|scope| scope.spans.len()).sum();
    let mut spans = Vec::with_capacity(all);
    for resource in request.resource_spans {
        let attributes = resource.resource.as_ref().map(|resource| &resource.attributes[..]);
        let unit = Unit::of(attributes.unwrap_or_default());
        let program = Program::read(rules.privacy, resource.resource, resource.schema_url);
        for scope in resource.scope_spans {
            let origin = program.scope(rules.privacy, scope.scope, scope.schema_url);
            let read = |span| one(rules, (&origin, unit), span);
            spans.extend(scope.spans.into_iter().filter_map(read));
        }
    }
    let unusable = (all - spans.len()) as u64;
    (spans, unusable)
}

fn one(
    rules: &Rules<'_>,
    (origin, unit): (&Arc<Origin>, Unit),
    mut span: Span,
) -> Option<ForeignSpan> {
    let trace_id = facts::trace_id(&std::mem::take(&mut span.trace_id))?;
    let span_id = facts::span_id(&std::mem::take(&mut span.span_id))?;
    // A parent of zeros is none; one of another length makes no root of its child.
    let parent = match std::mem::take(&mut span.parent_span_id) {
        parent if parent.iter().all(|byte| *byte == 0) => None,
        parent => Some(facts::span_id(&parent)?),
    };
    let mut facts = rules.facts();
    facts::read(&span.attributes, &mut facts);
    facts.measured = measured::read(&span, unit);
    let failure = failure(&span);
    let links = links(rules, &mut span);
    let name = Arc::from(span.name.as_str());
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    let body = rules.body(|pass| clean(pass, &mut span, failure.as_deref()));
    Some(ForeignSpan {
        origin: Arc::clone(origin),
        trace_id,
        span_id,
        parent,
        name,
        start: facts::time(start),
        end: facts::time(end),
        failure,
        links,
        facts,
        added: Vec::new(),
        added_links: Vec::new(),
        body,
    })
}

fn clean(pass: Pass<'_>, span: &mut Span, failure: Option<&str>) -> (bool, bytes::Bytes) {
    let mut found = pass.attributes(Place::Any, &mut span.attributes);
    span.events.retain_mut(|event| {
        let is_content = is_content_event(&event.name);
        found |= is_content;
        if is_content && pass.strips {
            return false;
        }
        found |= pass.attributes(Place::Any, &mut event.attributes);
        true
    });
    // The message is free text, which in an error's case often quotes what was said.
    if let Some(status) = &mut span.status
        && !status.message.is_empty()
        && status.message != failure.unwrap_or_default()
    {
        found = true;
        if pass.strips {
            failure.unwrap_or_default().clone_into(&mut status.message);
        }
    }
    (found, encoded(span))
}

// The links' own ids are apart, as the engine may change the trace.
fn links(rules: &Rules<'_>, span: &mut Span) -> Vec<ForeignLink> {
    let sent = std::mem::take(&mut span.links);
    let all = sent.len();
    let links: Vec<_> = sent.into_iter().filter_map(|link| self::link(rules, link)).collect();
    // A link to nothing is dropped as an SDK drops one.
    let dropped = u32::try_from(all - links.len()).unwrap_or(u32::MAX);
    span.dropped_links_count = span.dropped_links_count.saturating_add(dropped);
    links
}

fn link(rules: &Rules<'_>, mut link: span::Link) -> Option<ForeignLink> {
    let trace = std::mem::take(&mut link.trace_id);
    let to = facts::context(&trace, &std::mem::take(&mut link.span_id))?;
    let body =
        rules.body(|pass| (pass.attributes(Place::Any, &mut link.attributes), encoded(&link)));
    Some(ForeignLink { to, body })
}

// What failed: the span's own word for it, or that of its exception.
fn failure(span: &Span) -> Option<Arc<str>> {
    let status = span.status.as_ref()?;
    if status.code != i32::from(status::StatusCode::Error) {
        return None;
    }
    let events = span.events.iter().rev().map(|event| &event.attributes);
    let places = || std::iter::once(&span.attributes).chain(events.clone());
    let of = |key| places().find_map(|attributes: &Vec<KeyValue>| facts::text(attributes, key));
    let failure = of(key::ERROR_TYPE).or_else(|| of(measured::EXCEPTION_TYPE));
    Some(failure.map(facts::cut).unwrap_or_default())
}
