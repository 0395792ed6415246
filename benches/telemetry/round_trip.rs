//! What an event costs as a message between the call and the engine.

use std::sync::Arc;
use std::time::Duration;

use livekit_otel_livekit::encode;
use livekit_otel_livekit::messages::AnalyticsEventType;
use livekit_otel_telemetry::signal::{LogRecord, Metric, Span};
use livekit_otel_telemetry::{
    Activation, OtelSettings, ParticipantContext, Sink, Telemetry, TelemetryService, Time,
};
use prost::Message;

use crate::clock::{Took, took};
use crate::load::Load;

// Of each participant.
const EVENTS: usize = 10;

/// Makes messages of calls, and reads them as events; for each.
pub fn through_messages(load: &Load) -> f64 {
    let now = Time::from_secs(1_795_400_030).unwrap();
    let events = load.members.len() * EVENTS;
    let calls: Vec<_> = load.members.iter().cycle().take(events).cloned().collect();
    let read = |(room, participant)| {
        let kind = AnalyticsEventType::ParticipantActive;
        let message = encode::of_participant(kind, room, participant, now);
        std::hint::black_box(livekit_otel_livekit::event(&message));
        message.encoded_len()
    };
    let (bytes, took) = took(|| calls.into_iter().map(read).sum::<usize>());
    assert!(bytes > events);
    took.cpu_ns_per(events)
}

#[derive(Debug)]
struct Drops;

impl Sink for Drops {
    fn spans(&self, _: &[Span]) {}
    fn logs(&self, _: &[LogRecord]) {}
    fn metrics(&self, _: &[Metric]) {}
}

/// The same calls from the caller to the finished log records; for each.
pub fn whole_calls(load: &Load) -> f64 {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let settings = OtelSettings::default().max_unprocessed_bytes(usize::MAX);
    let settings = settings.traces(false).logs(false).metrics(false);
    let builder = Telemetry::builder().otel(settings).sink(Arc::new(Drops));
    let builder = builder.max_queued(usize::MAX).flush_interval(Duration::from_hours(24));
    let telemetry = runtime.block_on(async { builder.start() }).unwrap();
    let round = || {
        for (room, participant) in &load.members {
            let at = ParticipantContext::new(room, participant);
            telemetry.participant_active(at, None, Activation::default(), None);
        }
        runtime.block_on(telemetry.force_flush()).unwrap();
    };
    // The first round makes the rooms and the workers.
    round();
    let mut sum = Took::default();
    for _ in 0..EVENTS {
        sum.cpu += took(round).1.cpu;
    }
    sum.cpu_ns_per(load.members.len() * EVENTS)
}
