//! The counters of a stream. This is their only list: a counter is added here, and where LiveKit's
//! message is read and written (`stats.rs` of the crate `livekit`).

use serde::{Deserialize, Serialize};

use crate::semconv::metric;

/// What is counted of a stream. The order is that of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Packets, without retransmissions and padding.
    Packets,
    /// Bytes of those packets.
    Bytes,
    /// Packets that were sent again.
    RetransmitPackets,
    /// Bytes of those packets.
    RetransmitBytes,
    /// Packets of padding.
    PaddingPackets,
    /// Bytes of those packets.
    PaddingBytes,
    /// Packets that never arrived.
    PacketsLost,
    /// Packets that arrived late.
    PacketsOutOfOrder,
    /// Frames.
    Frames,
    /// Requests to send a packet again.
    Nacks,
    /// Picture loss indications.
    Plis,
    /// Full intra requests.
    Firs,
}

// Where a counter is in `ReportCounts`.
enum Place {
    Bytes(usize),
    Other(usize),
}

impl Counter {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All, in their order.
    pub const ALL: [Self; 12] = [
        Self::Packets,
        Self::Bytes,
        Self::RetransmitPackets,
        Self::RetransmitBytes,
        Self::PaddingPackets,
        Self::PaddingBytes,
        Self::PacketsLost,
        Self::PacketsOutOfOrder,
        Self::Frames,
        Self::Nacks,
        Self::Plis,
        Self::Firs,
    ];

    /// The name, unit and description of its metric for series of streams.
    pub const fn metric(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Packets => (metric::STREAM_PACKETS, "{packet}", "Packets of streams."),
            Self::Bytes => (metric::STREAM_IO, "By", "Bytes of streams."),
            Self::RetransmitPackets => (
                metric::STREAM_RETRANSMITTED_PACKETS,
                "{packet}",
                "Packets of streams that were sent again.",
            ),
            Self::RetransmitBytes => {
                (metric::STREAM_RETRANSMITTED_IO, "By", "Bytes of streams that were sent again.")
            }
            Self::PaddingPackets => {
                (metric::STREAM_PADDING_PACKETS, "{packet}", "Packets of padding in streams.")
            }
            Self::PaddingBytes => (metric::STREAM_PADDING_IO, "By", "Bytes of padding in streams."),
            Self::PacketsLost => {
                (metric::STREAM_PACKETS_LOST, "{packet}", "Packets of streams that never came.")
            }
            Self::PacketsOutOfOrder => (
                metric::STREAM_PACKETS_OUT_OF_ORDER,
                "{packet}",
                "Packets of streams that came late.",
            ),
            Self::Frames => (metric::STREAM_FRAMES, "{frame}", "Frames of streams."),
            Self::Nacks => {
                (metric::STREAM_NACKS, "{nack}", "Requests to send a packet of a stream again.")
            }
            Self::Plis => (metric::STREAM_PLIS, "{pli}", "Picture loss indications of streams."),
            Self::Firs => (metric::STREAM_FIRS, "{fir}", "Full intra requests of streams."),
        }
    }

    const fn place(self) -> Place {
        match self {
            Self::Bytes => Place::Bytes(0),
            Self::RetransmitBytes => Place::Bytes(1),
            Self::PaddingBytes => Place::Bytes(2),
            Self::Packets => Place::Other(0),
            Self::RetransmitPackets => Place::Other(1),
            Self::PaddingPackets => Place::Other(2),
            other => Place::Other(other as usize - BYTES),
        }
    }
}

/// A stream's counts over a window or a lifetime. Additions saturate: a hostile count must not end
/// the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts([u64; Counter::COUNT]);

impl Counts {
    /// The counts that `count` returns.
    #[inline]
    pub fn from_fn(count: impl Fn(Counter) -> u64) -> Self {
        Self(Counter::ALL.map(count))
    }

    /// Adds to one of them.
    #[inline]
    pub fn add(&mut self, counter: Counter, more: u64) {
        let count = &mut self.0[counter as usize];
        *count = count.saturating_add(more);
    }

    /// Adds one counter to another, and sets the first to 0.
    #[inline]
    pub fn fold(&mut self, from: Counter, to: Counter) {
        let count = std::mem::take(&mut self.0[from as usize]);
        self.add(to, count);
    }

