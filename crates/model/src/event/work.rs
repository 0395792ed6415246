//! Operations beside a room's media, each with a span of its own: egresses, SIP calls and the like.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::time::Time;

/// An operation with a beginning and an end, as far as a message describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Its kind.
    pub kind: WorkKind,
    /// Its id. An ingress's includes that of its session, as an ingress may be used again.
    pub id: Arc<str>,
    /// When it began, in its own words.
    pub started: Option<Time>,
    /// When the first of its results began, such as an egress's file.
    pub result_started: Option<Time>,
    /// When it ended. A time that is reported before it is over does not count.
    pub ended: Option<Time>,
    /// When its state was as described (`updated_at`); `None` if only the event has a time.
    pub updated: Option<Time>,
    /// The number of its status in LiveKit's enum, which grows from one status to the next; `None` if the
    /// message has no status.
    pub status: Option<i32>,
    /// How far an egress has got that is not over.
    pub phase: Option<EgressPhase>,
    /// Whether the event is the report of its beginning.
    pub is_start: bool,
    /// Whether the message says that it is over.
    pub is_over: bool,
    /// The SIP call of a transfer.
    pub of: Option<Arc<str>>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// When a SIP call was answered.
    pub answered: Option<Time>,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// `error.type`: one of few values.
    pub error_type: Arc<str>,
    /// The server's error message.
    pub message: Option<Arc<str>>,
}

/// How far an egress has got that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EgressPhase {
    /// It waits for media.
    Starting,
    /// It records.
    Active,
    /// It records no more, and finishes its files.
    Ending,
}

/// The kinds of operations.
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
    AgentDispatch,
}
