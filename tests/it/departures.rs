//! Participants that left, counted by the reason: which of them were lost, and which asked for it.

use std::collections::BTreeMap;

use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_livekit::messages::DisconnectReason as Reason;
use livekit_otel_livekit::messages::participant_info::Kind;
use livekit_otel_model::event::Decoded;
use livekit_otel_model::semconv::{key, metric, span};
use livekit_otel_model::signal::{Attribute, Data, Number, NumberPoint, Span, Temporality, Value};
use serde_json::{Value as Json, json};

use crate::history::saved_and_loaded;
use crate::messages::{ROOM, analytics, at, merge, participant, webhook};

const LINGER: i64 = 35_000;
// Longer than what ended is kept.
const AN_HOUR: i64 = 3_600_000;

struct Call {
    engine: Engine,
    millis: i64,
    left: u32,
    spans: Vec<Span>,
}

/// A series' reason, kind and error.type, each empty if it is absent.
type Departure = [String; 3];

fn departure(reason: &str, kind: &str, error_type: &str) -> Departure {
    [reason, kind, error_type].map(str::to_owned)
}

impl Call {
    fn new() -> Self {
        Self::with(stats::Settings::default())
    }

    fn with(stats: stats::Settings) -> Self {
        let engine = Engine::new(session::Settings::default(), stats, at(0));
        Self { engine, millis: 1000, left: 0, spans: Vec::new() }
    }

    fn restart(&mut self) {
        let begun = Engine::new(session::Settings::default(), stats::Settings::default(), at(0));
        self.engine = saved_and_loaded(&self.engine, begun);
    }

    fn apply(&mut self, decoded: &Decoded) {
        self.millis += 10;
        let mut out = Batch::default();
        self.engine.apply(decoded, at(self.millis), true, &mut out);
        self.spans.append(&mut out.spans);
    }

    /// A participant is in the room for a moment, described by `more`.
    fn visit(&mut self, end: &str, more: &Json) {
        self.left += 1;
        let mut who = participant(&format!("PA_{}", self.left));
        merge(&mut who["participant"], more.clone());
        for kind in ["PARTICIPANT_JOINED", "PARTICIPANT_ACTIVE", end] {
            if end == "PARTICIPANT_CONNECTION_ABORTED" && kind == "PARTICIPANT_ACTIVE" {
                continue;
            }
            let event = analytics(kind, self.millis, who.clone());
            self.apply(&event);
        }
    }

    /// The counts, once everything is released.
    fn counts(&mut self) -> BTreeMap<Departure, i64> {
        self.millis += LINGER;
        let mut out = Batch::default();
        self.engine.tick(at(self.millis), &mut out);
        self.engine.flush(at(self.millis), &mut out);
        self.spans.append(&mut out.spans);
        let metrics = out.all_metrics();
        let metric = metrics.iter().find(|metric| metric.name == metric::PARTICIPANT_DISCONNECTS);
        let Some(metric) = metric else { return BTreeMap::new() };
        let Data::Sum { monotonic: true, points, .. } = &metric.data else {
            panic!("{metric:?}");
        };
        points.iter().map(|point| (of_point(point), count(point))).collect()
    }

    /// The reason and error.type of each participant's span.
    fn spans(&self) -> Vec<[String; 2]> {
        let spans = self.spans.iter().filter(|it| it.name == span::PARTICIPANT);
        let keys = [key::DISCONNECT_REASON, key::ERROR_TYPE];
        let mut all: Vec<_> = spans.map(|it| keys.map(|key| text(&it.attributes, key))).collect();
        all.sort();
        all
    }
}

fn text(of: &[Attribute], key: &str) -> String {
    match of.iter().find(|it| it.key == key).map(|it| &it.value) {
        Some(Value::Text(text)) => text.to_string(),
        None => String::new(),
        value => panic!("{key}: {value:?}"),
    }
}

fn of_point(point: &NumberPoint) -> Departure {
    let keys = [key::DISCONNECT_REASON, key::PARTICIPANT_KIND, key::ERROR_TYPE];
    assert!(point.attributes.iter().all(|it| keys.contains(&it.key)), "{:?}", point.attributes);
    keys.map(|key| text(&point.attributes, key))
}

