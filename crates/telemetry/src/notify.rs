//! The sender of webhooks: LiveKit's `QueuedNotifier`.

use std::sync::Arc;

use thiserror::Error;
use tokio::time::Instant;

use super::analytics::Stopping;
use livekit_otel_livekit::messages::{WebhookConfig, WebhookEvent, WebhookInfo};
use livekit_otel_pipeline::Clock;

/// Called for each webhook that was sent, failed or was dropped, with its result.
pub type ProcessedHook = Arc<dyn Fn(WebhookInfo) + Send + Sync>;

/// Why a webhook was not queued. Unless its target can't be used at all, the [`ProcessedHook`]
/// receives it as dropped.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyError {
    /// Too many webhooks wait for the same resource.
    #[error("the queue is full")]
    QueueFull,
    /// The notifier was stopped.
    #[error("the notifier is closed")]
    Closed,
    /// An extra webhook names a signing key without a secret here.
    #[error("no secret for the signing key")]
    UnknownKey,
    /// An extra webhook's URL can't be used.
    #[error("not an http or https URL")]
    BadUrl,
}

/// Queues webhooks and sends them (livekit protocol 1.54, webhook/notifier.go). Calls return at once.
#[expect(unused_variables, reason = "the default bodies ignore their arguments")]
pub trait QueuedNotifier: Send + Sync {
    /// Queues `event` for each configured URL and for each of `extra`, the webhooks that a request
    /// (for an egress) names.
    ///
    /// # Errors
    /// If at least one of them could not be queued; the others are queued.
    fn queue_notify(
        &self,
        event: &WebhookEvent,
        extra: &[WebhookConfig],
    ) -> Result<(), NotifyError>;

    /// Calls `hook` from now on for each processed webhook, in place of the previous hook. By
    /// default nothing is called.
    fn register_processed_hook(&self, hook: ProcessedHook) {}

    /// Takes the times in its reports from `clock` from now on. By default it keeps its own clock.
    fn set_clock(&self, clock: Clock) {}

    /// Accepts no more webhooks, and sends those that it has until `deadline`: returns once all are sent,
    /// or at the deadline. The hook receives the rest as dropped. A deadline that has passed sends no more
    /// (LiveKit's `Stop(true)`). By default there is nothing to do.
    fn stop(&self, deadline: Instant) -> Stopping<'_> {
        Box::pin(std::future::ready(()))
    }
}
