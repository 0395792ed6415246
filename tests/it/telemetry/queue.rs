//! The queue: order, limits, and races of calls, reports, flushes and shutdowns from many threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use livekit_otel_model::Source;
use livekit_otel_model::event::{Direction, TrackKind};
use livekit_otel_telemetry::messages::{
    AnalyticsEvent, AnalyticsEventType as Type, AnalyticsNodeRooms, AnalyticsStat, ParticipantInfo,
    Room, WebhookConfig, WebhookEvent,
};
use livekit_otel_telemetry::{
    Activation, AnalyticsService, Builder, NotifyError, OtelSettings, ParticipantContext,
    QueuedNotifier, ReferenceGuard, StatsKey, Stopping, Telemetry, TelemetryService, TrackClass,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::recorder::{Recorded, of, participant, room, sent, stat};

fn refused(telemetry: &Telemetry, source: Source) -> u64 {
    let ledger = telemetry.ledger();
    let row = ledger.inputs.iter().find(|row| row.source == source).unwrap();
    row.refused.iter().map(|(_, refused)| refused).sum()
}

#[tokio::test]
async fn calls_beyond_the_queues_limit_are_refused_and_counted() {
    let it = Recorded::start_with(|builder| builder.max_queued(3));
    for _ in 0..5 {
        it.telemetry.room_started(&room());
    }
    assert_eq!(it.types().await.len(), 3);
    assert_eq!(refused(&it.telemetry, Source::Events), 2);
    it.telemetry.room_started(&room());
    assert_eq!(it.types().await.len(), 4, "there is capacity again");
}

#[tokio::test]
async fn the_order_of_a_rooms_calls_and_reports_is_kept() {
    let it = Recorded::start();
    let (room, who, guard) = (room(), participant(), ReferenceGuard::new());
    let key = StatsKey::for_data("RM_1", "PA_1", "TR_1", Direction::Upstream, "");
    // Reports behind a queued join belong to its worker; those after its removal to none.
    it.telemetry.participant_joined(of(&room, &who), None, None, true, Some(&guard));
    it.telemetry.track_stats(&key, &stat([sent(1, 1)]));
    it.telemetry.participant_active(of(&room, &who), None, Activation::default(), Some(&guard));
    it.telemetry.participant_left(of(&room, &who), true, Some(&guard));
    let types = [Type::ParticipantJoined, Type::ParticipantActive, Type::ParticipantLeft];
    assert_eq!(it.types().await, types);
    assert_eq!(it.flush().await.len(), 1);
}

#[tokio::test]
async fn a_shutdown_applies_queued_calls_first() {
    let it = Recorded::start();
    for _ in 0..1000 {
        it.telemetry.room_started(&room());
    }
    let report = it.telemetry.shutdown(Instant::now() + Duration::from_mins(1)).await;
    assert_eq!(it.recorder.events.lock().unwrap().len(), 1000);
    assert_eq!(report.undelivered, 0);
    it.telemetry.room_started(&room());
    assert_eq!(refused(&it.telemetry, Source::Events), 1, "no more calls are accepted");
}

#[tokio::test]
async fn a_dropped_service_applies_its_queued_calls() {
    let it = Recorded::start();
    let recorder = Arc::clone(&it.recorder);
    for _ in 0..100 {
        it.telemetry.room_started(&room());
    }
    drop(it);
    let deadline = Instant::now() + Duration::from_mins(1);
    while recorder.events.lock().unwrap().len() < 100 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

struct Panics;

impl QueuedNotifier for Panics {
    fn queue_notify(&self, event: &WebhookEvent, _: &[WebhookConfig]) -> Result<(), NotifyError> {
        assert!(event.event != "room_started", "on purpose");
        Ok(())
    }
}

#[tokio::test]
async fn a_notifier_that_panics_ends_only_its_call() {
    let telemetry = Telemetry::builder().notifier(Arc::new(Panics)).start().unwrap();
    let (room, who) = (room(), participant());
    telemetry.room_started(&room);
    telemetry.participant_joined(of(&room, &who), None, None, true, None);
    telemetry.idle().await;
    assert_eq!(telemetry.held().0, 1, "the next call of the room was made");
}

// Panics at first, then reports its calls.
struct PanicsAtFirst {
    calls: AtomicU64,
    called: mpsc::UnboundedSender<()>,
}

impl PanicsAtFirst {
    fn call(&self) {
        assert!(self.calls.fetch_add(1, SeqCst) >= 3, "made up");
        self.called.send(()).unwrap_or_default();
    }
}

impl AnalyticsService for PanicsAtFirst {
    fn send_stats(&self, _: Vec<AnalyticsStat>) {
        self.call();
    }

    fn send_event(&self, _: AnalyticsEvent) {
        panic!("made up");
    }

    fn send_node_room_states(&self, _: AnalyticsNodeRooms) {
        panic!("made up");
    }

    fn stop(&self, _: Instant) -> Stopping<'_> {
        Box::pin(async { panic!("made up") })
    }
}

async fn keeps_running(builder: Builder) {
    let (called, mut calls) = mpsc::unbounded_channel();
    let service = PanicsAtFirst { calls: AtomicU64::new(0), called };
    let interval = Duration::from_millis(5);
    let builder = builder.analytics(Arc::new(service)).flush_interval(interval);
    let telemetry = builder.start().unwrap();
    let (room, who) = (room(), participant());
    telemetry.participant_joined(of(&room, &who), None, None, true, None);
    telemetry.local_room_state(&AnalyticsNodeRooms::default());
    telemetry.idle().await;
    let class = TrackClass { source: None, kind: TrackKind::Audio };
    let key = StatsKey::for_track(&room.sid, &who.sid, "TR_1", Direction::Upstream, "", class);
    let reports = async {
        loop {
            telemetry.track_stats(&key, &stat([sent(1, 1)]));
            tokio::time::sleep(interval).await;
        }
    };
    tokio::select! {
        called = calls.recv() => assert_eq!(called, Some(())),
        () = reports => {}
        () = tokio::time::sleep(Duration::from_mins(1)) => panic!("flushes have ended"),
    }
    assert_eq!(telemetry.panics(), 2 + 3);
    telemetry.shutdown(Instant::now()).await;
    assert_eq!(telemetry.panics(), 2 + 3 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analytics_service_that_panics_ends_no_flush() {
    keeps_running(Telemetry::builder()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analytics_service_that_panics_does_not_end_the_clock_of_the_metrics() {
    // No listener is there: nothing is delivered.
    let settings = OtelSettings::default().endpoint("http://127.0.0.1:1").unwrap();
    keeps_running(Telemetry::builder().otel(settings)).await;
}

#[tokio::test]
async fn a_clock_that_panics_is_replaced_by_that_of_the_system() {
    let telemetry = Telemetry::builder().clock(|| panic!("made up")).start().unwrap();
    telemetry.room_started(&room());
    telemetry.force_flush().await.unwrap();
    assert!(telemetry.panics() > 0);
}

const THREADS: usize = 8;
const ROOMS: usize = 4;
const MEMBERS: usize = 5;
const REPORTS: u64 = 300;

struct Member {
    room: Room,
    who: ParticipantInfo,
}

fn member(thread: usize, nth: usize) -> Member {
    let room = Room { sid: format!("RM_{}", nth % ROOMS), ..room() };
    Member { room, who: ParticipantInfo { sid: format!("PA_{thread}_{nth}"), ..participant() } }
}

// One participant's life, as its SFU reports it: joined, stats, active, left, and again.
fn live(telemetry: &Telemetry, member: &Member) {
    let at = ParticipantContext::new(&member.room, &member.who);
    let class = TrackClass { source: None, kind: TrackKind::Audio };
    let (room, who) = (&member.room.sid, &member.who.sid);
    let key = StatsKey::for_track(room, who, "TR_1", Direction::Upstream, "", class);
    for _ in 0..3 {
        let (signal, media) = (ReferenceGuard::new(), ReferenceGuard::new());
        telemetry.participant_joined(at, None, None, true, Some(&signal));
        telemetry.participant_joined(at, None, None, false, Some(&media));
        for nth in 0..REPORTS {
            telemetry.track_stats(&key, &stat([sent(nth, 1)]));
        }
        telemetry.participant_active(at, None, Activation::default(), Some(&media));
        telemetry.participant_left(at, false, Some(&signal));
        telemetry.participant_left(at, true, Some(&media));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_threads_lose_nothing_and_count_nothing_twice() {
    let it = Recorded::start_with(|builder| builder.max_queued(10_000_000));
    let over = AtomicBool::new(false);
    let begin = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (telemetry, begin) = (&it.telemetry, &begin);
                scope.spawn(move || {
                    begin.wait();
                    (0..MEMBERS).for_each(|nth| live(telemetry, &member(thread, nth)));
                })
            })
            .collect();
        // Flushes, and removes closed workers, all the while.
        let (it, over, begin) = (&it, &over, &begin);
        scope.spawn(move || {
            begin.wait();
            while !over.load(SeqCst) {
                it.telemetry.flush_stats();
                it.advance(Duration::from_mins(1));
                std::thread::yield_now();
            }
        });
        for thread in threads {
            thread.join().unwrap();
        }
        over.store(true, SeqCst);
    });
    it.telemetry.force_flush().await.unwrap();
    it.advance(Duration::from_mins(4));
    it.telemetry.force_flush().await.unwrap();
    assert_eq!(it.telemetry.held(), (0, 0), "all are closed and removed");
    assert_eq!(refused(&it.telemetry, Source::Stats), 0);
    let mut packets: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for stat in it.recorder.stats.lock().unwrap().iter().flatten() {
        let sum = packets.entry(stat.participant_id.clone()).or_default();
        sum.0 += u64::from(stat.streams[0].primary_packets);
        sum.1 += stat.streams[0].primary_bytes;
    }
    let each = (3 * REPORTS, 3 * (0..REPORTS).sum::<u64>());
    assert_eq!(packets.len(), THREADS * MEMBERS);
    assert!(packets.values().all(|sums| *sums == each), "{packets:?}, not {each:?}");
    let mut events: BTreeMap<Type, usize> = BTreeMap::new();
    for kind in it.types().await {
        *events.entry(kind).or_default() += 1;
    }
    let lives = THREADS * MEMBERS * 3;
    let expected = [Type::ParticipantLeft, Type::ParticipantJoined, Type::ParticipantActive]
        .map(|kind| (kind, lives));
    assert_eq!(events, BTreeMap::from(expected));
}
