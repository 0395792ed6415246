//! LiveKit's ids, each of a type of its own.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id, or `None` if the text is empty (LiveKit's "unset").
            pub fn new(text: &str) -> Option<Self> {
                (!text.is_empty()).then(|| Self(Arc::from(text)))
            }

            /// The id of this text, without copying it; `None` if it is empty.
            pub fn from_shared(text: &Arc<str>) -> Option<Self> {
                (!text.is_empty()).then(|| Self(Arc::clone(text)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The shared text, for an attribute's value.
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A room's session id, `RM_…`: new for each life of a room.
    RoomSid;
    /// A room's name, chosen by the application; may be used again under a new [`RoomSid`].
    RoomName;
    /// A participant's session id, `PA_…`: new for each time it joins.
    ParticipantSid;
    /// A participant's identity, chosen by the application. Personal data.
    Identity;
    /// A track's session id, `TR_…`.
    TrackSid;
    /// A LiveKit node, `ND_…`.
    NodeId;
}

impl TrackSid {
    /// The track of a participant's data that was reported without one: `TR_DT`, the prefix that
    /// the server uses for data.
    pub fn data() -> Self {
        Self(Arc::from("TR_DT"))
    }
}
