//! Records of other programs to OTLP. Their opaque parts are copied; the ids, links and attributes that the engine
//! set are written around them, as the fields of a protobuf message may be concatenated.
//!
//! A queued record is a whole group of them: a `ResourceSpans`, `ResourceLogs` or `ResourceMetrics` of one origin.
//! Which records form a group depends only on those that are passed together, so that a replay numbers the same
//! groups. Field numbers are those of opentelemetry-proto, trace/v1, logs/v1, common/v1 and resource/v1.

mod fields;
mod point;

use std::collections::HashMap;

use bytes::{BufMut, BytesMut};
use opentelemetry_proto::tonic::trace::v1::{Status, span::SpanKind, status::StatusCode};
use prost::Message;

use crate::encode::SAMPLED;
use crate::record::{Record, Scope};
use crate::wire::{field_len, put_bytes, put_fixed, put_fixed32, put_head, put_varint};
use fields::{Ids, put_attributes, put_text_attribute};
use livekit_otel_model::foreign::{ForeignLog, ForeignMetric, ForeignSpan, Origin};
use livekit_otel_model::privacy::Privacy;
use livekit_otel_model::signal::{SpanId, TraceId};

// A group is closed before it has more bytes.
pub(super) const GROUP_BYTES: usize = 256 << 10;
// A group is closed before it has more items, unless it is a single metric's.
const GROUP_ITEMS: u64 = 500;
const INSTANCE: &str = "service.instance.id";

/// Encodes spans, in groups of up to `most` bytes; a larger span is alone.
pub(super) fn spans(privacy: &Privacy, spans: &[ForeignSpan], most: usize) -> Vec<Record> {
    let mut groups = Groups::new(most);
    for span in spans {
        groups.add(&span.origin, span_piece(privacy, span));
    }
    groups.finish()
}

/// Encodes log records, in groups of up to `most` bytes; a larger log record is alone.
pub(super) fn logs(logs: &[ForeignLog], most: usize) -> Vec<Record> {
    let mut groups = Groups::new(most);
    for log in logs {
        let mut ids = Ids::new();
        if let Some((trace_id, span_id)) = &log.context {
            ids.put(9, trace_id);
            ids.put(10, span_id);
        }
        groups.add(&log.origin, Piece { ids, body: &log.body.sent, tail: Vec::new(), items: 1 });
    }
    groups.finish()
}

/// Encodes metrics, in groups of up to `most` bytes; one with many points is sent in parts.
pub(super) fn metrics(privacy: &Privacy, metrics: &[ForeignMetric], most: usize) -> Vec<Record> {
    let mut groups = Groups::new(most);
    for metric in metrics {
        point::parts(privacy, metric, most, &mut |bytes, items| {
            let piece = Piece { ids: Ids::new(), body: &[], tail: bytes, items };
            groups.add(&metric.origin, piece);
        });
    }
    groups.finish()
}

fn span_piece<'a>(privacy: &Privacy, span: &'a ForeignSpan) -> Piece<'a> {
    let mut ids = Ids::new();
    ids.put(1, &span.trace_id);
    ids.put(2, &span.span_id);
    if let Some(parent) = &span.parent {
        ids.put(4, parent);
    }
    let mut tail = Vec::new();
    if span.body.sent.is_empty() {
        put_inferred(span, &mut tail);
    }
    put_attributes(9, privacy, &span.added, &mut tail);
    for link in &span.links {
        let body = &link.body.sent;
        put_head(13, LINK_IDS_LEN + body.len(), &mut tail);
        put_link_ids(&link.to, &mut tail);
        tail.extend_from_slice(body);
    }
    for link in &span.added_links {
        put_head(13, LINK_IDS_LEN + FLAGS_LEN, &mut tail);
        put_link_ids(&(link.trace_id, link.span_id), &mut tail);
        put_fixed32(6, SAMPLED, &mut tail);
    }
    Piece { ids, body: &span.body.sent, tail, items: 1 }
}

// A span that no program sent has no body.
fn put_inferred(span: &ForeignSpan, to: &mut Vec<u8>) {
    put_bytes(5, span.name.as_bytes(), to);
    put_varint(6, SpanKind::Internal as u64, to);
    put_fixed(7, span.start.nanos(), to);
    put_fixed(8, span.end.nanos(), to);
    if let Some(failure) = &span.failure {
        let code = StatusCode::Error.into();
        put_bytes(15, &Status { message: failure.to_string(), code }.encode_to_vec(), to);
    }
    put_fixed32(16, SAMPLED, to);
}

