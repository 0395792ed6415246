//! Sets up and starts a service.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::analytics::AnalyticsService;
use super::call::{Call, Job};
use super::engine::Running;
use super::guarded::Guarded;
use super::live::Telemetry;
use super::node::NodeMetrics;
use super::notify::QueuedNotifier;
use super::outlet::Outlet;
use super::settings::OtelSettings;
use super::shared::{self, Shared};
use livekit_otel_export::StartError;
use livekit_otel_ledger::Ledger;
use livekit_otel_model::event::{NodeId, Time};
use livekit_otel_model::sink::Sink;
use livekit_otel_pipeline::{Clock, periodic};

const NEVER: Duration = Duration::from_hours(24 * 365);

/// How a [`Telemetry`] is set up. Everything has a default. Without [`Builder::otel`],
/// [`Builder::sink`] and [`Builder::analytics`] nothing is sent but webhooks.
#[must_use]
pub struct Builder {
    node: Option<NodeId>,
    otel: Option<OtelSettings>,
    sinks: Vec<Arc<dyn Sink>>,
    analytics: Option<Arc<dyn AnalyticsService>>,
    notifier: Option<Arc<dyn QueuedNotifier>>,
    max_queued: usize,
    flush_interval: Duration,
    clock: Option<Clock>,
}

impl Telemetry {
    /// A builder with the defaults.
    pub fn builder() -> Builder {
        Builder {
            node: None,
            otel: None,
            sinks: Vec::new(),
            analytics: None,
            notifier: None,
            max_queued: 65_536,
            flush_interval: Duration::from_secs(30),
            clock: None,
        }
    }
}

impl Builder {
    /// This node's id, `ND_…`.
    pub fn node_id(mut self, id: &str) -> Self {
        self.node = NodeId::new(id);
        self
    }

    /// Makes spans, log records and metrics, and delivers them over OTLP.
    pub fn otel(mut self, settings: OtelSettings) -> Self {
        self.otel = Some(settings);
        self
    }

    /// Hands spans, log records and metric points to `sink` too, before they are OTLP. May be called
    /// several times. The ledger does not count what sinks receive, and the program's own metrics
    /// (`lk.otel.*`) go over OTLP alone. A panic of a sink ends only that call.
    ///
    /// Without [`Builder::otel`] nothing is sent over OTLP. To change the settings of the sessions and
    /// instruments then, switch the signals off: [`OtelSettings::traces`], [`OtelSettings::logs`],
    /// [`OtelSettings::metrics`].
    pub fn sink(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Sends LiveKit's messages to an analytics service too, such as an
    /// [`AnalyticsForwarder`](super::AnalyticsForwarder) to a central `livekit-otel serve`.
    pub fn analytics(mut self, service: Arc<dyn AnalyticsService>) -> Self {
        self.analytics = Some(service);
        self
    }

    /// Sends webhooks; the result of each is an event.
    pub fn notifier(mut self, notifier: Arc<dyn QueuedNotifier>) -> Self {
        self.notifier = Some(notifier);
        self
    }

    /// How many calls may wait; 65,536 by default. Further calls are refused and counted.
    pub fn max_queued(mut self, calls: usize) -> Self {
        self.max_queued = calls;
        self
    }

    /// How often the stats workers are flushed; every 30 s by default, never if it is zero.
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }

    /// The clock of everything that is sent, and of the webhooks that the notifier reports: for a
    /// simulation. Intervals and time limits keep to tokio's clock, and the program's own metrics
    /// (`lk.otel.*`) and signatures to the system's.
    pub fn clock(mut self, now: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        self.clock = Some(Clock::new(now));
        self
    }

    /// Starts on the current tokio runtime.
    ///
    /// # Errors
    /// If the OTLP settings can't work, whatever the collector does.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Result<Telemetry, StartError> {
        let ledger = Arc::new(Ledger::default());
        let guarded = Arc::new(Guarded::default());
        let given = self.clock.map(|clock| guard_clock(&guarded, clock));
        let clock = given.clone().unwrap_or_default();
        let otel = self.otel.or_else(|| (!self.sinks.is_empty()).then(OtelSettings::unsent));
        let histograms = otel.as_ref().map(|settings| settings.stats.histograms);
        let sinks = (self.sinks, &guarded);
        let started = otel.map(|settings| Running::start(&settings, sinks, &ledger, &clock));
        let (running, engine) = started.transpose()?.unzip();
        let outlet = Outlet {
            clock,
            guarded,
            node: self.node,
            metrics: NodeMetrics::new(histograms.unwrap_or_default()),
            engine,
            analytics: self.analytics,
            notifier: self.notifier,
        };
        let shared = Arc::new(Shared::new(outlet, self.max_queued, ledger));
        connect_notifier(&shared, given);
        let clock = start_flushes(&shared, running.as_ref(), self.flush_interval);
        let (faults, draining) = (shared.faults.clone(), shared::drain(Arc::clone(&shared)));
        tokio::spawn(async move { faults.watch("the queue of calls", draining).await });
        Ok(Telemetry { shared, otel: Mutex::new(running.zip(clock)) })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("node", &self.node)
            .field("otel", &self.otel)
            .field("sinks", &self.sinks)
            .field("max_queued", &self.max_queued)
            .field("flush_interval", &self.flush_interval)
            .finish_non_exhaustive()
    }
}

// Falls back to the system's time if the given clock panics.
fn guard_clock(guarded: &Arc<Guarded>, clock: Clock) -> Clock {
    let guarded = Arc::clone(guarded);
    let system = Clock::default();
    Clock::new(move || {
        let now = guarded.call("clock", || clock.now());
        now.unwrap_or_else(|| system.now())
    })
}

// Has the notifier report the results of its webhooks, by the given clock.
fn connect_notifier(shared: &Arc<Shared>, clock: Option<Clock>) {
    let Some(notifier) = &shared.outlet.notifier else { return };
    if let Some(clock) = clock {
        notifier.set_clock(clock);
    }
    let weak = Arc::downgrade(shared);
    notifier.register_processed_hook(Arc::new(move |info| {
        if let Some(shared) = weak.upgrade() {
            let call = Call::Webhook(Box::new(info));
            shared.enqueue_processed(Job { call, caller: None });
        }
    }));
}

// With OTLP, the SDK's periodic reader is the clock of the flushes.
fn start_flushes(
    shared: &Arc<Shared>,
    running: Option<&Running>,
    interval: Duration,
) -> Option<periodic::FlushTimer> {
    let weak = Arc::downgrade(shared);
    if let Some(running) = running {
        // Zero would be the SDK's own default.
        let interval = if interval.is_zero() { NEVER } else { interval };
        return Some(running.clock(interval, &shared.ledger, move || shared::flush(&weak)));
    }
    if !interval.is_zero() {
        let (faults, flushes) = (shared.faults.clone(), shared::flush_periodically(weak, interval));
        tokio::spawn(async move { faults.watch("the clock of the stats", flushes).await });
    }
    None
}
