//! OTLP's JSON, as Jaeger answers with it and as the collector's files have it: read.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

pub(crate) type Attributes = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// The `service.name` of its program.
    pub(crate) service: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) is_error: bool,
    /// Trace and span.
    #[allow(dead_code)] // of tests/real
    pub(crate) links: Vec<(String, String)>,
    pub(crate) attributes: Attributes,
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) event: String,
    pub(crate) trace: String,
    pub(crate) attributes: Attributes,
}

impl Span {
    pub(crate) fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

impl Record {
    /// What identifies it: its event and its id.
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.event, self.attribute("log.record.uid"))
    }

    pub(crate) fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// The spans of a request.
pub(crate) fn spans(request: &Value) -> Vec<Span> {
    let of_resources = request["resourceSpans"].as_array().into_iter().flatten();
    of_resources.flat_map(of_resource).collect()
}

fn of_resource(of: &Value) -> Vec<Span> {
    let service = attributes(&of["resource"]).remove("service.name").unwrap_or_default();
    let span = |span: &Value| Span {
        trace: text(&span["traceId"]),
        id: text(&span["spanId"]),
        service: service.clone(),
        parent: text(&span["parentSpanId"]),
        name: text(&span["name"]),
        is_error: [Value::from(2), Value::from("STATUS_CODE_ERROR")]
            .contains(&span["status"]["code"]),
        links: span["links"].as_array().into_iter().flatten().map(link).collect(),
        attributes: attributes(span),
    };
    within(of, &["scopeSpans", "spans"]).into_iter().map(span).collect()
}

fn link(link: &Value) -> (String, String) {
    (text(&link["traceId"]), text(&link["spanId"]))
}

/// The spans of a file of requests, a line each.
#[allow(dead_code)] // of tests/real
pub(crate) fn all_spans(file: &Path) -> Vec<Span> {
    requests(file).iter().flat_map(spans).collect()
}

/// The log records of a file of requests, a line each.
pub(crate) fn records(file: &Path) -> Vec<Record> {
    let record = |record: &Value| Record {
        event: text(&record["eventName"]),
        trace: text(&record["traceId"]),
        attributes: attributes(record),
    };
    let requests = requests(file);
    let path = ["resourceLogs", "scopeLogs", "logRecords"];
    let records = requests.iter().flat_map(|request| within(request, &path));
    records.map(record).collect()
}

fn requests(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    // The last line may be on its way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn within<'a>(of: &'a Value, path: &[&str]) -> Vec<&'a Value> {
    let mut found = vec![of];
    for key in path {
        found = found.into_iter().filter_map(|value| value[*key].as_array()).flatten().collect();
    }
    found
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn attributes(of: &Value) -> Attributes {
    let pair = |pair: &Value| {
        // The one that is there, of stringValue, intValue and so on; whole numbers are texts there.
        let value = pair["value"].as_object().and_then(|value| value.values().next());
        let value =
            value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        (text(&pair["key"]), value.unwrap_or_default())
    };
    of["attributes"].as_array().into_iter().flatten().map(pair).collect()
}
