//! A real LiveKit server with real clients, and whether the traces show what they did. Both are built
//! from the Go module registry; where that can't be had, the test says so and ends. `REQUIRE_REAL=1`
//! makes that a failure.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod agents;
mod analytics;
mod collector;
mod deploy;
mod grammars;
#[path = "../stack/live_check.rs"]
mod live_check;
mod oracle;
#[path = "../stack/otlp.rs"]
#[allow(dead_code)] // what the stack needs
mod otlp;
#[path = "../parts/mod.rs"]
mod parts;
#[path = "../crash/program.rs"]
mod program;
#[path = "../it/telemetry/recorder.rs"]
#[allow(dead_code)] // what the tests of single calls need
mod recorder;
mod registry;
#[path = "../stack/shipped.rs"]
#[allow(dead_code)] // what the static tests need
mod shipped;
mod sip;
mod ui;

use std::collections::HashSet;
use std::time::Duration;

use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;
use livekit_otel_tools::demo::Telemetry;
use livekit_otel_tools::demo::received::Span;
use parts::{Parts, Server};
use program::Program;

const ROOM: &str = "standup";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
// A server takes half a minute to give up on a client that is silent.
const PATIENCE: Duration = Duration::from_secs(150);

fn config(directory: &std::path::Path, collector: &str, server: u16) -> std::path::PathBuf {
    let path = directory.join("livekit-otel.yaml");
    // Spans leave at the end, with what the server sends late.
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\n\
         livekit: {{url: 'http://127.0.0.1:{server}', interval: 5s}}\n\
         session: {{linger: 1h}}\n\
         export: {{endpoint: '{collector}'}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

async fn wait_for_events(collector: &Collector, event: &str, times: usize) {
    let is_recorded = |received: &Received| {
        let logs = Telemetry::read(received).logs;
        let records = logs.iter().filter(|log| log.event_name == event);
        // What is sent twice has one id.
        records.map(|log| log.attributes.text("log.record.uid")).collect::<HashSet<_>>().len()
            >= times
    };
    let wait = tokio::time::timeout(PATIENCE, collector.received_when(is_recorded)).await;
    assert!(wait.is_ok(), "{event} was not recorded {times} times");
}

fn of<'a>(spans: &'a [Span], name: &str, who: &str) -> Vec<&'a Span> {
    let is_of = |span: &&Span| {
        let identity = span.attributes.text("lk.pii.participant_identity");
        span.name == name && (who.is_empty() || identity == Some(who))
    };
    spans.iter().filter(is_of).collect()
}

fn one<'a>(spans: &'a [Span], name: &str, who: &str) -> &'a Span {
    let found = of(spans, name, who);
    assert_eq!(found.len(), 1, "{name} of {who}: {found:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_traces_show_what_a_real_call_did() {
    let Some(parts) = parts::build() else { return };
    let telemetry = of_a_call(&parts).await;
    check(&telemetry);
    assert_eq!(end_reason(&telemetry), None, "this version sends none");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_traces_show_what_a_call_on_the_newest_server_did() {
    let Some(parts) = parts::build_newest() else { return };
    let telemetry = of_a_call(&parts).await;
    check(&telemetry);
    assert_eq!(end_reason(&telemetry), Some("ROOM_END_API_DELETE"));
}

fn end_reason(telemetry: &Telemetry) -> Option<&str> {
    one(&telemetry.spans, "room", "").attributes.text("lk.room.end_reason")
}

async fn of_a_call(parts: &Parts) -> Telemetry {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    let port = parts::reserved_port();
    let program = Program::start(&config(directory.path(), &collector.endpoint(), port));
    let analytics = [("LIVEKIT_OTEL_ADDR", program.grpc.as_str())];
    let server = Server::start(parts, directory.path(), port, Some(&program.http), &analytics);

    let mut ann = server.client("ann", &["-publish", "-traceparent", TRACEPARENT]);
    ann.joined();
    let mut ben = server.client("ben", &["-publish"]);
    ben.joined();
    let mut frozen = server.client("frozen", &[]);
    frozen.joined();
    let mut killed = server.client("killed", &[]);
    killed.joined();
    // It has no relay to connect by.
    let _aborted = server.client("aborted", &["-relay"]);
    wait_for_events(&collector, "lk.track.subscribed", 6).await;
    frozen.freeze();
    killed.kill();
    ann.say("mute");
    wait_for_events(&collector, "lk.track.muted", 1).await;
    ann.say("unmute");
    wait_for_events(&collector, "lk.track.unmuted", 1).await;
    wait_for_events(&collector, "lk.participant.connection_aborted", 1).await;
    wait_for_events(&collector, "lk.participant.left", 2).await;
    ben.leave();
    wait_for_events(&collector, "lk.participant.left", 3).await;
    server.delete_room(ROOM);
    wait_for_events(&collector, "lk.room.ended", 1).await;
    let (code, printed) = program.stop();
    assert_eq!(code, Some(0), "{printed:#?}");
    Telemetry::read(&collector.stop().await)
}

fn check(telemetry: &Telemetry) {
    let spans = &telemetry.spans;
    let room = one(spans, "room", "");
    assert_eq!(room.attributes.text("lk.pii.room_name"), Some(ROOM));
    assert_eq!(of(spans, "participant", "").len(), 5);
    for who in ["ann", "ben", "frozen", "killed", "aborted"] {
        let participant = one(spans, "participant", who);
        assert_eq!(participant.trace_id, room.trace_id);
        assert_eq!(participant.parent.as_ref(), Some(&room.span_id));
        assert_eq!(participant.attributes.text("lk.end.inferred"), None, "{who}");
        let connect = one(spans, "participant connect", who);
        assert_eq!(connect.error.is_some(), who == "aborted", "{connect:#?}");
    }
    let error = |who| one(spans, "participant", who).attributes.text("error.type");
    let reason = |who| one(spans, "participant", who).attributes.text("lk.disconnect_reason");
    assert_eq!((reason("ann"), error("ann")), (Some("ROOM_DELETED"), None));
    assert_eq!((reason("ben"), error("ben")), (Some("CLIENT_INITIATED"), None));
    assert_eq!(error("aborted"), Some("connection_aborted"));
    for lost in ["frozen", "killed"] {
        assert_eq!(
            (reason(lost), error(lost)),
            (Some("CONNECTION_TIMEOUT"), Some("connection_timeout")),
            "{lost}"
        );
    }

    let link = ("4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), "00f067aa0ba902b7".to_owned());
    assert!(one(spans, "participant", "ann").links.contains(&link));
    let track = one(spans, "track", "ann");
    assert_eq!(track.attributes.number("lk.track.mutes"), Some(1.0));
    assert_eq!(track.attributes.text("lk.track_source"), Some("SOURCE_MICROPHONE"));
    assert!(track.attributes.number("lk.rtp.packets").is_some_and(|packets| packets > 50.0));
    assert_eq!(of(spans, "track", "").len(), 2);
    assert_eq!(of(spans, "track publish", "").len(), 2);
    // Each hears the others that publish.
    let subscribed = |who| of(spans, "track subscribe", who).len();
    assert_eq!(["ann", "ben", "frozen", "killed"].map(subscribed), [1, 1, 2, 2]);
    // All that LiveKit's API listed had been reported.
    let missed: Vec<_> =
        telemetry.logs.iter().filter(|log| log.event_name.ends_with(".missing")).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}
