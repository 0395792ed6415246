//! Reads `AnalyticsStat` into [`StreamStat`].

use std::time::Duration;

use livekit_protocol as lk;
use pbjson_types::Timestamp;

use super::names::time;
use livekit_otel_model::event::report::{Layer, Report, ReportCounts, StreamReport};
use livekit_otel_model::event::{
    Counter, Counts, Direction, NodeId, ParticipantSid, RoomName, RoomSid, StreamStat, TrackSid,
};

/// Reads a finished window; `None` if it lacks its room, participant or track, or if its direction is
/// unknown.
pub(super) fn window(stat: &lk::AnalyticsStat) -> Option<StreamStat> {
    let direction = match lk::StreamType::try_from(stat.kind) {
        Ok(lk::StreamType::Upstream) => Direction::Upstream,
        Ok(lk::StreamType::Downstream) => Direction::Downstream,
        Err(_) => return None,
    };
    let streams = &stat.streams;
    let mut sum = Counts::default();
    for stream in streams {
        sum += Counts::from(&counts(stream));
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
        counts: sum,
        rtt: rtt.map(|millis| Duration::from_millis(millis.into())),
        jitter: jitter.map(|micros| Duration::from_micros(micros.into())),
    })
}

fn score(score: f32) -> Option<f32> {
    (score.is_finite() && score > 0.0).then_some(score)
}

fn counts(stream: &lk::AnalyticsStream) -> ReportCounts {
    ReportCounts::from_fn(|counter| match counter {
        Counter::Packets => stream.primary_packets.into(),
        Counter::Bytes => stream.primary_bytes,
        Counter::RetransmitPackets => stream.retransmit_packets.into(),
        Counter::RetransmitBytes => stream.retransmit_bytes,
        Counter::PaddingPackets => stream.padding_packets.into(),
        Counter::PaddingBytes => stream.padding_bytes,
        Counter::PacketsLost => stream.packets_lost.into(),
        Counter::PacketsOutOfOrder => stream.packets_out_of_order.into(),
        Counter::Frames => stream.frames.into(),
        Counter::Nacks => stream.nacks.into(),
        Counter::Plis => stream.plis.into(),
        Counter::Firs => stream.firs.into(),
    })
}

/// A message's stream with these counts, and nothing else.
pub fn stream_of(counts: &ReportCounts) -> lk::AnalyticsStream {
    // A count that is not bytes has 32 bits.
    let narrow = |counter| u32::try_from(counts.get(counter)).unwrap_or(u32::MAX);
    let mut stream = lk::AnalyticsStream::default();
    for counter in Counter::ALL {
        match counter {
            Counter::Packets => stream.primary_packets = narrow(counter),
            Counter::Bytes => stream.primary_bytes = counts.get(counter),
            Counter::RetransmitPackets => stream.retransmit_packets = narrow(counter),
            Counter::RetransmitBytes => stream.retransmit_bytes = counts.get(counter),
            Counter::PaddingPackets => stream.padding_packets = narrow(counter),
            Counter::PaddingBytes => stream.padding_bytes = counts.get(counter),
            Counter::PacketsLost => stream.packets_lost = narrow(counter),
            Counter::PacketsOutOfOrder => stream.packets_out_of_order = narrow(counter),
            Counter::Frames => stream.frames = narrow(counter),
            Counter::Nacks => stream.nacks = narrow(counter),
            Counter::Plis => stream.plis = narrow(counter),
            Counter::Firs => stream.firs = narrow(counter),
        }
    }
    stream
}

/// A stream's stats message from an SFU, as the stats workers read it.
#[derive(Debug, Clone, Copy)]
pub struct StatReport<'a>(pub &'a lk::AnalyticsStat);

impl Report for StatReport<'_> {
    fn score(&self) -> f32 {
        self.0.score
    }

    fn mime_type(&self) -> &str {
        &self.0.mime
    }

    fn streams(&self) -> impl Iterator<Item = StreamReport> {
        self.0.streams.iter().map(|stream| StreamReport {
            counts: counts(stream),
            rtt: stream.rtt,
            jitter: stream.jitter,
            start: nanos(stream.start_time.as_ref()),
            end: nanos(stream.end_time.as_ref()),
        })
    }

    fn layers(&self) -> impl Iterator<Item = Layer> {
        self.0.streams.iter().flat_map(|stream| &stream.video_layers).map(|layer| Layer {
            bytes: layer.bytes,
            layer: layer.layer,
            packets: layer.packets,
            frames: layer.frames,
        })
    }
}

// Unix nanoseconds; 0 (1970) for no time, like Go's `AsTime`.
fn nanos(time: Option<&Timestamp>) -> i64 {
    time.map_or(0, |time| {
        time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanos.into())
    })
}
