//! What a run emitted, compared with the registry in `semconv/` and with LiveKit's rules for what is sent
//! (`otel/live-check` of its protocol): each span, log record and point in the lines of OTLP JSON that a
//! collector's file exporter wrote. It stands in for Weaver's live check, which is published as binaries
//! only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use livekit_otel_model::semconv::SCHEMA_URL;
use serde_json::Value as Json;

#[path = "../it/registry.rs"]
#[allow(dead_code)] // what the registry's own tests need
pub(crate) mod registry;

#[path = "../it/livekit.rs"]
#[allow(dead_code)] // the comparison of the registries, where only the output is checked
pub(crate) mod livekit;

use livekit::{LiveKit, is_marked, looks_personal};
use registry::{RESOURCE, Registry, list};

/// How much was checked, or all that is wrong with it.
pub(crate) fn check(files: &[PathBuf], livekit: &LiveKit) -> Result<String, Vec<String>> {
    let registry = Registry::read();
    let known = Known::of(&registry, livekit);
    let mut live = Live { known: &known, seen: Seen::default() };
    for file in files {
        live.file(file);
    }
    live.seen.verdict()
}

/// What the registry says of a span, an event, a metric or the resource.
struct Group<'a> {
    definition: &'a Json,
    /// By key, whether it has to be there.
    levels: BTreeMap<&'a str, bool>,
}

struct Known<'a> {
    livekit: &'a LiveKit,
    types: BTreeMap<&'a str, &'a Json>,
    sensitivities: BTreeMap<&'a str, &'a str>,
    spans: BTreeMap<String, Group<'a>>,
    events: BTreeMap<String, Group<'a>>,
    metrics: BTreeMap<String, Group<'a>>,
    resource: Group<'a>,
}

impl<'a> Known<'a> {
    fn of(registry: &'a Registry, livekit: &'a LiveKit) -> Self {
        let group = |definition| Group { definition, levels: registry.levels(definition) };
        let groups = |named: BTreeMap<String, &'a Json>| {
            named.into_iter().map(|(name, definition)| (name, group(definition))).collect()
        };
        Self {
            livekit,
            types: registry.types(),
            sensitivities: registry.sensitivities(),
            spans: groups(registry.spans()),
            events: groups(registry.events()),
            metrics: groups(registry.metrics()),
            resource: group(&registry.0[RESOURCE]),
        }
    }
}

#[derive(Default)]
struct Seen {
    spans: usize,
    records: usize,
    points: usize,
    // Lines that a killed collector left unfinished.
    cut: usize,
    names: BTreeSet<String>,
    // Texts of attributes that LiveKit's collectors delete.
    personal: BTreeSet<String>,
    // Other texts, and where each was seen first.
    plain: BTreeMap<String, String>,
    // And how often.
    problems: BTreeMap<String, usize>,
}

impl Seen {
    fn wrong(&mut self, what: String) {
        *self.problems.entry(what).or_default() += 1;
    }

    /// Personal data that would stay when the marked attributes are deleted.
    fn compare_texts(&mut self) {
        let again = self.personal.iter().filter_map(|text| self.plain.get(text));
        for place in again.cloned().collect::<Vec<_>>() {
            self.wrong(format!("{place} has the text of an attribute that is personal"));
        }
    }

    fn verdict(mut self) -> Result<String, Vec<String>> {
        self.compare_texts();
        for (count, what) in
            [(self.spans, "span"), (self.records, "log record"), (self.points, "point")]
        {
            if count == 0 {
                self.wrong(format!("no {what} was seen"));
            }
        }
        if !self.problems.is_empty() {
            let described = |(what, times)| match times {
                1 => what,
                _ => format!("{what} ({times} times)"),
            };
            return Err(self.problems.into_iter().map(described).collect());
        }
        let Self { spans, records, points, cut, names, .. } = self;
        let cut = if cut == 0 { String::new() } else { format!(" ({cut} lines were cut short)") };
        Ok(format!(
            "{spans} spans, {records} log records and {points} points have {} names, all of semconv/{cut}",
            names.len()
        ))
    }
}

struct Live<'a> {
    known: &'a Known<'a>,
    seen: Seen,
}

