//! SIP calls, as the attributes of their participants describe them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::time::Time;

/// What LiveKit's SIP service has written into the attributes of a call's participant (`sip.*`, and
/// `lk.sip.*` of later versions).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipCall {
    /// LiveKit's id of the call, `SCL_…`, which its analytics have too.
    pub id: Arc<str>,
    /// The trunk, `ST_…`.
    pub trunk: Option<Arc<str>>,
    /// The dispatch rule of an inbound call, `SDR_…`.
    pub rule: Option<Arc<str>>,
    /// How far it has got.
    pub status: Option<SipStatus>,
    /// The number outside of LiveKit: the caller's of an inbound call, or the callee's. Personal data.
    pub number: Option<Arc<str>>,
    /// The trunk's number. Personal data.
    pub trunk_number: Option<Arc<str>>,
    /// When the INVITE of an inbound call was received.
    pub invited: Option<Time>,
    /// When the callee answered an outbound call.
    pub answered: Option<Time>,
    /// Whether the other end's tag is known: an outbound call has it from its answer on.
    pub has_tag: bool,
}

/// A call's status, in the order of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SipStatus {
    /// The INVITE of an outbound call was not answered by a provisional response yet.
    Dialing,
    /// The callee, or for an inbound call the room, has not answered yet.
    Ringing,
    /// An outbound call was answered, and its DTMF digits are being sent.
    Automation,
    /// It was answered.
    Active,
    /// It was hung up by the other end, or by a request to end it.
    Hangup,
}

impl SipStatus {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Dialing, Self::Ringing, Self::Automation, Self::Active, Self::Hangup];

    /// Its name in the attribute.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dialing => "dialing",
            Self::Ringing => "ringing",
            Self::Automation => "automation",
            Self::Active => "active",
            Self::Hangup => "hangup",
        }
    }
}
