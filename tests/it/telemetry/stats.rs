//! What a flush sends about streams: upstream's stats_test.go, and the rules that it leaves out.

use std::time::Duration;

use livekit_otel_model::event::{Direction, TrackKind, TrackSource};
use livekit_otel_telemetry::messages::{
    AnalyticsStat, AnalyticsStream, AnalyticsVideoLayer, Room, StreamType, TrackInfo,
};
use livekit_otel_telemetry::{ReferenceGuard, StatsKey, TelemetryService, TrackClass};
use pbjson_types::Timestamp;

use super::recorder::{BEGIN, Recorded, of, on, participant, room, sent, stat};

fn data(track: &str, direction: Direction) -> StatsKey {
    StatsKey::for_data("RM_1", "PA_1", track, direction, "test")
}

fn down(track: &str) -> StatsKey {
    data(track, Direction::Downstream)
}

fn up(track: &str) -> StatsKey {
    data(track, Direction::Upstream)
}

fn media(track: &str) -> StatsKey {
    let class = TrackClass { source: Some(TrackSource::Camera), kind: TrackKind::Video };
    StatsKey::for_track("RM_1", "PA_1", track, Direction::Upstream, "", class)
}

async fn joined() -> Recorded {
    let it = Recorded::start();
    let (room, who, guard) = (room(), participant(), ReferenceGuard::new());
    it.telemetry.participant_joined(of(&room, &who), None, None, true, Some(&guard));
    it.telemetry.idle().await;
    it
}

// The flush's only worker's stats, by track.
async fn flushed(it: &Recorded) -> Vec<AnalyticsStat> {
    let mut workers = it.flush().await;
    assert_eq!(workers.len(), 1, "one worker");
    let mut stats = workers.remove(0);
    stats.sort_by(|a, b| (a.kind, &a.track_id).cmp(&(b.kind, &b.track_id)));
    stats
}

#[tokio::test]
async fn a_window_names_its_participant_and_track() {
    let it = joined().await;
    it.telemetry.track_stats(&down(""), &stat([sent(33, 0)]));
    let stats = flushed(&it).await;
    assert_eq!(stats.len(), 1);
    assert_eq!(stats[0].kind(), StreamType::Downstream);
    assert_eq!((&*stats[0].participant_id, &*stats[0].room_id), ("PA_1", "RM_1"));
    assert_eq!((&*stats[0].room_name, &*stats[0].track_id), ("standup", ""));
    assert_eq!(stats[0].time_stamp.as_ref().unwrap().seconds, BEGIN.cast_signed());
}

#[tokio::test]
async fn downstream_packets_are_summed() {
    let it = joined().await;
    for bytes in [33, 23] {
        it.telemetry.track_stats(&down("TR_1"), &stat([sent(bytes, 1)]));
    }
    let stats = flushed(&it).await;
    assert_eq!(stats.len(), 1);
    assert_eq!((stats[0].kind(), &*stats[0].track_id), (StreamType::Downstream, "TR_1"));
    assert_eq!(stats[0].streams, [with_times(sent(56, 2))]);
}

// Upstream writes 1970 if a stream had no time.
fn with_times(stream: AnalyticsStream) -> AnalyticsStream {
    let unset = Some(Timestamp { seconds: 0, nanos: 0 });
    AnalyticsStream { start_time: unset, end_time: unset, ..stream }
}

#[tokio::test]
async fn each_track_has_its_own_window() {
    let it = joined().await;
    it.telemetry.track_stats(&down("TR_1"), &stat([sent(33, 1)]));
    it.telemetry.track_stats(&down("TR_2"), &stat([sent(23, 1)]));
    let stats = flushed(&it).await;
    let bytes: Vec<_> =
        stats.iter().map(|stat| (&*stat.track_id, stat.streams[0].primary_bytes)).collect();
    assert_eq!(bytes, [("TR_1", 33), ("TR_2", 23)]);
    assert!(stats.iter().all(|stat| stat.streams[0].primary_packets == 1));
}

fn reported(lost: u32, firs: u32, rtt: u32, jitter: u32) -> AnalyticsStream {
    AnalyticsStream { packets_lost: lost, nacks: 1, plis: 1, firs, rtt, jitter, ..sent(1, 1) }
}