fn count(point: &NumberPoint) -> i64 {
    let Some(Number::Int(count)) = point.value else { panic!("{point:?}") };
    count
}

#[test]
fn each_reason_is_counted_and_failures_have_their_error_type() {
    let reasons = (0..).map_while(|number| Reason::try_from(number).ok()).collect::<Vec<_>>();
    assert_eq!(reasons.len(), 17, "LiveKit has new reasons");
    let mut call = Call::new();
    let (mut expected, mut spans) = (BTreeMap::new(), Vec::new());
    for reason in reasons {
        let name = reason.as_str_name();
        // Upstream's IsIntentionalDisconnect (livekit pkg/rtc/types/interfaces.go) without a failed SIP trunk,
        // the answers of a person who was called, and no reason at all.
        let error_type = match reason {
            Reason::UnknownReason
            | Reason::ClientInitiated
            | Reason::ServerShutdown
            | Reason::DuplicateIdentity
            | Reason::Migration
            | Reason::ParticipantRemoved
            | Reason::RoomDeleted
            | Reason::RoomClosed
            | Reason::UserUnavailable
            | Reason::UserRejected => String::new(),
            _ => name.to_ascii_lowercase(),
        };
        call.visit("PARTICIPANT_LEFT", &json!({"disconnectReason": name}));
        expected.insert(departure(name, "STANDARD", &error_type), 1);
        let has_none = reason == Reason::UnknownReason;
        spans.push([if has_none { String::new() } else { name.to_owned() }, error_type]);
    }
    assert_eq!(call.counts(), expected);
    spans.sort();
    assert_eq!(call.spans(), spans);
}

#[test]
fn each_kind_of_participant_is_counted_apart() {
    let mut call = Call::new();
    let mut expected = BTreeMap::new();
    for (kind, times) in [("STANDARD", 3), ("SIP", 2), ("AGENT", 1)] {
        let who = json!({"kind": kind, "disconnectReason": "CONNECTION_TIMEOUT"});
        (0..times).for_each(|_| call.visit("PARTICIPANT_LEFT", &who));
        expected.insert(departure("CONNECTION_TIMEOUT", kind, "connection_timeout"), times);
    }
    assert_eq!(call.counts(), expected);
}

#[test]
fn a_connection_that_was_never_made_is_an_error_of_its_own_whatever_the_reason() {
    let mut call = Call::new();
    for reason in ["JOIN_FAILURE", "CLIENT_INITIATED"] {
        let who = json!({"disconnectReason": reason});
        call.visit("PARTICIPANT_CONNECTION_ABORTED", &who);
    }
    let aborted = |reason| (departure(reason, "STANDARD", "connection_aborted"), 1);
    assert_eq!(call.counts(), ["JOIN_FAILURE", "CLIENT_INITIATED"].map(aborted).into());
}

#[test]
fn a_departure_is_counted_once_whatever_reports_it() {
    let mut call = Call::new();
    let lost = json!({"disconnectReason": "MEDIA_FAILURE"});
    call.visit("PARTICIPANT_LEFT", &lost);
    let mut who = participant("PA_1");
    merge(&mut who["participant"], lost);
    for _ in 0..2 {
        call.apply(&webhook("participant_left", call.millis, who.clone()));
    }
    let expected = [(departure("MEDIA_FAILURE", "STANDARD", "media_failure"), 1)].into();
    assert_eq!(call.counts(), expected);
    // After its spans were released too.
    call.apply(&webhook("participant_left", call.millis, who.clone()));
    assert_eq!(call.counts(), expected);
    // After it was forgotten, while its room is open and then not even its room is known any more.
    call.apply(&webhook("room_started", call.millis, json!({})));
    call.millis += AN_HOUR;
    call.apply(&webhook("participant_left", call.millis, who.clone()));
    assert_eq!(call.counts(), expected);
    call.apply(&webhook("room_finished", call.millis, json!({})));
    assert_eq!(call.counts(), expected);
    call.millis += AN_HOUR;
    call.apply(&webhook("participant_left", call.millis, who));
    assert_eq!(call.counts(), expected);
}

