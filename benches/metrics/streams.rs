//! Streams of 15 values and 7 attributes each, as series of the instruments.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use livekit_otel_engine::session::{Census, Description, StreamContext};
use livekit_otel_engine::stats::{Level, Settings, Stats};
use livekit_otel_model::event::{
    Counter, Counts, Direction, Identity, ParticipantSid, RoomName, RoomSid, StreamStat, Time,
    TrackKind, TrackSid,
};

/// When the `nth` window ends: lately, so that no series has been silent for long.
pub fn at(nth: u32) -> Time {
    static BEGAN: LazyLock<Time> = LazyLock::new(|| Time::from_system(SystemTime::now()));
    *BEGAN + nth * Duration::from_secs(30)
}

pub fn settings() -> Settings {
    Settings { level: Level::Track, cardinality_limit: 10_000_000, ..Settings::default() }
}

pub struct Streams {
    stats: Vec<(StreamStat, StreamContext)>,
}

impl Streams {
    pub fn of(streams: usize) -> Self {
        Self { stats: (0..streams).map(stream).collect() }
    }

    /// Instruments whose series are open: their zeros were flushed.
    pub fn open(&self) -> Stats {
        let mut stats = Stats::new(settings(), at(0));
        self.apply(&mut stats, 1);
        flush(&mut stats, 1, |_| {});
        stats
    }

    /// The `nth` window of each of these streams.
    pub fn windows(&self, which: std::ops::Range<usize>, nth: u32) -> Vec<StreamStat> {
        let of = |(stat, _): &(StreamStat, _)| StreamStat { at: Some(at(nth)), ..stat.clone() };
        self.stats[which].iter().map(of).collect()
    }

    /// One window of each stream.
    pub fn apply(&self, stats: &mut Stats, nth: u32) {
        for (stat, context) in &self.stats {
            let stat = StreamStat { at: Some(at(nth)), ..stat.clone() };
            stats.window(&stat, context, at(nth));
        }
    }
}

/// A flush, without the points of nodes.
pub fn flush(
    stats: &mut Stats,
    nth: u32,
    mut each: impl FnMut(&livekit_otel_model::signal::Table),
) {
    stats.flush(at(nth), &Census::default());
    while let Some(table) = stats.flush_streams() {
        each(&table);
    }
}

fn stream(nth: usize) -> (StreamStat, StreamContext) {
    let varied = u64::try_from(nth % 97).unwrap();
    let room = nth / 100;
    let direction = if nth.is_multiple_of(2) { Direction::Upstream } else { Direction::Downstream };
    let stat = StreamStat {
        id: "".into(),
        at: None,
        node: None,
        room: RoomSid::new(&format!("RM_{room:012}")).unwrap(),
        room_name: None,
        participant: ParticipantSid::new(&format!("PA_{:012}", nth / 10)).unwrap(),
        track: TrackSid::new(&format!("TR_{nth:012}")).unwrap(),
        direction,
        mime_type: Some("video/vp8".into()),
        score: Some(4.0),
        min_score: Some(3.5),
        start: Some(at(0)),
        end: None,
        counts: Counts::from([
            (Counter::Packets, 3000 + varied),
            (Counter::Bytes, 3_000_000 + varied * 100),
            (Counter::RetransmitPackets, varied % 5),
            (Counter::RetransmitBytes, 5000),
            (Counter::PaddingPackets, 10),
            (Counter::PaddingBytes, 2000),
            (Counter::PacketsLost, varied % 7),
            (Counter::PacketsOutOfOrder, varied % 3),
            (Counter::Frames, 900),
            (Counter::Nacks, varied % 4),
            (Counter::Plis, varied % 2),
        ]),
        rtt: Some(Duration::from_millis(20 + varied)),
        jitter: Some(Duration::from_micros(900 + varied * 40)),
    };
    let context = StreamContext {
        room_name: RoomName::new(&format!("standup-{room}")),
        identity: Identity::new(&format!("user-{}", nth / 10)),
        description: Description::new(Some(TrackKind::Video), None),
        own_trace: Some(false),
    };
    (stat, context)
}