    /// All, in the order of [`Counter::ALL`].
    pub fn values(&self) -> [u64; Counter::COUNT] {
        self.0
    }
}

impl<const N: usize> From<[(Counter, u64); N]> for Counts {
    /// These, and 0 for the others.
    fn from(counts: [(Counter, u64); N]) -> Self {
        let mut all = Self::default();
        for (counter, count) in counts {
            all.add(counter, count);
        }
        all
    }
}

impl From<&ReportCounts> for Counts {
    #[inline]
    fn from(counts: &ReportCounts) -> Self {
        Self::from_fn(|counter| counts.get(counter))
    }
}

impl std::ops::Index<Counter> for Counts {
    type Output = u64;

    #[inline]
    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

impl std::ops::AddAssign for Counts {
    #[inline]
    fn add_assign(&mut self, more: Self) {
        for (count, more) in self.0.iter_mut().zip(more.0) {
            *count = count.saturating_add(more);
        }
    }
}

// How many of the counters are bytes.
const BYTES: usize = 3;

/// A stream's counts in the widths of LiveKit's message (`AnalyticsStream`): 64 bits for bytes, 32
/// for all else. Additions wrap as upstream's do; a window of 30 s is far from that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportCounts {
    bytes: [u64; BYTES],
    others: [u32; Counter::COUNT - BYTES],
}

impl ReportCounts {
    /// The counts that `count` returns; of one that is not bytes, the lower 32 bits.
    #[inline]
    pub fn from_fn(count: impl Fn(Counter) -> u64) -> Self {
        let mut counts = Self::default();
        for counter in Counter::ALL {
            match counter.place() {
                Place::Bytes(nth) => counts.bytes[nth] = count(counter),
                #[allow(clippy::cast_possible_truncation)] // wraps as additions do
                Place::Other(nth) => counts.others[nth] = count(counter) as u32,
            }
        }
        counts
    }

    /// One of them.
    #[inline]
    pub fn get(&self, counter: Counter) -> u64 {
        match counter.place() {
            Place::Bytes(nth) => self.bytes[nth],
            Place::Other(nth) => self.others[nth].into(),
        }
    }

    /// Adds another stream's or report's.
    #[inline]
    pub fn add(&mut self, more: &Self) {
        for (count, more) in self.bytes.iter_mut().zip(more.bytes) {
            *count = count.wrapping_add(more);
        }
        for (count, more) in self.others.iter_mut().zip(more.others) {
            *count = count.wrapping_add(more);
        }
    }

    /// Whether a count is negative, read as a signed integer of its width.
    #[inline]
    pub fn has_negative(&self) -> bool {
        let bytes = self.bytes.iter().fold(0, |all, count| all | count);
        let others = self.others.iter().fold(0, |all, count| all | count);
        bytes >> 63 != 0 || others >> 31 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_a_place_of_its_own() {
        for counter in Counter::ALL {
            let one = ReportCounts::from_fn(|other| u64::from(other == counter));
            assert_eq!(Counts::from(&one), Counts::from([(counter, 1)]), "{counter:?}");
            assert_eq!(Counts::from(&one).values()[counter as usize], 1);
        }
    }

    #[test]
    fn counts_saturate_and_those_of_reports_wrap_in_their_width() {
        let mut counts = Counts::from([(Counter::Nacks, u64::MAX)]);
        counts += Counts::from([(Counter::Nacks, 1), (Counter::Plis, 1)]);
        assert_eq!((counts[Counter::Nacks], counts[Counter::Plis]), (u64::MAX, 1));
        let most = ReportCounts::from_fn(|_| u64::MAX);
        let mut sum = most;
        sum.add(&most);
        assert_eq!(sum.get(Counter::Bytes), u64::MAX - 1);
        assert_eq!(sum.get(Counter::Packets), u64::from(u32::MAX) - 1);
    }

    #[test]
    fn a_count_is_negative_where_its_highest_bit_is_set() {
        for counter in Counter::ALL {
            let bits = if matches!(counter.place(), Place::Bytes(_)) { 63 } else { 31 };
            let of = |count| ReportCounts::from_fn(|it| if it == counter { count } else { 0 });
            assert!(of(1 << bits).has_negative(), "{counter:?}");
            assert!(!of((1 << bits) - 1).has_negative(), "{counter:?}");
        }
    }
}
