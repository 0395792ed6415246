//! Random histories of a deployment, reported out of order, twice, in part, by one source or by two,
//! and across a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use livekit_otel_engine::session::Settings;
use livekit_otel_engine::snapshot::{self, Writer};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::{Decoded, Event, EventKind, Origin, ReportedTime, Time};
use livekit_otel_model::semconv::{key, span as name};
use livekit_otel_model::signal::{Span, Value};
use proptest::prelude::*;

use crate::fixtures::{self, at};
use crate::random::Random;

// No event is delayed by more than this: a participant's spans wait for 35 s.
const WINDOW: u64 = 30_000;
const WHOLE_SECOND: Duration = Duration::from_secs(1);

/// A span's name, room, participant and track, and its number among the spans that share these.
type Id = (&'static str, String, String, String, usize);

/// The facts that a span records.
#[derive(Debug, Clone, PartialEq)]
struct Facts {
    start: Time,
    end: Time,
    failed: bool,
    mutes: Option<(i64, u64)>,
}

#[derive(Default)]
pub(crate) struct History {
    spans: BTreeMap<Id, Facts>,
    reports: Vec<(u64, Event)>,
}

/// How the events of a history arrive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// The longest delay of an event, in milliseconds.
    pub(crate) window: u64,
    /// How many events are sent twice, and how many are left out, in percent.
    pub(crate) twice: u64,
    pub(crate) left_out: u64,
    /// Whether webhooks are sent besides analytics.
    pub(crate) webhooks: bool,
    /// Whether the engine is restarted halfway.
    pub(crate) restart: bool,
}

impl History {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut history = Self::default();
        for nth in 0..=random.below(2) {
            history.room(random, &format!("RM_{nth}"));
        }
        history
    }

    fn room(&mut self, random: &mut Random, room: &str) {
        let created = random.below(20_000);
        self.report(created, EventKind::RoomCreated, room, created, None, None);
        let mut last = created;
        let mut tracks = Vec::new();
        for nth in 0..=random.below(4) {
            let joined = created + 10 + random.below(60_000);
            let sid = format!("{room}-PA_{nth}");
            last = last.max(self.participant(random, room, created, &sid, joined, &mut tracks));
        }
        let end = last + 1 + random.below(5_000);
        self.report(end, EventKind::RoomEnded, room, created, None, None);
        self.expect(name::ROOM, (room, "", "", 0), (created, end), false, None);
    }

    fn participant(
        &mut self,
        random: &mut Random,
        room: &str,
        created: u64,
        sid: &str,
        joined: u64,
        tracks: &mut Vec<(String, u64, u64)>,
    ) -> u64 {
        let report = |to: &mut Self, at, kind, track: Option<&str>| {
            to.report(at, kind, room, created, Some((sid, joined)), track);
        };
        report(self, joined, EventKind::ParticipantJoined, None);
        let active = joined + 20 + random.below(500);
        let of = (room, sid, "", 0);
        if random.below(8) == 0 {
            report(self, active, EventKind::ParticipantConnectionAborted, None);
            self.expect(name::PARTICIPANT, of, (joined, active), true, None);
            self.expect(name::PARTICIPANT_CONNECT, of, (joined, active), true, None);
            return active;
        }
        report(self, active, EventKind::ParticipantActive, None);
        let left = active + 10_000 + random.below(200_000);
        let others = tracks.clone();
        for nth in 0..random.below(3) {
            let track = format!("{sid}-TR_{nth}");
            let requested = active + 1 + random.below(4_000);
            let published = requested + 1 + random.below(200);
            let unpublished = published + 2_000 + random.below(left - published - 2_000);
            report(self, requested, EventKind::TrackPublishRequested, Some(&track));
            report(self, published, EventKind::TrackPublished, Some(&track));
            let (mut now, mut mutes, mut muted) = (published, 0, 0);
            for _ in 0..random.below(4) {
                let (mute, unmute) = (now + 1 + random.below(300), now + 301 + random.below(200));
                if unmute < unpublished {
                    report(self, mute, EventKind::TrackMuted, Some(&track));
                    report(self, unmute, EventKind::TrackUnmuted, Some(&track));
                    (now, mutes, muted) = (unmute, mutes + 1, muted + unmute - mute);
                }
            }
            report(self, unpublished, EventKind::TrackUnpublished, Some(&track));
            let of = (room, sid, &*track, 0);
            self.expect(name::TRACK_PUBLISH, of, (requested, published), false, None);
            self.expect(name::TRACK, of, (published, unpublished), false, Some((mutes, muted)));
            tracks.push((track, published, unpublished));
        }
        for (track, published, unpublished) in others {
            self.subscribe(random, room, created, (sid, joined), &track, |random| {
                let from = published.max(active) + 1;
                let until = unpublished.min(left);
                (from + 3_000 < until).then(|| (from + random.below(until - from - 2_000), until))
            });
        }
        report(self, left, EventKind::ParticipantLeft, None);
        self.expect(name::PARTICIPANT, of, (joined, left), false, None);
        self.expect(name::PARTICIPANT_CONNECT, of, (joined, active), false, None);
        left
    }

    fn subscribe(
        &mut self,
        random: &mut Random,
        room: &str,
        created: u64,
        (sid, joined): (&str, u64),
        track: &str,
        when: impl Fn(&mut Random) -> Option<(u64, u64)>,
    ) {
        let Some((mut now, until)) = when(random) else { return };
        let mut report = |at, kind| {
            self.report(at, kind, room, created, Some((sid, joined)), Some(track));
        };
        let mut attempts = Vec::new();
        for _ in 0..=random.below(2) {
            let (asked, answered) = (now, now + 1 + random.below(400));
            if answered + 500 > until {
                break;
            }
            report(asked, EventKind::TrackSubscribeRequested);
            let failed = random.below(4) == 0;
            now = answered + 1 + random.below(50);
            if failed {
                report(answered, EventKind::TrackSubscribeFailed);
            } else {
                report(answered, EventKind::TrackSubscribed);
                report(now, EventKind::TrackUnsubscribed);
                now += 1 + random.below(50);
            }
            attempts.push((asked, answered, failed));
        }
        for (nth, (asked, answered, failed)) in attempts.into_iter().enumerate() {
            let of = (room, sid, track, nth);
            self.expect(name::TRACK_SUBSCRIBE, of, (asked, answered), failed, None);
        }
    }

    fn expect(
        &mut self,
        name: &'static str,
        (room, participant, track, nth): (&str, &str, &str, usize),
        (start, end): (u64, u64),
        failed: bool,
        mutes: Option<(i64, u64)>,
    ) {
        let id = (name, room.to_owned(), participant.to_owned(), track.to_owned(), nth);
        self.spans.insert(id, Facts { start: at(start), end: at(end), failed, mutes });
    }

    fn report(
        &mut self,
        millis: u64,
        kind: EventKind,
        room: &str,
        created: u64,
        participant: Option<(&str, u64)>,
        track: Option<&str>,
    ) {
        let mut event = fixtures::event(kind, at(millis), room, at(created));
        event.id = format!("AE_{}", self.reports.len()).into();
        event.participant = participant.map(|(sid, joined)| fixtures::participant(sid, at(joined)));
        event.track = track.map(|sid| fixtures::track(sid, &event.kind));
        self.reports.push((millis, event));
    }

    /// The events as they arrive, each with its time.
    pub(crate) fn arrivals(&self, random: &mut Random, how: Delivery) -> Vec<(u64, Event)> {
        let mut arrivals = Vec::new();
        for (millis, event) in &self.reports {
            let mut report = |event: &Event, random: &mut Random| {
                if random.below(100) < how.left_out {
                    return;
                }
                arrivals.push((millis + random.below(how.window + 1), event.clone()));
                if random.below(100) < how.twice {
                    arrivals.push((millis + random.below(how.window + 1), event.clone()));
                }
            };
            report(event, random);
            if let Some(webhook) = webhook(event).filter(|_| how.webhooks) {
                report(&webhook, random);
            }
        }
        arrivals.sort_by_key(|(millis, _)| *millis);
        arrivals
    }
}

