//! What a node measures besides the service's calls, as ours and as upstream's.

use std::time::Duration;

use livekit_otel_model::event::{Direction, TrackKind};
use livekit_otel_telemetry::messages::client_info::Sdk;
use livekit_otel_telemetry::{Connecting, JoinState, NodeMetrics, Timing};
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub(super) enum NodeCall {
    Join(JoinState, bool, Sdk),
    SessionStart(u32, bool, Sdk, u64),
    Fec(u32, u64, u32, u32),
    KeyFrame(Direction),
    CappedRetransmissions(TrackKind, u32),
}

pub(super) fn call() -> impl Strategy<Value = NodeCall> {
    let sdk = || prop::sample::select(&[Sdk::Unknown, Sdk::Js, Sdk::Esp32][..]);
    let state = prop::sample::select(
        &[
            JoinState::SignalConnected,
            JoinState::SignalFailed,
            JoinState::SignalValidationFailed,
            JoinState::RtcInit,
            JoinState::RtcCanceled,
            JoinState::RtcSuccess,
            JoinState::RtcFailure,
        ][..],
    );
    let direction = prop::sample::select(&[Direction::Upstream, Direction::Downstream][..]);
    let kind = prop::sample::select(&[TrackKind::Audio, TrackKind::Video][..]);
    let packets = || prop_oneof![Just(0), 1..100_u32];
    prop_oneof![
        (state, any::<bool>(), sdk()).prop_map(|(a, b, c)| NodeCall::Join(a, b, c)),
        (15..17_u32, any::<bool>(), sdk(), 0..9000_u64)
            .prop_map(|(a, b, c, d)| NodeCall::SessionStart(a, b, c, d)),
        (packets(), 0..9000_u64, packets(), packets())
            .prop_map(|(a, b, c, d)| NodeCall::Fec(a, b, c, d)),
        direction.prop_map(NodeCall::KeyFrame),
        (kind, packets()).prop_map(|(a, b)| NodeCall::CappedRetransmissions(a, b)),
    ]
}

// What upstream's function for a state is given.
fn connecting(state: JoinState, is_warp: bool, sdk: Sdk) -> Connecting {
    match state {
        JoinState::RtcCanceled | JoinState::RtcSuccess | JoinState::RtcFailure => {
            Connecting::default().warp(is_warp).sdk(sdk.as_str_name())
        }
        _ => Connecting::default(),
    }
}

impl NodeCall {
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Join(state, is_warp, sdk) => json!({
                "op": "node_join", "state": state.as_str(), "is_warp": is_warp,
                "sdk": sdk.as_str_name(),
            }),
            Self::SessionStart(version, is_warp, sdk, ms) => json!({
                "op": "node_session_start", "version": version, "is_warp": is_warp,
                "sdk": sdk.as_str_name(), "ms": ms,
            }),
            Self::Fec(received, bytes, recovered, discarded) => json!({
                "op": "node_fec", "counts": [received, recovered, discarded], "bytes": bytes,
            }),
            Self::KeyFrame(direction) => json!({
                "op": "node_key_frame", "direction": direction.as_str().to_uppercase(),
            }),
            Self::CappedRetransmissions(kind, packets) => json!({
                "op": "node_rtx_capped", "type": kind.name(), "counts": [packets],
            }),
        }
    }

    pub(super) fn make(&self, node: &NodeMetrics) {
        match *self {
            Self::Join(state, is_warp, sdk) => node.join(state, connecting(state, is_warp, sdk)),
            Self::SessionStart(version, is_warp, sdk, ms) => {
                let client = Connecting::default().warp(is_warp).sdk(sdk.as_str_name());
                node.session(Timing::SessionStart(version, client), Duration::from_millis(ms));
            }
            Self::Fec(received, bytes, recovered, discarded) => {
                node.fec(received, bytes, recovered, discarded);
            }
            Self::KeyFrame(direction) => node.key_frames(direction, 1),
            Self::CappedRetransmissions(kind, packets) => {
                node.capped_retransmissions(kind, packets);
            }
        }
    }
}
