//! Turns enum values into emitted names, and timestamps into [`Time`].

use std::sync::Arc;
use std::time::Duration;

use livekit_protocol as lk;
use pbjson_types::Timestamp;

use super::unknown::Unknown;
use livekit_otel_model::event::{EventKind, Time, TrackKind, TrackSource};

// Upstream writes a time in 1970, or in the year 1, for "unset".
const UNSET_BEFORE: i64 = 365 * 24 * 3600;

/// A message's timestamp; `None` if it is unset.
pub(super) fn time(stamp: Option<&Timestamp>) -> Option<Time> {
    let stamp = stamp?;
    if stamp.seconds < UNSET_BEFORE {
        return None;
    }
    let nanos = u32::try_from(stamp.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Time::from_secs(stamp.seconds).map(|at| at + Duration::from_nanos(nanos.into()))
}

/// The name of an enum's value, as the protobuf spells it; `None` if the value is 0 (unspecified).
/// An unknown value is its name or number, as the server sent it.
pub(super) fn named<E>(
    value: i32,
    name: impl Fn(&E) -> &'static str,
    unknown: &Unknown,
) -> Option<Arc<str>>
where
    E: TryFrom<i32>,
{
    if value == 0 {
        return None;
    }
    Some(any(value, name, unknown))
}

/// Like [`named`], for enums whose 0 has a meaning.
pub(super) fn any<E>(value: i32, name: impl Fn(&E) -> &'static str, unknown: &Unknown) -> Arc<str>
where
    E: TryFrom<i32>,
{
    E::try_from(value).map_or_else(|_| unknown.value(value), |known| name(&known).into())
}

/// The value of an enum if it is unknown: its name or number.
pub(super) fn unknown_value<E: TryFrom<i32>>(value: i32, unknown: &Unknown) -> Option<Arc<str>> {
    E::try_from(value).is_err().then(|| unknown.value(value))
}

pub(super) fn track_kind(value: i32) -> Option<TrackKind> {
    match lk::TrackType::try_from(value) {
        Ok(lk::TrackType::Audio) => Some(TrackKind::Audio),
        Ok(lk::TrackType::Video) => Some(TrackKind::Video),
        Ok(lk::TrackType::Data) => Some(TrackKind::Data),
        Err(_) => None,
    }
}

pub(super) fn track_source(value: i32) -> Option<TrackSource> {
    match lk::TrackSource::try_from(value) {
        Ok(lk::TrackSource::Unknown) | Err(_) => None,
        Ok(lk::TrackSource::Camera) => Some(TrackSource::Camera),
        Ok(lk::TrackSource::Microphone) => Some(TrackSource::Microphone),
        Ok(lk::TrackSource::ScreenShare) => Some(TrackSource::ScreenShare),
        Ok(lk::TrackSource::ScreenShareAudio) => Some(TrackSource::ScreenShareAudio),
    }
}

/// The kind of a webhook's `event`. `participant_joined` reports the media connection, which is
/// `PARTICIPANT_ACTIVE` in the analytics (livekit pkg/telemetry/events.go).
pub(super) fn webhook_kind(event: &str, unknown: &mut Unknown) -> EventKind {
    match event {
        "room_started" => EventKind::RoomCreated,
        "room_finished" => EventKind::RoomEnded,
        "participant_joined" => EventKind::ParticipantActive,
        "participant_left" => EventKind::ParticipantLeft,
        "participant_connection_aborted" => EventKind::ParticipantConnectionAborted,
        "track_published" => EventKind::TrackPublished,
        "track_unpublished" => EventKind::TrackUnpublished,
        "egress_started" => EventKind::EgressStarted,
        "egress_updated" => EventKind::EgressUpdated,
        "egress_ended" => EventKind::EgressEnded,
        "ingress_started" => EventKind::IngressStarted,
        "ingress_ended" => EventKind::IngressEnded,
        "agent_job_pending" => EventKind::AgentJobPending,
        "agent_job_started" => EventKind::AgentJobStarted,
        "agent_job_ended" => EventKind::AgentJobEnded,
        other => {
            unknown.event_types += 1;
            EventKind::Unknown(other.into())
        }
    }
}

macro_rules! kinds {
    ($($name:ident),* $(,)?) => {
        /// The kind of an `AnalyticsEventType`.
        pub(super) fn analytics_kind(value: i32, unknown: &mut Unknown) -> EventKind {
            match lk::AnalyticsEventType::try_from(value) {
                $(Ok(lk::AnalyticsEventType::$name) => EventKind::$name,)*
                Err(_) => {
                    unknown.event_types += 1;
                    EventKind::Unknown(unknown.value(value))
                }
            }
        }
    };
}

kinds! {
    RoomCreated, RoomEnded, ParticipantJoined, ParticipantLeft, ParticipantConnectionAborted,
    TrackPublished, TrackPublishRequested, TrackUnpublished, TrackSubscribed,
    TrackSubscribeRequested, TrackSubscribeFailed, TrackUnsubscribed, TrackPublishedUpdate,
    TrackMuted, TrackUnmuted, TrackPublishStats, TrackSubscribeStats, ParticipantActive,
    ParticipantResumed, EgressStarted, EgressEnded, EgressUpdated, TrackMaxSubscribedVideoQuality,
    Reconnected, IngressCreated, IngressDeleted, IngressStarted, IngressEnded, IngressUpdated,
    SipInboundTrunkCreated, SipInboundTrunkDeleted, SipOutboundTrunkCreated,
    SipOutboundTrunkDeleted, SipDispatchRuleCreated, SipDispatchRuleDeleted, SipParticipantCreated,
    SipCallIncoming, SipCallStarted, SipCallEnded, SipTransferRequested, SipTransferComplete,
    SipCallUpdate, Report, ApiCall, Webhook,
}
