//! An SFU with the telemetry service: a call of two participants, and what a collector receives.
//!
//! `cargo run --example sfu` needs nothing else: the collector is in this process. To send to your own,
//! leave out `endpoint` and set `OTEL_EXPORTER_OTLP_ENDPOINT`.

use std::error::Error;
use std::time::{Duration, SystemTime};

use livekit_otel_telemetry::messages::{
    self, AnalyticsStat, AnalyticsStream, ParticipantInfo, Room, RoomEndReason, TrackInfo,
};
use livekit_otel_telemetry::{
    Activation, Direction, OtelSettings, ParticipantContext, ReferenceGuard, StatsKey, Telemetry,
    TelemetryService, Time, TrackClass, TrackContext, TrackKind, TrackSource,
};
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Style;
use livekit_otel_tools::demo::render;
use tokio::time::{Instant, sleep};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let collector = Collector::start().await?;
    let settings =
        OtelSettings::from_env()?.service_name("my-sfu").endpoint(&collector.endpoint())?;
    let telemetry = Telemetry::builder().node_id("ND_1").otel(settings).start()?;

    let room = room();
    telemetry.room_started(&room);
    let (ada, bob) = (participant("PA_ada"), participant("PA_bob"));
    let guards = [ReferenceGuard::new(), ReferenceGuard::new()];
    for (who, guard) in [&ada, &bob].into_iter().zip(&guards) {
        let at = ParticipantContext::new(&room, who);
        telemetry.participant_joined(at, None, None, true, Some(guard));
        sleep(Duration::from_millis(20)).await;
        telemetry.participant_active(at, None, Activation::default(), Some(guard));
    }
    let camera = camera();
    let published = TrackContext::new(&room, &ada.sid, &camera).identity("ada");
    telemetry.track_publish_requested(published, true);
    sleep(Duration::from_millis(10)).await;
    telemetry.track_published(published, true);
    let subscribed = TrackContext::new(&room, &bob.sid, &camera).identity("bob");
    telemetry.track_subscribe_requested(subscribed);
    sleep(Duration::from_millis(5)).await;
    telemetry.track_subscribed(subscribed, Some(&ada), true);

    let key = |who: &ParticipantInfo, direction| {
        let class = TrackClass { source: Some(TrackSource::Camera), kind: TrackKind::Video };
        StatsKey::for_track(&room.sid, &who.sid, &camera.sid, direction, "", class)
    };
    let (up, down) = (key(&ada, Direction::Upstream), key(&bob, Direction::Downstream));
    for _ in 0..3 {
        telemetry.track_stats(&up, &report(300, 2));
        telemetry.track_stats(&down, &report(298, 5));
        sleep(Duration::from_millis(10)).await;
    }
    telemetry.track_unpublished(published, true, true);
    for (who, guard) in [&ada, &bob].into_iter().zip(&guards) {
        telemetry.participant_left(ParticipantContext::new(&room, who), true, Some(guard));
    }
    telemetry.room_ended(&room, RoomEndReason::RoomEndIdleTimeout);

    let ended = telemetry.shutdown(Instant::now() + Duration::from_secs(10)).await;
    let received = collector.stop().await;
    render(&received, &ended.ledger, Style::plain(), &mut std::io::stdout())?;
    Ok(())
}

fn room() -> Room {
    let sid = format!("RM_{}", Time::from_system(SystemTime::now()).nanos());
    Room { sid, name: "standup".into(), ..Room::default() }
}

fn participant(sid: &str) -> ParticipantInfo {
    let identity = sid.trim_start_matches("PA_").into();
    ParticipantInfo { sid: sid.into(), identity, ..ParticipantInfo::default() }
}

fn camera() -> TrackInfo {
    TrackInfo {
        sid: "TR_camera".into(),
        r#type: messages::TrackType::Video as i32,
        source: messages::TrackSource::Camera as i32,
        mime_type: "video/VP8".into(),
        ..TrackInfo::default()
    }
}

fn report(packets: u32, lost: u32) -> AnalyticsStat {
    let stream = AnalyticsStream {
        primary_packets: packets,
        primary_bytes: u64::from(packets) * 1000,
        packets_lost: lost,
        rtt: 24,
        jitter: 1800,
        ..AnalyticsStream::default()
    };
    AnalyticsStat { score: 4.2, streams: vec![stream], ..AnalyticsStat::default() }
}
