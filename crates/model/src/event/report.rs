//! What an SFU reports of a stream, every few seconds.

/// One report of a track in one direction: what it has seen since the last one. Counts are the
/// message's own (`AnalyticsStat`), so that nothing is copied to read them.
pub trait Report {
    /// The quality score, 1 to 5; 0 where none was measured.
    fn score(&self) -> f32;

    /// The codec; empty where there is none.
    fn mime_type(&self) -> &str;

    /// Its streams: one, or one for each simulcast layer.
    fn streams(&self) -> impl Iterator<Item = StreamReport>;

    /// The video layers of all of its streams, in their order.
    fn layers(&self) -> impl Iterator<Item = Layer>;

    /// Whether no count is negative, seen as a signed integer: that is a difference that went
    /// wrong (livekit pkg/telemetry/statsworker.go, `isValid`).
    fn is_valid(&self) -> bool {
        !self.streams().any(|stream| stream.counts.has_negative())
            && !self.layers().any(|layer| layer.has_negative())
    }
}

/// One stream of a report (`AnalyticsStream`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // named as in `AnalyticsStream`
pub struct StreamReport {
    pub counts: Sums,
    /// Round trip, ms; 0 where it was not measured.
    pub rtt: u32,
    /// Jitter, µs; 0 where it was not measured.
    pub jitter: u32,
    /// Unix nanoseconds; 0 where it is unset.
    pub start: i64,
    /// Unix nanoseconds; 0 where it is unset.
    pub end: i64,
}

/// The counts that are summed, in the widths of `AnalyticsStream`. Sums wrap as upstream's do;
/// a window of 30 s is far from that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // named as in `AnalyticsStream`
pub struct Sums {
    pub primary_bytes: u64,
    pub retransmit_bytes: u64,
    pub padding_bytes: u64,
    pub primary_packets: u32,
    pub retransmit_packets: u32,
    pub padding_packets: u32,
    pub packets_lost: u32,
    pub packets_out_of_order: u32,
    pub frames: u32,
    pub nacks: u32,
    pub plis: u32,
    pub firs: u32,
}

impl Sums {
    /// Adds another's.
    pub fn add(&mut self, more: &Self) {
        self.primary_bytes = self.primary_bytes.wrapping_add(more.primary_bytes);
        self.retransmit_bytes = self.retransmit_bytes.wrapping_add(more.retransmit_bytes);
        self.padding_bytes = self.padding_bytes.wrapping_add(more.padding_bytes);
        self.primary_packets = self.primary_packets.wrapping_add(more.primary_packets);
        self.retransmit_packets = self.retransmit_packets.wrapping_add(more.retransmit_packets);
        self.padding_packets = self.padding_packets.wrapping_add(more.padding_packets);
        self.packets_lost = self.packets_lost.wrapping_add(more.packets_lost);
        self.packets_out_of_order =
            self.packets_out_of_order.wrapping_add(more.packets_out_of_order);
        self.frames = self.frames.wrapping_add(more.frames);
        self.nacks = self.nacks.wrapping_add(more.nacks);
        self.plis = self.plis.wrapping_add(more.plis);
        self.firs = self.firs.wrapping_add(more.firs);
    }

    fn has_negative(&self) -> bool {
        let bytes = self.primary_bytes | self.retransmit_bytes | self.padding_bytes;
        let packets = self.primary_packets | self.retransmit_packets | self.padding_packets;
        let flaws = self.packets_lost | self.packets_out_of_order | self.frames;
        let feedback = self.nacks | self.plis | self.firs;
        bytes >> 63 != 0 || (packets | flaws | feedback) >> 31 != 0
    }
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
