//! The output is a function of the input: processes whose hash maps have different seeds produce the
//! same bytes from the same history.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use livekit_otel_engine::session;
use livekit_otel_engine::snapshot::Writer;
use livekit_otel_engine::stats;
use livekit_otel_engine::stats::{Level, Settings};
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::rooms::{Coverage, ListedParticipant, ListedRoom, Rooms};
use livekit_otel_model::event::{
    Counter, Counts, Decoded, Direction, Event, NodeId, ParticipantSid, RoomName, RoomSid,
    StreamStat, TrackSid,
};

use crate::fixtures::at;
use crate::histories::{Delivery, EQUAL, History};
use crate::history::saved_and_loaded;
use crate::random::Random;

const NAME: &str = "seeds::processes_with_other_hash_seeds_produce_the_same_bytes";
// Names the file to which a process that the test starts writes its output.
const TO: &str = "LIVEKIT_OTEL_TEST_OUTPUTS";
const HISTORIES: u64 = 60;
const LIST_EVERY: u64 = 20_000;

#[test]
fn processes_with_other_hash_seeds_produce_the_same_bytes() {
    if let Ok(to) = std::env::var(TO) {
        return std::fs::write(to, outputs()).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let first = in_another_process(&directory.path().join("first"));
    for nth in ["second", "third"] {
        let other = in_another_process(&directory.path().join(nth));
        assert!(first.len() > 1_000_000 && other.len() > 1_000_000);
        let differ = first.split(|byte| *byte == b'\n').zip(other.split(|byte| *byte == b'\n'));
        for (one, another) in differ {
            let (one, another) = (String::from_utf8_lossy(one), String::from_utf8_lossy(another));
            assert_eq!(one, another);
        }
        assert_eq!(first.len(), other.len());
    }
}

fn in_another_process(to: &Path) -> Vec<u8> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let run = child.args(["--exact", NAME]).env(TO, to).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    std::fs::read(to).unwrap()
}

// The output and the snapshots of all histories.
fn outputs() -> String {
    let (mut text, mut snapshots) = (String::new(), String::new());
    for seed in 0..HISTORIES {
        play(seed, &mut text, &mut snapshots);
    }
    text + &snapshots
}

fn play(seed: u64, to: &mut String, snapshots: &mut String) {
    let mut random = Random::new(seed);
    let mut inputs = inputs(&mut random);
    inputs.sort_by_key(|(millis, _)| *millis);
    let settings = Settings { level: Level::Track, top_n: 3, ..stats::Settings::default() };
    let new = || Engine::new(session::Settings::default(), settings, at(0));
    let mut engine = new();
    let mut out = Batch::default();
    let restart = inputs.len() / 2;
    for (nth, (millis, decoded)) in inputs.into_iter().enumerate() {
        let now = at(millis);
        if nth == restart {
            snapshot(&engine, snapshots);
            engine = saved_and_loaded(&engine, new());
        }
        engine.tick(now, &mut out);
        engine.apply(&decoded, now, true, &mut out);
        if nth % 40 == 0 {
            engine.flush(now, &mut out);
        }
    }
    snapshot(&engine, snapshots);
    while let Some(due) = engine.next_deadline().filter(|due| *due < at(3_000_000)) {
        engine.tick(due, &mut out);
    }
    engine.close(at(10_000_000), "shutdown", &mut out);
    snapshot(&engine, snapshots);
    for span in &out.spans {
        writeln!(to, "{span:?}").unwrap();
    }
    for log in &out.logs {
        writeln!(to, "{log:?}").unwrap();
    }
    for metric in &out.metrics {
        writeln!(to, "{metric:?}").unwrap();
    }
    for table in &out.tables {
        writeln!(to, "{table:?}").unwrap();
    }
}

fn snapshot(engine: &Engine, to: &mut String) {
    let mut put = |part: &[u8]| {
        writeln!(to, "{part:?}").unwrap();
        Ok(())
    };
    engine.save(&mut Writer::new(&mut put)).unwrap();
}

