//! Random histories of streams: windows, flushes, ends, silence and restarts.

use std::time::Duration;

use livekit_otel_engine::session::{Census, Description, Fact, StreamContext};
use livekit_otel_engine::snapshot::{Writer, part};
use livekit_otel_engine::stats::{Settings, Stats};
use livekit_otel_model::event::{
    Counts, Direction, Identity, ParticipantSid, RoomName, RoomSid, StreamStat, Time, TrackKind,
    TrackSid, TrackSource,
};
use livekit_otel_model::signal::{Metric, Table};
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Window(Window),
    /// So many seconds without a window.
    Pass(u64),
    Flush,
    /// A participant's spans are emitted.
    Leave(usize, usize),
    /// A room's span is emitted.
    Close(usize),
    Restart,
}

/// A window of a track.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) room: usize,
    pub(crate) who: usize,
    pub(crate) track: usize,
    pub(crate) upstream: bool,
    /// How long before its arrival it ended, and its length, both in milliseconds.
    pub(crate) age: u64,
    pub(crate) length: Option<u64>,
    pub(crate) counts: [u32; 12],
    pub(crate) rtt: Option<u32>,
    pub(crate) jitter: Option<u32>,
    pub(crate) score: Option<f32>,
}

impl Window {
    pub(crate) fn is_media(&self) -> bool {
        self.track > 0
    }

    pub(crate) fn source(&self) -> Option<TrackSource> {
        [None, Some(TrackSource::Microphone), Some(TrackSource::Camera)][self.track]
    }

    pub(crate) fn kind(&self) -> Option<TrackKind> {
        [None, Some(TrackKind::Audio), Some(TrackKind::Video)][self.track]
    }

    pub(crate) fn direction(&self) -> Direction {
        if self.upstream { Direction::Upstream } else { Direction::Downstream }
    }

    pub(crate) fn track_sid(&self) -> String {
        format!("{}{}{}", ["TR_SG", "TR_A", "TR_V"][self.track], self.room, self.who)
    }

    pub(crate) fn at(&self, now: Time) -> Time {
        Time::from_nanos(now.nanos() - self.age * 1_000_000).unwrap()
    }

    pub(crate) fn start(&self, now: Time) -> Option<Time> {
        self.length.and_then(|length| Time::from_nanos(self.at(now).nanos() - length * 1_000_000))
    }

    fn stat(&self, now: Time) -> StreamStat {
        StreamStat {
            id: "".into(),
            at: Some(self.at(now)),
            node: None,
            room: room(self.room),
            room_name: None,
            participant: participant(self.room, self.who),
            track: TrackSid::new(&self.track_sid()).unwrap(),
            direction: self.direction(),
            mime_type: None,
            score: self.score,
            min_score: self.score,
            start: self.start(now),
            end: Some(self.at(now)),
            counts: Counts::from_fn(|counter| self.counts[counter as usize].into()),
            rtt: self.rtt.map(|rtt| Duration::from_millis(rtt.into())),
            jitter: self.jitter.map(|jitter| Duration::from_micros(jitter.into())),
        }
    }

    fn context(&self) -> StreamContext {
        StreamContext {
            room_name: RoomName::new(&format!("room-{}", self.room)),
            identity: Identity::new(&format!("who-{}", self.who)),
            description: Description::new(self.kind(), self.source()),
            own_trace: Some(has_own_trace(self.who)),
        }
    }
}

/// Whether this participant's trace is its own.
pub(crate) fn has_own_trace(who: usize) -> bool {
    who == 1
}

pub(crate) fn room(nth: usize) -> RoomSid {
    RoomSid::new(&format!("RM_{nth}")).unwrap()
}

pub(crate) fn participant(room: usize, nth: usize) -> ParticipantSid {
    ParticipantSid::new(&format!("PA_{room}{nth}")).unwrap()
}

prop_compose! {
    fn window()(
        room in 0usize..2,
        who in 0usize..3,
        track in 0usize..3,
        upstream in any::<bool>(),
        age in 0u64..3000,
        length in proptest::option::weighted(0.8, 1u64..30_000),
        counts in any::<[u16; 12]>(),
        lossless in any::<bool>(),
        rtt in proptest::option::of(1u32..20_000),
        jitter in proptest::option::of(1u32..900_000),
        score in proptest::option::of(1.0f32..=5.0),
    ) -> Window {
        let mut counts = counts.map(u32::from);
        if lossless {
            (counts[6], counts[7]) = (0, 0);
        }
        Window { room, who, track, upstream, age, length, counts, rtt, jitter, score }
    }
}

/// With ends, silence and restarts.
pub(crate) fn whole() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => window().prop_map(Step::Window),
        3 => (1u64..40).prop_map(Step::Pass),
        1 => (290u64..400).prop_map(Step::Pass),
        4 => Just(Step::Flush),
        1 => (0usize..2, 0usize..3).prop_map(|(room, who)| Step::Leave(room, who)),
        1 => (0usize..2).prop_map(Step::Close),
        2 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Only windows and flushes, and never so much silence that a series ends.
pub(crate) fn plain() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => window().prop_map(Step::Window),
        1 => (1u64..5).prop_map(Step::Pass),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The steps with their times, and a final flush.
pub(crate) fn timed(steps: &[Step]) -> Vec<(Time, Step)> {
    let mut now = Time::from_secs(1_795_400_000).unwrap();
    let mut timed = Vec::new();
    for step in steps.iter().cloned().chain([Step::Flush]) {
        now = now + Duration::from_millis(7);
        if let Step::Pass(seconds) = step {
            now = now + Duration::from_secs(seconds);
        }
        timed.push((now, step));
    }
    timed
}

/// The metrics that the instruments produce.
pub(crate) fn run(settings: Settings, steps: &[(Time, Step)]) -> (Vec<Metric>, Vec<Table>) {
    let (mut metrics, mut tables) = (Vec::new(), Vec::new());
    let Some((begin, _)) = steps.first() else { return (metrics, tables) };
    let mut stats = Stats::new(settings, *begin);
    for (now, step) in steps {
        match step {
            Step::Window(window) => stats.window(&window.stat(*now), &window.context(), *now),
            Step::Pass(_) => {}
            Step::Flush => {
                metrics.extend(stats.flush(*now, &Census::default()));
                tables.extend(std::iter::from_fn(|| stats.flush_streams()));
            }
            Step::Leave(room, who) => stats.fact(&Fact::ParticipantReleased {
                room: self::room(*room),
                participant: participant(*room, *who),
                is_agent: false,
                identity: None,
            }),
            Step::Close(room) => stats.fact(&Fact::RoomReleased { room: self::room(*room) }),
            Step::Restart => stats = restarted(settings, &stats, *now),
        }
    }
    (metrics, tables)
}

fn restarted(settings: Settings, stats: &Stats, now: Time) -> Stats {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut put = |part: &[u8]| {
        parts.push(part.to_vec());
        Ok(())
    };
    stats.save(&mut Writer::new(&mut put)).unwrap();
    let mut next = Stats::new(settings, now);
    for bytes in parts {
        let (kind, content) = part(&bytes).unwrap();
        assert!(next.load(kind, content).unwrap());
    }
    next
}
