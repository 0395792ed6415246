//! Metrics of a node's own calls: connections, publications, subscriptions and durations (livekit
//! pkg/telemetry/prometheus/packets.go and rooms.go).

use std::collections::BTreeMap;
use std::time::Duration;

use super::histogram::{DURATION_BOUNDS, Histogram, Histograms, LATENCY_BOUNDS, Points};
use super::points::{
    FlushInterval, Instrument, NodeSeries, count_points, histogram_points, seconds,
};
use livekit_otel_model::event::{NodeId, TrackKind};
use livekit_otel_model::semconv::{key, metric};
use livekit_otel_model::signal::{Attribute, Metric, Number, NumberPoint, Temporality, Value};

/// A step of a participant's connecting (upstream's `livekit_participant_join_total`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // named as upstream names its states
pub enum JoinState {
    SignalConnected,
    SignalFailed,
    SignalValidationFailed,
    SignalUpgradeFailed,
    SignalWriteInitialResponseFailed,
    RtcInit,
    RtcConnected,
    RtcActive,
    RtcCanceled,
    RtcSuccess,
    RtcFailure,
}

impl JoinState {
    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignalConnected => "signal_connected",
            Self::SignalFailed => "signal_failed",
            Self::SignalValidationFailed => "signal_validation_failed",
            Self::SignalUpgradeFailed => "signal_upgrade_failed",
            Self::SignalWriteInitialResponseFailed => "signal_write_initial_response_failed",
            Self::RtcInit => "rtc_init",
            Self::RtcConnected => "rtc_connected",
            Self::RtcActive => "rtc_active",
            Self::RtcCanceled => "rtc_canceled",
            Self::RtcSuccess => "rtc_success",
            Self::RtcFailure => "rtc_failure",
        }
    }
}

/// The state of an attempt to publish or subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // named as upstream names its states
pub enum AttemptState {
    Attempt,
    Success,
    /// It failed because of the server.
    Failure,
    /// It failed because the participant may not, or because the track is gone.
    UserError,
    Cancel,
}

impl AttemptState {
    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Success => "success",
            Self::Failure | Self::UserError => "failure",
            Self::Cancel => "cancel",
        }
    }
}

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// A step of a participant's connecting.
    Joins {
        /// The step.
        state: JoinState,
        /// Whether its media connects together with its signalling (upstream's warp).
        is_warp: bool,
    },
    /// Attempts to publish a track.
    Publishes(TrackKind, AttemptState),
    /// Attempts to subscribe to a track.
    Subscribes(AttemptState),
    /// Participants on this node; rises and falls.
    Participants,
    /// Tracks published on this node; rises and falls.
    Published(TrackKind),
    /// Subscriptions to tracks; rises and falls.
    Subscribed(TrackKind),
}

/// Something that takes time. Those of sessions have the client's protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timing {
    /// From the signal connection to the join response.
    SessionJoin(u32),
    /// From the signal connection to the media connection.
    SessionStart(u32),
    /// How long a session lasted.
    SessionDuration(u32),
    /// From a packet's arrival until it is forwarded.
    ForwardLatency,
}

/// Calls since the last flush.
#[derive(Debug, Default)]
pub struct Calls {
    histograms: Histograms,
    counts: BTreeMap<Count, i64>,
    timings: BTreeMap<Timing, Histogram>,
    forward: Option<(Duration, Duration)>,
}

impl Calls {
    pub(super) fn new(histograms: Histograms) -> Self {
        Self { histograms, ..Self::default() }
    }

    /// Adds to a count.
    pub fn add(&mut self, count: Count, change: i64) {
        let sum = self.counts.entry(count).or_default();
        *sum = sum.saturating_add(change);
    }

    /// Records how long something took.
    pub fn took(&mut self, timing: Timing, duration: Duration) {
        let new = || Histogram::new(self.histograms, timing.bounds());
        let histogram = self.timings.entry(timing).or_insert_with(new);
        histogram.record(seconds(duration));
    }

    /// Sets the long-term means of forwarding: latency and jitter.
    pub fn forward(&mut self, latency: Duration, jitter: Duration) {
        self.forward = Some((latency, jitter));
    }

