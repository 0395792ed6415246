//! Random histories with agents, SIP calls, egresses and ingresses: the metrics agree with the spans, in any order, with
//! copies and across restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use livekit_otel_engine::session;
use livekit_otel_engine::stats::{Level, Settings};
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::{Decoded, Event, SipCall, SipStatus, Time, TrackKind};
use livekit_otel_model::semconv::{key, metric, span as name};
use livekit_otel_model::signal::{Attribute, Data, Metric, Number, Span, Temporality, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::labels;
use crate::fixtures::at;
use crate::histories::{AHEAD, Delivery, EQUAL, History};
use crate::history::saved_and_loaded;
use crate::messages::{analytics, merge, webhook};
use crate::random::Random;

// No report is later than a participant's spans wait.
const WINDOW: u64 = 30_000;
const INTERVAL: Duration = Duration::from_secs(30);

type Arrivals = Vec<(u64, Decoded)>;
// A metric, the labels of a series, and its sum in nanoseconds or how many durations it has.
type Totals = BTreeMap<(&'static str, String), u128>;

// What the participants and tracks of a history are depends on their number.
fn describe(decoded: &mut Decoded) {
    let Decoded::Events(events) = decoded else { return };
    for Event { participant, track, .. } in events {
        if let Some(who) = participant {
            let sid = who.sid.to_string();
            let nth = sid.bytes().next_back().unwrap();
            who.kind =
                ["STANDARD", "AGENT", "SIP"].get(usize::from(nth % 4)).map(|it| (*it).into());
            if nth % 4 == 2 {
                let is_answered = sid.starts_with("RM_0");
                who.sip = Some(Box::new(SipCall {
                    id: format!("SCL_{sid}").into(),
                    trunk: Some("ST_1".into()),
                    rule: None,
                    status: Some(if is_answered { SipStatus::Active } else { SipStatus::Ringing }),
                    number: None,
                    trunk_number: None,
                    invited: None,
                    answered: who.joined.filter(|_| is_answered).map(|at| at + INTERVAL / 10),
                    has_tag: is_answered,
                }));
            }
        }
        if let Some(track) = track {
            let nth = track.sid.as_str().bytes().next_back().unwrap();
            let kinds = [TrackKind::Audio, TrackKind::Video];
            track.kind = kinds.get(usize::from(nth % 2)).copied();
        }
    }
}

fn nanos(millis: u64) -> Json {
    json!(at(millis).nanos().to_string())
}

// An operation's room, start and end in milliseconds, and its number.
struct Operation {
    nth: u64,
    start: u64,
    end: u64,
}

impl Operation {
    // A report at `at` by the source's own message, of which `of` are the fields.
    fn report(&self, kind: &str, at: u64, of: Json) -> (u64, Decoded) {
        let millis = i64::try_from(at).unwrap();
        let id = format!("operation_{}_{at}", self.nth);
        let mut message = if kind.starts_with("egress") {
            json!({"id": format!("EV_{id}"), "room": null})
        } else {
            let room = json!({"sid": "RM_0", "name": "name of RM_0"});
            json!({"id": format!("AE_{id}"), "roomId": "RM_0", "room": room})
        };
        merge(&mut message, of);
        let is_webhook = kind.starts_with("egress");
        (
            at,
            if is_webhook {
                webhook(kind, millis, message)
            } else {
                analytics(kind, millis, message)
            },
        )
    }

    fn egress(&self, ended: &str) -> [(u64, Decoded); 2] {
        let info = |status: &str, end: Option<u64>| {
            json!({"egressInfo": {
                "egressId": format!("EG_{}", self.nth), "roomId": "RM_0", "roomComposite": {},
                "status": status, "startedAt": nanos(self.start), "endedAt": end.map(nanos),
            }})
        };
        let started = info("EGRESS_ACTIVE", None);
        [
            self.report("egress_started", self.start, started),
            self.report("egress_ended", self.end, info(ended, Some(self.end))),
        ]
    }

    fn call(&self, answered: Option<u64>) -> [(u64, Decoded); 2] {
        let id = format!("SCL_{}", self.nth);
        let call = |status: &str, end: Option<u64>| {
            json!({"sipCallId": id, "sipTrunkId": "ST_2", "sipCall": {
                "callId": id, "trunkId": "ST_2", "roomId": "RM_0", "callDirection": "SCD_INBOUND",
                "callStatus": status, "createdAtNs": nanos(self.start),
                "startedAtNs": answered.map(nanos), "endedAtNs": end.map(nanos),
            }})
        };
        let ended = call("SCS_DISCONNECTED", Some(self.end));
        [
            self.report("SIP_CALL_INCOMING", self.start, call("SCS_CALL_INCOMING", None)),
            self.report("SIP_CALL_ENDED", self.end, ended),
        ]
    }

    fn ingress(&self) -> [(u64, Decoded); 2] {
        let state = |status: &str, end: Option<u64>| {
            json!({"ingress": {"ingressId": format!("IN_{}", self.nth), "state": {
                "resourceId": "WH_1", "roomId": "RM_0", "status": status,
                "startedAt": nanos(self.start), "endedAt": end.map(nanos),
            }}})
        };
        let ended = state("ENDPOINT_COMPLETE", Some(self.end));
        [
            self.report("INGRESS_STARTED", self.start, state("ENDPOINT_PUBLISHING", None)),
            self.report("INGRESS_ENDED", self.end, ended),
        ]
    }
}

// Egresses, calls and ingresses in a room of a history: when each report is made, and what it says.
fn operations(random: &mut Random) -> Arrivals {
    let mut reports = Vec::new();
    for nth in 0..random.below(4) {
        let start = AHEAD + random.below(100_000);
        let of = Operation { nth, start, end: start + 1 + random.below(200_000) };
        reports.extend(match random.below(3) {
            0 => of.egress(random.of(&["EGRESS_COMPLETE", "EGRESS_FAILED"])),
            1 => {
                let answered = start + (of.end - start) / 3;
                of.call((random.below(2) == 0).then_some(answered))
            }
            _ => of.ingress(),
        });
    }
    reports
}

// The reports of all as they arrive: each up to `how.window` late, and some of them twice.
fn arrivals(history: &History, reports: &Arrivals, random: &mut Random, how: Delivery) -> Arrivals {
    let mut all = history.arrivals(random, how);
    for (_, decoded) in &mut all {
        describe(decoded);
    }
    for (millis, decoded) in reports {
        for _ in 0..=u32::from(random.below(100) < how.twice) {
            all.push((millis + random.below(how.window + 1), decoded.clone()));
        }
    }
    all.sort_by_key(|(millis, _)| *millis);
    all
}

// The output with a flush every 30 s, and with a restart before each of these arrivals.
fn play(arrivals: &Arrivals, settings: Settings, restarts: &[usize]) -> Batch {
    let traces = session::Settings { subscriptions: true, ..session::Settings::default() };
    let new = |now| Engine::new(traces.clone(), settings, now);
    let mut out = Batch::default();
    let mut engine = new(at(0));
    let mut flush_at = at(0) + INTERVAL;
    let mut until = |engine: &mut Engine, now: Option<Time>, out: &mut Batch| {
        while let Some(due) = engine.next_deadline().filter(|due| now.is_none_or(|at| *due <= at)) {
            while flush_at <= due && now.is_some() {
                engine.flush(flush_at, out);
                flush_at = flush_at + INTERVAL;
            }
            engine.tick(due, out);
            if now.is_none() {
                engine.flush(due, out);
            }
        }
    };
    for (nth, (millis, decoded)) in arrivals.iter().enumerate() {
        if restarts.contains(&nth) {
            engine = saved_and_loaded(&engine, new(at(*millis)));
        }
        until(&mut engine, Some(at(*millis)), &mut out);
        engine.apply(decoded, at(*millis), true, &mut out);
    }
    until(&mut engine, None, &mut out);
    out
}

fn value<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|it| it.key == key).map(|it| &it.value)
}

