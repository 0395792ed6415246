//! The session model on one core: what an event costs, and what a participant and a track take in
//! memory, while a thousand, or a million, participants are in their rooms.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use livekit_otel_durable::memory;
use livekit_otel_engine::session::{Outputs, Sessions, Settings};
use livekit_otel_model::event::{
    Event, EventKind, Identity, Origin, Participant, ParticipantSid, ReportedTime, Room, RoomName,
    RoomSid, Time, Track, TrackKind, TrackSid, TrackSource,
};

const IN_A_ROOM: usize = 50;
// Timed at once; made before.
const BATCH: usize = 1000;
const STEADY: usize = 300_000;

fn main() {
    // Each in a process of its own: memory that one frees would be the next one's.
    if let Ok(participants) = std::env::var("OPEN_PARTICIPANTS") {
        return measure(participants.parse().unwrap());
    }
    println!(
        "{:>12}{:>14}{:>14}{:>14}{:>16}{:>12}",
        "open", "ns an open", "ns an event", "ns an end", "B a participant", "B a track"
    );
    let steady = ["1000", "10000", "100000", "1000000"].map(|participants| {
        let mut run = Command::new(std::env::current_exe().unwrap());
        let output = run.env("OPEN_PARTICIPANTS", participants).output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        print!("{line}");
        line.split_whitespace().nth(2).unwrap().parse::<f64>().unwrap()
    });
    let grown = steady[3] / steady[0];
    println!("an event among 1,000,000 costs {grown:.2} of one among 1,000 (target: less than 2)");
}

struct Decoded {
    sessions: Sessions,
    out: Outputs,
    nth: u64,
    ns: u128,
}

impl Decoded {
    // Applies them in batches; returns nanoseconds per event.
    fn apply(&mut self, count: usize, mut make: impl FnMut(usize, u64) -> Event) -> f64 {
        self.ns = 0;
        let mut done = 0;
        while done < count {
            let batch: Vec<Event> = (done..count.min(done + BATCH))
                .map(|of| {
                    self.nth += 1;
                    make(of, self.nth)
                })
                .collect();
            done += batch.len();
            let began = Instant::now();
            for event in &batch {
                self.sessions.event(event, event.reported.unwrap().at, false, &mut self.out);
            }
            self.ns += began.elapsed().as_nanos();
            self.out = Outputs::default();
        }
        self.ns as f64 / count as f64
    }
}

fn measure(participants: usize) {
    let mut to = Decoded {
        sessions: Sessions::new(Settings::default()),
        out: Outputs::default(),
        nth: 0,
        ns: 0,
    };
    let before = resident();
    let opened =
        to.apply(participants, |of, nth| event(EventKind::ParticipantJoined, of, None, nth));
    let of_participants = resident();
    to.apply(participants, |of, nth| event(EventKind::TrackPublished, of, Some(of), nth));
    let of_tracks = resident();
    let kinds = [
        EventKind::TrackMuted,
        EventKind::TrackUnmuted,
        EventKind::TrackSubscribeRequested,
        EventKind::TrackSubscribed,
        EventKind::TrackUnsubscribed,
    ];
    // A participant far from the one before, so that no cache helps.
    let steady = to.apply(STEADY, |nth_event, nth| {
        let of = (nth_event / kinds.len()).wrapping_mul(7919) % participants;
        let kind = kinds[nth_event % kinds.len()].clone();
        event(kind, of, Some(of), nth)
    });
    let ends = participants.min(100_000);
    let ended = to.apply(ends, |of, nth| event(EventKind::ParticipantLeft, of, None, nth));
    let each = |bytes: f64| bytes / participants as f64;
    println!(
        "{participants:>12}{opened:>14.0}{steady:>14.0}{ended:>14.0}{:>16.0}{:>12.0}",
        each(of_participants - before),
        each(of_tracks - of_participants)
    );
}

fn event(kind: EventKind, of: usize, track: Option<usize>, nth: u64) -> Event {
    let room = of / IN_A_ROOM;
    let at = Time::from_nanos(1_795_406_960_000_000_000 + nth * 10_000).unwrap();
    Event {
        id: format!("AE_{nth}").into(),
        reported: Some(ReportedTime { at, whole_seconds: false }),
        room: Some(Room {
            sid: RoomSid::new(&format!("RM_{room:012}")),
            name: RoomName::new(&format!("room-{room}")),
            created: Time::from_secs(1_795_406_960),
        }),
        participant: Some(Participant {
            sid: ParticipantSid::new(&format!("PA_{of:012}")).unwrap(),
            identity: Identity::new(&format!("user-{of}")),
            kind: Some(Arc::from("STANDARD")),
            joined: Time::from_secs(1_795_406_961),
            state: None,
            requested: Vec::new(),
            client_span: None,
            disconnect_reason: None,
            sip: None,
        }),
        track: track.map(|track| Track {
            sid: TrackSid::new(&format!("TR_{track:012}")).unwrap(),
            kind: Some(TrackKind::Video),
            source: Some(TrackSource::Camera),
            mime_type: Some(Arc::from("video/VP8")),
            muted: false,
        }),
        ..Event::new(Origin::Analytics, kind)
    }
}

// The process's memory now, in bytes, with 1000 for each KiB.
fn resident() -> f64 {
    (memory::resident(None).unwrap() >> 10) as f64 * 1000.0
}
