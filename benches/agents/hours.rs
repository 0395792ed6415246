//! The memory of the engine over hours of its own time, while so many sessions of ten minutes go on at once. `SESSIONS`
//! and `HOURS` say how many.

use std::sync::Arc;
use std::time::Duration;

use livekit_otel_durable::memory;
use livekit_otel_engine::{Batch, Engine, session, stats};
use livekit_otel_model::event::{Decoded, RoomSid, Time};
use livekit_otel_model::foreign::{Facts, ForeignSpan, Upload};
use livekit_otel_model::signal::SpanId;

use crate::calls::Calls;

// What a captured call takes, and how many of them are a session.
const CYCLE: Duration = Duration::from_secs(28);
const CYCLES: u32 = 21;
const BEGIN: i64 = 1_795_981_975;

pub fn run() {
    let number =
        |name, default: usize| std::env::var(name).map_or(default, |it| it.parse().unwrap());
    let (sessions, hours) = (number("SESSIONS", 1000), number("HOURS", 3));
    println!("memory of the engine, {sessions} sessions of 10 minutes at once");
    let mut hours_of = Hours::new(sessions);
    let before = resident();
    for cycle in 0..u32::try_from(hours).unwrap() * 129 {
        hours_of.cycle(cycle);
        if (cycle + 1) % 13 == 0 {
            let minutes = (cycle + 1) * 28 / 60;
            println!("  {minutes:>5} min {:>6.0} MB", resident() - before);
        }
    }
}

struct Hours {
    engine: Engine,
    sessions: usize,
    cycle: Vec<Upload>,
    end: Vec<Upload>,
    out: Batch,
}

impl Hours {
    fn new(sessions: usize) -> Self {
        let (cycle, end) = Calls::cycle_and_end("ordinary");
        let (session, stats) = (session::Settings::default(), stats::Settings::default());
        let engine = Engine::new(session, stats, at(0, 0.0));
        Self { engine, sessions, cycle: cycle.uploads(), end: end.uploads(), out: Batch::default() }
    }

    // Half a minute of all sessions, of which a part ends and is followed by others.
    fn cycle(&mut self, cycle: u32) {
        for place in 0..self.sessions {
            let now = at(cycle, place as f64 / self.sessions as f64);
            self.engine.tick(now, &mut self.out);
            let age = cycle + u32::try_from(place).unwrap() % CYCLES;
            let session = Session::new(place, age / CYCLES);
            for upload in &self.cycle {
                let upload = session.upload(upload, age % CYCLES);
                self.engine.apply(&Decoded::Upload(upload), now, false, &mut self.out);
            }
            if age % CYCLES == CYCLES - 1 {
                for upload in &self.end {
                    let upload = session.upload(upload, 0);
                    self.engine.apply(&Decoded::Upload(upload), now, false, &mut self.out);
                }
            }
            self.out = Batch::default();
        }
        self.engine.flush(at(cycle + 1, 0.0), &mut self.out);
        self.out = Batch::default();
    }
}

struct Session {
    room: RoomSid,
    job: Arc<str>,
    trace: [u8; 8],
}

impl Session {
    fn new(place: usize, generation: u32) -> Self {
        let number = format!("{place:05}{generation:03}");
        let room = RoomSid::new(&format!("RM_{number}abcd")).unwrap();
        let trace = number.as_bytes().try_into().unwrap();
        Self { room, job: format!("AJ_{number}abcd").into(), trace }
    }

    fn upload(&self, upload: &Upload, cycle: u32) -> Upload {
        let mut upload = upload.clone();
        match &mut upload {
            Upload::Spans(spans) => spans.iter_mut().for_each(|span| self.span(span, cycle)),
            Upload::Logs(logs) => {
                for log in logs {
                    self.facts(&mut log.facts);
                    if let Some((trace, span)) = &mut log.context {
                        trace[..8].copy_from_slice(&self.trace);
                        in_cycle(span, cycle);
                    }
                }
            }
            Upload::Metrics(_) | Upload::Recording(_) => {}
        }
        upload
    }

    fn span(&self, span: &mut ForeignSpan, cycle: u32) {
        span.trace_id[..8].copy_from_slice(&self.trace);
        in_cycle(&mut span.span_id, cycle);
        span.parent.iter_mut().for_each(|parent| in_cycle(parent, cycle));
        self.facts(&mut span.facts);
    }

    fn facts(&self, facts: &mut Facts) {
        facts.room = facts.room.as_ref().map(|_| self.room.clone());
        facts.job = facts.job.as_ref().map(|_| Arc::clone(&self.job));
    }
}

// The spans of the whole job have other ids.
fn in_cycle(id: &mut SpanId, cycle: u32) {
    if id[..4] == [0; 4] {
        id[..4].copy_from_slice(&cycle.to_be_bytes());
    }
}

fn at(cycle: u32, part: f64) -> Time {
    Time::from_secs(BEGIN).unwrap() + CYCLE * cycle + CYCLE.mul_f64(part)
}

fn resident() -> f64 {
    memory::resident(None).unwrap() as f64 / 1e6
}
