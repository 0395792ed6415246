//! LiveKit's own OpenTelemetry registry, `otel/` of the Go module github.com/livekit/protocol, and what it
//! refuses in `semconv/`. A finding has the name of its rule in `otel/README.md` there. The rules `type`,
//! `value`, `class`, `namespace`, `binding` and `name` follow from sharing keys with other producers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value as Json;

use super::registry::{OPENTELEMETRY, RESOURCE, Registry, attributes, list, refs};

/// The owner of the keys that LiveKit's registry lacks.
pub(crate) const OWNER: &str = "server";

/// Whose namespaces these are, although the owner has not registered a key there yet (`otel/README.md`,
/// "Ownership").
const RESERVED: [(&str, &str); 2] = [("lk.client", "client"), ("lk.sip", "telephony")];

/// Namespaces of other owners where keys of ours describe the server's side of the same thing.
const SHARED_NAMESPACES: [(&str, &str); 5] = [
    ("lk.client", "client"),
    ("lk.connect", "client"),
    ("lk.room", "agents"),
    ("lk.sip", "telephony"),
    ("lk.track", "client"),
];

/// Metrics whose series are by room, or by participant and track too, on purpose (`semconv/README.md`). They
/// have ids and names among their attributes, which LiveKit refuses on metrics.
const BY_ROOM: [&str; 3] = ["lk.stream.", "lk.usage.", "lk.worst."];

/// Metrics whose series are by room and agent's job on purpose: ids, but no names.
const BY_JOB: [&str; 3] = ["lk.agent.", "lk.agents.", "gen_ai."];

/// What a metric of LiveKit's has here beside LiveKit's attributes.
const ADDED: [&str; 3] = ["lk.room_id", "lk.job_id", "otel.metric.overflow"];

/// The expressions of the policy that functions of this file implement, so that a change is noticed.
const EXPRESSIONS: [(&str, &str); 3] = [
    ("pii_segment", r"(^|\.)pii(\.|$)"),
    ("pii_looking", "(identity|email|phone|ip_address|user_agent|(room|participant)[._]name)"),
    (
        "duration_like",
        r"(^|[._])(duration|latency|delay|rtt|jitter)(_ms)?([._](min|max|avg|mean|median|sum|total|last|p[0-9]+))?$",
    ),
];

/// Whether LiveKit's collectors delete the attribute: `pii_segment`.
pub(crate) fn is_marked(key: &str) -> bool {
    key.split('.').any(|segment| segment == "pii")
}

/// Whether the key is that of personal data by its words: `pii_looking`.
pub(crate) fn looks_personal(key: &str) -> bool {
    let words = ["identity", "email", "phone", "ip_address", "user_agent"];
    let names = ["room.name", "room_name", "participant.name", "participant_name"];
    words.into_iter().chain(names).any(|word| key.contains(word))
}

/// Whether the key is that of a duration by its last words: `duration_like`.
fn looks_like_duration(key: &str) -> bool {
    let is_aggregate = |word: &str| {
        let is_percentile = word
            .strip_prefix('p')
            .is_some_and(|of| !of.is_empty() && of.bytes().all(|byte| byte.is_ascii_digit()));
        is_percentile
            || ["min", "max", "avg", "mean", "median", "sum", "total", "last"].contains(&word)
    };
    let mut words: Vec<_> = key.split(['.', '_']).collect();
    if words.last().is_some_and(|word| is_aggregate(word)) {
        words.pop();
    }
    if words.len() > 1 && words.last() == Some(&"ms") {
        words.pop();
    }
    let durations = ["duration", "latency", "delay", "rtt", "jitter"];
    words.last().is_some_and(|word| durations.contains(word))
}

/// What `annotations.livekit` of an attribute, metric or event says.
pub(crate) fn annotation<'a>(of: &'a Json, field: &str) -> &'a Json {
    &of["annotations"]["livekit"][field]
}

/// LiveKit's registry, as far as the rules need it.
#[derive(Debug, Default)]
pub(crate) struct LiveKit {
    attributes: BTreeMap<String, Json>,
    /// The rule by which a key is refused, and the key to use.
    refused: BTreeMap<String, (&'static str, String)>,
    /// Who has keys in a namespace.
    owners: BTreeSet<(String, String)>,
    /// The names of spans, events and metrics, and the ids of all groups.
    names: BTreeSet<String>,
    metrics: BTreeMap<String, Json>,
    policy: BTreeMap<&'static str, BTreeSet<String>>,
}

impl LiveKit {
    /// Reads the model and the policy of a folder `otel`.
    pub(crate) fn read(otel: &Path) -> Result<Self, String> {
        let mut models = Vec::new();
        for path in yaml_files(&otel.join("model"))? {
            models.push(parsed(&path)?);
        }
        Self::new(&models, &read(&otel.join("policies/lib.rego"))?)
    }

