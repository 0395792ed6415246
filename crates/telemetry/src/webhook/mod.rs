//! Sends webhooks as LiveKit's server does (livekit protocol 1.54, webhook/resource_url_notifier.go):
//! in order for each resource and URL, and independently of the others.

mod client;
mod filter;
mod queue;
mod send;
mod settings;
mod target;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

pub use livekit_otel_livekit::keys::Keys;
pub use settings::{WebhookEndpoint, WebhookError, WebhookSettings};

use self::queue::{Key, Queues, Worker};
use self::send::{SendError, Sender, Signing};
use self::target::{Lines, Target, TargetId};
use super::analytics::Stopping;
use super::notify::{NotifyError, ProcessedHook, QueuedNotifier};
use livekit_otel_livekit::encode::{Took, processed, resource};
use livekit_otel_livekit::messages::{FilterParams, WebhookConfig, WebhookEvent, WebhookInfo};
use livekit_otel_pipeline::Clock;

/// Sends events to webhooks. A notifier that is dropped without a [`shutdown`](Self::shutdown) still
/// sends its queued events, as long as its runtime lives.
pub struct WebhookNotifier {
    shared: Arc<Shared>,
    endpoints: Vec<(FilterParams, Arc<Target>)>,
    filter: FilterParams,
    // Shared by all extra webhooks.
    extra_requests: Arc<Semaphore>,
    extra_lines: Arc<Lines>,
    runtime: Handle,
}

// Shared with the workers.
struct Shared {
    queues: Arc<Queues<Job>>,
    sender: Sender,
    max_age: Duration,
    hook: RwLock<Option<ProcessedHook>>,
    clock: RwLock<Clock>,
    // True once the deadline has passed.
    cut: watch::Sender<bool>,
}

// An event on its way to one target.
struct Job {
    target: Arc<Target>,
    event: Arc<WebhookEvent>,
    queued_at: SystemTime,
    queued: Instant,
}

impl WebhookNotifier {
    /// Starts on the current tokio runtime.
    ///
    /// # Errors
    /// If an endpoint's URL or key can't be used, or there is no runtime.
    pub fn start(settings: &WebhookSettings) -> Result<Self, WebhookError> {
        let runtime = Handle::try_current().map_err(|_| WebhookError::NoRuntime)?;
        let requests = settings.max_requests.clamp(1, Semaphore::MAX_PERMITS);
        let mut endpoints = Vec::new();
        for (index, endpoint) in settings.endpoints.iter().enumerate() {
            let uri = target::parse(&endpoint.url).ok_or(WebhookError::BadUrl(index))?;
            let requests = Arc::new(Semaphore::new(requests));
            let target = Target::new(
                TargetId::Endpoint(index),
                uri,
                endpoint.key.clone(),
                requests,
                Arc::default(),
            );
            endpoints.push((endpoint.filter.clone(), Arc::new(target)));
        }
        let https = endpoints.iter().any(|(_, target)| target.uri.scheme_str() == Some("https"));
        let shared = Shared {
            queues: Arc::new(Queues::new(settings.max_depth, settings.idle)),
            sender: Sender::new(settings, https)?,
            max_age: settings.max_age,
            hook: RwLock::default(),
            clock: RwLock::default(),
            cut: watch::Sender::new(false),
        };
        let notifier = Self {
            shared: Arc::new(shared),
            endpoints,
            filter: settings.filter.clone(),
            extra_requests: Arc::new(Semaphore::new(requests)),
            extra_lines: Arc::default(),
            runtime,
        };
        notifier.set_keys(settings.keys.clone(), &settings.default_key)?;
        Ok(notifier)
    }

    /// Replaces the keys. Queued events are signed with the new ones.
    ///
    /// # Errors
    /// If an endpoint's key is missing; then the keys do not change.
    pub fn set_keys(&self, keys: Keys, default_key: &str) -> Result<(), WebhookError> {
        let signing = Signing { keys, default_key: default_key.to_owned() };
        let unknown = |(_, target): &(FilterParams, Arc<Target>)| {
            signing.secret(target.key.as_deref()).is_none()
        };
        if let Some(index) = self.endpoints.iter().position(unknown) {
            return Err(WebhookError::UnknownKey(index));
        }
        self.shared.sender.set_signing(signing);
        Ok(())
    }

    /// Accepts no more events, and sends those that are queued until `deadline` of tokio's clock. Those
    /// that are still queued then are reported as dropped, and those that were being sent, which may
    /// have been received, as failed. A deadline that has passed is LiveKit's `Stop(true)`; `Stop(false)`
    /// has none.
    pub async fn shutdown(&self, deadline: Instant) {
        let queues = &self.shared.queues;
        queues.close();
        if tokio::time::timeout_at(deadline, queues.ended()).await.is_err() {
            self.shared.cut.send_replace(true);
            // From here on the workers wait for nothing.
            queues.ended().await;
        }
    }

    fn queue(
        &self,
        target: &Arc<Target>,
        event: &Arc<WebhookEvent>,
        resource: &str,
    ) -> Result<(), NotifyError> {
        let key = Key { target: target.id.clone(), resource: resource.to_owned() };
        let job = Job {
            target: Arc::clone(target),
            event: Arc::clone(event),
            queued_at: self.shared.now(),
            queued: Instant::now(),
        };
        match self.shared.queues.push(key, job) {
            Ok(None) => Ok(()),
            Ok(Some(worker)) => {
                self.runtime.spawn(Arc::clone(&self.shared).work(worker));
                Ok(())
            }
            Err(error) => {
                let info = processed(event, &target.printable, None, None);
                self.shared.dropped(target, info, &error.to_string());
                Err(error)
            }
        }
    }

