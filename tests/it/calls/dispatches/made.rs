//! Made-up dispatches, and an engine that asks for them.

use livekit_otel_engine::session::Settings;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::answer::{Answer, Answered, Dispatch, DispatchJob, Question};
use livekit_otel_model::event::rooms::ListedParticipant;
use livekit_otel_model::event::{Decoded, Identity, ParticipantSid, RoomSid};
use livekit_otel_model::semconv::{event, key, span};
use livekit_otel_model::signal::Span;
use serde_json::{Value as Json, json};

use super::super::value;
use crate::history::saved_and_loaded;
use crate::messages::{ROOM, analytics, at};

pub(super) const AGENT: &str = "agent-AJ_1";

/// An engine that asks, and what was asked of it, in milliseconds.
pub(super) struct Calls {
    pub(super) settings: Settings,
    pub(super) engine: Engine,
    pub(super) out: Batch,
    pub(super) asked: Vec<i64>,
    pub(super) is_asked_who: bool,
    /// By how much our clock is ahead of the server's.
    pub(super) ahead: i64,
}

impl Calls {
    pub(super) fn new(settings: Settings) -> Self {
        let engine = engine(&settings);
        Self {
            settings,
            engine,
            out: Batch::default(),
            asked: vec![],
            is_asked_who: false,
            ahead: 0,
        }
    }

    /// With the room and its caller, by servers whose clock is so much behind ours.
    pub(super) fn with_room(settings: Settings, ahead: i64) -> Self {
        let mut calls = Self { ahead, ..Self::new(settings) };
        calls.apply(0, &analytics("ROOM_CREATED", 0, json!({})));
        calls.apply(50, &analytics("PARTICIPANT_JOINED", 50, person("PA_1", "alice", 50)));
        calls
    }

    pub(super) fn pass(&mut self, millis: i64) -> &mut Self {
        let until = at(millis + self.ahead);
        loop {
            let (tick, question) = (self.engine.next_deadline(), self.engine.next_question());
            let next = [tick, question].into_iter().flatten().min();
            let Some(now) = next.filter(|now| *now <= until) else { return self };
            self.engine.tick(now, &mut self.out);
            while let Some(question) = self.engine.question(now) {
                if !matches!(question, Question::Dispatches { .. }) {
                    assert!(matches!(question, Question::Participants { .. }), "{question:?}");
                    self.is_asked_who = true;
                    continue;
                }
                let nanos =
                    i64::try_from(now.nanos()).unwrap() - i64::try_from(at(0).nanos()).unwrap();
                self.asked.push((nanos + 500_000).div_euclid(1_000_000) - self.ahead);
            }
        }
    }

    pub(super) fn apply(&mut self, millis: i64, decoded: &Decoded) -> &mut Self {
        self.pass(millis);
        let now = at(millis + self.ahead);
        self.engine.tick(now, &mut self.out);
        self.engine.apply(decoded, now, true, &mut self.out);
        self.engine = saved_and_loaded(&self.engine, engine(&self.settings));
        self
    }

    /// A list that is asked for and received then.
    pub(super) fn list(&mut self, millis: i64, dispatches: &[Dispatch]) -> &mut Self {
        let answer = list(millis + self.ahead, dispatches);
        self.apply(millis, &answer)
    }

    /// A list of participants: the caller, and the agent that joined then.
    pub(super) fn people(&mut self, millis: i64, joined: Option<i64>) -> &mut Self {
        let answer = people(millis + self.ahead, joined);
        self.apply(millis, &answer)
    }

    pub(super) fn failures(&self) -> usize {
        let failures = self.out.logs.iter();
        failures.filter(|record| &*record.event_name == event::AGENT_DISPATCH_FAILED).count()
    }

    pub(super) fn span(&self, name: &str) -> Option<&Span> {
        let mut spans = self.out.spans.iter().filter(|span| span.name == name);
        let first = spans.next();
        assert_eq!(spans.next(), None);
        first
    }

