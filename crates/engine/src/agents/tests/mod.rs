//! An engine with one room, and jobs whose spans are made up.

mod budget;
mod derived;
mod jobs;
mod join;
mod missing;
mod property;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::session::{self, AgentTraces};
use crate::snapshot::{Writer, part};
use crate::{Batch, Engine, Tally, ids, stats};
use bytes::Bytes;
use livekit_otel_model::event::{
    Counter, Counts, Decoded, Direction, Event, EventKind, NodeId, Origin as Source, Participant,
    ParticipantSid, ReportedTime, Room, RoomSid, StreamStat, Time, TrackSid,
};
use livekit_otel_model::foreign::{
    Body, Facts, ForeignData, ForeignLink, ForeignLog, ForeignMetric, ForeignPoint, ForeignSpan,
    Origin, Upload,
};
use livekit_otel_model::semconv::key;
use livekit_otel_model::signal::{Attribute, Link, Number, SpanId, TraceId, Value};

pub(super) const TRACE: TraceId = [7; 16];

pub(super) fn at(secs: i64) -> Time {
    Time::from_secs(1_795_981_900 + secs).unwrap()
}

pub(super) fn room() -> RoomSid {
    RoomSid::new("RM_1").unwrap()
}

pub(super) fn sid(text: &str) -> ParticipantSid {
    ParticipantSid::new(text).unwrap()
}

pub(super) fn id(nth: u64) -> SpanId {
    nth.to_be_bytes()
}

pub(super) fn origin(is_framework: bool) -> Arc<Origin> {
    Arc::new(Origin { is_framework, ..Origin::default() })
}

fn facts() -> Facts {
    Facts { room: Some(room()), job: Some("AJ_1".into()), ..Facts::default() }
}

/// A span of a second; its parent 0 is none.
pub(super) fn span(name: &str, nth: u64, parent: u64, secs: i64) -> ForeignSpan {
    let body = Body { sent: Bytes::from(format!("{name} plain")), redacted: None };
    ForeignSpan {
        origin: origin(true),
        trace_id: TRACE,
        span_id: id(nth),
        parent: (parent > 0).then(|| id(parent)),
        name: name.into(),
        start: at(secs),
        end: at(secs + 1),
        failure: None,
        links: Vec::new(),
        facts: facts(),
        added: Vec::new(),
        added_links: Vec::new(),
        body,
    }
}

pub(super) fn of(participant: &str, mut span: ForeignSpan) -> ForeignSpan {
    span.facts.participant = Some(sid(participant));
    span
}

pub(super) fn log(span: Option<u64>) -> ForeignLog {
    ForeignLog {
        origin: origin(true),
        time: at(1),
        context: span.map(|span| (TRACE, id(span))),
        facts: facts(),
        failure: None,
        body: Body { sent: "log plain".into(), redacted: Some("log".into()) },
    }
}

pub(super) const UP: Direction = Direction::Upstream;
pub(super) const DOWN: Direction = Direction::Downstream;

/// A window with 100 packets for each second, of which so many were lost.
pub(super) fn window(
    who: &str,
    direction: Direction,
    times: (i64, i64),
    lost: u64,
    millis: (u64, u64),
) -> StreamStat {
    let packets = 100 * u64::try_from(times.1 - times.0).unwrap() - lost;
    let measured = |millis: u64| (millis > 0).then(|| Duration::from_millis(millis));
    StreamStat {
        id: format!("{who} {direction:?} {times:?} {millis:?}").into(),
        at: Some(at(times.1)),
        node: None,
        room: room(),
        room_name: None,
        participant: sid(who),
        track: TrackSid::new("TR_AM1").unwrap(),
        direction,
        mime_type: None,
        score: None,
        min_score: None,
        start: Some(at(times.0)),
        end: Some(at(times.1)),
        counts: Counts::from([(Counter::Packets, packets), (Counter::PacketsLost, lost)]),
        rtt: measured(millis.0),
        jitter: measured(millis.1),
    }
}

pub(super) fn metric(facts: Facts) -> ForeignMetric {
    let point = ForeignPoint {
        facts,
        attributes: Bytes::new(),
        start: None,
        time: at(1),
        value: Number::Int(1),
        exemplars: Vec::new(),
    };
    ForeignMetric {
        origin: origin(true),
        name: "open".into(),
        unit: "".into(),
        description: "".into(),
        data: ForeignData::Gauge(vec![point]),
    }
}

pub(super) fn link(to: (TraceId, SpanId)) -> ForeignLink {
    ForeignLink { to, body: Body::default() }
}

/// The spans of an ordinary job: 1 is the root, 2 the session, and a turn of each side.
pub(super) fn job() -> Vec<ForeignSpan> {
    vec![
        of("PA_agent", span("room_connect", 4, 3, 1)),
        span("session_start", 3, 2, 1),
        of("PA_ada", span("user_speaking", 6, 5, 2)),
        of("PA_ada", span("user_turn", 5, 2, 2)),
        span("llm_request", 9, 8, 3),
        span("llm_node", 8, 7, 3),
        of("PA_agent", span("agent_turn", 7, 2, 3)),
        span("agent_session", 2, 1, 1),
        span("job_entrypoint", 1, 0, 1),
    ]
}

