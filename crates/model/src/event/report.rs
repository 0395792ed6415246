//! An SFU's reports of its streams, every few seconds.

pub use crate::counts::ReportCounts;

/// One report of a track in one direction, since the report before it. It is read from the message
/// (`AnalyticsStat`) without copying it.
pub trait Report {
    /// The quality score, 1 to 5; 0 if none was measured.
    fn score(&self) -> f32;

    /// The codec; empty if there is none.
    fn mime_type(&self) -> &str;

    /// Its streams: one, or one for each simulcast layer.
    fn streams(&self) -> impl Iterator<Item = StreamReport>;

    /// The video layers of all of its streams, in their order.
    fn layers(&self) -> impl Iterator<Item = Layer>;

    /// Whether no count is negative, read as a signed integer: a negative one is the result of a
    /// wrong subtraction (livekit pkg/telemetry/statsworker.go, `isValid`).
    fn is_valid(&self) -> bool {
        !self.streams().any(|stream| stream.counts.has_negative())
            && !self.layers().any(|layer| layer.has_negative())
    }
}

/// One stream of a report (`AnalyticsStream`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // named as in `AnalyticsStream`
pub struct StreamReport {
    pub counts: ReportCounts,
    /// Round trip, ms; 0 if it was not measured.
    pub rtt: u32,
    /// Jitter, µs; 0 if it was not measured.
    pub jitter: u32,
    /// Unix nanoseconds; 0 if it is unset.
    pub start: i64,
    /// Unix nanoseconds; 0 if it is unset.
    pub end: i64,
}

/// One simulcast or SVC layer (`AnalyticsVideoLayer`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // named as in `AnalyticsVideoLayer`
pub struct Layer {
    pub bytes: u64,
    pub layer: i32,
    pub packets: u32,
    pub frames: u32,
}

impl Layer {
    fn has_negative(&self) -> bool {
        self.bytes >> 63 != 0 || (self.packets | self.frames) >> 31 != 0
    }
}
