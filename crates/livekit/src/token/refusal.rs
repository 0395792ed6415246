//! Why a token is refused.

use std::time::Duration;

use thiserror::Error;

use livekit_otel_model::REMEMBERED;

/// A claim and a name in it; the name is empty for a claim that is not a map.
pub(super) type Grant<'a> = [&'a str; 2];

/// The longest validity of a token that opens streams or allows uploads, from its `nbf` or `iat` to its `exp`. The
/// default of LiveKit's libraries is 6 hours.
pub(super) const LONGEST: Duration = Duration::from_hours(24);
/// The longest Authorization header, in bytes. Servers' tokens have a few hundred.
pub(super) const MAX_TOKEN: usize = 8 << 10;

/// The rule that a request, mostly its token, breaks. It has no text of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)] // each has its text
pub enum Refusal {
    #[error("there is no Authorization header")]
    Missing,
    #[error("there is more than one Authorization header")]
    Several,
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("the Authorization header has no JWT")]
    Malformed,
    #[error("the token's algorithm is not HS256")]
    Algorithm,
    #[error("the token's header has a `crit`, and no extension is understood")]
    Critical,
    #[error("the token has no `iss`")]
    NoIssuer,
    #[error("the token's `iss` is none of the API keys")]
    UnknownKey,
    #[error("the token's `iss` is the secret of an API key, not its name")]
    SecretAsKey,
    #[error("the token has an `aud`, and LiveKit's tokens have none")]
    Audience,
    #[error("the token is not signed with the secret of its API key")]
    Signature,
    #[error("the token's claims are not LiveKit's")]
    Claims,
    #[error("the token has no `exp` that is a whole number")]
    NoEnd,
    #[error("the token has no `nbf` or `iat` that is a whole number")]
    NoBeginning,
    #[error("the token expires before it becomes valid")]
    EndsFirst,
    /// Seconds since its `exp`.
    #[error("the token expired {ago} s ago")]
    Expired { ago: u64 },
    /// Seconds until its `nbf` or `iat`.
    #[error("the token becomes valid in {within} s")]
    NotYet { within: u64 },
    /// Seconds since its `nbf` or `iat`.
    #[error("the token was signed {ago} s ago, which is longer than {} minutes", REMEMBERED.as_secs() / 60)]
    Old { ago: u64 },
    #[error("the token lasts for longer than {} hours", LONGEST.as_secs() / 3600)]
    Lasting,
    #[error("the token has no `sha256` of a body")]
    NoHash,
    #[error("the body is not the one that was signed")]
    OtherBody,
    #[error("the token has a `sha256`, as a webhook's")]
    Webhook,
    #[error("the token's API key is none of listen.grpc_keys")]
    KeyNotListed,
    #[error("the token grants {}, which servers do not have", named(.0))]
    Grants(Grant<'static>),
    #[error("the token grants neither `observability.write` nor `video.roomList`")]
    NoGrant,
    #[error("the token does not grant `observability.write`")]
    NoUploadGrant,
    #[error("uploads are served on loopback addresses only, unless agents.enabled is true")]
    NotServed,
}

// Shows no name that comes from a token.
fn named(grant: &Grant<'_>) -> String {
    match grant {
        ["", ""] => "something unknown".to_owned(),
        [claim, ""] => format!("`{claim}`"),
        [claim, name] => format!("`{claim}.{name}`"),
    }
}
