//! Why inputs are refused and records are lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serializer};

/// Why an input was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// There is no token.
    NoToken,
    /// The token's `iss` is none of the API keys.
    UnknownKey,
    /// The token's signature is not of its API key's secret.
    Signature,
    /// The token is expired, or was signed too long ago.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
    /// The body is not the one that was signed.
    BodyHash,
    /// The token is valid, but does not allow this.
    NoGrant,
    /// The token is malformed, or something else is wrong with it; or LiveKit's API refuses ours.
    Unauthorized,
    /// It exceeds the size limit.
    TooLarge,
    /// Nothing is served at this path, or not to this client.
    WrongPath,
    /// A protobuf message that can't be read, or a body that is incomplete.
    Malformed,
    /// The journal is full; the sender is asked to retry.
    Busy,
    /// LiveKit's API can't be reached, or answered with an error.
    Unavailable,
}

impl Refused {
    /// All, in the order of the report.
    pub const ALL: [Self; 13] = [
        Self::NoToken,
        Self::UnknownKey,
        Self::Signature,
        Self::Expired,
        Self::NotYetValid,
        Self::BodyHash,
        Self::NoGrant,
        Self::Unauthorized,
        Self::TooLarge,
        Self::WrongPath,
        Self::Malformed,
        Self::Busy,
        Self::Unavailable,
    ];

    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BodyHash => "body_hash",
            Self::NoGrant => "no_grant",
            Self::Unauthorized => "unauthorized",
            Self::TooLarge => "too_large",
            Self::WrongPath => "wrong_path",
            Self::Malformed => "malformed",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What became of a recording's audio and history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingOutcome {
    /// They were discarded, as nothing keeps them.
    Discarded,
    /// They are in the directory of recordings.
    Stored,
    /// They were discarded, as they did not fit into that directory.
    Refused,
}

impl RecordingOutcome {
    /// All, in the order of the report.
    pub const ALL: [Self; 3] = [Self::Discarded, Self::Stored, Self::Refused];

    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discarded => "discarded",
            Self::Stored => "stored",
            Self::Refused => "refused",
        }
    }
}

/// Why a record was lost before its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// The collector accepted the request but not this record (partial success).
    Rejected,
    /// The queue was full: the collector was away too long for the memory allowed.
    QueueFull,
    /// The program ended before the record could be delivered.
    Shutdown,
    /// It became a dead letter when their budget was used up.
    DeadLettersFull,
    /// A later point of its series replaced it before it was sent.
    Superseded,
    /// It could not be read back from the disk.
    Damaged,
    /// Sending is switched off (`OTEL_SDK_DISABLED`, or the signal's exporter is `none`).
    Disabled,
}

impl Lost {
    /// All, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::Rejected,
        Self::QueueFull,
        Self::Shutdown,
        Self::DeadLettersFull,
        Self::Superseded,
        Self::Damaged,
        Self::Disabled,
    ];

    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::QueueFull => "queue_full",
            Self::Shutdown => "shutdown",
            Self::DeadLettersFull => "set_aside_full",
            Self::Superseded => "superseded",
            Self::Damaged => "damaged",
            Self::Disabled => "disabled",
        }
    }
}

/// A reason as the key of a JSON object.
pub(crate) trait Reason: Copy + 'static {
    const ALL: &'static [Self];
    fn name(self) -> &'static str;
}

impl Reason for Refused {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Reason for Lost {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Reason for RecordingOutcome {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

pub(crate) fn serialize<R: Reason, S: Serializer, const N: usize>(
    counts: &[(R, u64); N],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(counts.iter().map(|(reason, n)| (reason.name(), n)))
}

pub(crate) fn deserialize<'de, R: Reason, D: Deserializer<'de>, const N: usize>(
    from: D,
) -> Result<[(R, u64); N], D::Error> {
    let counts = BTreeMap::<String, u64>::deserialize(from)?;
    let count = |reason: &R| (*reason, counts.get(reason.name()).copied().unwrap_or_default());
    let all: Vec<_> = R::ALL.iter().map(count).collect();
    all.try_into().map_err(|_| serde::de::Error::custom("wrong number of counts"))
}
