//! The dashboards and rules that are shipped, all queries in them, and the keys that redact.yaml passes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

pub(crate) const DASHBOARDS: [&str; 7] =
    ["fleet", "room", "participant", "agents", "telephony", "egress-ingress", "delivery"];
pub(crate) const RULES: [&str; 2] = ["recording", "alerts"];

/// Whose language a query is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Prometheus,
    Tempo,
    Loki,
}

/// A query, as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// Where it is: the dashboard, the panel's title, its letter.
    pub(crate) place: String,
    pub(crate) backend: Backend,
    pub(crate) text: String,
    /// At the end of the chosen time alone.
    pub(crate) is_instant: bool,
    /// Asked for its exemplars too.
    pub(crate) has_exemplars: bool,
}

/// A dashboard.
#[derive(Debug)]
pub(crate) struct Dashboard {
    pub(crate) name: &'static str,
    pub(crate) json: Json,
}

/// A rule; of its name, an alert's or a series'.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) is_alert: bool,
    pub(crate) expr: String,
    pub(crate) json: Json,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("collector-config")
}

/// The keys of a list in redact.yaml.
pub(crate) fn redacted(list: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder().join("redact.yaml")).unwrap();
    let yaml: Json = serde_saphyr::from_str(&text).unwrap();
    let keys = &yaml["processors"]["redaction/livekit_keys"][list];
    keys.as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
}

pub(crate) fn dashboards() -> Vec<Dashboard> {
    let read = |name| {
        let path = folder().join(format!("dashboards/{name}.json"));
        let text = std::fs::read_to_string(path).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Dashboard { name, json }
    };
    DASHBOARDS.map(read).into()
}

pub(crate) fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for name in RULES {
        let path = folder().join(format!("prometheus/{name}.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        let file: Json =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for json in list(&file, "groups").flat_map(|group| list(group, "rules")) {
            let is_alert = json["alert"].is_string();
            let name = text_of(json, if is_alert { "alert" } else { "record" });
            rules.push(Rule { name, is_alert, expr: text_of(json, "expr"), json: json.clone() });
        }
    }
    rules
}

pub(crate) fn list<'a>(of: &'a Json, field: &str) -> impl Iterator<Item = &'a Json> + use<'a> {
    of[field].as_array().into_iter().flatten()
}

pub(crate) fn text_of(of: &Json, field: &str) -> String {
    of[field].as_str().unwrap_or_else(|| panic!("no {field} in {of}")).to_owned()
}

impl Dashboard {
    /// Its panels, those in rows that are folded too; no rows.
    pub(crate) fn panels(&self) -> Vec<&Json> {
        let all = list(&self.json, "panels");
        let all = all.flat_map(|panel| std::iter::once(panel).chain(list(panel, "panels")));
        all.filter(|panel| panel["type"] != "row").collect()
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &Json> {
        list(&self.json["templating"], "list")
    }

    pub(crate) fn annotations(&self) -> impl Iterator<Item = &Json> {
        list(&self.json["annotations"], "list")
    }

    /// The queries of its panels and annotations; those of variables are in a language of their own.
    pub(crate) fn queries(&self) -> Vec<Query> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            for target in list(panel, "targets") {
                let place = format!(
                    "{}: {} {}",
                    self.name,
                    text_of(panel, "title"),
                    text_of(target, "refId")
                );
                queries.extend(query(place, target));
            }
        }
        for annotation in self.annotations() {
            let place = format!("{}: annotation {}", self.name, text_of(annotation, "name"));
            queries.extend(query(place, annotation));
        }
        queries
    }
}

fn query(place: String, of: &Json) -> Option<Query> {
    let (backend, field) = match of["datasource"]["type"].as_str() {
        Some("prometheus") => (Backend::Prometheus, "expr"),
        Some("loki") => (Backend::Loki, "expr"),
        Some("tempo") => (Backend::Tempo, "query"),
        // A search by fields.
        Some("jaeger") => return None,
        other => panic!("{place}: {other:?}"),
    };
    let is_instant = of["instant"] == true || of["queryType"] == "instant";
    let has_exemplars = of["exemplar"] == true;
    Some(Query { place, backend, text: text_of(of, field), is_instant, has_exemplars })
}

/// The text with variables (`$name`, `${name}`, `${name:format}`) replaced by what is given for them.
pub(crate) fn filled(text: &str, value: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut parts = text.split('$');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let braced = part.strip_prefix('{');
        let body = braced.unwrap_or(part);
        let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let (name, rest) = body.split_at(body.find(|it| !is_name(it)).unwrap_or(body.len()));
        let rest = if braced.is_some() { rest.split_once('}').map(|it| it.1) } else { Some(rest) };
        match (value(name), rest) {
            (Some(value), Some(rest)) if !name.is_empty() => {
                out.push_str(&value);
                out.push_str(rest);
            }
            _ => {
                out.push('$');
                out.push_str(part);
            }
        }
    }
    out
}

/// The variables that a text uses.
pub(crate) fn used(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    filled(text, &mut |name| {
        names.insert(name.to_owned());
        None
    });
    // The end of a regular expression.
    names.remove("");
    names
}
