//! Statistics of streams.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{NodeId, ParticipantSid, RoomName, RoomSid, TrackSid};
use super::time::Time;
use crate::counts::Counts;

/// The direction of a stream, as the participant sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// From the participant to the server.
    Upstream,
    /// From the server to the participant.
    Downstream,
}

impl Direction {
    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Downstream => "downstream",
        }
    }
}

/// One finished window of one of the server's stats workers (`AnalyticsStat`), its streams summed.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamStat {
    /// `AS_…`; empty if the source sent none.
    pub id: Arc<str>,
    /// When the window was flushed.
    pub at: Option<Time>,
    /// The LiveKit node.
    pub node: Option<NodeId>,
    /// The room.
    pub room: RoomSid,
    /// The room's name, if the message contains it.
    pub room_name: Option<RoomName>,
    /// The worker's participant.
    pub participant: ParticipantSid,
    /// The track.
    pub track: TrackSid,
    /// The direction.
    pub direction: Direction,
    /// The codec; signalling has none.
    pub mime_type: Option<Arc<str>>,
    /// Average quality score, 1 to 5; `None` if none was measured.
    pub score: Option<f32>,
    /// Lowest quality score, 1 to 5.
    pub min_score: Option<f32>,
    /// First packet of the window; unset for signalling.
    pub start: Option<Time>,
    /// Last packet of the window; unset for signalling.
    pub end: Option<Time>,
    /// The window's counts.
    pub counts: Counts,
    /// Highest round trip of the window; `None` if none was measured.
    pub rtt: Option<Duration>,
    /// Highest jitter of the window; `None` if none was measured.
    pub jitter: Option<Duration>,
}

impl StreamStat {
    /// Whether this is media. A participant's signalling (`TR_SG…`) and data (`TR_DT…`) are not:
    /// only their packets and bytes are counted.
    pub fn is_media(&self) -> bool {
        !self.track.as_str().starts_with("TR_SG") && !self.track.as_str().starts_with("TR_DT")
    }
}