#[test]
fn a_restart_between_a_departure_and_its_release_counts_it_once() {
    let mut call = Call::new();
    let lost = json!({"disconnectReason": "CONNECTION_TIMEOUT"});
    call.visit("PARTICIPANT_LEFT", &lost);
    call.restart();
    let mut who = participant("PA_1");
    merge(&mut who["participant"], lost);
    call.apply(&webhook("participant_left", call.millis, who.clone()));
    let expected = [(departure("CONNECTION_TIMEOUT", "STANDARD", "connection_timeout"), 1)].into();
    assert_eq!(call.counts(), expected);
    call.restart();
    call.apply(&webhook("participant_left", call.millis, who));
    assert_eq!(call.counts(), expected);
}

#[test]
fn the_reason_of_a_late_report_is_counted_instead_of_an_inferred_end() {
    let mut call = Call::new();
    call.apply(&analytics("PARTICIPANT_ACTIVE", 1000, participant("PA_1")));
    call.apply(&analytics("ROOM_ENDED", call.millis, json!({"room": {"sid": ROOM}})));
    let mut who = participant("PA_1");
    merge(&mut who["participant"], json!({"disconnectReason": "ROOM_DELETED"}));
    call.apply(&webhook("participant_left", call.millis, who));
    assert_eq!(call.counts(), [(departure("ROOM_DELETED", "STANDARD", ""), 1)].into());
}

#[test]
fn names_that_are_not_known_make_one_series() {
    let mut call = Call::new();
    for name in ["BORED", "client_initiated", "Z"] {
        let mut event = analytics("PARTICIPANT_LEFT", call.millis, participant(name));
        let Decoded::Events(events) = &mut event else { panic!("{event:?}") };
        let who = events[0].participant.as_mut().unwrap();
        who.disconnect_reason = Some(name.into());
        who.kind = Some(name.into());
        call.apply(&event);
    }
    assert_eq!(call.counts(), [(departure("UNKNOWN_REASON", "", ""), 3)].into());
}

#[test]
fn every_kind_of_participant_is_known() {
    let kinds = (0..20).filter_map(|number| Kind::try_from(number).ok());
    let kinds = kinds.map(|kind| kind.as_str_name()).collect::<Vec<_>>();
    let mut call = Call::new();
    for kind in &kinds {
        let who = json!({"kind": kind, "disconnectReason": "CLIENT_INITIATED"});
        call.visit("PARTICIPANT_LEFT", &who);
    }
    let counted = kinds.iter().map(|kind| (departure("CLIENT_INITIATED", kind, ""), 1));
    assert_eq!(call.counts(), counted.collect());
}

#[test]
fn with_delta_a_flush_has_only_the_departures_since_the_last() {
    let temporality = Temporality::Delta;
    let mut call = Call::with(stats::Settings { temporality, ..stats::Settings::default() });
    let who = json!({"disconnectReason": "CLIENT_INITIATED"});
    let one = || [(departure("CLIENT_INITIATED", "STANDARD", ""), 1)].into();
    for _ in 0..2 {
        call.visit("PARTICIPANT_LEFT", &who);
        assert_eq!(call.counts(), one());
        assert_eq!(call.counts(), BTreeMap::new());
    }
}

#[test]
fn who_is_still_in_the_room_at_its_end_left_for_no_known_reason() {
    let mut call = Call::new();
    call.apply(&analytics("PARTICIPANT_ACTIVE", 1000, participant("PA_1")));
    assert_eq!(call.counts(), BTreeMap::new());
    call.apply(&analytics("ROOM_ENDED", call.millis, json!({"room": {"sid": ROOM}})));
    assert_eq!(call.counts(), [(departure("UNKNOWN_REASON", "STANDARD", ""), 1)].into());
}

#[test]
fn the_counts_survive_a_snapshot() {
    let mut call = Call::new();
    let lost = json!({"disconnectReason": "CONNECTION_TIMEOUT"});
    call.visit("PARTICIPANT_LEFT", &lost);
    let timed_out = || departure("CONNECTION_TIMEOUT", "STANDARD", "connection_timeout");
    let expected = |times| BTreeMap::from([(timed_out(), times)]);
    assert_eq!(call.counts(), expected(1));
    call.restart();
    call.visit("PARTICIPANT_LEFT", &lost);
    assert_eq!(call.counts(), expected(2));
}