#[tokio::test]
async fn downstream_losses_and_requests_are_summed_and_delays_are_the_highest() {
    let it = joined().await;
    it.telemetry.track_stats(&down("TR_1"), &stat([reported(3, 0, 23, 3)]));
    it.telemetry.track_stats(&down("TR_1"), &stat([reported(4, 1, 10, 5)]));
    let stats = flushed(&it).await;
    let stream = &stats[0].streams[0];
    assert_eq!((stats.len(), stats[0].kind()), (1, StreamType::Downstream));
    assert_eq!((stream.nacks, stream.plis, stream.firs), (2, 2, 1));
    assert_eq!((stream.rtt, stream.jitter, stream.packets_lost), (23, 5, 7));
}

#[tokio::test]
async fn upstream_losses_and_requests_are_summed_and_delays_are_the_highest() {
    let it = joined().await;
    it.telemetry.track_stats(&up("TR_1"), &stat([reported(3, 1, 13, 5)]));
    it.telemetry.track_stats(&up("TR_1"), &stat([reported(4, 1, 33, 2)]));
    let stats = flushed(&it).await;
    let stream = &stats[0].streams[0];
    assert_eq!((stats.len(), stats[0].kind()), (1, StreamType::Upstream));
    assert_eq!((stream.nacks, stream.plis, stream.firs), (2, 2, 2));
    assert_eq!((stream.rtt, stream.jitter, stream.packets_lost), (33, 5, 7));
}

#[tokio::test]
async fn a_window_has_the_reports_since_the_last_flush() {
    let it = joined().await;
    let lost = |lost, bytes, packets| {
        stat([AnalyticsStream { packets_lost: lost, ..sent(bytes, packets) }])
    };
    it.telemetry.track_stats(&down("TR_1"), &lost(1, 1, 1));
    assert_eq!(flushed(&it).await[0].streams[0].packets_lost, 1);
    it.telemetry.track_stats(&down("TR_1"), &lost(4, 2, 2));
    assert_eq!(flushed(&it).await[0].streams[0].packets_lost, 4);
    assert_eq!(it.flush().await.len(), 0, "no reports came");
}

#[tokio::test]
async fn downstream_requests_are_counted_by_track() {
    let it = joined().await;
    it.telemetry.track_stats(&down("TR_1"), &stat([sent(1, 1)]));
    it.telemetry.track_stats(&down("TR_1"), &stat([AnalyticsStream { nacks: 1, ..sent(2, 2) }]));
    it.telemetry.track_stats(&down("TR_2"), &stat([AnalyticsStream { firs: 1, ..sent(3, 3) }]));
    let stats = flushed(&it).await;
    let requests: Vec<_> = stats
        .iter()
        .map(|stat| (&*stat.track_id, stat.streams[0].nacks, stat.streams[0].firs))
        .collect();
    assert_eq!(requests, [("TR_1", 1, 0), ("TR_2", 0, 1)]);
    assert!(stats.iter().all(|stat| stat.kind() == StreamType::Downstream));
}

#[tokio::test]
async fn upstream_requests_are_counted_by_track_and_an_unpublished_track_is_silent() {
    let it = joined().await;
    for track in ["TR_1", "TR_2"] {
        it.telemetry.track_stats(&up(track), &stat([sent(1, 1)]));
    }
    it.telemetry.track_stats(&up("TR_1"), &stat([AnalyticsStream { nacks: 1, ..sent(2, 2) }]));
    it.telemetry.track_stats(&up("TR_2"), &stat([AnalyticsStream { firs: 1, ..sent(2, 2) }]));
    let stats = flushed(&it).await;
    let requests: Vec<_> = stats
        .iter()
        .map(|stat| (&*stat.track_id, stat.streams[0].nacks, stat.streams[0].firs))
        .collect();
    assert_eq!(requests, [("TR_1", 1, 0), ("TR_2", 0, 1)]);
    for stat in &stats {
        assert_eq!(stat.kind(), StreamType::Upstream);
        assert_eq!((stat.streams[0].primary_bytes, stat.streams[0].primary_packets), (3, 3));
    }
    let (room, who) = (room(), participant());
    let track = TrackInfo { sid: "TR_2".into(), ..Default::default() };
    it.telemetry.track_unpublished(on(&room, &who, &track), true, true);
    assert_eq!(it.flush().await.len(), 0);
}

