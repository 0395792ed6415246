//! Fields of an agent's job that livekit/protocol 1.54 has and livekit-protocol 0.8.2 does not. Only
//! webhooks report jobs.

use std::sync::Arc;

use prost::Message;

use super::schema;
use super::unknown::Unknown;
use super::unreadable::Unreadable;

/// `JS_CANCELLED` of `JobStatus`: the job ended before it was assigned to an agent.
pub(super) const CANCELLED: i32 = 4;
/// `JSR_NO_CAPACITY` of `JobStateReason`: no agent was available to accept the job.
pub(super) const NO_CAPACITY: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Webhook {
    #[prost(message, optional, tag = "12")]
    job: Option<Job>,
}

/// `Job`. Times are Unix nanoseconds; 0 is unset.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Job {
    #[prost(int64, tag = "14")]
    pub(super) created_at: i64,
    #[prost(message, optional, tag = "8")]
    pub(super) state: Option<JobState>,
}

/// `JobState`. Times are Unix nanoseconds; 0 is unset.
#[derive(Clone, PartialEq, Message)]
pub(super) struct JobState {
    #[prost(int32, tag = "9")]
    pub(super) reason: i32,
    #[prost(int64, tag = "10")]
    pub(super) accepted_at: i64,
    #[prost(int64, tag = "11")]
    pub(super) assigned_at: i64,
    #[prost(uint32, tag = "12")]
    pub(super) attempts: u32,
    #[prost(int64, tag = "13")]
    pub(super) first_started_at: i64,
}

/// The job of a webhook.
///
/// # Errors
/// If the bytes are not a webhook.
pub(super) fn job(webhook: &[u8]) -> Result<Job, Unreadable> {
    let webhook = Webhook::decode(webhook).map_err(|_| Unreadable::protobuf())?;
    Ok(webhook.job.unwrap_or_default())
}

/// The name of a value of `JobStatus`.
pub(super) fn status(value: i32, unknown: &Unknown) -> Arc<str> {
    name("status", value, unknown)
}

/// The name of a value of `JobStateReason`; `None` if it is unspecified.
pub(super) fn reason(value: i32, unknown: &Unknown) -> Option<Arc<str>> {
    (value != 0).then(|| name("reason", value, unknown))
}

// The name of an enum's value in a field of `JobState`, as the table spells it.
fn name(field: &str, value: i32, unknown: &Unknown) -> Arc<str> {
    let field = schema::message("JobState").field_named(field);
    let name = field.and_then(|field| field.kind.enumeration()?.value(value));
    name.map_or_else(|| unknown.value(value), Into::into)
}
