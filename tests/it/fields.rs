//! `semconv/fields.txt`, the class of every field that LiveKit can send, compared with LiveKit's own
//! definitions and with what is emitted of the fields.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit::{self as livekit, ApiAnswer, ApiRooms, Read};
use livekit_otel_model::event::answer::Question;
use livekit_otel_model::event::{Decoded, RoomName, RoomSid};
use livekit_otel_model::semconv::PERSONAL;
use livekit_otel_model::signal::{Attribute, Value};
use protox::Compiler;
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value as Json, json};

use crate::messages::at;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
pub(crate) const EVENTS: &str = "livekit.AnalyticsEvents";
pub(crate) const STATS: &str = "livekit.AnalyticsStats";
pub(crate) const ROOMS: &str = "livekit.AnalyticsNodeRooms";
pub(crate) const WEBHOOK: &str = "livekit.WebhookEvent";

/// What the API answers. A participant alone is one of the list's.
pub(crate) const ANSWERS: [&str; 5] = [
    "livekit.ListRoomsResponse",
    "livekit.ListParticipantsResponse",
    "livekit.ListAgentDispatchResponse",
    "livekit.ListEgressResponse",
    "livekit.ListIngressResponse",
];

/// Begins the name of a message whose fields here are newer than livekit-protocol.
const NEWER: &str = "newer ";

/// The table: class by message and field.
pub(crate) type Classes = BTreeMap<(String, String), &'static str>;

fn class(classes: &Classes, field: &FieldDescriptor) -> &'static str {
    let class = classes.get(&name(field));
    class.unwrap_or_else(|| panic!("{} is not in semconv/fields.txt", field.full_name()))
}

pub(crate) fn table() -> Classes {
    let text = std::fs::read_to_string(format!("{ROOT}/semconv/fields.txt")).unwrap();
    let mut classes = Classes::new();
    let mut message = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((class, fields)) = line.split_once(':') else {
            line.clone_into(&mut message);
            continue;
        };
        let class = ["plain", "pii", "secret"].into_iter().find(|known| *known == class.trim());
        let class = class.unwrap_or_else(|| panic!("no class: {line}"));
        for field in fields.split_whitespace() {
            let twice = classes.insert((message.clone(), field.to_owned()), class);
            assert_eq!(twice, None, "{message}.{field} is classed twice");
        }
    }
    classes
}

// The folder of the messages' definitions, which livekit-protocol ships.
fn definitions() -> PathBuf {
    let platform = match std::env::consts::OS {
        "macos" => "apple-darwin",
        _ => "unknown-linux-gnu",
    };
    let platform = format!("{}-{platform}", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", &platform])
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "livekit-protocol").unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("protocol/protobufs")
}

pub(crate) fn pool() -> DescriptorPool {
    let mut compiler = Compiler::new([definitions()]).unwrap();
    compiler.include_imports(true);
    let files = ["livekit_analytics.proto", "livekit_webhook.proto", "livekit_room.proto"];
    let files = files.into_iter().chain(["livekit_agent_dispatch.proto"]);
    compiler.open_files(files).unwrap();
    compiler.descriptor_pool()
}

// Google's own are times, durations and `Any`, which `one` leaves out.
fn is_livekits(message: &MessageDescriptor) -> bool {
    message.full_name().starts_with("livekit.")
}

/// Every field of every message that can be received.
fn incoming(pool: &DescriptorPool) -> Vec<FieldDescriptor> {
    let roots = [WEBHOOK, EVENTS, STATS, ROOMS].into_iter().chain(ANSWERS);
    let mut open: Vec<_> = roots.map(|name| pool.get_message_by_name(name).unwrap()).collect();
    let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
    while let Some(message) = open.pop() {
        if !seen.insert(message.full_name().to_owned()) {
            continue;
        }
        for field in message.fields() {
            match field.kind() {
                Kind::Message(inner) if is_livekits(&inner) && !field.is_map() => open.push(inner),
                _ => {}
            }
            all.push(field);
        }
    }
    all
}

fn name(field: &FieldDescriptor) -> (String, String) {
    (field.parent_message().full_name().to_owned(), field.name().to_owned())
}

