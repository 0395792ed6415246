//! What the participant of a call says: each row of what was measured with livekit/sip 1.9, and the limits of
//! what can be known.

use livekit_otel_engine::session::{Settings, TraceScope};
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_model::event::Decoded;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::Span;
use serde_json::{Value as Json, json};

use super::{call, value};
use crate::messages::{analytics, at, merge, participant, webhook, with_track};
use crate::run::Run;

pub(super) const JOINED: i64 = 10_000;
pub(super) const LEFT: i64 = 30_000;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Direction {
    In,
    Out,
}

/// The participant `sid` of a call, with this status and more attributes.
pub(super) fn caller(sid: &str, direction: Direction, status: &str, more: Json) -> Json {
    let mut attributes = json!({
        "sip.callID": "SCL_1",
        "sip.trunkID": "ST_1",
        "sip.callStatus": status,
        "sip.phoneNumber": "+15550100",
        "sip.trunkPhoneNumber": "+15550001",
    });
    if direction == Direction::In {
        merge(&mut attributes, json!({"sip.ruleID": "SDR_1", "sip.callTag": "tag"}));
    }
    merge(&mut attributes, more);
    json!({"participantId": sid, "participant": {
        "sid": sid,
        "identity": "sip_+15550100",
        "name": "Phone +15550100",
        "kind": "SIP",
        "state": "ACTIVE",
        "joinedAtMs": (1_795_406_960_000 + JOINED).to_string(),
        "attributes": attributes,
    }})
}

/// The same when it leaves for that reason.
pub(super) fn leaving(mut caller: Json, reason: &str) -> Json {
    merge(&mut caller["participant"], json!({"state": "DISCONNECTED", "disconnectReason": reason}));
    caller
}

// The participant has the tag of the other end.
fn tag() -> Json {
    json!({"sip.callTag": "tag"})
}

fn first_status(direction: Direction) -> &'static str {
    if direction == Direction::In { "ringing" } else { "dialing" }
}

// A call whose participant leaves with that status, for that reason, after it has subscribed or not to a track that
// was there before.
fn run(direction: Direction, (last, reason): (&str, &str), more: &Json, subscribed: bool) -> Run {
    let first = caller("PA_1", direction, first_status(direction), json!({}));
    let mut run = Run::new();
    run.apply(1000, &analytics("PARTICIPANT_JOINED", 1000, participant("PA_2")))
        .apply(2000, &analytics("TRACK_PUBLISHED", 2000, with_track("PA_2", "TR_1")))
        .apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, first.clone()))
        .apply(JOINED + 100, &analytics("PARTICIPANT_ACTIVE", JOINED + 100, first));
    if subscribed {
        let subscribes = analytics("TRACK_SUBSCRIBE_REQUESTED", 14_000, with_track("PA_1", "TR_1"));
        run.apply(14_000, &subscribes);
    }
    let left = leaving(caller("PA_1", direction, last, more.clone()), reason);
    run.restart().apply(LEFT, &analytics("PARTICIPANT_LEFT", LEFT, left)).wait();
    run
}

fn millis(span: &Span) -> [u128; 2] {
    [span.start, span.end].map(|time| time.since(at(0)).as_millis())
}