fn webhook(event: &Event) -> Option<Event> {
    let is_sent = matches!(
        event.kind,
        EventKind::RoomCreated
            | EventKind::RoomEnded
            | EventKind::ParticipantActive
            | EventKind::ParticipantLeft
            | EventKind::ParticipantConnectionAborted
            | EventKind::TrackPublished
            | EventKind::TrackUnpublished
    );
    let reported = event.reported.filter(|_| is_sent)?;
    let second = Time::from_nanos(reported.at.nanos() / 1_000_000_000 * 1_000_000_000)?;
    Some(Event {
        id: event.id.replace("AE_", "EV_").into(),
        origin: Origin::Webhook,
        reported: Some(ReportedTime { at: second, whole_seconds: true }),
        ..event.clone()
    })
}

// Applies all events and then lets time pass; nothing else ends what is open.
fn play(arrivals: &[(u64, Event)], how: Delivery) -> Batch {
    let new = |now| Engine::new(Settings::default(), stats::Settings::default(), now);
    let mut out = Batch::default();
    let mut engine = new(at(0));
    for (nth, (millis, event)) in arrivals.iter().enumerate() {
        if how.restart && nth == arrivals.len() / 2 {
            engine = saved_and_loaded(&engine, new(at(*millis)));
        }
        while let Some(due) = engine.next_deadline().filter(|due| *due <= at(*millis)) {
            engine.tick(due, &mut out);
        }
        let decoded = Decoded::Events(vec![event.clone()]);
        engine.apply(&decoded, at(*millis), true, &mut out);
    }
    while let Some(due) = engine.next_deadline() {
        engine.tick(due, &mut out);
    }
    assert!(engine_is_empty(&mut engine), "something is open for ever");
    out
}

