//! A call in which LiveKit's server, the collector and Jaeger are killed, and started again.

use std::time::Instant;

use crate::call::{MEDIA, Room};
use crate::otlp::{self, Span};
use crate::report::{Report, took};
use crate::stack::{Stack, until};
use crate::tree::{self, Participant};

const ROOM: &str = "retro";
// Spans: theirs, a connect, two publishes, two tracks, four subscribes.
const OF_WHO_LEFT: u64 = 10;

// The rooms of that name, in the order of their beginnings.
fn rooms(stack: &Stack) -> Vec<Room> {
    let mut created = stack.records(ROOM);
    created.retain(|record| record.event == "lk.room.created");
    let mut rooms: Vec<_> = created.iter().map(Room::of).collect();
    let all = otlp::records(&stack.files()[1]);
    let place =
        |room: &Room| all.iter().position(|record| record.attribute("lk.room_id") == room.sid);
    rooms.sort_by_key(place);
    rooms
}

fn has(spans: &[Span], name: &str, who: &str) -> bool {
    let is_it =
        |span: &Span| span.name == name && span.attribute("lk.pii.participant_identity") == who;
    spans.iter().any(is_it)
}

/// Has the call. Its rooms: the one that its server took with it, and the one after.
pub(crate) async fn run(stack: &mut Stack, report: &Report) {
    let begin = Instant::now();
    let mut ann = stack.server().client_in(ROOM, "ann", &MEDIA);
    let mut ben = stack.server().client_in(ROOM, "ben", &MEDIA);
    ann.joined();
    ben.joined();
    stack.wait_for_events(ROOM, "lk.track.subscribed", 4).await;
    took("two talk", begin);

    let begin = Instant::now();
    stack.kill_server();
    stack.start_server();
    // The clients come back by themselves, to a new room.
    stack.wait_for_events(ROOM, "lk.track.subscribed", 8).await;
    took("LiveKit's server is killed, they come back", begin);

    let begin = Instant::now();
    stack.kill_collector();
    ann.say("mute");
    let mut cid = stack.server().client_in(ROOM, "cid", &MEDIA);
    cid.joined();
    until("something waits", || (stack.status().waiting["logs"] > 0).then_some(())).await;
    stack.start_collector();
    stack.wait_for_events(ROOM, "lk.track.muted", 1).await;
    stack.wait_for_events(ROOM, "lk.track.subscribed", 16).await;
    took("the collector is killed, one mutes, one joins", begin);

    let begin = Instant::now();
    let lost = rooms(stack).remove(0);
    let room = rooms(stack).pop().unwrap();
    let has_spans_of =
        |stack: &Stack, who| has(&stack.spans(&room.trace), "participant", who).then_some(());
    ben.leave();
    until("Jaeger has the spans of who left", || has_spans_of(stack, "ben")).await;
    stack.jaeger.kill();
    cid.leave();
    let waiting = || stack.status().waiting["traces"];
    until("the spans of who left wait", || (waiting() >= OF_WHO_LEFT).then_some(())).await;
    stack.kill_collector();
    stack.jaeger.start_again();
    stack.start_collector();
    until("Jaeger has the spans of who left", || has_spans_of(stack, "cid")).await;
    took("one leaves, Jaeger and the collector are killed, one leaves", begin);

    let begin = Instant::now();
    stack.wait_for_events(ROOM, "lk.room.gone", 1).await;
    stack.server().delete_room(ROOM);
    stack.wait_for_events(ROOM, "lk.room.ended", 1).await;
    let spans = [lost.spans(stack).await, room.spans(stack).await];
    took("what the killed server left is found to be gone", begin);
    report
        .found("the trace of the room that a killed server left is whole", &left(&lost, &spans[0]));
    report.found("the trace of the room after it is whole", &after(&room, &spans[1]));
}

fn left(room: &Room, spans: &[Span]) -> Vec<String> {
    let there = [Participant::new("ann", 2, 2), Participant::new("ben", 2, 2)];
    let mut problems = tree::problems(&room.trace, spans, &there);
    let end =
        spans.iter().find(|span| span.name == "room").map(|span| span.attribute("lk.end.inferred"));
    if end != Some("reconciled") {
        problems.push(format!("its room's end is by the rule {end:?}"));
    }
    problems
}

fn after(room: &Room, spans: &[Span]) -> Vec<String> {
    let there = ["ann", "ben", "cid"].map(|who| Participant::new(who, 2, 4));
    let mut problems = tree::problems(&room.trace, spans, &there);
    problems.extend(tree::without_an_end(spans));
    problems
}
