//! Why a message can't be read.

use thiserror::Error;

/// A message that can't be read. The text names the place of the error, never a value: a message
/// may have secrets.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unreadable message: {0}")]
pub struct Unreadable(String);

impl Unreadable {
    /// For a message of another source than LiveKit's server.
    pub fn foreign() -> Self {
        Self::new("it is not a message of LiveKit's server")
    }

    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    pub(super) fn protobuf() -> Self {
        Self::new("not a protobuf message of the expected type")
    }
}