    pub(crate) fn new(models: &[Json], policy: &str) -> Result<Self, String> {
        for (name, expected) in EXPRESSIONS {
            let actual = expression(policy, name)?;
            if actual != expected {
                return Err(format!("the policy's {name} is now {actual}"));
            }
        }
        let groups = || models.iter().flat_map(|model| list(&model["groups"]));
        let defined = groups().flat_map(attributes).filter_map(|attribute| {
            Some((attribute["id"].as_str()?.to_owned(), attribute.clone()))
        });
        let attributes: BTreeMap<_, _> = defined.collect();
        let sets = ["high_cardinality", "sensitivities", "pii_by_name", "severity_texts"];
        let set = |name| Ok((name, table(policy, name)?.into_iter().collect()));
        let metrics = groups()
            .filter_map(|group| Some((group["metric_name"].as_str()?.to_owned(), group.clone())));
        Ok(Self {
            metrics: metrics.collect(),
            refused: refused(&attributes, &table(policy, "canonical_identity")?),
            owners: owners(&attributes),
            names: groups().flat_map(names).collect(),
            policy: sets.into_iter().map(set).collect::<Result<_, String>>()?,
            attributes,
        })
    }

    /// The key to use instead of one that LiveKit refuses, by any of its rules.
    pub(crate) fn refuses(&self, key: &str) -> Option<&str> {
        self.refused.get(key).map(|(_, instead)| &**instead)
    }

    /// The type of a key that LiveKit's registry has too.
    pub(crate) fn kind(&self, key: &str) -> Option<&Json> {
        self.attributes.get(key).map(|attribute| &attribute["type"])
    }

    fn has(&self, set: &str, text: &str) -> bool {
        self.policy.get(set).is_some_and(|set| set.contains(text))
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A YAML file.
pub(crate) fn parsed(path: &Path) -> Result<Json, String> {
    let failed = |error| format!("{}: {error}", path.display());
    serde_saphyr::from_str(&read(path)?).map_err(failed)
}

/// The YAML files of a folder and of those in it, in order.
pub(crate) fn yaml_files(folder: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What a rule of the policy is set to, up to the end of the text.
fn after<'a>(policy: &'a str, name: &str) -> Result<&'a str, String> {
    let head = format!("\n{name} := ");
    let (_, rest) = policy.split_once(&head).ok_or(format!("the policy has no {name}"))?;
    Ok(rest)
}

fn expression<'a>(policy: &'a str, name: &str) -> Result<&'a str, String> {
    after(policy, name)?.split('`').nth(1).ok_or(format!("the policy's {name} is no expression"))
}