// The attributes of a span with these keys, and its room's where rooms have series.
fn of_span(span: &Span, level: Level, keys: &[&'static str]) -> String {
    let room = [key::ROOM_ID, key::ROOM_NAME].into_iter().filter(|_| level >= Level::Room);
    let attribute = |key| value(span, key).map(|it| Attribute { key, value: it.clone() });
    let all: Vec<_> = room.chain(keys.iter().copied()).filter_map(attribute).collect();
    labels(&all)
}

// What the spans say was used.
fn used(spans: &[Span], level: Level) -> Totals {
    let mut totals = Totals::new();
    for span in spans {
        let mut add = |name, keys: &[&'static str], took: Duration| {
            if !took.is_zero() {
                *totals.entry((name, of_span(span, level, keys))).or_default() += took.as_nanos();
            }
        };
        let took = span.end.since(span.start);
        match span.name {
            name::PARTICIPANT => {
                add(metric::USAGE_PARTICIPANT_TIME, &[key::PARTICIPANT_KIND], took);
                if value(span, key::PARTICIPANT_KIND) == Some(&"AGENT".into()) {
                    add(metric::USAGE_AGENT_TIME, &[], took);
                }
            }
            name::TRACK => add(metric::USAGE_TRACK_PUBLISHED_TIME, &[key::TRACK_KIND], took),
            name::SUBSCRIPTION => {
                add(metric::USAGE_TRACK_SUBSCRIBED_TIME, &[key::TRACK_KIND], took);
            }
            name::EGRESS => add(metric::USAGE_EGRESS_TIME, &[key::EGRESS_TYPE], took),
            name::SIP_CALL if value(span, key::SIP_ANSWER) == Some(&"answered".into()) => {
                let latency = match value(span, key::SIP_ANSWER_LATENCY) {
                    Some(Value::Float(latency)) => Duration::from_secs_f64(*latency),
                    _ => Duration::ZERO,
                };
                let keys = [key::SIP_CALL_DIRECTION, key::SIP_TRUNK_ID];
                add(metric::USAGE_SIP_TIME, &keys, took.saturating_sub(latency));
            }
            _ => {}
        }
    }
    totals
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a test")]
fn in_nanos(seconds: f64) -> u128 {
    (seconds * 1e9).round() as u128
}

// What the metrics say was used: of cumulative points the last of each series and start, of deltas all.
fn counted(metrics: &[Metric]) -> Totals {
    let mut last = BTreeMap::new();
    for metric in metrics.iter().filter(|metric| metric.name.starts_with("lk.usage.")) {
        let Data::Sum { points, temporality, .. } = &metric.data else { panic!("a sum") };
        for point in points {
            let Some(Number::Float(seconds)) = point.value else { continue };
            let time = (*temporality == Temporality::Delta).then_some(point.time);
            let series = (metric.name, labels(&point.attributes));
            last.insert((series, point.start, time), in_nanos(seconds));
        }
    }
    let mut totals = Totals::new();
    for ((series, _, _), nanos) in last {
        *totals.entry(series).or_default() += nanos;
    }
    totals
}

// How many operations ended, by the metric: of the spans, and of the histograms' last points.
fn ended(out: &Batch) -> (BTreeMap<&str, u64>, BTreeMap<&str, u64>) {
    let names = [
        (name::EGRESS, metric::EGRESS_DURATION),
        (name::INGRESS, metric::INGRESS_DURATION),
        (name::SIP_CALL, metric::SIP_CALL_DURATION),
    ];
    let (mut spans, mut durations) = (BTreeMap::new(), BTreeMap::new());
    for (span, metric) in names {
        let count = out.spans.iter().filter(|it| it.name == span).count() as u64;
        spans.extend((count > 0).then_some((metric, count)));
        let mut last = BTreeMap::new();
        for of in out.metrics.iter().filter(|it| it.name == metric) {
            let Data::Histogram { points, .. } = &of.data else { panic!("a histogram") };
            last.extend(points.iter().map(|it| ((labels(&it.attributes), it.start), it.count)));
        }
        let count = last.values().sum::<u64>();
        durations.extend((count > 0).then_some((metric, count)));
    }
    (spans, durations)
}

prop_compose! {
    fn settings()(
        level in prop_oneof![Just(Level::Node), Just(Level::Room), Just(Level::Participant)],
        is_delta in any::<bool>(),
    ) -> Settings {
        let temporality = if is_delta { Temporality::Delta } else { Temporality::Cumulative };
        Settings { level, temporality, ..Settings::default() }
    }
}

prop_compose! {
    fn delivery()(window in 0..=WINDOW, twice in 0u64..40, left_out in 0u64..30) -> Delivery {
        Delivery {
            window, twice, left_out, roomless: 0, webhooks: false, clocks: EQUAL, restart: false,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_used_agrees_with_the_durations_of_the_spans(
        seed in any::<u64>(),
        how in delivery(),
        settings in settings(),
    ) {
        let mut random = Random::new(seed);
        let history = History::new(&mut random);
        let reports = operations(&mut random);
        let out = play(&arrivals(&history, &reports, &mut random, how), settings, &[]);
        prop_assert_eq!(counted(&out.metrics), used(&out.spans, settings.level));
        if settings.temporality == Temporality::Cumulative {
            let (spans, durations) = ended(&out);
            prop_assert_eq!(durations, spans);
        }
    }

    #[test]
    fn what_was_used_does_not_depend_on_the_order_and_the_number_of_reports(
        seed in any::<u64>(),
        how in delivery(),
        settings in settings(),
    ) {
        let how = Delivery { left_out: 0, ..how };
        let mut random = Random::new(seed);
        let history = History::new(&mut random);
        let reports = operations(&mut random);
        let mut play = || play(&arrivals(&history, &reports, &mut random, how), settings, &[]);
        prop_assert_eq!(counted(&play().metrics), counted(&play().metrics));
    }

    #[test]
    fn a_restart_at_any_point_does_not_change_the_metrics(
        seed in any::<u64>(),
        how in delivery(),
        settings in settings(),
        hundredths in proptest::collection::vec(0usize..100, 1..4),
    ) {
        let mut random = Random::new(seed);
        let history = History::new(&mut random);
        let reports = operations(&mut random);
        let arrivals = arrivals(&history, &reports, &mut random, how);
        let restarts: Vec<_> = hundredths.iter().map(|it| arrivals.len() * it / 100).collect();
        let expected = play(&arrivals, settings, &[]);
        let actual = play(&arrivals, settings, &restarts);
        prop_assert_eq!(actual.metrics, expected.metrics);
    }
}
