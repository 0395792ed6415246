//! Reads the registry in `semconv/`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

const FILES: [&str; 4] = ["attributes", "spans", "events", "metrics"];

/// Attributes of LiveKit's own registry that this program sends.
pub(crate) const LIVEKIT: &str = "registry.livekit_otel.livekit";
/// OpenTelemetry's own attributes, as the version that the manifest names has them.
pub(crate) const OPENTELEMETRY: &str = "registry.livekit_otel.opentelemetry";
pub(crate) const RESOURCE: &str = "registry.livekit_otel.resource";

pub(crate) fn yaml(name: &str) -> Json {
    let path = format!("{}/semconv/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn text<'a>(of: &'a Json, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_else(|| panic!("no {field} in {of}"))
}

/// The items of an array; none of anything else.
pub(crate) fn list(of: &Json) -> impl Iterator<Item = &Json> {
    of.as_array().into_iter().flatten()
}

pub(crate) fn attributes(group: &Json) -> impl Iterator<Item = &Json> {
    list(&group["attributes"])
}

/// The keys that a group refers to.
pub(crate) fn refs(group: &Json) -> impl Iterator<Item = &str> {
    attributes(group).filter_map(|attribute| attribute["ref"].as_str())
}

/// All groups of the registry, by their id.
pub(crate) struct Registry(pub(crate) BTreeMap<String, Json>);

impl Registry {
    pub(crate) fn read() -> Self {
        Self::of(&FILES.map(yaml))
    }

    /// The groups of some files.
    pub(crate) fn of(files: &[Json]) -> Self {
        let mut groups = BTreeMap::new();
        for group in files.iter().flat_map(|file| list(&file["groups"])) {
            let id = text(group, "id").to_owned();
            assert!(groups.insert(id.clone(), group.clone()).is_none(), "two groups are {id}");
        }
        Self(groups)
    }

    pub(crate) fn of_type(&self, kind: &'static str) -> impl Iterator<Item = &Json> {
        self.0.values().filter(move |group| text(group, "type") == kind)
    }

    /// The attributes that are defined here, by their key.
    pub(crate) fn defined(&self) -> BTreeMap<&str, &Json> {
        let mut defined = BTreeMap::new();
        let all = self.0.values().flat_map(attributes);
        for attribute in all.filter(|attribute| attribute["id"].is_string()) {
            let id = text(attribute, "id");
            assert!(defined.insert(id, attribute).is_none(), "{id} is defined twice");
        }
        defined
    }

    /// The type of each attribute, OpenTelemetry's own too.
    pub(crate) fn types(&self) -> BTreeMap<&str, &Json> {
        let ours = self.defined().into_iter().map(|(key, attribute)| (key, &attribute["type"]));
        let foreign = [OPENTELEMETRY, RESOURCE].into_iter().flat_map(|id| attributes(&self.0[id]));
        let foreign = foreign.map(|it| (text(it, "ref"), &it["annotations"]["livekit"]["type"]));
        ours.chain(foreign).collect()
    }

    /// The sensitivity of each attribute, OpenTelemetry's own too.
    pub(crate) fn sensitivities(&self) -> BTreeMap<&str, &str> {
        let foreign = [OPENTELEMETRY, RESOURCE].into_iter().flat_map(|id| attributes(&self.0[id]));
        let foreign = foreign.map(|it| (text(it, "ref"), it));
        let all = self.defined().into_iter().chain(foreign);
        all.map(|(key, it)| (key, text(&it["annotations"]["livekit"], "sensitivity"))).collect()
    }

    /// The keys of a span, event or metric, inherited ones too, and whether each is required.
    pub(crate) fn levels<'a>(&'a self, group: &'a Json) -> BTreeMap<&'a str, bool> {
        let parent = group["extends"].as_str().map(|parent| self.levels(&self.0[parent]));
        let mut levels = parent.unwrap_or_default();
        for attribute in attributes(group).filter(|attribute| attribute["ref"].is_string()) {
            let level = &attribute["requirement_level"];
            let inherited = levels.entry(text(attribute, "ref")).or_default();
            *inherited = if level.is_null() { *inherited } else { level == "required" };
        }
        levels
    }

    /// The groups of one type, by their `name`.
    fn named(&self, kind: &'static str, name: impl Fn(&Json) -> String) -> BTreeMap<String, &Json> {
        let mut named = BTreeMap::new();
        for group in self.of_type(kind) {
            assert!(named.insert(name(group), group).is_none(), "{} twice", name(group));
        }
        named
    }

    pub(crate) fn spans(&self) -> BTreeMap<String, &Json> {
        self.named("span", |group| text(&group["annotations"]["livekit"], "span_name").to_owned())
    }

    pub(crate) fn events(&self) -> BTreeMap<String, &Json> {
        self.named("event", |group| text(group, "name").to_owned())
    }

    pub(crate) fn metrics(&self) -> BTreeMap<String, &Json> {
        self.named("metric", |group| text(group, "metric_name").to_owned())
    }
}
