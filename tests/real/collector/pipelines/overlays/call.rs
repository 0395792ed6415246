//! One call, as LiveKit's server, its agent and its client report it, joined by its ids.

use std::io::{Read, Write};
use std::net::TcpStream;

use livekit_otel_model::semconv::key;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use serde_json::Value as Json;

use super::super::super::build;
use super::super::items::{Item, What, assert_same, items};
use super::super::{file, recorded};
use super::through_with;

pub(super) const ROOM: &str = "RM_FUvZCBcbSXZo";
pub(super) const CALLER: &str = "PA_jd2CsJoheH9A";
const MICROPHONE: &str = "TR_AM4Y2WDG6r3zcL";

/// What is personal in the call.
pub(super) const PERSONAL: [&str; 5] =
    ["alice@example.org", "ordinary-1", "Alice Liddell", "sunny in Lyon", "order 4711"];

/// Requests in JSON, as agents and clients send them.
#[derive(Default)]
pub(super) struct Uploads(Vec<Json>);

impl Uploads {
    /// What the agent and the client of the call sent; `call/README.md` says where it is from.
    pub(super) fn of_the_call() -> Self {
        let read = |name| {
            let text = std::fs::read_to_string(path(name)).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        Self(["agent.json", "client.json"].map(read).into())
    }

    pub(super) fn send(&self, port: u16) {
        for upload in &self.0 {
            upload.as_object().unwrap().iter().for_each(|(signal, body)| post(port, signal, body));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(count).sum()
    }
}

fn path(name: &str) -> String {
    let of = "tests/real/collector/pipelines/overlays/call";
    format!("{}/{of}/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn post(port: u16, signal: &str, body: &Json) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST /v1/{signal} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.lines().next().unwrap().contains(" 200 "), "{answer}");
}

// Spans, log records and points.
fn count(json: &Json) -> usize {
    match json {
        Json::Object(fields) => fields
            .iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("spans" | "logRecords" | "dataPoints", Json::Array(items)) => items.len(),
                _ => count(value),
            })
            .sum(),
        Json::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// What the server reported of the call, as livekit-otel sends it.
pub(super) async fn of_the_server() -> livekit_otel_tools::demo::Received {
    recorded::replay(&path("server.jsonl")).await
}

pub(super) fn is_ours(item: &Item) -> bool {
    let name = item.resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    let value = name.and_then(|name| name.value.as_ref()?.value.as_ref());
    matches!(value, Some(Value::StringValue(name)) if name == "livekit-otel")
}

/// The span of this name and participant.
pub(super) fn span<'a>(items: &'a [Item], name: &str, participant: Option<&str>) -> &'a Item {
    let is_it = |item: &&Item| {
        item.span().is_some_and(|span| span.name == name)
            && participant.is_none_or(|id| item.text(key::PARTICIPANT_ID) == Some(id))
    };
    let found: Vec<_> = items.iter().filter(is_it).collect();
    let [span] = found[..] else { panic!("{name} of {participant:?}: {found:#?}") };
    span
}

// An item with the attributes of a span's event.
fn event(span: &Item, name: &str) -> Item {
    let events = &span.span().unwrap().events;
    let Event { attributes, .. } = events.iter().find(|event| event.name == name).unwrap();
    let mut item = span.clone();
    item.attributes_mut().clone_from(attributes);
    item
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_the_agent_and_the_client_share_the_ids_of_their_call() {
    let Some(built) = build() else { return };
    let server = of_the_server().await;
    let uploads = Uploads::of_the_call();
    let all = through_with(built, &[file("alias-keys.yaml")], &server, &uploads).await;
    // The room, and who is in it: ours, the agent's, the client's.
    assert_eq!(span(&all, "room", None).text(key::ROOM_ID), Some(ROOM));
    for name in ["participant", "user_turn", "lk.connect", "lk.publish", "lk.subscribe"] {
        assert_eq!(span(&all, name, Some(CALLER)).text(key::ROOM_ID), Some(ROOM), "{name}");
    }
    let agent = span(&all, "agent_turn", None).text(key::PARTICIPANT_ID);
    assert_ne!(agent, Some(CALLER));
    assert_eq!(span(&all, "participant", agent).text(key::PARTICIPANT_KIND), Some("AGENT"));
    assert_eq!(span(&all, "agent_turn", agent).text(key::PARTICIPANT_KIND), Some("AGENT"));
    let caller = span(&all, "participant", Some(CALLER));
    let turn = span(&all, "user_turn", Some(CALLER));
    for same in [key::PARTICIPANT_KIND, key::PARTICIPANT_IDENTITY] {
        assert!(turn.text(same).is_some() && turn.text(same) == caller.text(same), "{turn:#?}");
    }
    // The track that the caller published.
    let subscribed = event(span(&all, "wait_for_audio_track", None), "track_subscribed");
    assert_eq!(subscribed.text(key::TRACK_ID), Some(MICROPHONE));
    let is_track = |item: &&Item| item.text(key::TRACK_ID) == Some(MICROPHONE);
    let tracks = all.iter().filter(|item| item.span().is_some()).filter(is_track).cloned();
    let tracks: Vec<_> = tracks.chain([subscribed]).collect();
    let of: Vec<_> = tracks.iter().map(|item| item.span().unwrap().name.as_str()).collect();
    for name in ["track", "lk.publish", "wait_for_audio_track"] {
        assert!(of.contains(&name), "{of:?}");
    }
    for track in tracks.iter().filter(|track| track.text(key::TRACK_SOURCE).is_some()) {
        assert_eq!(track.text(key::TRACK_SOURCE), Some("SOURCE_MICROPHONE"), "{track:#?}");
    }
    // Why the caller left.
    let left = event(span(&all, "agent_session", None), "participant_disconnected");
    let is_left = |item: &&Item| matches!(&item.what, What::Log(log) if log.event_name == "lk.room.disconnected");
    let disconnected = all.iter().find(is_left).unwrap();
    for item in [caller, &left, disconnected] {
        assert_eq!(item.text(key::DISCONNECT_REASON), Some("CLIENT_INITIATED"), "{item:#?}");
    }
    // Every record of the agent and the client is found by the room; ours are as they were sent.
    let (ours, theirs): (Vec<_>, Vec<_>) = all.into_iter().partition(is_ours);
    assert_eq!(theirs.len(), uploads.count());
    for item in &theirs {
        assert_eq!(item.text(key::ROOM_ID), Some(ROOM), "{item:#?}");
    }
    assert_same(&ours, &items(&server));
}