#[test]
fn each_end_of_a_call_has_its_answer_and_its_failure() {
    use Direction::{In, Out};
    let (none, tag) = (json!({}), tag());
    for (direction, last, reason, more, subscribed, answer, failure) in [
        // The callee or the application hangs up.
        (Out, "hangup", "CLIENT_INITIATED", &tag, true, "answered", None),
        (Out, "active", "PARTICIPANT_REMOVED", &tag, true, "answered", None),
        (Out, "ringing", "PARTICIPANT_REMOVED", &none, false, "unanswered", None),
        (Out, "dialing", "ROOM_DELETED", &none, false, "unanswered", None),
        // 486, 603, 403 and failed authentication; 480, 404 and no answer; a silent peer.
        (Out, "ringing", "USER_REJECTED", &none, false, "unanswered", Some("user_rejected")),
        (Out, "ringing", "USER_UNAVAILABLE", &none, false, "unanswered", Some("user_unavailable")),
        (Out, "dialing", "USER_UNAVAILABLE", &none, false, "unanswered", Some("user_unavailable")),
        // 503, and a name that can't be resolved.
        (
            Out,
            "ringing",
            "CLIENT_INITIATED",
            &none,
            false,
            "unanswered",
            Some("sip_trunk_or_network"),
        ),
        (
            Out,
            "dialing",
            "CLIENT_INITIATED",
            &none,
            false,
            "unanswered",
            Some("sip_trunk_or_network"),
        ),
        // The media times out; the SIP service is killed.
        (Out, "active", "CLIENT_INITIATED", &tag, true, "answered", Some("sip_call_dropped")),
        (Out, "automation", "CLIENT_INITIATED", &tag, true, "answered", Some("sip_call_dropped")),
        (Out, "active", "CONNECTION_TIMEOUT", &tag, true, "answered", Some("connection_timeout")),
        (
            Out,
            "dialing",
            "CONNECTION_TIMEOUT",
            &none,
            false,
            "unanswered",
            Some("connection_timeout"),
        ),
        (
            Out,
            "ringing",
            "SIP_TRUNK_FAILURE",
            &none,
            false,
            "unanswered",
            Some("sip_trunk_failure"),
        ),
        // It was asked to end the call before or after the answer.
        (Out, "hangup", "CLIENT_INITIATED", &none, false, "unknown", None),
        // The caller hangs up, is transferred or cancels, or the media times out: all alike.
        (In, "hangup", "CLIENT_INITIATED", &none, true, "answered", None),
        (In, "hangup", "CLIENT_INITIATED", &none, false, "unknown", None),
        // Nobody in the room publishes a track in time.
        (In, "ringing", "CLIENT_INITIATED", &none, false, "unanswered", Some("sip_not_answered")),
        (In, "active", "PARTICIPANT_REMOVED", &none, true, "answered", None),
        (In, "active", "ROOM_DELETED", &none, false, "answered", None),
        (In, "ringing", "ROOM_DELETED", &none, false, "unanswered", None),
        (In, "active", "CONNECTION_TIMEOUT", &none, true, "answered", Some("connection_timeout")),
        // A status that this version does not know.
        (Out, "paused", "CLIENT_INITIATED", &none, false, "unknown", None),
    ] {
        let run = run(direction, (last, reason), more, subscribed);
        let call = call(&run.out);
        assert_eq!(value(call, key::SIP_ANSWER).as_deref(), Some(answer), "{last} {reason}");
        assert_eq!(call.failure(), failure, "{last} {reason}");
        assert_eq!(value(call, key::DISCONNECT_REASON).as_deref(), Some(reason));
        let expected = subscribed.then(|| "4.000".to_owned());
        assert_eq!(value(call, key::SIP_ANSWER_LATENCY), expected, "{last} {reason}");
        assert_eq!(millis(call), [10_000, 30_000]);
        let shown = value(call, key::SIP_LAST_STATUS);
        assert_eq!(shown.as_deref(), Some(last).filter(|last| *last != "paused"));
    }
}

#[test]
fn a_call_is_a_child_of_its_room_and_linked_to_its_participant() {
    let run = run(Direction::In, ("hangup", "CLIENT_INITIATED"), &json!({}), true);
    let (call, room) = (call(&run.out), run.span(span::ROOM));
    assert_eq!((call.trace_id, call.parent), (room.trace_id, Some(room.span_id)));
    let is_callers = |span: &&&Span| value(span, key::PARTICIPANT_ID).as_deref() == Some("PA_1");
    let participants = run.spans(span::PARTICIPANT);
    let participant = participants.iter().find(is_callers).unwrap();
    let links: Vec<_> = call.links.iter().map(|link| (link.trace_id, link.span_id)).collect();
    assert_eq!(links, [(participant.trace_id, participant.span_id)]);
    for (key, expected) in [
        (key::SIP_CALL_ID, "SCL_1"),
        (key::SIP_CALL_DIRECTION, "SCD_INBOUND"),
        (key::SIP_TRUNK_ID, "ST_1"),
        (key::SIP_DISPATCH_RULE_ID, "SDR_1"),
        (key::SIP_PHONE_NUMBER, "+15550100"),
        (key::SIP_TRUNK_PHONE_NUMBER, "+15550001"),
        (key::PARTICIPANT_IDENTITY, "sip_+15550100"),
        (key::ROOM_NAME, "test"),
    ] {
        assert_eq!(value(call, key).as_deref(), Some(expected), "{key}");
    }
}