// Events of a random history with many left out, windows of its participants, and lists from the API or
// from nodes, whose rooms are empty or have some participants.
fn inputs(random: &mut Random) -> Vec<(u64, Decoded)> {
    let history = History::new(random);
    let how = Delivery {
        window: 5_000,
        twice: 10,
        left_out: 40,
        roomless: 20,
        webhooks: true,
        clocks: EQUAL,
        restart: false,
    };
    let one_name = random.below(2) == 0;
    let is_of_nodes = random.below(2) == 0;
    let events: Vec<(u64, Event)> = history
        .arrivals(random, how)
        .into_iter()
        .filter_map(|(millis, decoded)| match decoded {
            Decoded::Events(mut events) => Some((millis, events.pop()?)),
            _ => None,
        })
        .map(|(millis, event)| (millis, placed(event, one_name, is_of_nodes)))
        .collect();
    let mut inputs = Vec::new();
    let last = events.iter().map(|(millis, _)| *millis).max().unwrap_or_default();
    for (millis, event) in &events {
        let window = window(event, *millis, random);
        inputs.extend(window.map(|window| (*millis, Decoded::Stats(vec![window]))));
        inputs.push((*millis, Decoded::Events(vec![event.clone()])));
    }
    let is_empty = random.below(2) == 0;
    for millis in (0..last / LIST_EVERY + 10).map(|nth| nth * LIST_EVERY) {
        for node in 0..=usize::from(is_of_nodes) {
            let list = list(&events, millis, is_of_nodes.then_some(node), is_empty, random);
            inputs.push((millis, Decoded::Rooms(list)));
        }
    }
    inputs
}

fn node_of(room: &RoomSid) -> usize {
    usize::from(room.as_str().ends_with('1'))
}

fn node(nth: usize) -> NodeId {
    NodeId::new(&format!("ND_{nth}")).unwrap()
}

fn placed(mut event: Event, one_name: bool, is_of_nodes: bool) -> Event {
    if let Some(room) = &mut event.room {
        if one_name {
            // All rooms have the same name and start.
            room.name = RoomName::new("standup");
            room.created = Some(at(0));
        }
        event.node = room.sid.as_ref().filter(|_| is_of_nodes).map(|sid| node(node_of(sid)));
    }
    event
}

fn window(event: &Event, millis: u64, random: &mut Random) -> Option<StreamStat> {
    let room = event.room.as_ref()?;
    let who = event.participant.as_ref()?;
    let score = u16::try_from(random.below(400)).unwrap();
    Some(StreamStat {
        id: format!("AS_{millis}_{}", event.id).into(),
        at: Some(at(millis)),
        node: event.node.clone(),
        room: room.sid.clone()?,
        room_name: room.name.clone(),
        participant: who.sid.clone(),
        track: event.track.as_ref().map_or_else(TrackSid::data, |track| track.sid.clone()),
        direction: if random.below(2) == 0 { Direction::Upstream } else { Direction::Downstream },
        mime_type: Some("video/vp8".into()),
        score: Some(1.0 + f32::from(score) / 100.0),
        min_score: Some(1.0),
        start: Some(at(millis.saturating_sub(5_000))),
        end: Some(at(millis)),
        counts: Counts::from([(Counter::Packets, random.below(1000)), (Counter::PacketsLost, 3)]),
        rtt: Some(Duration::from_millis(random.below(100))),
        jitter: Some(Duration::from_micros(random.below(100))),
    })
}

fn list(
    events: &[(u64, Event)],
    millis: u64,
    of: Option<usize>,
    is_empty: bool,
    random: &mut Random,
) -> Rooms {
    let mut rooms: Vec<ListedRoom> = Vec::new();
    for (_, event) in events.iter().filter(|(reported, _)| *reported <= millis) {
        let Some(room) = &event.room else { continue };
        let Some(sid) = room.sid.clone().filter(|sid| of.is_none_or(|of| node_of(sid) == of))
        else {
            continue;
        };
        let known = rooms.iter().position(|known| known.sid == sid).unwrap_or_else(|| {
            let (name, created) = (room.name.clone(), room.created);
            let participants = Some(Vec::new());
            rooms.push(ListedRoom { sid, name, created, participants, size: None });
            rooms.len() - 1
        });
        let Some(who) = event.participant.as_ref().filter(|_| !is_empty) else { continue };
        let listed = ListedParticipant {
            sid: ParticipantSid::new(who.sid.as_str()).unwrap(),
            identity: who.identity.clone(),
            kind: None,
            joined: who.joined,
            is_forwarded: false,
            sip: None,
        };
        if let Some(all) = &mut rooms[known].participants
            && random.below(3) == 0
            && !all.contains(&listed)
        {
            all.push(listed);
        }
    }
    let coverage = of.map_or(Coverage::Deployment, |of| Coverage::Node(node(of)));
    let rooms = if random.below(10) == 0 { Vec::new() } else { rooms };
    Rooms { at: Some(at(millis)), coverage, rooms, event: None }
}

#[test]
fn a_history_has_lists_windows_and_inferred_ends() {
    let text = outputs();
    for name in ["lk.participant.gone", "lk.room.gone", "lk.node.packets", "ND_1", "reconciled"] {
        assert!(text.contains(name), "{name}");
    }
}
