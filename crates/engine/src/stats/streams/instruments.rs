//! What each series of streams has: twelve sums and three last values.

use super::Level;
use livekit_otel_model::event::Counts;
use livekit_otel_model::semconv::metric;
use livekit_otel_model::signal::{Column, Row};

const fn column(name: &'static str, unit: &'static str, description: &'static str) -> Column {
    Column { name, unit, description }
}

pub(super) static COUNTERS: [Column; Row::COUNTERS] = [
    column(metric::STREAM_PACKETS, "{packet}", "Packets of streams."),
    column(metric::STREAM_IO, "By", "Bytes of streams."),
    column(
        metric::STREAM_RETRANSMITTED_PACKETS,
        "{packet}",
        "Packets of streams that were sent again.",
    ),
    column(metric::STREAM_RETRANSMITTED_IO, "By", "Bytes of streams that were sent again."),
    column(metric::STREAM_PADDING_PACKETS, "{packet}", "Packets of padding in streams."),
    column(metric::STREAM_PADDING_IO, "By", "Bytes of padding in streams."),
    column(metric::STREAM_PACKETS_LOST, "{packet}", "Packets of streams that never came."),
    column(metric::STREAM_PACKETS_OUT_OF_ORDER, "{packet}", "Packets of streams that came late."),
    column(metric::STREAM_FRAMES, "{frame}", "Frames of streams."),
    column(metric::STREAM_NACKS, "{nack}", "Requests to send a packet of a stream again."),
    column(metric::STREAM_PLIS, "{pli}", "Picture loss indications of streams."),
    column(metric::STREAM_FIRS, "{fir}", "Full intra requests of streams."),
];

/// The sums, in the order of their columns.
pub(super) fn counts(of: &Counts) -> [u64; Row::COUNTERS] {
    [
        of.packets,
        of.bytes,
        of.retransmit_packets,
        of.retransmit_bytes,
        of.padding_packets,
        of.padding_bytes,
        of.packets_lost,
        of.packets_out_of_order,
        of.frames,
        of.nacks,
        of.plis,
        of.firs,
    ]
}

pub(super) static GAUGES: [Column; Row::GAUGES] = [
    column(metric::STREAM_ROUND_TRIP, "s", "Highest round trip of streams in their last windows."),
    column(metric::STREAM_JITTER, "s", "Highest jitter of streams in their last windows."),
    // Not 1: Prometheus would name it a ratio.
    column(
        metric::STREAM_SCORE,
        "{score}",
        "Mean quality score of streams in their last windows, 1 to 5.",
    ),
];

/// How many series of streams there are at most, once each has been measured in every way: what
/// README.md states. Tracks are counted once for each participant that sends or receives them.
pub fn most_series(level: Level, rooms: u64, participants: u64, tracks: u64) -> u64 {
    let each = (Row::COUNTERS + Row::GAUGES) as u64;
    match level {
        Level::Node => 0,
        Level::Room => rooms * 2 * each,
        Level::Participant => participants * 2 * each,
        Level::Track => tracks * each,
    }
}