    /// Moves the content of `other` into this.
    pub(super) fn take(&mut self, other: &mut Self) {
        for (count, change) in std::mem::take(&mut other.counts) {
            self.add(count, change);
        }
        for (timing, histogram) in std::mem::take(&mut other.timings) {
            match self.timings.get_mut(&timing) {
                Some(known) => known.merge(&histogram),
                None => {
                    self.timings.insert(timing, histogram);
                }
            }
        }
        self.forward = other.forward.take().or(self.forward);
    }
}

/// The series of calls of all nodes.
#[derive(Debug, Default)]
pub(super) struct CallSeries {
    counts: BTreeMap<(Option<NodeId>, Count), NodeSeries<i64>>,
    timings: BTreeMap<(Timing, Option<NodeId>), NodeSeries<Histogram>>,
    forward: BTreeMap<Option<NodeId>, (Duration, Duration)>,
}

impl CallSeries {
    pub(super) fn apply(&mut self, node: Option<&NodeId>, calls: Calls) {
        for (count, change) in calls.counts {
            let series = self
                .counts
                .entry((node.cloned(), count))
                .or_insert_with(|| NodeSeries::new(with_node(count.attributes(), node), 0));
            series.value = series.value.saturating_add(change);
        }
        for (timing, histogram) in calls.timings {
            let series = self.timings.entry((timing, node.cloned())).or_insert_with(|| {
                let attributes = with_node(timing.attributes(), node);
                NodeSeries::new(attributes, histogram.emptied())
            });
            series.value.merge(&histogram);
        }
        if let Some(means) = calls.forward {
            self.forward.insert(node.cloned(), means);
        }
    }

    pub(super) fn flush(&mut self, interval: FlushInterval, to: &mut Vec<Metric>) {
        let delta = interval.temporality == Temporality::Delta;
        let mut by_name: BTreeMap<&str, (Instrument, bool, Vec<NumberPoint>)> = BTreeMap::new();
        for ((_, count), series) in &mut self.counts {
            let (instrument, up_down) = count.instrument();
            let (_, _, points) =
                by_name.entry(instrument.name).or_insert_with(|| (instrument, up_down, Vec::new()));
            if up_down {
                // Cumulative, whatever the temporality.
                let whole = FlushInterval { temporality: Temporality::Cumulative, ..interval };
                let (start, _) = series.open(whole);
                let attributes = series.attributes.clone();
                let value = Some(Number::Int(series.value));
                points.push(NumberPoint {
                    attributes,
                    start: Some(start),
                    time: interval.now,
                    value,
                });
            } else if !delta || series.value != 0 {
                let opening = series.open(interval);
                let value = u64::try_from(series.value).unwrap_or_default();
                count_points(&series.attributes, opening, interval.now, value, points);
                if delta {
                    series.value = 0;
                }
            }
        }
        for (_, (instrument, up_down, points)) in by_name {
            to.push(if up_down {
                instrument.up_down(points)
            } else {
                instrument.counter(interval.temporality, points)
            });
        }
        self.flush_timings(interval, to);
        self.flush_forward(interval, to);
    }

    fn flush_timings(&mut self, interval: FlushInterval, to: &mut Vec<Metric>) {
        let mut by_name: BTreeMap<&str, (Instrument, Points)> = BTreeMap::new();
        for ((timing, _), series) in &mut self.timings {
            if series.value.is_empty() {
                continue;
            }
            let instrument = timing.instrument();
            let new = || (instrument, Points::new(interval.histograms, timing.bounds()));
            let (_, points) = by_name.entry(instrument.name).or_insert_with(new);
            let opening = series.open(interval);
            histogram_points(&mut series.value, &series.attributes, opening, interval.now, points);
            if interval.temporality == Temporality::Delta {
                series.value.clear();
            }
        }
        for (instrument, points) in by_name.into_values() {
            to.push(instrument.histogram(interval.temporality, points));
        }
    }

    fn flush_forward(&mut self, interval: FlushInterval, to: &mut Vec<Metric>) {
        let point = |node: &Option<NodeId>, value: Duration| NumberPoint {
            attributes: with_node(Vec::new(), node.as_ref()).into(),
            start: None,
            time: interval.now,
            value: Some(Number::Float(seconds(value))),
        };
        let latency = self.forward.iter().map(|(node, means)| point(node, means.0)).collect();
        let jitter = self.forward.iter().map(|(node, means)| point(node, means.1)).collect();
        to.push(FORWARD_MEAN.gauge(latency));
        to.push(FORWARD_JITTER.gauge(jitter));
    }
}