#[tokio::test]
async fn a_participant_without_stats_has_no_window() {
    let it = Recorded::start();
    let (room, who, guard) = (Room::default(), participant(), ReferenceGuard::new());
    it.telemetry.participant_joined(of(&room, &who), None, None, true, Some(&guard));
    it.telemetry.participant_left(of(&room, &who), true, Some(&guard));
    assert_eq!(it.flush().await.len(), 0);
}

#[tokio::test]
async fn an_upstream_track_is_added_up() {
    let it = joined().await;
    it.telemetry.track_stats(&media("TR_1"), &stat([sent(3, 3)]));
    let stats = flushed(&it).await;
    assert_eq!((stats[0].kind(), &*stats[0].track_id), (StreamType::Upstream, "TR_1"));
    assert_eq!(stats[0].streams, [with_times(sent(3, 3))]);
}

#[tokio::test]
async fn the_streams_of_a_simulcast_track_are_one() {
    let it = joined().await;
    it.telemetry.track_stats(&media("TR_1"), &stat([sent(1, 1), sent(2, 2)]));
    let stats = flushed(&it).await;
    assert_eq!(stats[0].streams, [with_times(sent(3, 3))]);
}

#[tokio::test]
async fn both_directions_are_sent_together_upstream_first() {
    let it = joined().await;
    it.telemetry.track_stats(&down("TR_2"), &stat([sent(1, 1)]));
    it.telemetry.track_stats(&up("TR_1"), &stat([sent(3, 3)]));
    let workers = it.flush().await;
    let kinds: Vec<_> = workers[0].iter().map(AnalyticsStat::kind).collect();
    assert_eq!((workers.len(), kinds), (1, vec![StreamType::Upstream, StreamType::Downstream]));
}

#[tokio::test]
async fn a_stat_with_a_negative_count_is_skipped_but_for_its_codec() {
    let it = joined().await;
    let key = media("TR_1");
    it.telemetry
        .track_stats(&key, &AnalyticsStat { mime: "video/vp8".into(), ..stat([sent(1, 1)]) });
    let negative = AnalyticsStream { packets_lost: (-1_i32).cast_unsigned(), ..sent(9, 9) };
    let invalid = AnalyticsStat { mime: "video/av1".into(), score: 1.0, ..stat([negative]) };
    it.telemetry.track_stats(&key, &invalid);
    let stats = flushed(&it).await;
    assert_eq!((&*stats[0].mime, stats[0].score), ("video/av1", 0.0));
    assert_eq!(stats[0].streams, [with_times(sent(1, 1))]);
    let snapshot = it.telemetry.ledger();
    assert_eq!(snapshot.inputs.iter().map(|input| input.unusable).sum::<u64>(), 1);
}

#[tokio::test]
async fn only_invalid_stats_make_an_empty_window() {
    let it = joined().await;
    let negative = AnalyticsStream { primary_bytes: u64::MAX, ..AnalyticsStream::default() };
    it.telemetry.track_stats(&media("TR_1"), &stat([negative]));
    let stats = flushed(&it).await;
    let year_one = Some(Timestamp { seconds: -62_135_596_800, nanos: 0 });
    let empty =
        AnalyticsStream { start_time: year_one, end_time: year_one, ..AnalyticsStream::default() };
    assert_eq!(stats[0].streams, [empty]);
}

