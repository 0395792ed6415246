//! What an event is, and which source reported it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The source that reported an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// A signed webhook.
    Webhook,
    /// The analytics stream.
    Analytics,
}

/// What happened: LiveKit's `AnalyticsEventType`, and the webhooks that have no such type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // each is named as LiveKit names it
pub enum EventKind {
    RoomCreated,
    RoomEnded,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantConnectionAborted,
    TrackPublished,
    TrackPublishRequested,
    TrackUnpublished,
    TrackSubscribed,
    TrackSubscribeRequested,
    TrackSubscribeFailed,
    TrackUnsubscribed,
    TrackPublishedUpdate,
    TrackMuted,
    TrackUnmuted,
    TrackPublishStats,
    TrackSubscribeStats,
    ParticipantActive,
    ParticipantResumed,
    EgressStarted,
    EgressEnded,
    EgressUpdated,
    TrackMaxSubscribedVideoQuality,
    Reconnected,
    IngressCreated,
    IngressDeleted,
    IngressStarted,
    IngressEnded,
    IngressUpdated,
    SipInboundTrunkCreated,
    SipInboundTrunkDeleted,
    SipOutboundTrunkCreated,
    SipOutboundTrunkDeleted,
    SipDispatchRuleCreated,
    SipDispatchRuleDeleted,
    SipParticipantCreated,
    SipCallIncoming,
    SipCallStarted,
    SipCallEnded,
    SipTransferRequested,
    SipTransferComplete,
    SipCallUpdate,
    Report,
    ApiCall,
    Webhook,
    /// The webhook `agent_job_pending`; analytics have no such type.
    AgentJobPending,
    /// The webhook `agent_job_started`; analytics have no such type.
    AgentJobStarted,
    /// The webhook `agent_job_ended`; analytics have no such type.
    AgentJobEnded,
    /// `AnalyticsNodeRooms`: the rooms that a node holds.
    NodeRooms,
    /// A type that this version does not know, as its source names or numbers it.
    Unknown(Arc<str>),
}
