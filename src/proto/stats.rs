//! `AnalyticsStat` to [`StreamStat`].

use std::time::Duration;

use livekit_protocol as lk;

use super::names::time;
use crate::event::{
    Counts, Direction, NodeId, ParticipantSid, RoomName, RoomSid, StreamStat, TrackSid, Unknown,
};

/// A finished window; `None` where it does not say whose it is.
pub(super) fn window(stat: &lk::AnalyticsStat, unknown: &mut Unknown) -> Option<StreamStat> {
    let direction = match lk::StreamType::try_from(stat.kind) {
        Ok(lk::StreamType::Upstream) => Direction::Upstream,
        Ok(lk::StreamType::Downstream) => Direction::Downstream,
        Err(_) => {
            unknown.enum_values += 1;
            return None;
        }
    };
    let streams = &stat.streams;
    let mut counts = Counts::default();
    for stream in streams {
        counts += stream_counts(stream);
    }
    // Upstream's rtt is in milliseconds, its jitter in microseconds; 0 is "not measured".
    let rtt = streams.iter().map(|stream| stream.rtt).max().filter(|rtt| *rtt > 0);
    let jitter = streams.iter().map(|stream| stream.jitter).max().filter(|jitter| *jitter > 0);
    Some(StreamStat {
        id: stat.id.as_str().into(),
        at: time(stat.time_stamp.as_ref()),
        node: NodeId::new(&stat.node),
        room: RoomSid::new(&stat.room_id)?,
        room_name: RoomName::new(&stat.room_name),
        participant: ParticipantSid::new(&stat.participant_id)?,
        track: TrackSid::new(&stat.track_id)?,
        direction,
        mime_type: (!stat.mime.is_empty()).then(|| stat.mime.as_str().into()),
        score: score(stat.score),
        min_score: score(stat.min_score),
        start: streams.iter().filter_map(|stream| time(stream.start_time.as_ref())).min(),
        end: streams.iter().filter_map(|stream| time(stream.end_time.as_ref())).max(),
        counts,
        rtt: rtt.map(|millis| Duration::from_millis(millis.into())),
        jitter: jitter.map(|micros| Duration::from_micros(micros.into())),
    })
}

fn score(score: f32) -> Option<f32> {
    (score.is_finite() && score > 0.0).then_some(score)
}

fn stream_counts(stream: &lk::AnalyticsStream) -> Counts {
    Counts {
        packets: stream.primary_packets.into(),
        bytes: stream.primary_bytes,
        retransmit_packets: stream.retransmit_packets.into(),
        retransmit_bytes: stream.retransmit_bytes,
        padding_packets: stream.padding_packets.into(),
        padding_bytes: stream.padding_bytes,
        packets_lost: stream.packets_lost.into(),
        packets_out_of_order: stream.packets_out_of_order.into(),
        frames: stream.frames.into(),
        nacks: stream.nacks.into(),
        plis: stream.plis.into(),
        firs: stream.firs.into(),
    }
}
