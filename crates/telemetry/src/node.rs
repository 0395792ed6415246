//! What a node measures besides the service's calls. Upstream's prometheus package has functions for it
//! (livekit pkg/telemetry/prometheus/packets.go and rooms.go).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use livekit_otel_engine::stats::calls::{AttemptState, Calls, Count, JoinState, Timing};
use livekit_otel_engine::stats::worker::StatsKey;
use livekit_otel_engine::stats::{Histograms, NodeReports};
use livekit_otel_model::event::TrackKind;
use livekit_otel_model::event::report::Report;

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

    /// A participant's connection reached this state, or failed in it. `is_warp`: its media connects
    /// together with its signalling. The service counts `RtcConnected` and `RtcActive` itself.
    pub fn join(&self, state: JoinState, is_warp: bool) {
        self.add(Count::Joins { state, is_warp }, 1);
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
    /// timing has the client's protocol version.
    pub fn session(&self, timing: Timing, took: Duration) {
        self.with(|calls| calls.took(timing, took));
    }

    /// The time between a packet's arrival and its forwarding.
    pub fn forward_latency(&self, latency: Duration) {
        self.with(|calls| calls.took(Timing::ForwardLatency, latency));
    }

    /// The current long-term means of forwarding.
    pub fn forward_means(&self, latency: Duration, jitter: Duration) {
        self.with(|calls| calls.forward(latency, jitter));
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