// Both ids with the keys and lengths of their fields.
const LINK_IDS_LEN: usize = 2 + size_of::<TraceId>() + 2 + size_of::<SpanId>();
// A key of one byte.
const FLAGS_LEN: usize = 1 + 4;

fn put_link_ids((trace_id, span_id): &(TraceId, SpanId), to: &mut Vec<u8>) {
    put_bytes(1, trace_id, to);
    put_bytes(2, span_id, to);
}

/// A span, log record or metric, in the parts that it consists of.
struct Piece<'a> {
    ids: Ids,
    body: &'a [u8],
    tail: Vec<u8>,
    items: u64,
}

impl Piece<'_> {
    fn len(&self) -> usize {
        self.ids.fields().len() + self.body.len() + self.tail.len()
    }
}

/// The pieces of one origin.
struct Group<'a> {
    origin: &'a Origin,
    pieces: Vec<Piece<'a>>,
    // With the heads of their fields.
    len: usize,
    items: u64,
}

/// Groups in the order of their first pieces.
struct Groups<'a> {
    most: usize,
    groups: Vec<Group<'a>>,
    // The group of each origin that takes more. By value: equal ones may be in different places.
    open: HashMap<&'a Origin, usize>,
    // The last one, as most follow one another.
    last: Option<(*const Origin, usize)>,
}

impl<'a> Groups<'a> {
    fn new(most: usize) -> Self {
        Self { most, groups: Vec::new(), open: HashMap::new(), last: None }
    }

    fn add(&mut self, origin: &'a Origin, piece: Piece<'a>) {
        let len = field_len(piece.len());
        let known = match self.last {
            Some((last, place)) if std::ptr::eq(last, origin) => Some(place),
            _ => self.open.get(origin).copied(),
        };
        let fits = |place: &usize| {
            let group = &self.groups[*place];
            group.len + len <= self.most && group.items + piece.items <= GROUP_ITEMS
        };
        let place = known.filter(fits).unwrap_or_else(|| {
            let len = frame_len(origin);
            self.groups.push(Group { origin, pieces: Vec::new(), len, items: 0 });
            self.open.insert(origin, self.groups.len() - 1);
            self.groups.len() - 1
        });
        self.last = Some((origin, place));
        let group = &mut self.groups[place];
        (group.len, group.items) = (group.len + len, group.items + piece.items);
        group.pieces.push(piece);
    }

    fn finish(self) -> Vec<Record> {
        self.groups.iter().map(Group::record).collect()
    }
}

impl Group<'_> {
    fn record(&self) -> Record {
        let Origin { resource, process, resource_schema, scope, scope_schema, .. } = self.origin;
        let process = process.as_deref().map(instance);
        let resource_len = resource.len() + process.as_ref().map_or(0, Vec::len);
        let pieces_len: usize = self.pieces.iter().map(|piece| field_len(piece.len())).sum();
        let scope_len = optional_len(scope.len()) + pieces_len + optional_len(scope_schema.len());
        let mut bytes = BytesMut::with_capacity(self.len);
        if resource_len > 0 {
            put_head(1, resource_len, &mut bytes);
            bytes.put_slice(resource);
            bytes.put_slice(process.as_deref().unwrap_or_default());
        }
        put_head(2, scope_len, &mut bytes);
        put_optional(1, scope, &mut bytes);
        for piece in &self.pieces {
            put_head(2, piece.len(), &mut bytes);
            bytes.put_slice(piece.ids.fields());
            bytes.put_slice(piece.body);
            bytes.put_slice(&piece.tail);
        }
        put_optional(3, scope_schema.as_bytes(), &mut bytes);
        put_optional(3, resource_schema.as_bytes(), &mut bytes);
        Record { scope: Scope::Foreign, items: self.items, bytes: bytes.freeze(), number: 0 }
    }
}

// An upper bound of a group's length without pieces.
fn frame_len(origin: &Origin) -> usize {
    const LONGEST_HEAD: usize = 1 + 5;
    let process = origin.process.as_ref().map_or(0, |id| id.len() + INSTANCE.len() + 12);
    let opaque = origin.resource.len() + process + origin.scope.len();
    opaque + origin.scope_schema.len() + origin.resource_schema.len() + 5 * LONGEST_HEAD
}

fn optional_len(len: usize) -> usize {
    if len == 0 { 0 } else { field_len(len) }
}

fn put_optional(number: u32, bytes: &[u8], to: &mut BytesMut) {
    if !bytes.is_empty() {
        put_bytes(number, bytes, to);
    }
}

// The attribute of a resource that identifies its process.
fn instance(id: &str) -> Vec<u8> {
    let mut attribute = Vec::new();
    put_text_attribute(1, INSTANCE, id, &mut attribute);
    attribute
}
