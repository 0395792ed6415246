//! Metrics of a node's own calls: connections, publications, subscriptions and durations (livekit
//! pkg/telemetry/prometheus/packets.go and rooms.go).

use std::collections::BTreeMap;
use std::time::Duration;

use super::histogram::{DURATION_BOUNDS, Histogram, Histograms, LATENCY_BOUNDS, Points};
use super::points::{
    FlushInterval, Instrument, NodeSeries, count_points, histogram_points, seconds,
};
use livekit_otel_model::event::{Direction, NodeId, TrackKind};
use livekit_otel_model::semconv::{key, metric};
use livekit_otel_model::signal::{Attribute, Metric, Number, NumberPoint, Temporality, Value};

/// A step of a participant's connecting (upstream's `livekit_participant_join_total`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // named as upstream names its states
#[non_exhaustive]
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

/// How a participant connects, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Connecting {
    /// Whether its media connects together with its signalling (upstream's warp).
    pub is_warp: Option<bool>,
    /// The client's SDK, as the protobuf enum `ClientInfo.SDK` spells it, such as `JS`.
    pub sdk: Option<&'static str>,
}

impl Connecting {
    /// Whether its media connects together with its signalling.
    #[must_use]
    pub fn warp(mut self, is_warp: bool) -> Self {
        self.is_warp = Some(is_warp);
        self
    }

    /// The client's SDK, as `Sdk::as_str_name` returns it.
    #[must_use]
    pub fn sdk(mut self, sdk: &'static str) -> Self {
        self.sdk = Some(sdk);
        self
    }

    fn attributes(self) -> impl Iterator<Item = Attribute> {
        let warp = self.is_warp.map(|is_warp| Attribute::new(key::JOIN_WARP, is_warp));
        let sdk = self.sdk.map(|sdk| Attribute::new(key::CLIENT_SDK, sdk));
        [warp, sdk].into_iter().flatten()
    }
}

/// What packets of forward error correction (FlexFEC) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // named as upstream names its types
pub enum Fec {
    Received,
    /// Media packets that were recovered.
    Recovered,
    /// They could not be used.
    Discarded,
}

impl Fec {
    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Recovered => "recovered",
            Self::Discarded => "discarded",
        }
    }
}

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// A step of a participant's connecting.
    Joins(JoinState, Connecting),
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
    /// Published video tracks with packet trailers; rises and falls.
    PacketTrailerTracks,
    /// The same by feature, as the protobuf enum `PacketTrailerFeature` spells it; rises and falls.
    PacketTrailerFeatures(&'static str),
    /// Packets of publishers' forward error correction.
    FecPackets(Fec),
    /// Received bytes of publishers' forward error correction.
    FecBytes,
    /// Key frames: received from publishers, or forwarded, once for each subscriber.
    KeyFrames(Direction),
    /// Packets that were requested again and not sent, because the subscription had used up its budget.
    CappedRetransmissions(TrackKind),
}

/// Something that takes time. Those of sessions have the client's protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Timing {
    /// From the signal connection to the join response.
    SessionJoin(u32),
    /// From the signal connection to the media connection.
    SessionStart(u32, Connecting),
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
    forward_p90: Option<Duration>,
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

    /// Sets the current 90th percentile of the forward latency.
    pub fn forward_p90(&mut self, latency: Duration) {
        self.forward_p90 = Some(latency);
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
        self.forward_p90 = other.forward_p90.take().or(self.forward_p90);
    }
}

/// The series of calls of all nodes.
#[derive(Debug, Default)]
pub(super) struct CallSeries {
    counts: BTreeMap<(Option<NodeId>, Count), NodeSeries<i64>>,
    timings: BTreeMap<(Timing, Option<NodeId>), NodeSeries<Histogram>>,
    forward_p90: BTreeMap<Option<NodeId>, Duration>,
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
        if let Some(latency) = calls.forward_p90 {
            self.forward_p90.insert(node.cloned(), latency);
        }
    }

    pub(super) fn flush(&mut self, interval: FlushInterval, to: &mut Vec<Metric>) {
        let delta = interval.temporality == Temporality::Delta;
        let mut by_name: BTreeMap<&str, (Instrument, bool, Vec<NumberPoint>)> = BTreeMap::new();
        for ((_, count), series) in &mut self.counts {
            let (instrument, up_down) = (count.instrument(), count.is_up_down());
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
        let points = self.forward_p90.iter().map(|(node, latency)| point(node, *latency)).collect();
        to.push(FORWARD_P90.gauge(points));
    }
}