#[test]
fn a_call_has_a_trace_of_its_own_where_participants_do() {
    let settings = Settings { scope: TraceScope::Participant, ..Settings::default() };
    let mut engine = Engine::new(settings, stats::Settings::default(), at(0));
    let mut out = Batch::default();
    let caller = caller("PA_1", Direction::Out, "active", tag());
    engine.apply(
        &analytics("PARTICIPANT_JOINED", JOINED, caller.clone()),
        at(JOINED),
        true,
        &mut out,
    );
    let left = leaving(caller, "PARTICIPANT_REMOVED");
    engine.apply(&analytics("PARTICIPANT_LEFT", LEFT, left), at(LEFT), true, &mut out);
    engine.close(at(LEFT), "shutdown", &mut out);
    let call = call(&out);
    let span = |name| out.spans.iter().find(|span| span.name == name).unwrap();
    let (room, participant) = (span(span::ROOM), span(span::PARTICIPANT));
    assert_eq!(call.parent, None);
    assert!(call.trace_id != room.trace_id && call.trace_id != participant.trace_id);
    let links: Vec<_> = call.links.iter().map(|link| link.span_id).collect();
    assert_eq!(links, [room.span_id, participant.span_id]);
}

// The call of a participant that joins and leaves so, without any subscription.
fn joined_and_left(joined: &Json, left: &Json) -> Run {
    let mut run = Run::new();
    run.apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, joined.clone()))
        .apply(LEFT, &analytics("PARTICIPANT_LEFT", LEFT, left.clone()))
        .wait();
    run
}

#[test]
fn participants_that_are_not_of_the_sip_service_have_no_call() {
    let call = caller("PA_1", Direction::In, "active", json!({}));
    let mut standard = call.clone();
    merge(&mut standard["participant"], json!({"kind": "STANDARD"}));
    let mut nameless = call;
    merge(&mut nameless["participant"]["attributes"], json!({"sip.callID": "+15550100"}));
    for joined in [standard, nameless] {
        let run = joined_and_left(&joined, &leaving(joined.clone(), "CLIENT_INITIATED"));
        assert_eq!(run.spans(span::SIP_CALL), Vec::<&Span>::new());
    }
}

#[test]
fn a_track_that_is_as_new_as_its_subscription_does_not_date_the_answer() {
    // The callee may have answered at any time before the track.
    for (published, expected) in [(13_500, None), (13_000, Some("4.000"))] {
        let caller = |status| caller("PA_1", Direction::Out, status, tag());
        let mut run = Run::new();
        run.apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, caller("dialing")))
            .apply(published, &analytics("TRACK_PUBLISHED", published, with_track("PA_2", "TR_1")))
            .apply(
                14_000,
                &analytics("TRACK_SUBSCRIBE_REQUESTED", 14_000, with_track("PA_1", "TR_1")),
            )
            .apply(
                LEFT,
                &analytics("PARTICIPANT_LEFT", LEFT, leaving(caller("hangup"), "CLIENT_INITIATED")),
            )
            .wait();
        let call = call(&run.out);
        assert_eq!(value(call, key::SIP_ANSWER).as_deref(), Some("answered"));
        assert_eq!(value(call, key::SIP_ANSWER_LATENCY).as_deref(), expected, "{published}");
    }
}

#[test]
fn an_old_track_that_is_subscribed_to_later_does_not_date_the_answer() {
    let caller = |status| caller("PA_1", Direction::Out, status, tag());
    let mut run = Run::new();
    run.apply(1000, &analytics("TRACK_PUBLISHED", 1000, with_track("PA_2", "TR_1")))
        .apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, caller("dialing")))
        .apply(12_000, &analytics("TRACK_PUBLISHED", 12_000, with_track("PA_2", "TR_2")));
    for (track, millis) in [("TR_2", 12_010), ("TR_1", 20_000)] {
        run.apply(
            millis,
            &analytics("TRACK_SUBSCRIBE_REQUESTED", millis, with_track("PA_1", track)),
        );
    }
    run.apply(
        LEFT,
        &analytics("PARTICIPANT_LEFT", LEFT, leaving(caller("hangup"), "CLIENT_INITIATED")),
    )
    .wait();
    assert_eq!(value(call(&run.out), key::SIP_ANSWER_LATENCY), None);
}

