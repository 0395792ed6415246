//! Participants that begin with their request: the times in their attributes, and requests to subscribe
//! that their leave cuts off.

use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Span, Value};
use serde_json::{Value as Json, json};

use crate::messages::{analytics, at, participant, with_track};
use crate::run::{Run, text};

const JOINED: i64 = 100_000;

// Unix milliseconds.
fn unix(millis: i64) -> i64 {
    1_795_406_960_000 + millis
}

fn who(attributes: &Json) -> Json {
    json!({"participantId": "PA_1", "participant": {
        "sid": "PA_1", "joinedAtMs": unix(JOINED).to_string(), "attributes": attributes,
    }})
}

// The starts of a participant and of its connecting, from its join on, if it has these attributes when it
// joins, or only when it leaves.
fn starts(attributes: &Json, is_late: bool) -> [i64; 2] {
    let with = |is_here: bool| who(&if is_here { attributes.clone() } else { json!({}) });
    let mut run = Run::new();
    run.apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, with(!is_late)))
        .apply(JOINED + 500, &analytics("PARTICIPANT_ACTIVE", JOINED + 500, with(!is_late)))
        .restart()
        .apply(JOINED + 9000, &analytics("PARTICIPANT_LEFT", JOINED + 9000, with(is_late)))
        .wait();
    let millis = |at: Time| i64::try_from(at.nanos() / 1_000_000).unwrap() - unix(JOINED);
    let spans = [span::PARTICIPANT, span::PARTICIPANT_CONNECT].map(|name| run.span(name));
    assert_eq!(spans.map(|span| millis(span.end)), [9000, 500]);
    spans.map(|span| millis(span.start))
}

#[test]
fn a_participant_begins_when_it_was_requested() {
    for (key, before) in [
        ("lk.rtc.joinRequestTime", 250),
        ("lk.sip.inviteTime", 3000),
        ("lk.sip.answerTime", 60_000),
    ] {
        let attributes = json!({key: unix(JOINED - before).to_string()});
        for is_late in [false, true] {
            assert_eq!(starts(&attributes, is_late), [-before; 2], "{key}");
        }
    }
    // The first of several.
    let attributes = json!({
        "lk.sip.inviteTime": unix(JOINED - 2000).to_string(),
        "lk.rtc.joinRequestTime": unix(JOINED - 100).to_string(),
    });
    assert_eq!(starts(&attributes, false), [-2000; 2]);
}

#[test]
fn a_request_that_is_not_within_a_minute_of_the_join_is_ignored() {
    for millis in [JOINED - 60_001, JOINED + 1, JOINED + 5000, JOINED + 3_600_000] {
        let attributes = json!({"lk.sip.answerTime": unix(millis).to_string()});
        assert_eq!(starts(&attributes, false), [0; 2], "{millis}");
    }
    for bad in ["", "now", "-1"] {
        assert_eq!(starts(&json!({"lk.sip.inviteTime": bad}), false), [0; 2], "{bad}");
    }
    // One that is, besides one that is not.
    let attributes = json!({
        "lk.sip.inviteTime": unix(JOINED - 90_000).to_string(),
        "lk.rtc.joinRequestTime": unix(JOINED - 100).to_string(),
    });
    assert_eq!(starts(&attributes, false), [-100; 2]);
}

// The attempts of a subscription that was requested again at `again`, and left at 20 s: how often each was
// requested, and how it ended.
fn attempts(again: i64, left_first: bool) -> Vec<(Value, Option<String>)> {
    let of = || with_track("PA_1", "TR_1");
    let mut steps = vec![
        analytics("TRACK_SUBSCRIBE_REQUESTED", 1000, of()),
        analytics("TRACK_SUBSCRIBED", 1100, of()),
        analytics("TRACK_UNSUBSCRIBED", again - 1, of()),
        analytics("TRACK_SUBSCRIBE_REQUESTED", again, of()),
        analytics("PARTICIPANT_LEFT", 20_000, participant("PA_1")),
    ];
    if left_first {
        steps.reverse();
    }
    let mut run = Run::new();
    run.apply(0, &analytics("PARTICIPANT_JOINED", 0, participant("PA_1")));
    for (nth, step) in (20_000..).zip(&steps) {
        run.apply(nth, step);
    }
    run.wait();
    let times = |span: &Span| {
        span.attributes.iter().find(|it| it.key == key::ATTEMPTS).unwrap().value.clone()
    };
    let result = |span: &Span| text(&span.attributes, key::SUBSCRIBE_RESULT).map(str::to_owned);
    let spans = run.spans(span::TRACK_SUBSCRIBE);
    spans.iter().map(|span| (times(span), result(span))).collect()
}

#[test]
fn a_second_request_that_the_leave_cuts_off_is_no_attempt_of_its_own() {
    let subscribed = || Some("subscribed".to_owned());
    for left_first in [false, true] {
        for again in [19_999, 6000] {
            assert_eq!(attempts(again, left_first), [(Value::Int(2), subscribed())], "{again}");
        }
        // The server would have reported a failure by then.
        let expected = [(Value::Int(1), subscribed()), (Value::Int(1), None)];
        assert_eq!(attempts(5000, left_first), expected);
    }
}

#[test]
fn a_first_request_that_the_leave_cuts_off_is_an_attempt() {
    let mut run = Run::new();
    run.apply(0, &analytics("PARTICIPANT_JOINED", 0, participant("PA_1")))
        .apply(1000, &analytics("TRACK_SUBSCRIBE_REQUESTED", 1000, with_track("PA_1", "TR_1")))
        .apply(2000, &analytics("PARTICIPANT_LEFT", 2000, participant("PA_1")))
        .wait();
    let attempt = run.span(span::TRACK_SUBSCRIBE);
    assert_eq!(text(&attempt.attributes, key::END_INFERRED), Some("participant_left"));
    assert_eq!(attempt.end.since(at(0)).as_secs(), 2);
}