impl<'a> Live<'a> {
    fn file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.seen.wrong(format!("{}: {error}", path.display())),
        };
        for (number, line) in text.lines().enumerate() {
            match serde_json::from_str::<Json>(line) {
                Ok(request) => self.request(&request),
                Err(error) if error.is_eof() => self.seen.cut += 1,
                Err(error) => {
                    let at = number + 1;
                    self.seen.wrong(format!("{}:{at} is no JSON: {error}", path.display()));
                }
            }
        }
    }

    fn request(&mut self, request: &Json) {
        let spans = self.items(request, ["resourceSpans", "scopeSpans", "spans"]);
        let records = self.items(request, ["resourceLogs", "scopeLogs", "logRecords"]);
        let metrics = self.items(request, ["resourceMetrics", "scopeMetrics", "metrics"]);
        if spans.is_none() && records.is_none() && metrics.is_none() {
            let begin: String = request.to_string().chars().take(80).collect();
            self.seen.wrong(format!("no OTLP: {begin}"));
        }
        spans.into_iter().flatten().for_each(|span| self.span(span));
        records.into_iter().flatten().for_each(|record| self.record(record));
        metrics.into_iter().flatten().for_each(|metric| self.metric(metric));
    }

    /// The spans, records or metrics of a request, and what they come with held to the registry.
    fn items<'r>(&mut self, request: &'r Json, fields: [&str; 3]) -> Option<Vec<&'r Json>> {
        let [of_resources, of_scopes, of_items] = fields;
        let mut items = Vec::new();
        for of_resource in request[of_resources].as_array()? {
            let (known, resource) = (self.known, &of_resource["resource"]);
            if is_of_agents(resource) {
                continue;
            }
            self.attributes("the resource", &known.resource, &resource["attributes"]);
            self.schema(of_resource);
            for of_scope in list(&of_resource[of_scopes]) {
                self.keys("a scope", &of_scope["scope"]["attributes"]);
                self.schema(of_scope);
                items.extend(list(&of_scope[of_items]));
            }
        }
        Some(items)
    }

    fn schema(&mut self, of: &Json) {
        let url = of["schemaUrl"].as_str().unwrap_or_default();
        if !url.is_empty() && url != SCHEMA_URL {
            self.seen.wrong(format!("schema {url}, not {SCHEMA_URL}"));
        }
    }

    fn span(&mut self, span: &Json) {
        self.seen.spans += 1;
        for event in list(&span["events"]) {
            self.event(event["name"].as_str(), &event["attributes"]);
        }
        for link in list(&span["links"]) {
            self.keys("a link", &link["attributes"]);
        }
        let known = self.known;
        let Some((what, group)) = self.named("span", span["name"].as_str(), &known.spans) else {
            return;
        };
        let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
        let kind = usize::try_from(span["kind"].as_u64().unwrap_or_default()).unwrap_or_default();
        self.equal(&what, group, "span_kind", kinds.get(kind).unwrap_or(&"unknown"));
        self.attributes(&what, group, &span["attributes"]);
        // Collectors delete attributes, but leave messages and bodies alone.
        let message = span["status"]["message"].as_str().unwrap_or_default();
        let is_type =
            |it: &Json| it["key"] == "error.type" && it["value"]["stringValue"] == message;
        if !message.is_empty() && !list(&span["attributes"]).any(is_type) {
            self.seen.wrong(format!("{what}: its status message is not its error.type"));
        }
    }

    fn record(&mut self, record: &Json) {
        self.seen.records += 1;
        self.event(record["eventName"].as_str(), &record["attributes"]);
        let body = &record["body"]["stringValue"];
        if !body.is_null() && *body != record["eventName"] {
            self.seen.wrong(format!("event {}: its body is not its name", record["eventName"]));
        }
    }

    fn event(&mut self, name: Option<&str>, attributes: &Json) {
        let known = self.known;
        if let Some((what, group)) = self.named("event", name, &known.events) {
            self.attributes(&what, group, attributes);
        }
    }

    fn metric(&mut self, metric: &Json) {
        let kinds = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];
        let (kind, data) = kinds
            .into_iter()
            .find_map(|kind| metric.get(kind).map(|data| (kind, data)))
            .unwrap_or(("nothing", &Json::Null));
        let points: Vec<_> = list(&data["dataPoints"]).collect();
        self.seen.points += points.len();
        let known = self.known;
        let Some((what, group)) = self.named("metric", metric["name"].as_str(), &known.metrics)
        else {
            return;
        };
        let instrument = match kind {
            "sum" if data["isMonotonic"] == true => "counter",
            "sum" => "updowncounter",
            "exponentialHistogram" => "histogram",
            other => other,
        };
        self.equal(&what, group, "instrument", instrument);
        self.equal(&what, group, "unit", metric["unit"].as_str().unwrap_or_default());
        for point in points {
            self.attributes(&what, group, &point["attributes"]);
            for exemplar in list(&point["exemplars"]) {
                self.keys("an exemplar", &exemplar["filteredAttributes"]);
            }
        }
    }

    /// What the registry says of this name.
    fn named(
        &mut self,
        what: &str,
        name: Option<&str>,
        groups: &'a BTreeMap<String, Group<'a>>,
    ) -> Option<(String, &'a Group<'a>)> {
        let what = format!("{what} {}", name.unwrap_or("without a name"));
        let group = name.and_then(|name| groups.get(name));
        match group {
            None => self.seen.wrong(format!("{what} is not in semconv/")),
            Some(_) => drop(self.seen.names.insert(what.clone())),
        }
        group.map(|group| (what, group))
    }

    fn equal(&mut self, what: &str, group: &Group<'_>, field: &str, actual: &str) {
        let wanted = &group.definition[field];
        if wanted != actual {
            self.seen.wrong(format!("{what}: {field} is {actual:?}, not {wanted}"));
        }
    }

    fn attributes(&mut self, what: &str, group: &Group<'_>, attributes: &Json) {
        let there = self.keys(what, attributes);
        for key in &there {
            if self.known.types.contains_key(&**key) && !group.levels.contains_key(&**key) {
                self.seen.wrong(format!("{what} has {key}, which its group does not refer to"));
            }
        }
        for (key, _) in
            group.levels.iter().filter(|(key, needed)| **needed && !there.contains(**key))
        {
            self.seen.wrong(format!("{what} lacks {key}"));
        }
    }

    /// Compares keys and values with the registry; returns the keys.
    fn keys(&mut self, what: &str, attributes: &Json) -> BTreeSet<String> {
        let mut there = BTreeSet::new();
        for attribute in list(attributes) {
            let key = attribute["key"].as_str().unwrap_or_default();
            self.livekit(what, key, &attribute["value"]);
            match self.known.types.get(key) {
                None => self.seen.wrong(format!("{what} has {key:?}, which is not in semconv/")),
                Some(kind) if !holds(&attribute["value"], kind) => {
                    let value = &attribute["value"];
                    self.seen.wrong(format!("{what}: {key} is {value}, no {}", shown(kind)));
                }
                Some(_) => drop(self.seen.names.insert(key.to_owned())),
            }
            if !there.insert(key.to_owned()) {
                self.seen.wrong(format!("{what} has {key} twice"));
            }
        }
        there
    }

    /// LiveKit's rules for an attribute that is sent.
    fn livekit(&mut self, what: &str, key: &str, value: &Json) {
        let Known { livekit, sensitivities, .. } = self.known;
        if let Some(instead) = livekit.refuses(key) {
            self.seen.wrong(format!("{what} has {key}, which LiveKit refuses: use {instead}"));
        }
        if let Some(kind) = livekit.kind(key).filter(|kind| !holds(value, kind)) {
            let kind = shown(kind);
            self.seen.wrong(format!("{what}: {key} is {value}, but LiveKit has {kind}"));
        }
        let is_marked = is_marked(key);
        let class = sensitivities.get(key).copied().unwrap_or_default();
        if is_marked != (class == "pii") || (!is_marked && looks_personal(key)) {
            self.seen.wrong(format!("{what}: {key} is of class {class:?}, not by its name"));
        }
        let text = value["stringValue"].as_str().filter(|text| !text.is_empty());
        // Words of the registry are no one's data, even where somebody uses the same.
        let is_listed = self.known.types.get(key).is_some_and(|kind| kind["members"].is_array());
        match text {
            Some(text) if is_marked => drop(self.seen.personal.insert(text.to_owned())),
            Some(text) if !is_listed => {
                let place = self.seen.plain.entry(text.to_owned());
                place.or_insert_with(|| format!("{what}: {key}"));
            }
            _ => (),
        }
    }
}

/// Whether it is of LiveKit's agents, whose records pass through.
fn is_of_agents(resource: &Json) -> bool {
    let mut attributes = list(&resource["attributes"]);
    attributes
        .any(|it| it["key"] == "service.name" && it["value"]["stringValue"] == "livekit-agents")
}

/// Whether a value of OTLP is of a type of the registry.
fn holds(value: &Json, kind: &Json) -> bool {
    let field = match kind.as_str() {
        Some("string") => "stringValue",
        Some("int") => "intValue",
        Some("double") => "doubleValue",
        Some("boolean") => "boolValue",
        Some(_) => return false,
        None => {
            let value = &value["stringValue"];
            return value.is_string() && list(&kind["members"]).any(|it| it["value"] == *value);
        }
    };
    value.get(field).is_some()
}

fn shown(kind: &Json) -> String {
    let members: Vec<_> = list(&kind["members"]).filter_map(|it| it["value"].as_str()).collect();
    kind.as_str().map_or_else(|| format!("one of {}", members.join(", ")), str::to_owned)
}
