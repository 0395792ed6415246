//! The messages of OTLP 1.10: the names of their fields in JSON, their numbers and their types.

use std::mem::size_of;

use opentelemetry_proto::tonic::{common, logs, metrics, resource, trace};

/// A message: its fields, and how many bytes it takes when it is decoded, without what it refers to.
pub(crate) struct Message(pub(super) &'static [Field], usize);

impl Message {
    /// The field of a number.
    pub(crate) fn field(&self, number: u32) -> Option<&'static Field> {
        self.0.iter().find(|field| field.number == number)
    }

    /// How many bytes it takes when it is decoded, without what it refers to.
    pub(crate) fn size(&self) -> usize {
        self.1
    }
}

/// A field.
pub(crate) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    /// Whether it may have several values.
    pub(crate) is_list: bool,
}

impl Field {
    /// The message that each value is; `None` if it is none.
    pub(crate) fn message(&self) -> Option<&'static Message> {
        match self.kind {
            Kind::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// A field's type. `Id` are bytes in hex.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Bytes,
    Double,
    Enum,
    Fixed32,
    Fixed64,
    Id,
    Int64,
    Message(&'static Message),
    Sfixed64,
    Text,
    Uint32,
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, is_list: false }
}

const fn list(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, is_list: true }
}

use Kind::{Bool, Bytes, Double, Enum, Fixed32, Fixed64, Id, Int64, Sfixed64, Text, Uint32};

// common.proto