pub(crate) fn saved_and_loaded(engine: &Engine, mut next: Engine) -> Engine {
    let mut parts = Vec::new();
    let mut put = |part: &[u8]| {
        parts.push(part.to_vec());
        Ok(())
    };
    engine.save(&mut Writer::new(&mut put)).unwrap();
    for bytes in parts {
        let (part, content) = snapshot::part(&bytes).unwrap();
        next.load(part, content).unwrap();
    }
    next
}

fn engine_is_empty(engine: &mut Engine) -> bool {
    let mut out = Batch::default();
    engine.close(at(1_000_000_000), "shutdown", &mut out);
    out.spans.is_empty()
}

fn text(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.map(|attribute| &attribute.value) {
        Some(Value::Text(text)) => text.to_string(),
        _ => String::new(),
    }
}

fn by_id(spans: &[Span]) -> BTreeMap<Id, Span> {
    let mut spans: Vec<&Span> = spans.iter().collect();
    spans.sort_by_key(|span| span.start);
    let mut by_id = BTreeMap::new();
    for span in spans {
        let [room, participant, track] =
            [key::ROOM_ID, key::PARTICIPANT_ID, key::TRACK_ID].map(|key| text(span, key));
        let mut id = (span.name, room, participant, track, 0);
        while by_id.contains_key(&id) {
            id.4 += 1;
        }
        by_id.insert(id, span.clone());
    }
    by_id
}

fn facts(span: &Span) -> Facts {
    let value = |key| {
        let found = span.attributes.iter().find(|attribute| attribute.key == key);
        found.map(|attribute| attribute.value.clone())
    };
    let mutes = match (value(key::TRACK_MUTES), value(key::TRACK_MUTED_DURATION)) {
        (Some(Value::Int(mutes)), Some(Value::Float(muted))) => {
            Some((mutes, u64::try_from(Duration::from_secs_f64(muted).as_millis()).unwrap()))
        }
        _ => None,
    };
    Facts { start: span.start, end: span.end, failed: span.failure.is_some(), mutes }
}

fn ids_are_unique(spans: &[Span]) -> bool {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id).collect();
    ids.len() == spans.len()
}

// `HISTORIES` sets how many; `make ci` tries 5,000.
fn cases() -> ProptestConfig {
    let cases = std::env::var("HISTORIES").ok().map_or(1_000, |many| many.parse().unwrap());
    ProptestConfig { cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_complete_history_yields_exact_spans_in_any_order(
        seed in any::<u64>(),
        window in 0..=WINDOW,
        twice in 0u64..40,
        webhooks in any::<bool>(),
        restart in any::<bool>(),
    ) {
        let mut random = Random::new(seed);
        let history = History::new(&mut random);
        let how = Delivery { window, twice, left_out: 0, webhooks, restart };
        let out = play(&history.arrivals(&mut random, how), how);
        prop_assert!(ids_are_unique(&out.spans));
        let emitted: BTreeMap<Id, Facts> =
            by_id(&out.spans).iter().map(|(id, span)| (id.clone(), facts(span))).collect();
        prop_assert_eq!(emitted, history.spans);
        let inferred = out.spans.iter().find(|span| !text(span, key::END_INFERRED).is_empty());
        prop_assert_eq!(inferred, None);
    }

    #[test]
    fn guessed_ends_of_an_incomplete_history_are_marked(
        seed in any::<u64>(),
        window in 0..=WINDOW,
        left_out in 1u64..60,
        webhooks in any::<bool>(),
        restart in any::<bool>(),
    ) {
        let mut random = Random::new(seed);
        let history = History::new(&mut random);
        let how = Delivery { window, twice: 10, left_out, webhooks, restart };
        let arrivals = history.arrivals(&mut random, how);
        let out = play(&arrivals, how);
        prop_assert!(ids_are_unique(&out.spans));
        let spans = by_id(&out.spans);
        for (id, span) in &spans {
            // A lost request or answer changes how attempts to subscribe are numbered.
            if id.0 == name::TRACK_SUBSCRIBE {
                continue;
            }
            let Some(truth) = history.spans.get(id) else { panic!("{id:?} did not happen") };
            let off = truth.end.since(span.end).max(span.end.since(truth.end));
            let is_inferred = !text(span, key::END_INFERRED).is_empty();
            prop_assert!(off < WHOLE_SECOND || is_inferred, "{:?}: {:?}", span, truth);
        }
        // Every reported participant has a span, and so has its room.
        for (_, event) in &arrivals {
            let room = event.room.as_ref().unwrap().sid.as_ref().unwrap().to_string();
            let mut id = (name::ROOM, room.clone(), String::new(), String::new(), 0);
            prop_assert!(spans.contains_key(&id));
            if let Some(who) = &event.participant {
                id = (name::PARTICIPANT, room, who.sid.to_string(), String::new(), 0);
                prop_assert!(spans.contains_key(&id));
            }
        }
    }
}