#[test]
fn every_field_that_can_be_received_is_classed() {
    let (newer, classes): (BTreeSet<_>, BTreeSet<_>) =
        table().into_keys().partition(|(message, _)| message.starts_with(NEWER));
    let fields: BTreeSet<_> = incoming(&pool()).iter().map(name).collect();
    let messages: BTreeSet<_> = fields.iter().map(|(message, _)| message).collect();
    let documented = format!("{} in {}", fields.len(), messages.len());
    assert!(include_str!("../../docs/privacy.md").contains(&documented), "not {documented}");
    let unclassed: Vec<_> = fields.difference(&classes).collect();
    let unknown: Vec<_> = classes.difference(&fields).collect();
    assert!(unclassed.is_empty(), "not classed in semconv/fields.txt: {unclassed:?}");
    assert!(unknown.is_empty(), "classed, but no field that can be received: {unknown:?}");
    let code = include_str!("../../crates/livekit/src/read/newer.rs");
    let read = code.matches("#[prost(").count() - code.matches("#[prost(message").count();
    assert_eq!(read, newer.len(), "the newer fields that are read, and those that are classed");
    for (message, field) in newer {
        assert!(code.contains(&format!("pub(super) {field}: ")), "{message}.{field} is not read");
        let message = message.trim_start_matches(NEWER).to_owned();
        assert!(!classes.contains(&(message, field.clone())), "{field} is no newer field any more");
    }
}

#[test]
fn fields_that_livekit_marks_as_sensitive_are_classed_no_lower() {
    let (pool, classes) = (pool(), table());
    let sensitivity = pool.get_extension_by_name("logger.sensitivity").unwrap();
    let mut marked = [0; 3];
    for field in incoming(&pool) {
        let level = field.options().get_extension(&sensitivity).as_enum_number().unwrap();
        marked[usize::try_from(level).unwrap()] += 1;
        let class = class(&classes, &field);
        let is_enough = match level {
            0 => true,
            1 => class != "plain",
            _ => class == "secret",
        };
        assert!(is_enough, "{} is {class}", field.full_name());
    }
    assert!(marked[1] > 20 && marked[2] > 8, "LiveKit's marks were not read: {marked:?}");
}

// As prost names it.
fn snake(field: &str) -> String {
    let mut name = String::new();
    let mut was_lower = false;
    for each in field.chars() {
        if each.is_ascii_uppercase() && was_lower {
            name.push('_');
        }
        was_lower = each.is_ascii_lowercase();
        name.push(each.to_ascii_lowercase());
    }
    name
}

#[test]
fn no_code_that_reads_messages_names_a_secret() {
    let secrets: BTreeSet<_> = table()
        .into_iter()
        .filter(|(_, class)| *class == "secret")
        .map(|((_, field), _)| snake(&field))
        .collect();
    assert!(secrets.contains("turn_password") && secrets.contains("ali_oss"));
    for file in std::fs::read_dir(format!("{ROOT}/crates/livekit/src/read")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            // Only the host and the port of a webhook's URL are read, which are no secrets.
            if line.trim() == "server(&info.url, details);" {
                continue;
            }
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words {
                assert!(!secrets.contains(word), "{}: {line}", path.display());
            }
        }
    }
}

// A message with all of its fields set; each text is its field's class and name. Of a oneof, and of
// the messages in it, the `nth` alternative is set.
pub(crate) fn filled(
    message: &MessageDescriptor,
    classes: &Classes,
    nth: usize,
    depth: usize,
) -> Json {
    let mut json = serde_json::Map::new();
    for field in message.fields() {
        let is_chosen = field.containing_oneof().is_none_or(|oneof| {
            let chosen = nth % oneof.fields().len();
            oneof.fields().nth(chosen).is_some_and(|chosen| chosen == field)
        });
        let value = if is_chosen { one(&field, classes, nth, depth) } else { None };
        let Some(value) = value else { continue };
        let value = if field.is_map() || !field.is_list() { value } else { json!([value]) };
        json.insert(field.json_name().to_owned(), value);
    }
    json.into()
}

fn one(field: &FieldDescriptor, classes: &Classes, nth: usize, depth: usize) -> Option<Json> {
    let mark = || json!(format!("{}:{}", class(classes, field), field.full_name()));
    Some(match field.kind() {
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            // Two numbers are read of a SIP participant's, if its call has an id.
            Kind::String => json!({
                "key": mark(),
                "sip.callID": "SCL_1",
                "sip.phoneNumber": mark(),
                "sip.trunkPhoneNumber": mark(),
            }),
            _ => json!({"1": 1}),
        },
        Kind::Message(inner) => match inner.full_name() {
            "google.protobuf.Timestamp" => json!("2026-11-23T04:09:21.936Z"),
            "google.protobuf.Duration" => json!("3s"),
            _ if depth == 0 || !is_livekits(&inner) => return None,
            _ => filled(&inner, classes, nth, depth - 1),
        },
        Kind::String => mark(),
        Kind::Bytes => json!(""),
        Kind::Bool => json!(true),
        // In milliseconds this is a time of the call.
        Kind::Int64 | Kind::Uint64 => json!("1795406961936"),
        Kind::Float | Kind::Double => json!(1.5),
        _ if field.full_name() == "livekit.ParticipantInfo.kind" => json!("SIP"),
        _ => json!(1),
    })
}