#[tokio::test]
async fn scores_have_their_mean_their_lowest_and_their_median() {
    let it = joined().await;
    let cases: [(&[f32], [f32; 3]); 4] = [
        (&[4.0, 0.0, 2.0], [3.0, 2.0, 3.0]),
        (&[4.5, 1.5, 3.0], [3.0, 1.5, 3.0]),
        (&[0.0], [0.0, 0.0, 0.0]),
        // More than fit inline.
        (&[5.0, 1.0, 5.0, 1.0, 5.0, 1.0, 5.0, 1.0, 5.0, 2.0, 3.0], [34.0 / 11.0, 1.0, 3.0]),
    ];
    for (scores, expected) in cases {
        for score in scores {
            let stat = AnalyticsStat { score: *score, ..stat([sent(1, 1)]) };
            it.telemetry.track_stats(&media("TR_1"), &stat);
        }
        let stats = flushed(&it).await;
        let [window] = &stats[..] else { panic!("one window") };
        // Bit by bit, as upstream adds up in the same order.
        let scored = [window.score, window.min_score, window.median_score].map(f32::to_bits);
        assert_eq!(scored, expected.map(f32::to_bits), "{scores:?}");
    }
}

#[tokio::test]
async fn layers_are_summed_and_only_the_highest_is_sent() {
    let it = joined().await;
    let layer = |layer, bytes| AnalyticsVideoLayer { layer, packets: 1, bytes, frames: 2 };
    for layers in [vec![layer(0, 10), layer(2, 20)], vec![layer(1, 5), layer(2, 7)]] {
        let stream = AnalyticsStream { video_layers: layers, ..sent(1, 1) };
        it.telemetry.track_stats(&media("TR_1"), &stat([stream]));
    }
    let layers = &flushed(&it).await[0].streams[0].video_layers;
    assert_eq!(*layers, [AnalyticsVideoLayer { layer: 2, packets: 2, bytes: 27, frames: 4 }]);
    // More than fit inline.
    let many = AnalyticsStream {
        video_layers: (0..9).chain(0..9).map(|nth| layer(nth, 1 << 40)).collect(),
        ..sent(1, 1)
    };
    it.telemetry.track_stats(&media("TR_1"), &stat([many]));
    let layers = &flushed(&it).await[0].streams[0].video_layers;
    assert_eq!(*layers, [AnalyticsVideoLayer { layer: 8, packets: 2, bytes: 1 << 41, frames: 4 }]);
}

#[tokio::test]
async fn a_window_spans_its_streams() {
    let it = joined().await;
    let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
    for (start, end) in [(at(20, 1), at(25, 2)), (at(10, 5), at(15, 0)), (at(12, 0), at(31, 7))] {
        let stream = AnalyticsStream { start_time: start, end_time: end, ..sent(1, 1) };
        it.telemetry.track_stats(&media("TR_1"), &stat([stream]));
    }
    let stream = &flushed(&it).await[0].streams[0];
    assert_eq!((stream.start_time, stream.end_time), (at(10, 5), at(31, 7)));
}

#[tokio::test]
async fn stats_of_an_unknown_participant_have_no_window() {
    let it = Recorded::start();
    it.telemetry.track_stats(&media("TR_1"), &stat([sent(1, 1)]));
    assert_eq!(it.flush().await.len(), 0);
    assert_eq!(it.telemetry.held(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn stats_are_flushed_every_interval() {
    let it = Recorded::start_with(|builder| builder.flush_interval(Duration::from_secs(30)));
    let (room, who, guard) = (room(), participant(), ReferenceGuard::new());
    it.telemetry.participant_joined(of(&room, &who), None, None, true, Some(&guard));
    it.telemetry.idle().await;
    it.telemetry.track_stats(&media("TR_1"), &stat([sent(1, 1)]));
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(it.recorder.stats.lock().unwrap().len(), 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(it.recorder.stats.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_report_of_a_known_stream_allocates_nothing() {
    let it = joined().await;
    let layer = |layer| AnalyticsVideoLayer { layer, packets: 1, bytes: 10, frames: 2 };
    let stream = AnalyticsStream { video_layers: (0..4).map(layer).collect(), ..sent(10, 1) };
    let report = AnalyticsStat { score: 4.0, mime: "video/VP8".into(), ..stat([stream]) };
    let key = media("TR_1");
    it.telemetry.track_stats(&key, &report);
    it.flush().await;
    // As many as fit inline.
    let info = allocation_counter::measure(|| {
        for _ in 0..8 {
            it.telemetry.track_stats(&key, &report);
        }
    });
    assert_eq!(info.count_total, 0);
    assert_eq!(flushed(&it).await[0].streams[0].primary_packets, 8);
}