    /// The outcome and the duration of the only dispatch that has a span.
    pub(super) fn outcome(&self) -> Option<(String, u128)> {
        let span = self.span(span::AGENT_DISPATCH)?;
        let outcome = value(span, key::DISPATCH_OUTCOME).unwrap();
        let (error, expected) = (span.failure(), format!("agent_dispatch_{outcome}"));
        let is_failure = ["rejected", "not_joined", "no_worker"].contains(&&*outcome);
        assert_eq!(error, is_failure.then_some(&*expected));
        assert_eq!(self.failures(), usize::from(is_failure));
        Some((outcome, span.end.since(span.start).as_millis()))
    }
}

pub(super) fn engine(settings: &Settings) -> Engine {
    let mut engine = Engine::new(settings.clone(), stats::Settings::default(), at(0));
    engine.enable_questions();
    engine
}

pub(super) fn list(millis: i64, dispatches: &[Dispatch]) -> Decoded {
    let room = RoomSid::new(ROOM).unwrap();
    let content = Answered::Dispatches { room, dispatches: dispatches.to_vec() };
    Decoded::Answer(Box::new(Answer { at: at(millis), content }))
}

pub(super) fn people(millis: i64, joined: Option<i64>) -> Decoded {
    let who = |sid: &str, identity: &str, kind: &str, joined| ListedParticipant {
        sid: ParticipantSid::new(sid).unwrap(),
        identity: Identity::new(identity),
        kind: Some(kind.into()),
        joined: Some(at(joined)),
        is_forwarded: false,
        sip: None,
    };
    let mut participants = vec![who("PA_1", "alice", "STANDARD", 50)];
    participants.extend(joined.map(|joined| who("PA_agent", AGENT, "AGENT", joined)));
    let room = RoomSid::new(ROOM).unwrap();
    let content = Answered::Participants { room, participants };
    Decoded::Answer(Box::new(Answer { at: at(millis), content }))
}

pub(super) fn person(sid: &str, identity: &str, millis: i64) -> Json {
    json!({"participantId": sid, "participant": {
        "sid": sid, "identity": identity, "joinedAtMs": (1_795_406_960_000 + millis).to_string(),
    }})
}

pub(super) fn agent(identity: &str, millis: i64, more: &[(&str, &str)]) -> Json {
    let mut agent = person("PA_agent", identity, millis);
    agent["participant"]["kind"] = json!("AGENT");
    for (key, text) in more {
        agent["participant"][*key] = json!(text);
    }
    agent
}

pub(super) fn comes(millis: i64) -> Decoded {
    analytics("PARTICIPANT_JOINED", millis, agent(AGENT, millis, &[]))
}

/// A dispatch with jobs of these states and identities.
pub(super) fn dispatch(
    name: Option<&str>,
    created: i64,
    jobs: &[(&str, Option<&str>)],
) -> Dispatch {
    let job = |(nth, (status, identity)): (usize, &(&str, Option<&str>))| DispatchJob {
        id: format!("AJ_{}", nth + 1).into(),
        status: Some((*status).into()),
        identity: identity.and_then(Identity::new),
        worker: Some("AW_1".into()),
        started: Some(at(created + 200)),
        ended: (*status == "JS_SUCCESS").then(|| at(created + 200)),
        error: None,
    };
    Dispatch {
        id: format!("AD_{created}").into(),
        agent_name: name.map(Into::into),
        created: Some(at(created)),
        deleted: None,
        jobs: jobs.iter().enumerate().map(job).collect(),
    }
}

pub(super) const RUNNING: (&str, Option<&str>) = ("JS_RUNNING", Some(AGENT));
pub(super) const REJECTED: (&str, Option<&str>) = ("JS_SUCCESS", None);

pub(super) fn named(jobs: &[(&str, Option<&str>)]) -> Dispatch {
    dispatch(Some("helper"), 100, jobs)
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with an outcome")]
pub(super) fn some(outcome: &str, millis: u128) -> Option<(String, u128)> {
    Some((outcome.to_owned(), millis))
}

/// The room ends.
pub(super) fn end(millis: i64) -> Decoded {
    analytics("ROOM_ENDED", millis, json!({}))
}
