//! What the sessions report of operations and of an agent, so that each of their metrics has a point.

use std::time::Duration;

use livekit_otel_engine::session::{Census, Fact, Labels, ParticipantUsage, TrackTimes, WorkDone};
use livekit_otel_engine::stats::{Settings, Stats};
use livekit_otel_model::event::{RoomName, RoomSid, Time, TrackKind, WorkKind};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Metric};

const TOOK: Duration = Duration::from_secs(90);
const FIRST: Duration = Duration::from_secs(2);

/// An operation in a room that took 90 s, with 2 s to its first frame or answer.
pub(crate) fn work(kind: WorkKind, attributes: &[Attribute], error_type: Option<&str>) -> WorkDone {
    WorkDone {
        kind,
        room: RoomSid::new("RM_1"),
        room_name: RoomName::new("standup"),
        took: TOOK,
        first: Some(FIRST),
        error_type: error_type.map(Into::into),
        labels: Labels::of(kind, attributes),
    }
}

/// The labels of an answered call of a trunk.
pub(crate) fn call(trunk: &str, answer: &str) -> Vec<Attribute> {
    vec![
        Attribute::new(key::SIP_CALL_DIRECTION, "SCD_INBOUND"),
        Attribute::new(key::SIP_TRUNK_ID, trunk),
        Attribute::new(key::SIP_ANSWER, answer),
    ]
}

fn works() -> Vec<(WorkKind, Vec<Attribute>)> {
    vec![
        (
            WorkKind::Egress,
            vec![
                Attribute::new(key::EGRESS_TYPE, "room_composite"),
                Attribute::new(key::EGRESS_STATUS, "EGRESS_FAILED"),
            ],
        ),
        (WorkKind::Ingress, vec![Attribute::new(key::INGRESS_STATUS, "ENDPOINT_COMPLETE")]),
        (WorkKind::SipCall, call("ST_1", "answered")),
        (WorkKind::SipTransfer, Vec::new()),
        (WorkKind::AgentJob, Vec::new()),
        (
            WorkKind::AgentDispatch,
            vec![
                Attribute::new(key::DISPATCH_OUTCOME, "joined"),
                Attribute::new(key::DISPATCH_AUTOMATIC, false),
                Attribute::new(key::AGENT_NAME, "helper"),
            ],
        ),
    ]
}

/// An agent that was in the room for 90 s, and published and was subscribed to audio.
pub(crate) fn agent(room: &str) -> ParticipantUsage {
    let mut audio = TrackTimes::default();
    audio.add(Some(TrackKind::Audio), TOOK);
    ParticipantUsage {
        room: RoomSid::new(room).unwrap(),
        room_name: RoomName::new("standup"),
        kind: Some("AGENT"),
        took: TOOK,
        published: audio,
        subscribed: audio,
    }
}

/// One point or more of each metric, in the 30 s until `now`.
pub(crate) fn measured(settings: Settings, now: Time) -> Vec<Metric> {
    let began = Time::from_nanos(now.nanos() - 30_000_000_000).unwrap();
    let mut stats = Stats::new(settings, began);
    stats.fact(&Fact::ParticipantUsed(Box::new(agent("RM_1"))));
    let mut census = Census::default();
    census.stuck_egresses.insert("starting", 1);
    for (kind, attributes) in works() {
        census.works.insert((kind, Labels::of(kind, &attributes)), 1);
        for error_type in [None, Some("failed")] {
            stats.fact(&Fact::WorkReleased(Box::new(work(kind, &attributes, error_type))));
        }
    }
    let is_its = |metric: &Metric| {
        let prefixes = ["lk.egress.", "lk.ingress.", "lk.sip.", "lk.agent", "lk.usage."];
        prefixes.iter().any(|prefix| metric.name.starts_with(prefix))
    };
    stats.flush(now, &census).into_iter().filter(is_its).collect()
}
