//! A snapshot of many open tracks, written and read again.

use std::sync::Arc;
use std::time::Instant;

use livekit_otel_durable::store::{Directory, Files, Reader};
use livekit_otel_engine::session;
use livekit_otel_engine::snapshot::{Part, Writer, part};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit as livekit;
use livekit_otel_model::event::Time;
use serde_json::json;

const ROOMS: usize = 10_000;
const PARTICIPANTS: usize = 50;
const TRACKS: usize = 2;

pub fn run() {
    let begin = Time::from_secs(1_795_406_960).unwrap();
    let new = || Engine::new(session::Settings::default(), stats::Settings::default(), begin);
    let mut engine = new();
    let mut out = Batch::default();
    let took = Instant::now();
    for room in 0..ROOMS {
        let mut events = Vec::new();
        let mut windows = Vec::new();
        for nth in 0..PARTICIPANTS {
            let who = format!("PA_{room}_{nth}");
            let of = |kind: &str, id: String| {
                json!({
                    "id": id, "type": kind, "timestamp": "2026-11-23T04:09:20.5Z",
                    "roomId": format!("RM_{room}"), "participantId": who,
                    "room": {"sid": format!("RM_{room}"), "name": format!("room-{room}")},
                    "participant": {"sid": who, "identity": format!("who-{room}-{nth}")},
                })
            };
            events.push(of("PARTICIPANT_JOINED", format!("AE_{who}")));
            for track in 0..TRACKS {
                let sid = format!("TR_{room}_{nth}_{track}");
                let mut event = of("TRACK_PUBLISHED", format!("AE_{sid}"));
                event["trackId"] = json!(sid);
                event["track"] = json!({"sid": sid, "type": "VIDEO", "source": "CAMERA"});
                events.push(event);
                windows.push(json!({
                    "id": format!("AS_{sid}"), "kind": "UPSTREAM",
                    "timeStamp": "2026-11-23T04:09:50Z", "roomId": format!("RM_{room}"),
                    "participantId": who, "trackId": sid, "mime": "video/vp8",
                    "streams": [{"primaryPackets": 100, "primaryBytes": "100000"}],
                }));
            }
        }
        let events = livekit::encode_capture("events", &json!({"events": events})).unwrap();
        let stats = livekit::encode_capture("stats", &json!({"stats": windows})).unwrap();
        for read in [livekit::events(&events).unwrap(), livekit::stats(&stats).unwrap()] {
            engine.apply(&read.decoded, begin, false, &mut out);
        }
        out = Batch::default();
    }
    let tracks = ROOMS * PARTICIPANTS * TRACKS;
    println!("{tracks} open tracks of {} participants in {ROOMS} rooms", ROOMS * PARTICIPANTS);
    println!("  made in {:.1} s", took.elapsed().as_secs_f64());

    let at = tempfile::tempdir().unwrap();
    let directory = Directory::open(at.path(), Arc::new(Files)).unwrap();
    let took = Instant::now();
    let size = directory.replace("snapshot", |records| {
        let mut put = |part: &[u8]| records.put(part);
        engine.save(&mut Writer::new(&mut put)).map_err(std::io::Error::other)
    });
    let megabytes = size.unwrap() as f64 / 1e6;
    println!("  snapshot of {megabytes:.0} MB written in {:.1} s", took.elapsed().as_secs_f64());
    drop(engine);

    let took = Instant::now();
    let mut engine = new();
    let mut reader = Reader::of_file(&at.path().join("snapshot")).unwrap();
    let mut rooms = 0;
    while let Some(record) = reader.next_of_file().unwrap() {
        let (kind, content) = part(&record).unwrap();
        rooms += usize::from(kind == Part::Room);
        engine.load(kind, content).unwrap();
    }
    assert_eq!(rooms, ROOMS);
    println!("  read again in {:.1} s (target: under 30)", took.elapsed().as_secs_f64());
}
