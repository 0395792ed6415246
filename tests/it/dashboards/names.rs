//! What `semconv/` lists as emitted, under the names that back ends use.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::promql::quoted;
use super::shipped::{list, redacted, text_of};

fn groups(file: &str) -> Vec<Json> {
    let path = format!("{}/semconv/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
    let file: Json = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    list(&file, "groups").cloned().collect()
}

/// A key as Prometheus and Loki write it.
fn label(key: &str) -> String {
    key.replace('.', "_")
}

/// The series that Prometheus' OTLP receiver makes of our metrics, with their labels (OpenTelemetry's
/// rules: the unit, then `_total` for what only grows, `_ratio` for a gauge of 1).
pub(super) fn series() -> BTreeMap<String, BTreeSet<String>> {
    let groups = groups("metrics");
    let by_id: BTreeMap<_, _> = groups.iter().map(|group| (text_of(group, "id"), group)).collect();
    let mut series = BTreeMap::new();
    for group in groups.iter().filter(|group| group["type"] == "metric") {
        let parent = |group: &&Json| group["extends"].as_str().map(|id| by_id[id]);
        let keys = std::iter::successors(Some(group), parent);
        let keys = keys.flat_map(|group| list(group, "attributes")).map(|it| text_of(it, "ref"));
        let mut labels: BTreeSet<_> = keys.map(|key| label(&key)).collect();
        labels.extend(super::OF_TARGETS.map(str::to_owned));
        let instrument = text_of(group, "instrument");
        let suffixes: &[&str] = match (&*instrument, &*text_of(group, "unit")) {
            ("counter", "By") => &["_bytes_total"],
            ("counter", "s") => &["_seconds_total"],
            ("counter", _) => &["_total"],
            ("updowncounter", "By") => &["_bytes"],
            ("gauge", "s") => &["_seconds"],
            ("gauge", "1") => &["_ratio"],
            ("histogram", "s") => &["_seconds_bucket", "_seconds_count", "_seconds_sum"],
            ("histogram", _) => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        for suffix in suffixes {
            let mut labels = labels.clone();
            if suffix.ends_with("_bucket") {
                labels.insert("le".to_owned());
            }
            let name = format!("{}{suffix}", label(&text_of(group, "metric_name")));
            series.insert(name, labels);
        }
    }
    let resource = ["instance", "job", "service_version"].map(str::to_owned);
    series.insert("target_info".to_owned(), resource.into());
    series.extend(of_services());
    series
}

/// The series that Prometheus gets of the endpoints of LiveKit's services through cluster.yaml, with their labels.
fn of_services() -> BTreeMap<String, BTreeSet<String>> {
    let mut series = BTreeMap::<_, BTreeSet<_>>::new();
    for service in ["server", "sip", "egress", "ingress"] {
        let root = env!("CARGO_MANIFEST_DIR");
        let path = format!("{root}/tests/real/collector/cluster/{service}.prom");
        let text = std::fs::read_to_string(path).unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let types: BTreeMap<_, _> = types.collect();
        // The others are dropped.
        for sample in text.lines().filter(|line| line.starts_with("livekit_")) {
            let (name, rest) = sample.split_once('{').unwrap();
            let needs_suffix = types.get(name) == Some(&"counter") && !name.ends_with("_total");
            let name = format!("{name}{}", if needs_suffix { "_total" } else { "" });
            let labels = series.entry(name).or_default();
            let pairs = rest.split("\",").filter_map(|pair| pair.split_once('='));
            labels.extend(pairs.map(|(label, _)| label.to_owned()));
            labels.extend(super::OF_TARGETS.map(str::to_owned));
        }
    }
    series
}

/// The names in `{{name}}` and `{{.name}}`.
pub(super) fn in_braces(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
    parts.map(|(name, _)| name.trim_start_matches('.'))
}

/// Attributes, events and spans.
pub(super) struct Emitted {
    keys: BTreeSet<String>,
    events: BTreeSet<String>,
    spans: BTreeSet<String>,
}

impl Emitted {
    pub(super) fn read() -> Self {
        let keys = groups("attributes");
        let keys = keys.iter().flat_map(|group| list(group, "attributes"));
        let keys = keys.map(|it| text_of(it, if it["id"].is_string() { "id" } else { "ref" }));
        let events = groups("events").into_iter().filter(|group| group["type"] == "event");
        let spans = groups("spans").into_iter().filter(|group| group["type"] == "span");
        let name = |span: Json| text_of(&span["annotations"]["livekit"], "span_name");
        // Agents' own too.
        let keys = keys.chain(redacted("allowed_keys"));
        Self {
            keys: keys.collect(),
            events: events.map(|event| text_of(&event, "name")).collect(),
            spans: spans.map(name).collect(),
        }
    }

    /// A label of a log record in Loki.
    pub(super) fn check_label(&self, place: &str, name: &str) {
        // Loki's labels for a record's own fields, and its function for the line.
        let own = ["trace_id", "severity_text", "__line__"].contains(&name);
        let is_key = own || self.keys.iter().any(|key| label(key) == name);
        assert!(is_key, "{place}: no log record has {name}");
    }

    // Names are words outside of quotes; text in backquotes matches a record's line, which is its event.
    pub(super) fn check_logql(&self, place: &str, query: &str) {
        const WORDS: [&str; 6] = ["sum", "by", "or", "count_over_time", "line_format", "$service"];
        let mut rest = query;
        while let Some(first) = rest.chars().next() {
            let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '$';
            let word = &rest[..rest.find(|it| !is_name(it)).unwrap_or(rest.len())];
            let length = match first {
                '"' | '`' => {
                    let text = quoted(rest);
                    if first == '`' {
                        self.check_line(place, text);
                    }
                    in_braces(text).for_each(|name| self.check_label(place, name));
                    text.len() + 2
                }
                '[' => rest.find(']').unwrap() + 1,
                _ if word.is_empty() => first.len_utf8(),
                _ => {
                    if !WORDS.contains(&word) {
                        self.check_label(place, word);
                    }
                    word.len()
                }
            };
            rest = &rest[length..];
        }
    }

    // A name, or a pattern of several: `^lk\.(a|b)\.(c|d)$`.
    fn check_line(&self, place: &str, pattern: &str) {
        let pattern = pattern.trim_start_matches('^').trim_end_matches('$').replace('\\', "");
        let mut names = vec![String::new()];
        for part in pattern.split_inclusive(')') {
            let (before, choices) = part.split_once('(').unwrap_or((part, ""));
            let choices = choices.trim_end_matches(')').split('|');
            let longer = |name: &String| {
                choices.clone().map(|choice| format!("{name}{before}{choice}")).collect::<Vec<_>>()
            };
            names = names.iter().flat_map(longer).collect();
        }
        for name in names {
            assert!(self.events.contains(&name), "{place}: no event is {name}");
        }
    }

    pub(super) fn check_traceql(&self, place: &str, query: &str) {
        let is_name = |it: char| it.is_ascii_alphanumeric() || "_.".contains(it);
        let mut found = 0;
        for word in query.split(|it| !is_name(it)) {
            let Some(key) = word.strip_prefix("span.").or(word.strip_prefix("resource.")) else {
                continue;
            };
            assert!(self.keys.contains(key), "{place}: no span has {key}");
            found += 1;
        }
        assert!(found > 0, "{place} names no attribute: {query}");
    }

    pub(super) fn check_jaeger(&self, operation: &str, tags: &str) {
        assert!(self.spans.contains(operation), "no span is called {operation}");
        let (key, _) = tags.split_once('=').unwrap();
        assert!(self.keys.contains(key), "no span has {key}");
    }
}