    fn extra(&self, webhook: &WebhookConfig) -> Result<Arc<Target>, NotifyError> {
        let uri = target::parse(&webhook.url).ok_or(NotifyError::BadUrl)?;
        let key = Some(&webhook.signing_key).filter(|key| !key.is_empty()).cloned();
        if !self.shared.sender.can_sign(key.as_deref()) {
            return Err(NotifyError::UnknownKey);
        }
        let (requests, lines) = (Arc::clone(&self.extra_requests), Arc::clone(&self.extra_lines));
        Ok(Arc::new(Target::new(TargetId::Extra(uri.clone()), uri, key, requests, lines)))
    }
}

impl QueuedNotifier for WebhookNotifier {
    fn queue_notify(
        &self,
        event: &WebhookEvent,
        extra: &[WebhookConfig],
    ) -> Result<(), NotifyError> {
        let name = &event.event;
        let resource = resource(event);
        let event = Arc::new(event.clone());
        let mut queued = Ok(());
        if filter::allows(&self.filter, name) {
            for (filter, target) in &self.endpoints {
                if filter::allows(filter, name) {
                    queued = queued.and(self.queue(target, &event, resource));
                }
            }
        }
        let allowed = |webhook: &&WebhookConfig| {
            webhook.filter_params.as_ref().is_none_or(|filter| filter::allows(filter, name))
        };
        for webhook in extra.iter().filter(allowed) {
            let target = self.extra(webhook);
            queued = queued.and(target.and_then(|target| self.queue(&target, &event, resource)));
        }
        queued
    }

    fn register_processed_hook(&self, hook: ProcessedHook) {
        *self.shared.hook.write() = Some(hook);
    }

    fn set_clock(&self, clock: Clock) {
        *self.shared.clock.write() = clock;
    }

    fn stop(&self, deadline: Instant) -> Stopping<'_> {
        Box::pin(self.shutdown(deadline))
    }
}

impl Drop for WebhookNotifier {
    fn drop(&mut self) {
        self.shared.queues.close();
    }
}

impl fmt::Debug for WebhookNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> =
            self.endpoints.iter().map(|(_, target)| &target.printable).collect();
        f.debug_struct("WebhookNotifier").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

impl Shared {
    fn now(&self) -> SystemTime {
        let clock = self.clock.read().clone();
        UNIX_EPOCH + Duration::from_nanos(clock.now().nanos())
    }

    async fn work(self: Arc<Self>, worker: Worker<Job>) {
        while let Some(job) = worker.next().await {
            self.process(job, &worker).await;
        }
    }

    async fn process(&self, job: Job, worker: &Worker<Job>) {
        let permit = tokio::select! {
            biased;
            () = self.cut() => None,
            permit = job.target.permit() => permit,
        };
        let waited = job.queued.elapsed();
        let queued = Some((job.queued_at, waited));
        match permit {
            Some(permit) if waited <= self.max_age => {
                self.send(&job, (job.queued_at, waited), permit, worker).await;
            }
            permit => {
                let why = if permit.is_some() { "too old" } else { "the notifier is closed" };
                worker.add_missed(1);
                let info = processed(&job.event, &job.target.printable, queued, None);
                self.dropped(&job.target, info, why);
            }
        }
    }

    async fn send(
        &self,
        job: &Job,
        queued: Took,
        permit: OwnedSemaphorePermit,
        worker: &Worker<Job>,
    ) {
        let mut event = WebhookEvent::clone(&job.event);
        let missed = worker.take_missed();
        #[allow(deprecated)] // upstream's receivers still get it
        {
            event.num_dropped = missed;
        }
        let (sent_at, began) = (self.now(), Instant::now());
        let answer = tokio::select! {
            biased;
            answer = self.sender.send(&job.target, &event, permit) => answer,
            () = self.cut() => Err(SendError::Stopped),
        };
        let sent = (sent_at, began.elapsed());
        let mut info = processed(&event, &job.target.printable, Some(queued), Some(sent));
        info.http_status_code = status(&answer).map_or(0, |status| status.as_u16().into());
        let url = &job.target.printable;
        if let Err(error) = answer {
            worker.add_missed(missed.saturating_add(1));
            tracing::debug!(event = event.event, id = event.id, url, %error, "a webhook failed");
            if let Some(failed) = job.target.lines.failed.lock().due(Instant::now().into_std()) {
                let hint = error.hint(&job.target);
                tracing::warn!(url, %error, hint, failed, "webhooks failed");
            }
            info.send_error = error.to_string();
        } else {
            tracing::debug!(event = event.event, id = event.id, url, "webhook sent");
        }
        self.report(info);
    }

    fn dropped(&self, target: &Target, mut info: WebhookInfo, why: &str) {
        let url = &target.printable;
        tracing::debug!(event = info.event, id = info.event_id, url, why, "a webhook was dropped");
        if let Some(dropped) = target.lines.dropped.lock().due(Instant::now().into_std()) {
            tracing::warn!(url, why, dropped, "webhooks were dropped");
        }
        info.is_dropped = true;
        self.report(info);
    }

    fn report(&self, info: WebhookInfo) {
        let hook = self.hook.read().clone();
        // A hook that panics must end neither the queue nor the caller that queues.
        if hook.is_some_and(|hook| catch_unwind(AssertUnwindSafe(|| hook(info))).is_err()) {
            tracing::error!("the hook for webhooks panicked");
        }
    }

    async fn cut(&self) {
        let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
    }
}

fn status(answer: &Result<StatusCode, SendError>) -> Option<StatusCode> {
    match answer {
        Ok(status) | Err(SendError::Status { status, .. }) => Some(*status),
        Err(_) => None,
    }
}