static ANY_VALUE: Message = Message(
    &[
        one("stringValue", 1, Text),
        one("boolValue", 2, Bool),
        one("intValue", 3, Int64),
        one("doubleValue", 4, Double),
        one("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        one("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        one("bytesValue", 7, Bytes),
    ],
    size_of::<common::v1::AnyValue>(),
);
static ARRAY_VALUE: Message =
    Message(&[list("values", 1, Kind::Message(&ANY_VALUE))], size_of::<common::v1::ArrayValue>());
static KEY_VALUE_LIST: Message =
    Message(&[list("values", 1, Kind::Message(&KEY_VALUE))], size_of::<common::v1::KeyValueList>());
static KEY_VALUE: Message = Message(
    &[one("key", 1, Text), one("value", 2, Kind::Message(&ANY_VALUE))],
    size_of::<common::v1::KeyValue>(),
);
static SCOPE: Message = Message(
    &[
        one("name", 1, Text),
        one("version", 2, Text),
        list("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Uint32),
    ],
    size_of::<common::v1::InstrumentationScope>(),
);
static ENTITY_REF: Message = Message(
    &[
        one("schemaUrl", 1, Text),
        one("type", 2, Text),
        list("idKeys", 3, Text),
        list("descriptionKeys", 4, Text),
    ],
    size_of::<common::v1::EntityRef>(),
);

// resource.proto

static RESOURCE: Message = Message(
    &[
        list("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 2, Uint32),
        list("entityRefs", 3, Kind::Message(&ENTITY_REF)),
    ],
    size_of::<resource::v1::Resource>(),
);

// trace.proto

/// `ExportTraceServiceRequest`.
pub(crate) static TRACES: Message =
    Message(&[list("resourceSpans", 1, Kind::Message(&RESOURCE_SPANS))], 0);
static RESOURCE_SPANS: Message = Message(
    &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        list("scopeSpans", 2, Kind::Message(&SCOPE_SPANS)),
        one("schemaUrl", 3, Text),
    ],
    size_of::<trace::v1::ResourceSpans>(),
);
static SCOPE_SPANS: Message = Message(
    &[
        one("scope", 1, Kind::Message(&SCOPE)),
        list("spans", 2, Kind::Message(&SPAN)),
        one("schemaUrl", 3, Text),
    ],
    size_of::<trace::v1::ScopeSpans>(),
);
static SPAN: Message = Message(
    &[
        one("traceId", 1, Id),
        one("spanId", 2, Id),
        one("traceState", 3, Text),
        one("parentSpanId", 4, Id),
        one("name", 5, Text),
        one("kind", 6, Enum),
        one("startTimeUnixNano", 7, Fixed64),
        one("endTimeUnixNano", 8, Fixed64),
        list("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 10, Uint32),
        list("events", 11, Kind::Message(&EVENT)),
        one("droppedEventsCount", 12, Uint32),
        list("links", 13, Kind::Message(&LINK)),
        one("droppedLinksCount", 14, Uint32),
        one("status", 15, Kind::Message(&STATUS)),
        one("flags", 16, Fixed32),
    ],
    size_of::<trace::v1::Span>(),
);
static EVENT: Message = Message(
    &[
        one("timeUnixNano", 1, Fixed64),
        one("name", 2, Text),
        list("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Uint32),
    ],
    size_of::<trace::v1::span::Event>(),
);
static LINK: Message = Message(
    &[
        one("traceId", 1, Id),
        one("spanId", 2, Id),
        one("traceState", 3, Text),
        list("attributes", 4, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 5, Uint32),
        one("flags", 6, Fixed32),
    ],
    size_of::<trace::v1::span::Link>(),
);
static STATUS: Message =
    Message(&[one("message", 2, Text), one("code", 3, Enum)], size_of::<trace::v1::Status>());

// logs.proto

/// `ExportLogsServiceRequest`.
pub(crate) static LOGS: Message =
    Message(&[list("resourceLogs", 1, Kind::Message(&RESOURCE_LOGS))], 0);
static RESOURCE_LOGS: Message = Message(
    &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        list("scopeLogs", 2, Kind::Message(&SCOPE_LOGS)),
        one("schemaUrl", 3, Text),
    ],
    size_of::<logs::v1::ResourceLogs>(),
);
static SCOPE_LOGS: Message = Message(
    &[
        one("scope", 1, Kind::Message(&SCOPE)),
        list("logRecords", 2, Kind::Message(&LOG_RECORD)),
        one("schemaUrl", 3, Text),
    ],
    size_of::<logs::v1::ScopeLogs>(),
);
static LOG_RECORD: Message = Message(
    &[
        one("timeUnixNano", 1, Fixed64),
        one("severityNumber", 2, Enum),
        one("severityText", 3, Text),
        one("body", 5, Kind::Message(&ANY_VALUE)),
        list("attributes", 6, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 7, Uint32),
        one("flags", 8, Fixed32),
        one("traceId", 9, Id),
        one("spanId", 10, Id),
        one("observedTimeUnixNano", 11, Fixed64),
        one("eventName", 12, Text),
    ],
    size_of::<logs::v1::LogRecord>(),
);

// metrics.proto

/// `ExportMetricsServiceRequest`.
pub(crate) static METRICS: Message =
    Message(&[list("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))], 0);
static RESOURCE_METRICS: Message = Message(
    &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        list("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
        one("schemaUrl", 3, Text),
    ],
    size_of::<metrics::v1::ResourceMetrics>(),
);
static SCOPE_METRICS: Message = Message(
    &[
        one("scope", 1, Kind::Message(&SCOPE)),
        list("metrics", 2, Kind::Message(&METRIC)),
        one("schemaUrl", 3, Text),
    ],
    size_of::<metrics::v1::ScopeMetrics>(),
);
static METRIC: Message = Message(
    &[
        one("name", 1, Text),
        one("description", 2, Text),
        one("unit", 3, Text),
        one("gauge", 5, Kind::Message(&GAUGE)),
        one("sum", 7, Kind::Message(&SUM)),
        one("histogram", 9, Kind::Message(&HISTOGRAM)),
        one("exponentialHistogram", 10, Kind::Message(&UNREAD)),
        one("summary", 11, Kind::Message(&UNREAD)),
        list("metadata", 12, Kind::Message(&KEY_VALUE)),
    ],
    size_of::<metrics::v1::Metric>(),
);
static GAUGE: Message = Message(
    &[list("dataPoints", 1, Kind::Message(&NUMBER_DATA_POINT))],
    size_of::<metrics::v1::Gauge>(),
);
static SUM: Message = Message(
    &[
        list("dataPoints", 1, Kind::Message(&NUMBER_DATA_POINT)),
        one("aggregationTemporality", 2, Enum),
        one("isMonotonic", 3, Bool),
    ],
    size_of::<metrics::v1::Sum>(),
);
static HISTOGRAM: Message = Message(
    &[
        list("dataPoints", 1, Kind::Message(&HISTOGRAM_DATA_POINT)),
        one("aggregationTemporality", 2, Enum),
    ],
    size_of::<metrics::v1::Histogram>(),
);
// Their points are only counted. Those of summaries are smaller.
static UNREAD: Message = Message(&[list("dataPoints", 1, Kind::Message(&NOTHING))], 0);
static NOTHING: Message = Message(&[], size_of::<metrics::v1::ExponentialHistogramDataPoint>());
static NUMBER_DATA_POINT: Message = Message(
    &[
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("asDouble", 4, Double),
        list("exemplars", 5, Kind::Message(&EXEMPLAR)),
        one("asInt", 6, Sfixed64),
        list("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("flags", 8, Uint32),
    ],
    size_of::<metrics::v1::NumberDataPoint>(),
);
static HISTOGRAM_DATA_POINT: Message = Message(
    &[
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        list("bucketCounts", 6, Fixed64),
        list("explicitBounds", 7, Double),
        list("exemplars", 8, Kind::Message(&EXEMPLAR)),
        list("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("flags", 10, Uint32),
        one("min", 11, Double),
        one("max", 12, Double),
    ],
    size_of::<metrics::v1::HistogramDataPoint>(),
);
static EXEMPLAR: Message = Message(
    &[
        one("timeUnixNano", 2, Fixed64),
        one("asDouble", 3, Double),
        one("spanId", 4, Id),
        one("traceId", 5, Id),
        one("asInt", 6, Sfixed64),
        list("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
    ],
    size_of::<metrics::v1::Exemplar>(),
);
