//! A service that records all of its messages, with a clock that stands still until it is set.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livekit_otel_model::event::Time;
use livekit_otel_telemetry::messages::{
    AnalyticsEvent, AnalyticsEventType, AnalyticsNodeRooms, AnalyticsStat, AnalyticsStream,
    ParticipantInfo, Room, TrackInfo, WebhookConfig, WebhookEvent, WebhookInfo,
};
use livekit_otel_telemetry::{
    AnalyticsService, Builder, NotifyError, ParticipantContext, ProcessedHook, QueuedNotifier,
    Telemetry, TrackContext,
};

/// Unix seconds at which the clock of a [`Recorded`] begins.
pub(crate) const BEGIN: u64 = 1_795_400_000;

/// Everything that was sent, in its order.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) events: Mutex<Vec<AnalyticsEvent>>,
    pub(crate) stats: Mutex<Vec<Vec<AnalyticsStat>>>,
    pub(crate) rooms: Mutex<Vec<AnalyticsNodeRooms>>,
    pub(crate) webhooks: Mutex<Vec<(WebhookEvent, Vec<WebhookConfig>)>>,
    pub(crate) hook: Mutex<Option<ProcessedHook>>,
}

impl AnalyticsService for Recorder {
    fn send_stats(&self, stats: Vec<AnalyticsStat>) {
        self.stats.lock().unwrap().push(stats);
    }

    fn send_event(&self, event: AnalyticsEvent) {
        self.events.lock().unwrap().push(event);
    }

    fn send_node_room_states(&self, rooms: AnalyticsNodeRooms) {
        self.rooms.lock().unwrap().push(rooms);
    }
}

impl QueuedNotifier for Recorder {
    fn queue_notify(
        &self,
        event: &WebhookEvent,
        extra: &[WebhookConfig],
    ) -> Result<(), NotifyError> {
        self.webhooks.lock().unwrap().push((event.clone(), extra.to_vec()));
        Ok(())
    }

    fn register_processed_hook(&self, hook: ProcessedHook) {
        *self.hook.lock().unwrap() = Some(hook);
    }
}

/// A service, its clock, and its recorded messages.
pub(crate) struct Recorded {
    pub(crate) telemetry: Telemetry,
    pub(crate) recorder: Arc<Recorder>,
    nanos: Arc<AtomicU64>,
}

impl Recorded {
    pub(crate) fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    pub(crate) fn start_with(setup: impl FnOnce(Builder) -> Builder) -> Self {
        let recorder = Arc::new(Recorder::default());
        let nanos = Arc::new(AtomicU64::new(BEGIN * 1_000_000_000));
        let clock = Arc::clone(&nanos);
        let builder = Telemetry::builder()
            .analytics(Arc::clone(&recorder) as _)
            .notifier(Arc::clone(&recorder) as _)
            .flush_interval(Duration::ZERO)
            .clock(move || Time::from_nanos(clock.load(SeqCst)).unwrap());
        let telemetry = setup(builder).start().unwrap();
        Self { telemetry, recorder, nanos }
    }

    #[allow(dead_code)] // of tests/real
    pub(crate) fn set_time(&self, millis: u64) {
        self.nanos.store(millis * 1_000_000, SeqCst);
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.nanos.fetch_add(u64::try_from(by.as_nanos()).unwrap(), SeqCst);
    }

    /// The events so far.
    pub(crate) async fn events(&self) -> Vec<AnalyticsEvent> {
        self.telemetry.idle().await;
        self.recorder.events.lock().unwrap().clone()
    }

    /// The types of the events so far.
    pub(crate) async fn types(&self) -> Vec<AnalyticsEventType> {
        self.events().await.iter().map(|event| event.r#type()).collect()
    }

    /// The names of the webhooks so far.
    pub(crate) async fn webhooks(&self) -> Vec<String> {
        self.telemetry.idle().await;
        let webhooks = self.recorder.webhooks.lock().unwrap();
        webhooks.iter().map(|(event, _)| event.event.clone()).collect()
    }

    /// What a flush sends: one list for each worker.
    pub(crate) async fn flush(&self) -> Vec<Vec<AnalyticsStat>> {
        self.telemetry.force_flush().await.unwrap();
        std::mem::take(&mut *self.recorder.stats.lock().unwrap())
    }

    /// Calls the hook that the service registered with its notifier.
    pub(crate) fn processed(&self, info: WebhookInfo) {
        let hook = self.recorder.hook.lock().unwrap().clone().unwrap();
        hook(info);
    }
}

pub(crate) fn room() -> Room {
    Room { sid: "RM_1".into(), name: "standup".into(), ..Room::default() }
}

pub(crate) fn participant() -> ParticipantInfo {
    ParticipantInfo { sid: "PA_1".into(), identity: "ada".into(), ..ParticipantInfo::default() }
}

pub(crate) fn of<'a>(room: &'a Room, participant: &'a ParticipantInfo) -> ParticipantContext<'a> {
    ParticipantContext::new(room, participant)
}

pub(crate) fn on<'a>(
    room: &'a Room,
    who: &'a ParticipantInfo,
    track: &'a TrackInfo,
) -> TrackContext<'a> {
    TrackContext::new(room, &who.sid, track).identity(&who.identity)
}

pub(crate) fn stat(streams: impl IntoIterator<Item = AnalyticsStream>) -> AnalyticsStat {
    AnalyticsStat { streams: streams.into_iter().collect(), ..AnalyticsStat::default() }
}

pub(crate) fn sent(bytes: u64, packets: u32) -> AnalyticsStream {
    AnalyticsStream { primary_bytes: bytes, primary_packets: packets, ..AnalyticsStream::default() }
}
