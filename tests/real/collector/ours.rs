//! Our metrics: all points of a captured call, and of a library's calls.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livekit_otel_agents::Reader;
use livekit_otel_engine::session;
use livekit_otel_engine::stats::calls::{AttemptState, Connecting, Count, Fec, JoinState, Timing};
use livekit_otel_engine::stats::{NodeReports, Settings};
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_export::{Settings as Export, metric_requests, send_once};
use livekit_otel_livekit as livekit;
use livekit_otel_model::event::rooms::{Coverage, ListedRoom, Rooms};
use livekit_otel_model::event::{Decoded, Direction, RoomSid, Time, TrackKind};
use livekit_otel_model::semconv::metric as name;
use livekit_otel_model::signal::Metric;
use livekit_otel_model::{Signal, Source};
use serde_json::json;

#[path = "../../it/counted/facts.rs"]
mod facts;

#[path = "../../it/capture.rs"]
#[allow(dead_code)] // what a whole run of the capture needs
mod capture;

const ROOM: &str = "RM_XHuZ4ggjTArt";

/// The points at the end, and those of streams during the call: series that
/// have ended are none that could be looked at.
pub(super) fn of_a_call(settings: Settings) -> Batch {
    let lines = capture::lines();
    let begin = lines[0].at;
    let mut engine = Engine::new(session::Settings::default(), settings, begin);
    engine.reports(calls(settings));
    let (mut out, mut during) = (Batch::default(), None);
    for line in &lines {
        let flush = begin + capture::INTERVAL;
        if during.is_none() && flush <= line.at {
            engine.flush(flush, &mut out);
            during = Some(std::mem::take(&mut out));
        }
        engine.tick(line.at, &mut out);
        engine.apply(&line.decoded, line.at, true, &mut out);
    }
    let end = lines[lines.len() - 1].at + 2 * capture::INTERVAL;
    engine.tick(end, &mut out);
    engine.apply(&lossy(), end, true, &mut out);
    engine.apply(&listed(), end, true, &mut out);
    engine.flush(end, &mut out);
    let mut points = during.unwrap();
    points.metrics.append(&mut out.metrics);
    points.metrics.extend(of_agents(settings));
    points.metrics.extend(facts::measured(settings, end));
    points
}

// Those that are derived from an agent's spans, after the end of its job.
fn of_agents(settings: Settings) -> Vec<Metric> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/agents/ordinary.agents.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let at = |line: &serde_json::Value| Time::from_millis(line["at"].as_i64().unwrap()).unwrap();
    let lines: Vec<_> = lines.filter(|line| line["kind"] == "traces").collect();
    let mut engine = Engine::new(session::Settings::default(), settings, at(&lines[0]));
    let mut out = Batch::default();
    for line in &lines {
        let body = STANDARD.decode(line["body_base64"].as_str().unwrap()).unwrap();
        let read = Reader::default().read(Source::AgentTraces, &body).unwrap();
        engine.apply(&Decoded::Upload(read.upload), at(line), false, &mut out);
    }
    let end = at(&lines[lines.len() - 1]) + 2 * capture::INTERVAL;
    engine.tick(end, &mut out);
    engine.flush(end, &mut out);
    let is_derived =
        |metric: &Metric| metric.name.starts_with("lk.agent") || metric.name == name::TOOL_DURATION;
    out.metrics.into_iter().filter(is_derived).collect()
}

// The call's loopback loses nothing: a stream that does.
fn lossy() -> Decoded {
    let body = json!({"stats": [{
        "id": "AS_lossy", "timeStamp": "2026-11-23T04:09:50Z", "roomId": ROOM, "participantId": "PA_lossy",
        "trackId": "TR_lossy", "mime": "audio/opus", "streams": [{"primaryPackets": 9, "packetsLost": 1}],
    }]});
    livekit::stats(&livekit::encode_capture("stats", &body).unwrap()).unwrap().decoded
}

// A room that was never reported.
fn listed() -> Decoded {
    let sid = RoomSid::new("RM_listed").unwrap();
    let room = ListedRoom { sid, name: None, created: None, participants: None, size: None };
    Decoded::Rooms(Rooms {
        at: None,
        coverage: Coverage::Deployment,
        rooms: vec![room],
        event: None,
    })
}

fn calls(settings: Settings) -> NodeReports {
    let mut reports = NodeReports::new(settings.histograms);
    let calls = reports.calls();
    let client = Connecting::default().sdk("SWIFT");
    for (count, times) in [
        (Count::Joins(JoinState::SignalConnected, Connecting::default()), 4),
        (Count::Joins(JoinState::RtcConnected, client), 3),
        (Count::Joins(JoinState::RtcActive, Connecting::default().warp(true)), 1),
        (Count::Joins(JoinState::RtcActive, Connecting::default().warp(false)), 2),
        (Count::Joins(JoinState::RtcSuccess, client.warp(true)), 1),
        (Count::Publishes(TrackKind::Audio, AttemptState::Success), 3),
        (Count::Subscribes(AttemptState::Success), 4),
        (Count::Subscribes(AttemptState::UserError), 5),
        (Count::Participants, 6),
        (Count::Published(TrackKind::Video), 7),
        (Count::Subscribed(TrackKind::Video), 8),
        (Count::PacketTrailerTracks, 9),
        (Count::PacketTrailerFeatures("PTF_FRAME_ID"), 10),
        (Count::FecPackets(Fec::Received), 11),
        (Count::FecPackets(Fec::Recovered), 12),
        (Count::FecBytes, 13),
        (Count::KeyFrames(Direction::Upstream), 14),
        (Count::KeyFrames(Direction::Downstream), 15),
        (Count::CappedRetransmissions(TrackKind::Video), 16),
    ] {
        calls.add(count, times);
    }
    let took = Duration::from_millis(3);
    for timing in [
        Timing::SessionJoin(16),
        Timing::SessionStart(16, client.warp(true)),
        Timing::SessionDuration(16),
        Timing::ForwardLatency,
    ] {
        calls.took(timing, took);
    }
    calls.forward_p90(took);
    reports
}

/// Sends it as the exporter would.
pub(super) async fn send(export: &Export, batch: &Batch) {
    for request in metric_requests(export, &batch.metrics, &batch.tables) {
        send_once(export, Signal::Metrics, request).await.unwrap();
    }
}