#[test]
fn a_caller_that_entered_a_pin_was_answered_before_it_joined() {
    let joined = caller("PA_1", Direction::In, "active", json!({}));
    let left = caller("PA_1", Direction::In, "hangup", json!({}));
    let mut run = Run::new();
    run.apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, joined))
        .apply(14_000, &analytics("TRACK_SUBSCRIBE_REQUESTED", 14_000, with_track("PA_1", "TR_1")))
        .apply(LEFT, &analytics("PARTICIPANT_LEFT", LEFT, leaving(left, "CLIENT_INITIATED")))
        .wait();
    let call = call(&run.out);
    assert_eq!(value(call, key::SIP_ANSWER).as_deref(), Some("answered"));
    assert_eq!(value(call, key::SIP_ANSWER_LATENCY), None);
}

#[test]
fn the_times_of_later_versions_win() {
    let time = |millis: i64| json!((1_795_406_960_000 + millis).to_string());
    // A PIN prompt may take longer than a participant's request.
    let invited = json!({"lk.sip.inviteTime": time(JOINED - 90_000)});
    let inbound = caller("PA_1", Direction::In, "active", invited);
    let run = joined_and_left(&inbound, &leaving(inbound.clone(), "PARTICIPANT_REMOVED"));
    let started = call(&run.out).start;
    assert_eq!(at(JOINED).since(started).as_secs(), 90);
    let answered = json!({"lk.sip.answerTime": time(JOINED + 2500), "sip.callTag": "tag"});
    let outbound = caller("PA_1", Direction::Out, "hangup", answered);
    let run = joined_and_left(&outbound, &leaving(outbound.clone(), "CLIENT_INITIATED"));
    let call = call(&run.out);
    assert_eq!(value(call, key::SIP_ANSWER).as_deref(), Some("answered"));
    assert_eq!(value(call, key::SIP_ANSWER_LATENCY).as_deref(), Some("2.500"));
}

#[test]
fn a_call_whose_leave_is_not_reported_ends_with_its_room() {
    let ringing = caller("PA_1", Direction::Out, "ringing", json!({}));
    let mut run = Run::new();
    run.apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, ringing))
        .restart()
        .apply(LEFT, &analytics("ROOM_ENDED", LEFT, json!({})))
        .wait();
    let (call, participant) = (call(&run.out), run.span(span::PARTICIPANT));
    assert_eq!((call.start, call.end), (participant.start, participant.end));
    assert_eq!(value(call, key::END_INFERRED).as_deref(), Some("room_ended"));
    // The callee may have answered since.
    assert_eq!(value(call, key::SIP_ANSWER).as_deref(), Some("unknown"));
    assert_eq!((value(call, key::SIP_LAST_STATUS), call.failure()), (None, None));
}

#[test]
fn a_participant_whose_media_never_connects_fails_its_call() {
    let dialing = caller("PA_1", Direction::Out, "dialing", json!({}));
    let aborted = leaving(dialing.clone(), "JOIN_FAILURE");
    let mut run = Run::new();
    run.apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, dialing))
        .apply(LEFT, &analytics("PARTICIPANT_CONNECTION_ABORTED", LEFT, aborted))
        .wait();
    assert_eq!(call(&run.out).failure(), Some("connection_aborted"));
}

#[test]
fn a_call_whose_participant_comes_back_is_one_call() {
    let active = |sid| caller(sid, Direction::Out, "active", tag());
    let lost = leaving(active("PA_1"), "CONNECTION_TIMEOUT");
    let left = leaving(caller("PA_2", Direction::Out, "hangup", tag()), "CLIENT_INITIATED");
    let mut reports = vec![
        (JOINED, analytics("PARTICIPANT_JOINED", JOINED, active("PA_1"))),
        (20_000, analytics("PARTICIPANT_JOINED", 20_000, active("PA_2"))),
        (20_100, analytics("PARTICIPANT_LEFT", 20_100, lost)),
        (LEFT, analytics("PARTICIPANT_LEFT", LEFT, left)),
    ];
    for _ in 0..reports.len() {
        reports.rotate_left(1);
        let mut run = Run::new();
        for (_, report) in &reports {
            run.apply(LEFT, report);
        }
        run.wait();
        let call = call(&run.out);
        assert_eq!(millis(call), [10_000, 30_000]);
        assert_eq!(call.failure(), None);
        assert_eq!(call.links.len(), 2);
        assert_eq!(value(call, key::PARTICIPANT_ID).as_deref(), Some("PA_2"));
    }
}

