//! The messages of a simulation.

use std::time::Duration;

use super::uploads::AgentUpload;
use livekit_otel_livekit::messages::{AnalyticsEvent, AnalyticsStat, WebhookEvent};

/// A message and its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// The time since the start.
    pub at: Duration,
    /// The place of its room among the concurrent rooms.
    pub place: usize,
    /// The message.
    pub message: Message,
}

/// A message of a LiveKit server, or an upload of an agent.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Message {
    Webhook(Box<WebhookEvent>),
    Event(Box<AnalyticsEvent>),
    Stats(Vec<AnalyticsStat>),
    Upload(Box<AgentUpload>),
}
