//! The load: streams of participants in rooms, and their reports.

use livekit_otel_model::event::{Direction, TrackKind, TrackSource};
use livekit_otel_telemetry::messages::{
    AnalyticsStat, AnalyticsStream, AnalyticsVideoLayer, ParticipantInfo, Room,
};
use livekit_otel_telemetry::{StatsKey, TrackClass};
use pbjson_types::Timestamp;

pub const PER_PARTICIPANT: usize = 10;
const PER_ROOM: usize = 10;
/// Reports of a stream in one window: every 5 s, for 30 s.
pub const REPORTS: usize = 6;

pub struct Load {
    pub members: Vec<(Room, ParticipantInfo)>,
    pub keys: Vec<StatsKey>,
    pub stats: Vec<AnalyticsStat>,
}

impl Load {
    /// Video with two layers, half of it downstream.
    pub fn of(streams: usize) -> Self {
        let members: Vec<_> = (0..streams.div_ceil(PER_PARTICIPANT)).map(member).collect();
        let key = |nth: usize| {
            let (room, who) = &members[nth / PER_PARTICIPANT];
            let direction =
                if nth.is_multiple_of(2) { Direction::Upstream } else { Direction::Downstream };
            let class = TrackClass { source: Some(TrackSource::Camera), kind: TrackKind::Video };
            let track = format!("TR_{nth:012}");
            StatsKey::for_track(&room.sid, &who.sid, &track, direction, "DE", class)
        };
        let keys = (0..streams).map(key).collect();
        Self { keys, stats: (0..streams).map(stat).collect(), members }
    }
}

fn member(nth: usize) -> (Room, ParticipantInfo) {
    let room = nth / PER_ROOM;
    let room =
        Room { sid: format!("RM_{room:012}"), name: format!("room-{room}"), ..Room::default() };
    let who = ParticipantInfo {
        sid: format!("PA_{nth:012}"),
        identity: format!("user-{nth}"),
        ..ParticipantInfo::default()
    };
    (room, who)
}

fn stat(nth: usize) -> AnalyticsStat {
    let varied = u32::try_from(nth % 97).unwrap_or_default();
    let layer =
        |layer| AnalyticsVideoLayer { layer, packets: 250 + varied, bytes: 250_000, frames: 150 };
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let stream = AnalyticsStream {
        primary_packets: 500 + varied,
        primary_bytes: 500_000,
        retransmit_packets: varied % 5,
        retransmit_bytes: 5000,
        padding_packets: 10,
        padding_bytes: 2000,
        packets_lost: varied % 7,
        packets_out_of_order: varied % 3,
        frames: 150,
        rtt: 20 + varied,
        jitter: 900 + varied * 40,
        nacks: varied % 4,
        plis: varied % 2,
        video_layers: vec![layer(0), layer(1)],
        start_time: at(1_795_400_000),
        end_time: at(1_795_400_005),
        ..AnalyticsStream::default()
    };
    AnalyticsStat {
        score: 3.0 + f32::from(u8::try_from(varied).unwrap_or_default()) / 97.0,
        mime: "video/vp8".into(),
        streams: vec![stream],
        ..AnalyticsStat::default()
    }
}
