//! What a node measures besides the service's calls. Upstream's prometheus package has functions for it
//! (livekit pkg/telemetry/prometheus/packets.go and rooms.go).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use livekit_otel_engine::stats::calls::{
    AttemptState, Calls, Connecting, Count, Fec, JoinState, Timing,
};
use livekit_otel_engine::stats::worker::StatsKey;
use livekit_otel_engine::stats::{Histograms, NodeReports};
use livekit_otel_model::event::report::Report;
use livekit_otel_model::event::{Direction, TrackKind};

// Each thread prefers one lane: two threads seldom meet, and each lane is small.
const LANES: usize = 16;

/// A node's measurements: the streams' reports, and what no call of the service reports. A call waits
/// for no longer than another one takes to record.
#[derive(Debug)]
pub struct NodeMetrics {
    histograms: Histograms,
    lanes: [Mutex<NodeReports>; LANES],
}

impl NodeMetrics {
    pub(super) fn new(histograms: Histograms) -> Self {
        let lane = |_| Mutex::new(NodeReports::new(histograms));
        Self { histograms, lanes: std::array::from_fn(lane) }
    }

    /// A participant's connection reached this state, or failed in it. Upstream says how the participant
    /// connects with `RtcCanceled`, `RtcSuccess` and `RtcFailure`. The service counts `RtcConnected`, with
    /// the SDK, and `RtcActive`, with the warp, itself.
    pub fn join(&self, state: JoinState, connecting: Connecting) {
        self.add(Count::Joins(state, connecting), 1);
    }

    /// Attempts to publish that were cancelled.
    pub fn publish_cancels(&self, kind: TrackKind, cancels: u32) {
        self.add(Count::Publishes(kind, AttemptState::Cancel), cancels.into());
    }

    /// Attempts to subscribe that were cancelled.
    pub fn subscribe_cancels(&self, cancels: u32) {
        self.add(Count::Subscribes(AttemptState::Cancel), cancels.into());
    }

    /// How long a session took to its join response, to its media, or in all, as `timing` says. The
    /// timing has the client's protocol version, and how the participant connects.
    pub fn session(&self, timing: Timing, took: Duration) {
        self.with(|calls| calls.took(timing, took));
    }

    /// The time between a packet's arrival and its forwarding.
    pub fn forward_latency(&self, latency: Duration) {
        self.with(|calls| calls.took(Timing::ForwardLatency, latency));
    }

    /// The current 90th percentile of the forward latency. Upstream computes it over the last second or so
    /// (livekit pkg/sfu/forwardstats.go).
    pub fn forward_p90(&self, latency: Duration) {
        self.with(|calls| calls.forward_p90(latency));
    }

    /// Packets of publishers' forward error correction since the last call: received ones and their bytes, the
    /// media packets that were recovered with them, and received ones that could not be used.
    pub fn fec(&self, received: u32, received_bytes: u64, recovered: u32, discarded: u32) {
        let bytes = i64::try_from(received_bytes).unwrap_or(i64::MAX);
        let counts = [
            (Count::FecPackets(Fec::Received), received.into()),
            (Count::FecBytes, bytes),
            (Count::FecPackets(Fec::Recovered), recovered.into()),
            (Count::FecPackets(Fec::Discarded), discarded.into()),
        ];
        self.with(|calls| {
            for (count, change) in counts {
                // As upstream: what never happened has no series.
                if change > 0 {
                    calls.add(count, change);
                }
            }
        });
    }

    /// Key frames that publishers sent (upstream), or that were forwarded to subscribers (downstream), counted
    /// once for each.
    pub fn key_frames(&self, direction: Direction, frames: u32) {
        self.add(Count::KeyFrames(direction), frames.into());
    }

    /// Packets that a subscriber requested again, and that were not sent because its budget was used up.
    pub fn capped_retransmissions(&self, kind: TrackKind, packets: u32) {
        self.add(Count::CappedRetransmissions(kind), packets.into());
    }

    // Takes what was recorded since the last time. With `Builder::otel` each flush does.
    #[doc(hidden)]
    pub fn drain(&self) -> NodeReports {
        let mut reports = NodeReports::new(self.histograms);
        for lane in &self.lanes {
            reports.take(&mut lane.lock());
        }
        reports
    }

    pub(super) fn report(&self, key: &StatsKey, report: &impl Report) {
        self.lane().report(key, report);
    }

    pub(super) fn add(&self, count: Count, change: i64) {
        self.with(|calls| calls.add(count, change));
    }

    fn with(&self, record: impl FnOnce(&mut Calls)) {
        record(self.lane().calls());
    }

    // This thread's lane, or another one that is free.
    fn lane(&self) -> MutexGuard<'_, NodeReports> {
        let own = own_lane();
        for nth in 0..LANES {
            if let Some(lane) = self.lanes[(own + nth) % LANES].try_lock() {
                return lane;
            }
        }
        self.lanes[own].lock()
    }
}

fn own_lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Relaxed) % LANES;
    }
    OWN.with(|own| *own)
}
