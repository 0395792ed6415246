//! Who is told of events by webhook: LiveKit's `QueuedNotifier`.

use std::sync::Arc;

use thiserror::Error;
use tokio::time::Instant;

use super::analytics::Stopping;
use livekit_otel_livekit::messages::{WebhookConfig, WebhookEvent, WebhookInfo};
pub use livekit_otel_pipeline::Clock;

/// Is called for each webhook that was sent, failed or was dropped, with what became of it.
pub type ProcessedHook = Arc<dyn Fn(WebhookInfo) + Send + Sync>;

/// Why a webhook was not queued. It was given to the [`ProcessedHook`] as dropped, where it could
/// have been sent at all.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum NotifyError {
    /// Too many wait for the same resource.
    #[error("the queue is full")]
    QueueFull,
    /// The notifier was stopped.
    #[error("the notifier is closed")]
    Closed,
    /// An extra webhook names a signing key that has no secret here.
    #[error("no secret for the signing key")]
    UnknownKey,
    /// An extra webhook's URL can't be used.
    #[error("not an http or https URL")]
    BadUrl,
}

/// Queues webhooks and sends them (livekit protocol, webhook/notifier.go). A call returns at once.
pub trait QueuedNotifier: Send + Sync {
    /// Queues `event` for each configured URL and for each of `extra`, the webhooks that a request
    /// (an egress) brought along.
    ///
    /// # Errors
    /// Where at least one of them could not be queued; the others are.
    fn queue_notify(
        &self,
        event: &WebhookEvent,
        extra: &[WebhookConfig],
    ) -> Result<(), NotifyError>;

    /// Has `hook` called from now on for each webhook that was processed; replaces the one before.
    fn register_processed_hook(&self, hook: ProcessedHook);

    /// Has the times that it reports come from `clock` from now on. By default it keeps its own.
    fn set_clock(&self, clock: Clock) {
        let _ = clock;
    }

    /// Takes no more, and sends what it has until `deadline`; of the rest the hook is told that it
    /// was dropped. By default there is nothing to do.
    fn stop(&self, deadline: Instant) -> Stopping<'_> {
        let _ = deadline;
        Box::pin(std::future::ready(()))
    }
}
