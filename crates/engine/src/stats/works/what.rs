//! The instruments of operations and of usage.

use serde::{Deserialize, Serialize};

use crate::stats::histogram::{DURATION_BOUNDS, WAIT_BOUNDS};
use crate::stats::points::Instrument;
use livekit_otel_model::semconv::metric;

/// What a series measures. The order is that of the metrics in a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum What {
    Egresses,
    StuckEgresses,
    Ingresses,
    SipCalls,
    AgentJobs,
    Egress,
    FirstFrame,
    Ingress,
    SipCall,
    SipAnswer,
    SipTransfer,
    AgentJob,
    Dispatch,
    ParticipantTime,
    PublishedTime,
    SubscribedTime,
    EgressTime,
    SipTime,
    AgentTime,
}

/// The kind of an instrument.
pub(super) enum Kind {
    /// How many are open.
    Open,
    /// Durations, with the bounds of their buckets in seconds.
    Durations(&'static [f64]),
    /// A sum of durations.
    Time,
}

impl What {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Egresses
            | Self::StuckEgresses
            | Self::Ingresses
            | Self::SipCalls
            | Self::AgentJobs => Kind::Open,
            Self::Egress | Self::Ingress | Self::SipCall | Self::SipTransfer | Self::AgentJob => {
                Kind::Durations(DURATION_BOUNDS)
            }
            Self::FirstFrame | Self::SipAnswer | Self::Dispatch => Kind::Durations(WAIT_BOUNDS),
            Self::ParticipantTime
            | Self::PublishedTime
            | Self::SubscribedTime
            | Self::EgressTime
            | Self::SipTime
            | Self::AgentTime => Kind::Time,
        }
    }

    pub(super) fn instrument(self) -> Instrument {
        let (name, unit, description) = match self {
            Self::Egresses => (metric::EGRESS_COUNT, "{egress}", "Running egresses."),
            Self::StuckEgresses => (metric::EGRESS_STUCK, "{egress}", "Egresses that are stuck."),
            Self::Ingresses => {
                (metric::INGRESS_COUNT, "{ingress}", "Running sessions of ingresses.")
            }
            Self::SipCalls => (metric::SIP_CALL_COUNT, "{call}", "Running SIP calls."),
            Self::AgentJobs => (metric::AGENT_JOB_COUNT, "{job}", "Running jobs of agents."),
            Self::Egress => (metric::EGRESS_DURATION, "s", "How long egresses took."),
            Self::FirstFrame => (
                metric::EGRESS_FIRST_FRAME_DURATION,
                "s",
                "From an egress's start to its first frame.",
            ),
            Self::Ingress => {
                (metric::INGRESS_DURATION, "s", "How long sessions of ingresses took.")
            }
            Self::SipCall => (metric::SIP_CALL_DURATION, "s", "How long SIP calls took."),
            Self::SipAnswer => {
                (metric::SIP_ANSWER_DURATION, "s", "From a SIP call's start to its answer.")
            }
            Self::SipTransfer => (
                metric::SIP_TRANSFER_DURATION,
                "s",
                "From the request to transfer a SIP call to its answer.",
            ),
            Self::AgentJob => (metric::AGENT_JOB_DURATION, "s", "How long jobs of agents took."),
            Self::Dispatch => (
                metric::AGENT_DISPATCH_DURATION,
                "s",
                "From a dispatch to its agent's join, or until none was expected any more.",
            ),
            Self::ParticipantTime => {
                (metric::USAGE_PARTICIPANT_TIME, "s", "How long participants were in rooms.")
            }
            Self::PublishedTime => {
                (metric::USAGE_TRACK_PUBLISHED_TIME, "s", "How long tracks were published.")
            }
            Self::SubscribedTime => (
                metric::USAGE_TRACK_SUBSCRIBED_TIME,
                "s",
                "How long participants were subscribed to tracks.",
            ),
            Self::EgressTime => (metric::USAGE_EGRESS_TIME, "s", "How long egresses took."),
            Self::SipTime => {
                (metric::USAGE_SIP_TIME, "s", "How long SIP calls took from their answer.")
            }
            Self::AgentTime => (metric::USAGE_AGENT_TIME, "s", "How long agents were in rooms."),
        };
        Instrument { name, unit, description }
    }
}