fn with_node(mut attributes: Vec<Attribute>, node: Option<&NodeId>) -> Vec<Attribute> {
    attributes.extend(
        node.map(|node| Attribute { key: key::NODE_ID, value: Value::Text(node.shared()) }),
    );
    attributes
}

impl Count {
    // Whether it is a current number and not a count of what happened.
    fn is_up_down(self) -> bool {
        matches!(
            self,
            Self::Participants
                | Self::Published(_)
                | Self::Subscribed(_)
                | Self::PacketTrailerTracks
                | Self::PacketTrailerFeatures(_)
        )
    }

    fn instrument(self) -> Instrument {
        let (name, unit, description) = match self {
            Self::Joins(..) => (metric::NODE_JOINS, "{join}", "Steps of participants' connecting."),
            Self::Publishes(..) => {
                (metric::NODE_PUBLISHES, "{attempt}", "Tries to publish a track.")
            }
            Self::Subscribes(_) => {
                (metric::NODE_SUBSCRIBES, "{attempt}", "Tries to subscribe to a track.")
            }
            Self::Participants => (
                metric::NODE_PARTICIPANTS,
                "{participant}",
                "Participants that the node has a stats worker for.",
            ),
            Self::Published(_) => {
                (metric::NODE_PUBLISHED_TRACKS, "{track}", "Tracks published on the node.")
            }
            Self::Subscribed(_) => {
                (metric::NODE_SUBSCRIBED_TRACKS, "{track}", "Subscriptions to tracks on the node.")
            }
            Self::PacketTrailerTracks => (
                metric::NODE_PACKET_TRAILER_TRACKS,
                "{track}",
                "Video tracks published on the node with packet trailers.",
            ),
            Self::PacketTrailerFeatures(_) => (
                metric::NODE_PACKET_TRAILER_FEATURES,
                "{track}",
                "Video tracks published on the node, by feature of their packet trailers.",
            ),
            Self::FecPackets(_) => (
                metric::NODE_FEC_PACKETS,
                "{packet}",
                "Packets of forward error correction, and packets recovered by it.",
            ),
            Self::FecBytes => (metric::NODE_FEC_IO, "By", "Bytes of forward error correction."),
            Self::KeyFrames(_) => (
                metric::NODE_KEY_FRAMES,
                "{frame}",
                "Key frames received, or sent to a subscriber.",
            ),
            Self::CappedRetransmissions(_) => (
                metric::NODE_CAPPED_RETRANSMISSIONS,
                "{packet}",
                "Packets not sent again because the budget for it was used up.",
            ),
        };
        Instrument { name, unit, description }
    }

    fn attributes(self) -> Vec<Attribute> {
        let state = |state: AttemptState| Attribute::new(key::ATTEMPT_STATE, state.as_str());
        let kind = |kind: TrackKind| kind.name().map(|kind| Attribute::new(key::TRACK_KIND, kind));
        let direction = |of: Direction| Attribute::new(key::DIRECTION, of.as_str());
        match self {
            Self::Joins(state, connecting) => {
                let state = Attribute::new(key::JOIN_STATE, state.as_str());
                std::iter::once(state).chain(connecting.attributes()).collect()
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
            Self::Participants | Self::PacketTrailerTracks => Vec::new(),
            Self::Published(of) | Self::Subscribed(of) | Self::CappedRetransmissions(of) => {
                kind(of).into_iter().collect()
            }
            Self::PacketTrailerFeatures(feature) => {
                vec![Attribute::new(key::PACKET_TRAILER_FEATURE, feature)]
            }
            Self::FecPackets(of) => {
                vec![direction(Direction::Upstream), Attribute::new(key::FEC_TYPE, of.as_str())]
            }
            Self::FecBytes => vec![direction(Direction::Upstream)],
            Self::KeyFrames(of) => vec![direction(of)],
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
            Self::SessionStart(..) => (
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
        let version = |of: u32| Attribute::new(key::PROTOCOL_VERSION, i64::from(of));
        match self {
            Self::SessionJoin(of) | Self::SessionDuration(of) => vec![version(of)],
            Self::SessionStart(of, connecting) => {
                std::iter::once(version(of)).chain(connecting.attributes()).collect()
            }
            Self::ForwardLatency => Vec::new(),
        }
    }
}

const FORWARD_P90: Instrument = Instrument {
    name: metric::NODE_FORWARD_LATENCY_P90,
    unit: "s",
    description: "90th percentile of the forward latency.",
};