pub(super) fn event(kind: EventKind, secs: i64, participant: Option<&str>) -> Decoded {
    Decoded::Events(vec![Event {
        reported: Some(ReportedTime { at: at(secs), whole_seconds: false }),
        node: NodeId::new("ND_1"),
        room: Some(Room { sid: Some(room()), name: None, created: None }),
        participant: participant.map(|participant| Participant::new(sid(participant))),
        ..Event::new(Source::Analytics, kind)
    }])
}

pub(super) struct Run {
    pub(super) engine: Engine,
    pub(super) out: Batch,
    // Whether the analytics are connected.
    pub(super) has_analytics: bool,
    settings: session::Settings,
    stats: stats::Settings,
}

impl Run {
    pub(super) fn new(settings: session::Settings) -> Self {
        Self::measuring(settings, stats::Settings::default())
    }

    /// With instruments of these settings.
    pub(super) fn measuring(settings: session::Settings, stats: stats::Settings) -> Self {
        let engine = Engine::new(settings.clone(), stats, at(0));
        Self { engine, out: Batch::default(), has_analytics: false, settings, stats }
    }

    /// A room with the agent and Ada.
    pub(super) fn call(settings: session::Settings) -> Self {
        let mut run = Self::new(settings);
        run.apply(&event(EventKind::RoomCreated, 0, None), 0);
        run.apply(&event(EventKind::ParticipantActive, 1, Some("PA_agent")), 1);
        run.apply(&event(EventKind::ParticipantActive, 1, Some("PA_ada")), 1);
        run
    }

    pub(super) fn with(traces: AgentTraces) -> Self {
        Self::call(session::Settings { agent_traces: Some(traces), ..session::Settings::default() })
    }

    pub(super) fn apply(&mut self, decoded: &Decoded, secs: i64) -> Tally {
        self.engine.apply(decoded, at(secs), self.has_analytics, &mut self.out)
    }

    pub(super) fn spans(&mut self, spans: Vec<ForeignSpan>, secs: i64) -> u64 {
        self.apply(&Decoded::Upload(Upload::Spans(spans)), secs).duplicates
    }

    pub(super) fn logs(&mut self, logs: Vec<ForeignLog>, secs: i64) {
        self.apply(&Decoded::Upload(Upload::Logs(logs)), secs);
    }

    /// Everybody leaves, and the room ends.
    pub(super) fn hang_up(&mut self, secs: i64) {
        for who in ["PA_agent", "PA_ada"] {
            self.apply(&event(EventKind::ParticipantLeft, secs, Some(who)), secs);
        }
        self.apply(&event(EventKind::RoomEnded, secs, None), secs);
    }

    /// Ticks whenever something is due, as the pipeline does.
    pub(super) fn until(&mut self, secs: i64) {
        while let Some(next) = self.engine.next_deadline().filter(|next| *next <= at(secs)) {
            self.engine.tick(next, &mut self.out);
            assert_ne!(self.engine.next_deadline(), Some(next));
        }
    }

    pub(super) fn close(&mut self, secs: i64) {
        self.engine.end(at(secs), "shutdown", &mut self.out);
    }

    /// Saves the engine and continues with what a new one loads.
    pub(super) fn restart(&mut self, secs: i64) {
        let mut parts = Vec::new();
        let mut put = |bytes: &[u8]| {
            parts.push(bytes.to_vec());
            Ok(())
        };
        self.engine.save(&mut Writer::new(&mut put)).unwrap();
        self.engine = Engine::new(self.settings.clone(), self.stats, at(secs));
        for bytes in parts {
            let (kind, content) = part(&bytes).unwrap();
            self.engine.load(kind, content).unwrap();
        }
    }

    pub(super) fn by_id(&self) -> BTreeMap<SpanId, ForeignSpan> {
        let spans = &self.out.foreign.spans;
        let map: BTreeMap<_, _> = spans.iter().map(|it| (it.span_id, it.clone())).collect();
        assert_eq!(map.len(), spans.len(), "a span left twice");
        map
    }

    pub(super) fn get(&self, nth: u64) -> ForeignSpan {
        self.by_id()[&id(nth)].clone()
    }
}

pub(super) fn text(attributes: &[Attribute], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match &found.value {
        Value::Text(text) => Some(text.to_string()),
        other => Some(format!("{other:?}")),
    }
}

pub(super) fn rule(span: &ForeignSpan) -> Option<String> {
    text(&span.added, key::END_INFERRED)
}

pub(super) fn room_link() -> Link {
    Link { trace_id: ids::trace(&room()), span_id: ids::room(&room()) }
}

pub(super) fn participant_link(who: &str) -> Link {
    Link { trace_id: ids::trace(&room()), span_id: ids::participant(&room(), &sid(who)) }
}

/// Each parent is a span of the same trace, or the room's.
pub(super) fn assert_whole(run: &Run) {
    let spans = run.by_id();
    for span in spans.values() {
        let Some(parent) = span.parent else { continue };
        if (span.trace_id, parent) != (room_link().trace_id, room_link().span_id) {
            let parent = spans.get(&parent).unwrap_or_else(|| panic!("{} is an orphan", span.name));
            assert_eq!(parent.trace_id, span.trace_id, "{} in {}", span.name, parent.name);
        }
    }
}