// Decoded messages of all types with every field set.
fn decoded_messages() -> Vec<Decoded> {
    // As deep as EgressInfo's outputs' proxies, and the requests of API calls.
    const DEEP: usize = 6;
    let (pool, classes) = (pool(), table());
    let fill =
        |name: &str, nth| filled(&pool.get_message_by_name(name).unwrap(), &classes, nth, DEEP);
    let encoded = |kind, body: &Json| livekit::encode_capture(kind, body).unwrap();
    let types = pool.get_enum_by_name("livekit.AnalyticsEventType").unwrap().values().len();
    // Each alternative of the largest oneof occurs once.
    let mut reads = Vec::new();
    for nth in 0..types {
        let mut events = fill(EVENTS, nth);
        events["events"][0]["type"] = json!(nth);
        events["events"][0]["id"] = json!(format!("AE_{nth}"));
        reads.push(livekit::events(&encoded("events", &events)).unwrap());
    }
    let webhooks = [
        "room_started",
        "participant_joined",
        "track_published",
        "egress_started",
        "egress_updated",
        "egress_ended",
        "ingress_started",
        "ingress_ended",
        "agent_job_pending",
        "agent_job_started",
        "agent_job_ended",
        "track_unpublished",
        "participant_connection_aborted",
        "participant_left",
        "room_finished",
        "room_upgraded",
    ];
    for (nth, event) in webhooks.into_iter().enumerate() {
        let mut webhook = fill(WEBHOOK, nth);
        webhook["event"] = json!(event);
        webhook["id"] = json!(format!("EV_{nth}"));
        reads.push(livekit::webhook(webhook.to_string().as_bytes()).unwrap());
    }
    reads.push(livekit::stats(&encoded("stats", &fill(STATS, 0))).unwrap());
    reads.push(livekit::node_rooms(&encoded("nodeRooms", &fill(ROOMS, 0))).unwrap());
    reads.push(rooms_of_api(&fill(ANSWERS[0], 0)));
    for (question, name) in questions().iter().zip(&ANSWERS[1..]) {
        for nth in 0..8 {
            let answer = fill(name, nth);
            reads.push(answered(question, name, &answer));
        }
    }
    reads.into_iter().map(|read| read.decoded).collect()
}

// In the order of `ANSWERS`, but the first.
fn questions() -> [Question; 4] {
    let (room, name) = (RoomSid::new("RM_1").unwrap(), RoomName::new("standup").unwrap());
    [
        Question::Participants { room: room.clone(), name: name.clone() },
        Question::Dispatches { room, name },
        Question::Egresses,
        Question::Ingresses,
    ]
}

fn rooms_of_api(answer: &Json) -> Read {
    let response = livekit::encode_capture("ListRoomsResponse", answer).unwrap();
    livekit::api(&ApiRooms::new(at(0), &response).unwrap().encode()).unwrap()
}

fn answered(question: &Question, name: &str, answer: &Json) -> Read {
    let name = name.strip_prefix("livekit.").unwrap();
    let response = livekit::encode_capture(name, answer).unwrap();
    livekit::api(&ApiAnswer::new(at(0), question, &response).unwrap().encode()).unwrap()
}

#[test]
fn no_secret_is_read_and_only_personal_keys_have_personal_data() {
    let mut engine = Engine::new(session::Settings::default(), stats::Settings::default(), at(0));
    let mut out = Batch::default();
    let mut now = at(0);
    for decoded in decoded_messages() {
        let read = format!("{decoded:?}");
        assert!(read.contains("plain:"), "nothing was read");
        if let Some(secret) = read.find("secret:") {
            panic!("read: {}", &read[secret..read.len().min(secret + 60)]);
        }
        now = now + Duration::from_secs(1);
        engine.apply(&decoded, now, false, &mut out);
    }
    engine.close(now, "shutdown", &mut out);
    let metrics = out.all_metrics();
    let mut sent: Vec<_> = out.spans.into_iter().flat_map(|span| span.attributes).collect();
    sent.extend(out.logs.into_iter().flat_map(|log| {
        assert!(!log.event_name.contains(':'), "{}", log.event_name);
        log.attributes
    }));
    for metric in metrics {
        sent.extend(metric.data.series().iter().flat_map(|series| series.to_vec()));
    }
    let mut personal = BTreeSet::new();
    for Attribute { key, value } in sent {
        let Value::Text(text) = value else { continue };
        if text.contains("pii:") {
            assert!(PERSONAL.contains(&key), "{key} is not personal, and has {text}");
            personal.insert(key);
        }
    }
    assert_eq!(personal, PERSONAL.iter().copied().collect(), "personal keys without personal data");
}
