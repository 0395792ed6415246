//! A call of people who talk, mute, leave, lose packets, fall out, and can't connect.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::ROOM;
use crate::agents::{self, End};
use crate::metrics;
use crate::otlp::{Record, Span};
use crate::queries;
use crate::report::Report;
use crate::stack::{SERVICE, Stack, until};
use crate::tree::{self, Participant};

/// What both calls have.
pub(crate) const MEDIA: [&str; 2] = ["-publish", "-video"];

/// A room that there was.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) sid: String,
    pub(crate) trace: String,
}

impl Room {
    /// From its log record; the trace is the one that the program names.
    pub(crate) fn of(record: &Record) -> Self {
        let sid = record.attribute("lk.room_id").to_owned();
        Self { trace: trace_id(&sid), sid }
    }

    /// Its spans, once its own is in Jaeger, which leaves last.
    pub(crate) async fn spans(&self, stack: &Stack) -> Vec<Span> {
        let what = format!("the span of {} is in Jaeger", self.sid);
        until(&what, || {
            let spans = stack.spans(&self.trace);
            spans.iter().any(|span| span.name == "room").then_some(spans)
        })
        .await
    }
}

fn trace_id(sid: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_livekit-otel"));
    let output = Command::new(program).args(["trace-id", sid]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Has the call, and looks at what became of it.
pub(crate) async fn run(stack: &Stack, report: &Report) -> Room {
    let began = SystemTime::now();
    let server = stack.server();
    let mut ann = server.client_in(ROOM, "ann", &MEDIA);
    let mut ben = server.client_in(ROOM, "ben", &MEDIA);
    let mut cid = server.client_in(ROOM, "cid", &[MEDIA[0], MEDIA[1], "-lossy"]);
    let mut killed = server.client_in(ROOM, "killed", &[]);
    // It has no relay to connect by.
    let _aborted = server.client_in(ROOM, "aborted", &["-relay"]);
    for client in [&mut ann, &mut ben, &mut cid, &mut killed] {
        client.joined();
    }
    stack.wait_for_events(ROOM, "lk.track.subscribed", 18).await;
    killed.kill();
    ann.say("mute");
    stack.wait_for_events(ROOM, "lk.track.muted", 1).await;
    ann.say("unmute");
    stack.wait_for_events(ROOM, "lk.track.unmuted", 1).await;
    stack.wait_for_events(ROOM, "lk.participant.connection_aborted", 1).await;
    stack.wait_for_events(ROOM, "lk.participant.left", 1).await;
    let created = stack.records(ROOM).into_iter().find(|record| record.event == "lk.room.created");
    let room = Room::of(&created.unwrap());
    let jobs = [(1, End::Recorded), (2, End::Failed)];
    let jobs = jobs.map(|(number, end)| agents::upload(stack.http(), &room.sid, number, end));
    metrics::wait_for_stats(stack, &room).await;
    ben.leave();
    metrics::participants_are(stack, 2).await;
    let at = SystemTime::now();
    report.found(
        "Prometheus has the metrics of the call",
        &metrics::problems(stack, &room, began, at),
    );
    metrics::one_left_and_two_failed(stack).await;
    metrics::of_two_jobs_one_failed(stack).await;
    let problems = queries::check(&stack.prometheus.url(), queries::end_of_step(SystemTime::now()));
    report.found("every query of a dashboard or rule shows what it should", &problems);
    server.delete_room(ROOM);
    stack.wait_for_events(ROOM, "lk.room.ended", 1).await;
    let spans = room.spans(stack).await;
    let (ours, theirs) = spans.into_iter().partition::<Vec<_>, _>(|span| span.service == SERVICE);
    report.found("Jaeger has its trace, as a tree", &traces(&room, &ours));
    let problems = halves(&ours, &theirs, jobs.iter().sum());
    report.found("the spans of its agents are below the room's", &problems);
    report.found("the collector's file has its log records", &logs(&room, &stack.records(ROOM)));
    room
}

fn traces(room: &Room, spans: &[Span]) -> Vec<String> {
    let mut problems = tree::problems(
        &room.trace,
        spans,
        &[
            Participant::new("ann", 2, 4),
            Participant::new("ben", 2, 4),
            Participant::new("cid", 2, 4),
            Participant::new("killed", 0, 6).failed(&["participant"]),
            Participant::new("aborted", 0, 0).failed(&["participant", "participant connect"]),
        ],
    );
    let attribute = |name: &str, who: &str, key: &str| {
        let is_it = |span: &&Span| {
            span.name == name && span.attribute("lk.pii.participant_identity") == who
        };
        spans.iter().find(is_it).map_or("", |span| span.attribute(key)).to_owned()
    };
    let reason = "lk.disconnect_reason";
    for (name, who, key, expected) in [
        ("room", "", "lk.room_id", room.sid.as_str()),
        ("room", "", "lk.pii.room_name", ROOM),
        ("participant", "ann", reason, "ROOM_DELETED"),
        ("participant", "ben", reason, "CLIENT_INITIATED"),
        ("participant", "killed", "error.type", "connection_timeout"),
        ("participant", "aborted", "error.type", "connection_aborted"),
        ("participant connect", "aborted", "error.type", "connection_aborted"),
    ] {
        let found = attribute(name, who, key);
        if found != expected {
            problems.push(format!("{key} of {name} {who}: '{found}', not '{expected}'"));
        }
    }
    let muted = |span: &&Span| span.name == "track" && span.attribute("lk.track.mutes") == "1";
    if spans.iter().filter(muted).count() != 1 {
        problems.push("no track, or more than one, was muted".to_owned());
    }
    problems.extend(tree::without_an_end(spans));
    problems
}

// The agents' half of the trace.
fn halves(ours: &[Span], theirs: &[Span], uploaded: usize) -> Vec<String> {
    let mut problems = Vec::new();
    if theirs.len() != uploaded {
        problems.push(format!("{} spans of agents, not {uploaded}", theirs.len()));
    }
    let room = ours.iter().find(|span| span.name == "room").unwrap();
    for span in theirs {
        let is_below = match &*span.name {
            "job_entrypoint" => span.parent == room.id,
            _ => theirs.iter().any(|it| it.id == span.parent),
        };
        if !is_below {
            problems.push(format!("{} {} has the parent '{}'", span.name, span.id, span.parent));
        }
    }
    problems
}

fn logs(room: &Room, records: &[Record]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut counts = BTreeMap::<_, usize>::new();
    for record in records {
        *counts.entry(record.event.as_str()).or_default() += 1;
        // The delivery of a webhook is a trace of its own.
        if record.trace != room.trace && record.event != "lk.webhook" {
            problems.push(format!("{} is of the trace '{}'", record.event, record.trace));
        }
    }
    for (event, expected) in [
        ("lk.room.created", 1),
        ("lk.participant.joined", 5),
        ("lk.participant.active", 4),
        ("lk.participant.connection_aborted", 1),
        ("lk.participant.left", 4),
        ("lk.track.published", 6),
        ("lk.track.muted", 1),
        ("lk.track.unmuted", 1),
        ("lk.track.subscribed", 18),
        ("lk.track.unpublished", 6),
        ("lk.room.ended", 1),
        // All that LiveKit's API lists was reported.
        ("lk.room.missing", 0),
        ("lk.participant.missing", 0),
    ] {
        let found = counts.get(event).copied().unwrap_or_default();
        if found != expected {
            problems.push(format!("{event}: {found} times, not {expected}"));
        }
    }
    problems
}