/// The texts of a set or an object, in order.
fn table(policy: &str, name: &str) -> Result<Vec<String>, String> {
    let body = after(policy, name)?.strip_prefix('{').and_then(|rest| rest.split('}').next());
    let body = body.ok_or(format!("the policy's {name} is no table"))?;
    Ok(body.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

fn refused(
    attributes: &BTreeMap<String, Json>,
    canonical: &[String],
) -> BTreeMap<String, (&'static str, String)> {
    let mut refused = BTreeMap::new();
    for (key, attribute) in attributes {
        // Names of the concept in other stores; those outside of `lk.` are no attributes of OTLP.
        let bindings = annotation(attribute, "bindings").as_object().into_iter().flatten();
        let bound = bindings.flat_map(|(_, names)| match names {
            Json::Array(names) => names.as_slice(),
            name => std::slice::from_ref(name),
        });
        for name in bound.filter_map(Json::as_str).filter(|name| name.starts_with("lk.")) {
            if !attributes.contains_key(name) {
                refused.insert(name.to_owned(), ("binding", key.clone()));
            }
        }
        if let Some(old) = annotation(attribute, "renamed_from")["key"].as_str() {
            refused.insert(old.to_owned(), ("livekit_shared_rename", key.clone()));
        }
    }
    for pair in canonical.chunks_exact(2) {
        refused.insert(pair[0].clone(), ("livekit_flat_identity", pair[1].clone()));
    }
    refused
}

/// `lk.room` of `lk.room.end_reason`. Flat keys have none, and that of personal data is everyone's.
fn namespace(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("lk.")?;
    let (first, _) = rest.split_once('.')?;
    (first != "pii").then(|| &key[..3 + first.len()])
}

fn owners(attributes: &BTreeMap<String, Json>) -> BTreeSet<(String, String)> {
    let of = |(key, attribute): (&String, &Json)| {
        Some((namespace(key)?.to_owned(), annotation(attribute, "owner").as_str()?.to_owned()))
    };
    let reserved = RESERVED.map(|(of, owner)| (of.to_owned(), owner.to_owned()));
    attributes.iter().filter_map(of).chain(reserved).collect()
}

/// The id of a group, and its name as a span, an event or a metric.
fn names(group: &Json) -> Vec<String> {
    let id = group["id"].as_str().unwrap_or_default();
    let name = match group["type"].as_str() {
        Some("span") => annotation(group, "span_name").as_str().or(id.strip_prefix("span.")),
        Some("event") => group["name"].as_str(),
        Some("metric") => group["metric_name"].as_str(),
        _ => None,
    };
    let kind = group["type"].as_str().unwrap_or_default();
    let name = name.map(|name| format!("{kind} {name}"));
    name.into_iter().chain([format!("group {id}")]).collect()
}

/// All that LiveKit refuses.
pub(crate) fn check(ours: &Registry, livekit: &LiveKit) -> Vec<String> {
    let defined = ours.defined();
    let mut found = Vec::new();
    for (key, attribute) in &defined {
        found.extend(defined_well(key, attribute, livekit));
        found.extend(classed(key, attribute, livekit));
        match livekit.attributes.get(*key) {
            Some(theirs) => found.extend(shared(key, attribute, theirs)),
            None => found.extend(own(key, attribute, livekit)),
        }
    }
    for group in [OPENTELEMETRY, RESOURCE].into_iter().filter_map(|id| ours.0.get(id)) {
        for attribute in attributes(group) {
            found.extend(classed(
                attribute["ref"].as_str().unwrap_or_default(),
                attribute,
                livekit,
            ));
        }
    }
    for (id, group) in &ours.0 {
        let again = attributes(group).filter(|it| !it["annotations"].is_null());
        let again = again.filter_map(|it| it["ref"].as_str());
        let again =
            again.filter(|it| defined.contains_key(it) || livekit.attributes.contains_key(*it));
        found.extend(again.map(|key| format!("livekit_ref_override: {key} in {id}")));
        let shared = group["metric_name"].as_str().and_then(|name| livekit.metrics.get(name));
        found.extend(shared.into_iter().flat_map(|theirs| shared_metric(ours, group, theirs)));
        let theirs = names(group).into_iter().filter(|name| livekit.names.contains(name));
        let theirs = theirs.filter(|name| shared.is_none() || name.starts_with("group "));
        found.extend(theirs.map(|name| format!("name: {name} is LiveKit's")));
        match group["type"].as_str() {
            Some("metric") => found.extend(metric(ours, group, livekit)),
            Some("event") => found.extend(severities(id, group, livekit)),
            _ => (),
        }
    }
    found.extend(stale(&defined, livekit));
    found
}

/// The key itself, and its unit.
fn defined_well(key: &str, attribute: &Json, livekit: &LiveKit) -> Vec<String> {
    let mut found = Vec::new();
    if let Some((rule, instead)) = livekit.refused.get(key) {
        found.push(format!("{rule}: {key} is refused, use {instead}"));
    }
    let unit = annotation(attribute, "unit");
    let is_excepted = unit == "ms" && annotation(attribute, "unit_exception").is_string();
    if (key.ends_with("_ms") || key.contains("_ms.")) && !is_excepted {
        found.push(format!("livekit_seconds: {key} is not in seconds"));
    }
    if looks_like_duration(key) && unit != "s" && !is_excepted {
        found.push(format!("livekit_unit: {key} has the unit {unit}, not s"));
    }
    found
}

fn classed(key: &str, attribute: &Json, livekit: &LiveKit) -> Vec<String> {
    let mut found = Vec::new();
    let class = annotation(attribute, "sensitivity").as_str().unwrap_or_default();
    if !livekit.has("sensitivities", class) {
        found.push(format!("livekit_sensitivity: {key} has the sensitivity {class:?}"));
    } else if (class == "pii") != (is_marked(key) || livekit.has("pii_by_name", key)) {
        found.push(format!("livekit_pii_marker: {key} has the sensitivity {class}"));
    }
    if class == "secret" {
        found.push(format!("livekit_secret: {key} is never sent"));
    }
    if looks_personal(key) && !is_marked(key) {
        found.push(format!("livekit_pii_heuristic: {key} looks personal"));
    }
    found
}

/// A key that LiveKit's registry has too.
fn shared(key: &str, ours: &Json, theirs: &Json) -> Vec<String> {
    let mut found = Vec::new();
    let members = |of: &Json| {
        let members = of["type"]["members"].as_array()?;
        Some(members.iter().map(|member| member["value"].clone()).collect::<Vec<_>>())
    };
    match (members(ours), members(theirs)) {
        (Some(ours), Some(theirs)) => {
            let foreign = ours.iter().filter(|value| !theirs.contains(value));
            found.extend(foreign.map(|value| format!("value: {key} has no value {value}")));
        }
        (None, None) if ours["type"] == theirs["type"] => (),
        _ => found.push(format!("type: {key} is {}, not {}", ours["type"], theirs["type"])),
    }
    for (rule, field) in
        [("class", "sensitivity"), ("livekit_owner", "owner"), ("livekit_unit", "unit")]
    {
        let (ours, theirs) = (annotation(ours, field), annotation(theirs, field));
        if ours != theirs {
            found.push(format!("{rule}: {key} has the {field} {ours}, not {theirs}"));
        }
    }
    found
}

/// A key that LiveKit's registry lacks.
fn own(key: &str, attribute: &Json, livekit: &LiveKit) -> Vec<String> {
    let mut found = Vec::new();
    let owner = annotation(attribute, "owner");
    if owner != OWNER {
        found.push(format!("livekit_owner: {key} has the owner {owner}, not {OWNER:?}"));
    }
    for (of, owner) in livekit.owners.iter().filter(|(of, _)| namespace(key) == Some(of)) {
        if !SHARED_NAMESPACES.contains(&(of, owner)) {
            found.push(format!("namespace: {key} is in {of}, which belongs to {owner}"));
        }
    }
    found
}

/// A metric that LiveKit's registry has too, in a group of our own as its series have ids.
fn shared_metric(ours: &Registry, group: &Json, theirs: &Json) -> Vec<String> {
    let name = &group["metric_name"];
    let mut found = Vec::new();
    for field in ["instrument", "unit"] {
        if group[field] != theirs[field] {
            let (is, not) = (&group[field], &theirs[field]);
            found.push(format!("metric: {name} has the {field} {is}, not {not}"));
        }
    }
    let of_theirs: BTreeSet<&str> = refs(theirs).collect();
    let keys: BTreeSet<_> = ours.levels(group).into_keys().collect();
    let keys: BTreeSet<_> = keys.into_iter().filter(|key| !ADDED.contains(key)).collect();
    if keys != of_theirs {
        found.push(format!("metric: {name} has {keys:?}, not {of_theirs:?}"));
    }
    found
}

fn metric(ours: &Registry, group: &Json, livekit: &LiveKit) -> Vec<String> {
    let name = group["metric_name"].as_str().unwrap_or_default();
    let by_room = BY_ROOM.iter().any(|prefix| name.starts_with(prefix));
    let mut found = Vec::new();
    if group["unit"] == "ms" {
        found.push(format!("livekit_metric_unit: {name} is in ms"));
    }
    let is_excepted = annotation(group, "cardinality_exception") == true;
    let declared = attributes(group).filter_map(|attribute| attribute["id"].as_str());
    let keys: BTreeSet<_> = ours.levels(group).into_keys().chain(declared).collect();
    let has_ids = keys.iter().any(|key| livekit.has("high_cardinality", key));
    if has_ids && !is_excepted {
        found.push(format!("livekit_cardinality: {name} has ids"));
    }
    let may_have_ids = by_room || BY_JOB.iter().any(|prefix| name.starts_with(prefix));
    if is_excepted && !(has_ids && may_have_ids) {
        found.push(format!("livekit_cardinality: {name} is no exception"));
    }
    let is_personal =
        |key: &&str| is_marked(key) || looks_personal(key) || livekit.has("pii_by_name", key);
    if let (false, Some(key)) = (by_room, keys.into_iter().find(is_personal)) {
        found.push(format!("livekit_pii_metric: {name} has {key}"));
    }
    found
}

fn severities(id: &str, event: &Json, livekit: &LiveKit) -> Option<String> {
    let severity = event["annotations"]["livekit"].as_object()?.get("severity")?;
    let is_known = |text: &Json| text.as_str().is_some_and(|it| livekit.has("severity_texts", it));
    let is_good = severity.as_array().is_some_and(|all| all.iter().all(is_known));
    (!is_good).then(|| format!("livekit_event_severity: {id} has the severity {severity}"))
}

/// Shared namespaces in which there is nothing to share.
fn stale(defined: &BTreeMap<&str, &Json>, livekit: &LiveKit) -> Vec<String> {
    let is_used = |of: &str, owner: &str| {
        livekit.owners.contains(&(of.to_owned(), owner.to_owned()))
            && defined.keys().any(|key| namespace(key) == Some(of))
    };
    let unused = SHARED_NAMESPACES.into_iter().filter(|(of, owner)| !is_used(of, owner));
    unused.map(|(of, owner)| format!("namespace: {of} is not shared with {owner}")).collect()
}
