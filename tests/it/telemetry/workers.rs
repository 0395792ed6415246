//! When a participant has a stats worker: upstream's statsworker_test.go, and its service's use of
//! workers.

use std::time::Duration;

use livekit_otel_model::event::{Direction, TrackKind};
use livekit_otel_telemetry::messages::{AnalyticsEventType as Type, ReconnectReason};
use livekit_otel_telemetry::{Activation, ReferenceGuard, StatsKey, TelemetryService, TrackClass};

use super::recorder::{Recorded, of, participant, room, sent, stat};

fn key() -> StatsKey {
    let class = TrackClass { source: None, kind: TrackKind::Audio };
    StatsKey::for_track("RM_1", "PA_1", "TR_1", Direction::Upstream, "", class)
}

fn join(it: &Recorded, guard: &ReferenceGuard) {
    let (room, who) = (room(), participant());
    it.telemetry.participant_joined(of(&room, &who), None, None, true, Some(guard));
}

fn activate(it: &Recorded, guard: &ReferenceGuard) {
    let (room, who) = (room(), participant());
    it.telemetry.participant_active(of(&room, &who), None, Activation::default(), Some(guard));
}

fn leave(it: &Recorded, guard: Option<&ReferenceGuard>) {
    let (room, who) = (room(), participant());
    it.telemetry.participant_left(of(&room, &who), true, guard);
}

async fn workers(it: &Recorded) -> usize {
    it.telemetry.idle().await;
    it.telemetry.held().0
}

const PAST_CLEANUP: Duration = Duration::from_millis(180_001);

#[tokio::test]
async fn a_worker_closes_with_the_last_of_its_guards() {
    let it = Recorded::start();
    let (signal, media) = (ReferenceGuard::new(), ReferenceGuard::new());
    join(&it, &signal);
    join(&it, &media);
    leave(&it, Some(&signal));
    it.telemetry.idle().await;
    it.advance(PAST_CLEANUP);
    it.flush().await;
    assert_eq!(workers(&it).await, 1, "the media still holds it");
    leave(&it, Some(&media));
    it.telemetry.idle().await;
    it.advance(PAST_CLEANUP);
    it.flush().await;
    assert_eq!(workers(&it).await, 0);
}

#[tokio::test]
async fn a_guard_counts_once_however_often_it_is_used() {
    let it = Recorded::start();
    let guard = ReferenceGuard::new();
    for _ in 0..3 {
        join(&it, &guard);
    }
    leave(&it, Some(&guard.clone()));
    it.telemetry.idle().await;
    assert!(guard.is_released());
    it.advance(PAST_CLEANUP);
    it.flush().await;
    assert_eq!(workers(&it).await, 0);
}

#[tokio::test]
async fn without_a_guard_a_worker_stays_as_long_as_it_has_reports() {
    let it = Recorded::start();
    let (room, who) = (room(), participant());
    it.telemetry.participant_joined(of(&room, &who), None, None, true, None);
    leave(&it, None);
    leave(&it, Some(&ReferenceGuard::new()));
    it.telemetry.idle().await;
    it.advance(PAST_CLEANUP);
    it.flush().await;
    assert_eq!(workers(&it).await, 1, "no guard held it, so none released it");
    for _ in 0..3 {
        it.advance(Duration::from_mins(59));
        it.telemetry.track_stats(&key(), &stat([sent(1, 1)]));
        assert_eq!(it.flush().await.len(), 1);
    }
    it.flush().await;
    it.advance(Duration::from_mins(59));
    it.flush().await;
    assert_eq!(workers(&it).await, 1, "not an hour without a report");
    it.advance(Duration::from_mins(1));
    it.flush().await;
    assert_eq!(it.telemetry.held(), (0, 0));
}

#[tokio::test]
async fn a_closed_worker_is_reaped_after_three_minutes_and_flushes_until_then() {
    let it = Recorded::start();
    let guard = ReferenceGuard::new();
    join(&it, &guard);
    leave(&it, Some(&guard));
    it.telemetry.idle().await;
    it.advance(Duration::from_mins(3));
    it.telemetry.track_stats(&key(), &stat([sent(1, 1)]));
    assert_eq!(it.flush().await.len(), 1, "its stats come late");
    assert_eq!(workers(&it).await, 1, "not longer than 3 minutes");
    it.advance(Duration::from_millis(1));
    it.telemetry.track_stats(&key(), &stat([sent(1, 1)]));
    assert_eq!(it.flush().await.len(), 1, "its last are sent");
    assert_eq!(it.telemetry.held(), (0, 0));
}

#[tokio::test]
async fn a_closed_worker_is_replaced_by_one_that_is_connected_as_it_was() {
    let it = Recorded::start();
    let first = ReferenceGuard::new();
    activate(&it, &first);
    it.telemetry.idle().await;
    it.telemetry.track_stats(&key(), &stat([sent(1, 1)]));
    leave(&it, Some(&first));
    let (room, who) = (room(), participant());
    let reason = ReconnectReason::RrSwitchCandidate;
    it.telemetry.participant_resumed(of(&room, &who), "ND_1", reason);
    assert_eq!(workers(&it).await, 2, "the closed one flushes its last");
    it.telemetry.track_stats(&key(), &stat([sent(2, 2)]));
    leave(&it, None);
    let types = it.types().await;
    assert_eq!(types.last(), Some(&Type::ParticipantLeft), "it had been connected");
    let mut bytes: Vec<_> =
        it.flush().await.iter().map(|stats| stats[0].streams[0].primary_bytes).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, [1, 2], "each has its own reports");
    it.advance(PAST_CLEANUP);
    it.flush().await;
    assert_eq!(workers(&it).await, 1, "the replaced one is gone");
    it.telemetry.track_stats(&key(), &stat([sent(3, 3)]));
    assert_eq!(it.flush().await.len(), 1, "and removed no other");
}

#[tokio::test]
async fn a_released_guard_makes_no_worker() {
    let it = Recorded::start();
    let guard = ReferenceGuard::new();
    join(&it, &guard);
    leave(&it, Some(&guard));
    it.telemetry.idle().await;
    it.advance(PAST_CLEANUP);
    it.flush().await;
    activate(&it, &guard);
    assert_eq!(workers(&it).await, 0);
    assert_eq!(it.types().await.last(), Some(&Type::ParticipantActive), "its event is sent");
}

// Its activation was overtaken by its leaving (upstream's getOrCreateWorker).
#[tokio::test]
async fn a_released_guard_connects_the_closed_worker_until_it_is_reaped() {
    let it = Recorded::start();
    let (first, second) = (ReferenceGuard::new(), ReferenceGuard::new());
    join(&it, &first);
    leave(&it, Some(&first));
    activate(&it, &first);
    assert_eq!(workers(&it).await, 1);
    join(&it, &second);
    leave(&it, Some(&second));
    assert_eq!(workers(&it).await, 2, "the closed one was not opened again");
    assert_eq!(it.types().await.last(), Some(&Type::ParticipantLeft), "it was connected");
}

#[tokio::test]
async fn a_released_guard_finds_a_worker_that_another_holds() {
    let it = Recorded::start();
    let (first, second) = (ReferenceGuard::new(), ReferenceGuard::new());
    join(&it, &first);
    join(&it, &second);
    leave(&it, Some(&first));
    activate(&it, &first);
    assert_eq!(workers(&it).await, 1);
    leave(&it, Some(&second));
    assert_eq!(it.types().await.last(), Some(&Type::ParticipantLeft), "it was connected");
}