const DAY: i64 = 24 * 3_600_000;

#[test]
fn a_quiet_call_lasts_as_long_as_its_participant() {
    let active = || caller("PA_1", Direction::Out, "active", tag());
    let mut run = Run::new();
    run.apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, active()));
    // Something is reported of its room now and then, and nothing of the call.
    for hour in 1..60 {
        let millis = hour * 3_600_000;
        run.apply(millis, &webhook("participant_joined", millis, participant("PA_2"))).restart();
    }
    assert_eq!(run.spans(span::SIP_CALL), Vec::<&Span>::new());
    let end = 60 * 3_600_000;
    let left = leaving(active(), "PARTICIPANT_REMOVED");
    run.apply(end, &webhook("participant_left", end, left)).wait();
    assert_eq!(call(&run.out).end, run.spans(span::PARTICIPANT)[0].end);
    assert!(end > 2 * DAY);
}

#[test]
fn a_call_that_was_reported_as_ended_has_no_second_span_however_long_its_participant_stays() {
    let active = || caller("PA_1", Direction::Out, "active", tag());
    let ended = json!({"sipCallId": "SCL_1", "sipCall": {
        "callId": "SCL_1", "callStatus": "SCS_DISCONNECTED", "callDirection": "SCD_OUTBOUND",
        "createdAtNs": at(9000).nanos().to_string(), "startedAtNs": at(12_000).nanos().to_string(),
        "endedAtNs": at(20_000).nanos().to_string(),
    }});
    let mut run = Run::new();
    run.apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, active()))
        .apply(20_000, &analytics("SIP_CALL_ENDED", 20_000, ended));
    for hour in 1..6 {
        let millis = hour * 3_600_000;
        run.apply(
            millis,
            &analytics("TRACK_SUBSCRIBE_REQUESTED", millis, with_track("PA_1", "TR_1")),
        )
        .restart();
    }
    let end = 6 * 3_600_000;
    let left = leaving(active(), "PARTICIPANT_REMOVED");
    run.apply(end, &analytics("PARTICIPANT_LEFT", end, left)).wait();
    assert_eq!(millis(call(&run.out)), [9000, 20_000]);
}

#[test]
fn webhooks_alone_make_a_call_without_the_time_of_its_answer() {
    let webhook =
        |event: &str, millis: i64, more: Json| -> Decoded { webhook(event, millis, more) };
    let joined = caller("PA_1", Direction::Out, "dialing", json!({}));
    let left = leaving(caller("PA_1", Direction::Out, "hangup", tag()), "CLIENT_INITIATED");
    let mut run = Run::new();
    run.apply_as(JOINED, &webhook("participant_joined", JOINED, joined), false)
        .apply_as(LEFT, &webhook("participant_left", LEFT, left), false)
        .wait();
    let (call, participant) = (call(&run.out), run.span(span::PARTICIPANT));
    assert_eq!((call.start, call.end), (participant.start, participant.end));
    assert_eq!(value(call, key::SIP_ANSWER).as_deref(), Some("answered"));
    assert_eq!(value(call, key::SIP_ANSWER_LATENCY), None);
}

#[test]
fn the_time_of_an_answer_outlives_the_publisher_that_it_is_known_by() {
    const HOUR: i64 = 3_600_000;
    let caller = |status| caller("PA_1", Direction::Out, status, tag());
    let of_publisher = || with_track("PA_2", "TR_1");
    let left = leaving(caller("hangup"), "CLIENT_INITIATED");
    let mut run = Run::new();
    run.apply(2000, &analytics("TRACK_PUBLISHED", 2000, of_publisher()))
        .apply(JOINED, &analytics("PARTICIPANT_JOINED", JOINED, caller("dialing")))
        .apply(14_000, &analytics("TRACK_SUBSCRIBE_REQUESTED", 14_000, with_track("PA_1", "TR_1")))
        .apply(15_000, &analytics("PARTICIPANT_LEFT", 15_000, participant("PA_2")));
    for hour in [2, 4] {
        let millis = hour * HOUR;
        run.apply(millis, &webhook("participant_joined", millis, participant("PA_3"))).restart();
    }
    run.apply(5 * HOUR, &analytics("PARTICIPANT_LEFT", 5 * HOUR, left)).wait();
    assert_eq!(value(call(&run.out), key::SIP_ANSWER_LATENCY).as_deref(), Some("4.000"));
}