fn with_node(mut attributes: Vec<Attribute>, node: Option<&NodeId>) -> Vec<Attribute> {
    attributes.extend(
        node.map(|node| Attribute { key: key::NODE_ID, value: Value::Text(node.shared()) }),
    );
    attributes
}

impl Count {
    fn instrument(self) -> (Instrument, bool) {
        let (name, unit, description, up_down) = match self {
            Self::Joins { .. } => {
                (metric::NODE_JOINS, "{join}", "Steps of participants' connecting.", false)
            }
            Self::Publishes(..) => {
                (metric::NODE_PUBLISHES, "{attempt}", "Tries to publish a track.", false)
            }
            Self::Subscribes(_) => {
                (metric::NODE_SUBSCRIBES, "{attempt}", "Tries to subscribe to a track.", false)
            }
            Self::Participants => (
                metric::NODE_PARTICIPANTS,
                "{participant}",
                "Participants that the node has a stats worker for.",
                true,
            ),
            Self::Published(_) => {
                (metric::NODE_PUBLISHED_TRACKS, "{track}", "Tracks published on the node.", true)
            }
            Self::Subscribed(_) => (
                metric::NODE_SUBSCRIBED_TRACKS,
                "{track}",
                "Subscriptions to tracks on the node.",
                true,
            ),
        };
        (Instrument { name, unit, description }, up_down)
    }

    fn attributes(self) -> Vec<Attribute> {
        let state = |state: AttemptState| Attribute::new(key::ATTEMPT_STATE, state.as_str());
        let kind = |kind: TrackKind| kind.name().map(|kind| Attribute::new(key::TRACK_KIND, kind));
        match self {
            Self::Joins { state, is_warp } => {
                let warp = is_warp.then(|| Attribute::new(key::JOIN_WARP, true));
                let state = Attribute::new(key::JOIN_STATE, state.as_str());
                [Some(state), warp].into_iter().flatten().collect()
            }
            Self::Publishes(of, tried) => kind(of).into_iter().chain([state(tried)]).collect(),
            Self::Subscribes(tried) => {
                let error_type = match tried {
                    AttemptState::Failure => Some("subscribe_failed"),
                    AttemptState::UserError => Some("user_error"),
                    _ => None,
                };
                let error_type = error_type.map(|why| Attribute::new(key::ERROR_TYPE, why));
                [Some(state(tried)), error_type].into_iter().flatten().collect()
            }
            Self::Participants => Vec::new(),
            Self::Published(of) | Self::Subscribed(of) => kind(of).into_iter().collect(),
        }
    }
}

impl Timing {
    fn bounds(self) -> &'static [f64] {
        match self {
            Self::ForwardLatency => LATENCY_BOUNDS,
            _ => DURATION_BOUNDS,
        }
    }

    fn instrument(self) -> Instrument {
        let (name, description) = match self {
            Self::SessionJoin(_) => (
                metric::NODE_SESSION_JOIN_DURATION,
                "From a session's signal connection to its join response.",
            ),
            Self::SessionStart(_) => (
                metric::NODE_SESSION_START_DURATION,
                "From a session's signal connection to its media connection.",
            ),
            Self::SessionDuration(_) => {
                (metric::NODE_SESSION_DURATION, "How long sessions lasted.")
            }
            Self::ForwardLatency => {
                (metric::NODE_FORWARD_LATENCY, "From a packet's arrival to its sending on.")
            }
        };
        Instrument { name, unit: "s", description }
    }

    fn attributes(self) -> Vec<Attribute> {
        match self {
            Self::SessionJoin(version)
            | Self::SessionStart(version)
            | Self::SessionDuration(version) => {
                vec![Attribute::new(key::PROTOCOL_VERSION, i64::from(version))]
            }
            Self::ForwardLatency => Vec::new(),
        }
    }
}

const FORWARD_MEAN: Instrument = Instrument {
    name: metric::NODE_FORWARD_LATENCY_MEAN,
    unit: "s",
    description: "Long-term mean of the forward latency.",
};
const FORWARD_JITTER: Instrument = Instrument {
    name: metric::NODE_FORWARD_JITTER,
    unit: "s",
    description: "Long-term mean of the forward latency's jitter.",
};
