//! What LiveKit does beside a room's media, and what has a span of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Time;

/// Something with a beginning and an end, as far as a message tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// What it is.
    pub kind: WorkKind,
    /// Its own id; of an ingress also that of its session, as an ingress may be used again.
    pub id: Arc<str>,
    /// When it began.
    pub started: Option<Time>,
    /// When it ended; a time that is told while it goes on is none.
    pub ended: Option<Time>,
    /// Whether the message says that it is over.
    pub is_over: bool,
    /// The SIP call that a transfer is of.
    pub of: Option<Arc<str>>,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `error.type`: one of few values.
    pub error_type: Arc<str>,
    /// What the server says of it.
    pub message: Option<Arc<str>>,
}

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // named as LiveKit names them
pub enum WorkKind {
    Egress,
    Ingress,
    SipCall,
    SipTransfer,
    AgentJob,
    ApiCall,
    WebhookDelivery,
}
