use livekit_otel_model::event::rooms::{Coverage, ListedRoom, Rooms};
use livekit_otel_model::event::{
    Event, EventKind, Identity, Origin, Participant, ParticipantSid, ReportedTime,
    Room as RoomInfo, SipCall, SipStatus,
};
use livekit_otel_model::semconv::{key, span};
use livekit_otel_model::signal::{Span, Value};

use super::*;
use crate::session::Settings;
use crate::snapshot::{Writer, part};

fn at(millis: i64) -> Time {
    Time::from_millis(1_795_406_960_000 + millis).unwrap()
}

fn room() -> RoomSid {
    RoomSid::new("RM_1").unwrap()
}

fn name() -> RoomName {
    RoomName::new("sales").unwrap()
}

fn identity() -> Identity {
    Identity::new("sip_1").unwrap()
}

fn sip(status: SipStatus, rule: Option<&str>) -> SipCall {
    SipCall {
        id: "SCL_1".into(),
        trunk: None,
        rule: rule.map(Into::into),
        status: Some(status),
        number: None,
        trunk_number: None,
        invited: None,
        answered: None,
        has_tag: false,
    }
}

fn listed(status: SipStatus) -> ListedParticipant {
    ListedParticipant {
        sid: ParticipantSid::new("PA_1").unwrap(),
        identity: Some(identity()),
        kind: Some("SIP".into()),
        joined: Some(at(0)),
        is_forwarded: false,
        sip: Some(sip(status, None)),
    }
}

fn dispatches() -> Ask {
    Ask::Dispatches(room())
}

struct Run {
    sessions: Sessions,
    out: Outputs,
    joined: i64,
}

impl Run {
    // Sessions with an API.
    fn new() -> Self {
        let mut sessions = Sessions::new(Settings::default());
        sessions.enable_questions();
        Self { sessions, out: Outputs::default(), joined: 0 }
    }

    fn report(&mut self, kind: EventKind, millis: i64, call: Option<SipCall>) {
        let participant = call.map(|call| Participant {
            identity: Some(identity()),
            kind: Some("SIP".into()),
            joined: Some(at(self.joined)),
            sip: Some(Box::new(call)),
            disconnect_reason: (kind == EventKind::ParticipantLeft)
                .then(|| "CLIENT_INITIATED".into()),
            ..Participant::new(ParticipantSid::new("PA_1").unwrap())
        });
        let event = Event {
            reported: Some(ReportedTime { at: at(millis), whole_seconds: false }),
            room: Some(RoomInfo { sid: Some(room()), name: Some(name()), created: Some(at(0)) }),
            participant,
            ..Event::new(Origin::Webhook, kind)
        };
        let begins = matches!(event.kind, EventKind::RoomCreated | EventKind::ParticipantJoined);
        self.sessions.event(&event, at(millis), false, &mut self.out);
        if begins {
            // Each room's dispatches are asked for: not what is tested here.
            self.sessions.questions.remove(&dispatches());
        }
    }

    fn ring(&mut self, rule: Option<&str>) -> &mut Self {
        self.report(EventKind::RoomCreated, 0, None);
        self.report(EventKind::ParticipantJoined, 0, Some(sip(SipStatus::Ringing, rule)));
        self
    }

    fn answer(&mut self, millis: i64, content: Answered) {
        self.sessions.answer(&Answer { at: at(millis), content }, at(millis), &mut self.out);
    }

    fn poll(&mut self, millis: i64, status: Option<SipStatus>) {
        let participant = status.map(listed);
        let content = Answered::Participant { room: room(), identity: identity(), participant };
        self.answer(millis, content);
    }

    // A list of all rooms: that room, with so many participants; or none.
    fn list(&mut self, millis: i64, size: Option<u32>) {
        let rooms = size.map(|size| ListedRoom {
            sid: room(),
            name: Some(name()),
            created: Some(at(0)),
            participants: None,
            size: Some(size),
        });
        let rooms = rooms.into_iter().collect();
        let list =
            Rooms { at: Some(at(millis)), coverage: Coverage::Deployment, rooms, event: None };
        self.sessions.reconcile(&list, at(millis), &mut self.out);
    }

    // Everything that is asked at that time.
    fn asked(&mut self, millis: i64) -> Vec<&'static str> {
        std::iter::from_fn(|| self.sessions.question(at(millis)))
            .map(|question| match question {
                Question::Participants { .. } => "participants",
                Question::Participant { .. } => "participant",
                Question::Dispatches { .. } => "dispatches",
                Question::Egresses => "egresses",
                Question::Ingresses => "ingresses",
            })
            .filter(|what| !matches!(*what, "egresses" | "ingresses"))
            .collect()
    }

    fn restarted(&mut self, has_api: bool) {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut put = |part: &[u8]| {
            parts.push(part.to_vec());
            Ok(())
        };
        self.sessions.save(&mut Writer::new(&mut put)).unwrap();
        self.sessions = Sessions::new(Settings::default());
        if has_api {
            self.sessions.enable_questions();
        }
        for bytes in parts {
            let (kind, content) = part(&bytes).unwrap();
            assert!(self.sessions.load(kind, content).unwrap());
        }
    }

    // The call's span, once the participant has left with that status.
    fn left(mut self, millis: i64, status: SipStatus, rule: Option<&str>) -> Span {
        self.report(EventKind::ParticipantLeft, millis, Some(sip(status, rule)));
        self.sessions.close(at(millis + 60_000), "shutdown", &mut self.out);
        self.out.spans.into_iter().find(|it| it.name == span::SIP_CALL).unwrap()
    }
}

fn text(span: &Span, key: &str) -> Option<String> {
    let value =
        span.attributes.iter().find(|attribute| attribute.key == key).map(|it| &it.value)?;
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Float(number) => Some(format!("{number:.3}")),
        _ => None,
    }
}

#[test]
fn a_question_is_asked_once_and_again_only_after_a_list_with_its_room() {
    let mut run = Run::new();
    run.report(EventKind::RoomCreated, 0, None);
    run.sessions.questions.ask(at(1000), dispatches());
    assert_eq!(run.sessions.next_question(), Some(at(1000)));
    assert_eq!(run.asked(999), Vec::<&str>::new());
    assert_eq!(run.asked(1000), ["dispatches"]);
    // The API does not answer.
    assert_eq!(run.asked(600_000), Vec::<&str>::new());
    run.list(600_000, Some(0));
    assert_eq!(run.asked(600_000)[0], "dispatches");
    let none = Answered::Dispatches { room: room(), dispatches: Vec::new() };
    run.answer(600_500, none);
    run.list(601_000, Some(0));
    assert!(!run.asked(601_000).contains(&"dispatches"));
}

#[test]
fn an_answer_that_is_older_than_what_is_wanted_does_not_do() {
    let mut run = Run::new();
    run.report(EventKind::RoomCreated, 0, None);
    run.sessions.questions.ask(at(1000), dispatches());
    run.sessions.questions.ask(at(5000), dispatches());
    // One that is wanted a little later will do for this.
    run.sessions.questions.ask(at(4200), dispatches());
    assert_eq!(run.asked(1000), ["dispatches"]);
    run.answer(1001, Answered::Dispatches { room: room(), dispatches: Vec::new() });
    assert_eq!(run.sessions.next_question(), Some(at(5000)));
    assert_eq!(run.asked(5000), ["dispatches"]);
    run.answer(5000, Answered::Dispatches { room: room(), dispatches: Vec::new() });
    assert_eq!(run.sessions.next_question(), None);
}

#[test]
fn nothing_is_asked_of_a_room_that_has_ended_or_was_replaced() {
    let mut run = Run::new();
    run.ring(None);
    run.sessions.questions.ask(at(1000), dispatches());
    run.sessions.questions.ask(at(1000), Ask::Participants(room()));
    run.report(EventKind::RoomEnded, 900, None);
    assert_eq!(run.asked(60_000), Vec::<&str>::new());
    assert_eq!(run.sessions.next_question(), None, "it is forgotten");

    let mut run = Run::new();
    run.ring(None);
    run.sessions.questions.ask(at(1000), dispatches());
    let newer = Event {
        room: Some(RoomInfo {
            sid: RoomSid::new("RM_2"),
            name: Some(name()),
            created: Some(at(500)),
        }),
        ..Event::new(Origin::Webhook, EventKind::RoomCreated)
    };
    run.sessions.event(&newer, at(500), false, &mut run.out);
    // Before the newer room's dispatches are.
    assert_eq!(run.asked(5000), Vec::<&str>::new(), "the API knows rooms by their names");
}

#[test]
fn without_an_api_nothing_is_asked() {
    let mut run = Run { sessions: Sessions::new(Settings::default()), ..Run::new() };
    run.ring(None);
    run.sessions.questions.ask(at(0), dispatches());
    run.list(60_000, Some(9));
    assert_eq!((run.sessions.next_question(), run.asked(60_000)), (None, Vec::new()));
}

#[test]
fn questions_are_kept_across_a_restart_with_an_api() {
    let mut run = Run::new();
    run.ring(None);
    run.sessions.questions.ask(at(2000), dispatches());
    run.sessions.questions.ask(at(9000), dispatches());
    // That it was asked is not: its answer may have been lost.
    assert_eq!(run.asked(2000), ["participant", "dispatches"]);
    run.restarted(true);
    assert_eq!(run.asked(2000), ["participant", "dispatches"]);
    run.answer(2001, Answered::Dispatches { room: room(), dispatches: Vec::new() });
    run.restarted(true);
    assert_eq!(run.asked(8999), ["participant"]);
    assert_eq!(run.asked(9000), ["dispatches"]);
    run.restarted(false);
    assert_eq!(run.asked(9000), Vec::<&str>::new());
}

#[test]
fn the_participants_of_all_rooms_wait_for_what_is_asked_about_one() {
    let mut run = Run::new();
    run.ring(None);
    run.sessions.questions.ask(at(0), Ask::Participants(room()));
    run.sessions.questions.ask(at(500), dispatches());
    assert_eq!(run.asked(2000), ["dispatches", "participant", "participants"]);
}

#[test]
fn participants_are_listed_where_their_number_differs_and_in_turn() {
    let mut run = Run::new();
    run.ring(None);
    run.report(EventKind::ParticipantLeft, 1000, Some(sip(SipStatus::Hangup, None)));
    let rounds = |run: &mut Run, size: u32, from: i64| -> usize {
        let mut asked = 0;
        for nth in 0..20 {
            let now = from + nth * 60_000;
            run.list(now, Some(size));
            if run.asked(now).contains(&"participants") {
                asked += 1;
                run.answer(now, Answered::Participants { room: room(), participants: Vec::new() });
            }
        }
        asked
    };
    assert_eq!(rounds(&mut run, 0, 60_000), 2, "each tenth round");
    assert_eq!(rounds(&mut run, 1, 3_600_000), 20, "somebody is missing here");
}

#[test]
fn a_number_that_is_a_few_seconds_old_is_no_difference() {
    let mut run = Run::new();
    run.report(EventKind::RoomCreated, 0, None);
    // Not the round in which it is its turn.
    while !run.sessions.questions.is_turn_of(&room()) {
        run.sessions.questions.rounds += 1;
    }
    run.joined = 60_000;
    run.report(EventKind::ParticipantJoined, 60_000, Some(sip(SipStatus::Active, None)));
    run.list(61_000, Some(0));
    run.list(62_000, Some(1));
    assert_eq!(run.asked(62_000), Vec::<&str>::new());
    run.report(EventKind::ParticipantLeft, 63_000, Some(sip(SipStatus::Hangup, None)));
    run.list(64_000, Some(1));
    run.list(65_000, Some(0));
    assert_eq!(run.asked(65_000), Vec::<&str>::new());
    run.list(80_000, Some(1));
    assert_eq!(run.asked(80_000), ["participants"]);
}

#[test]
fn a_participant_that_the_api_does_not_list_twice_has_left() {
    let mut run = Run::new();
    run.ring(None);
    let none = || Answered::Participants { room: room(), participants: Vec::new() };
    run.answer(60_000, none());
    let open = |run: &Run| run.sessions.census().participants;
    assert_eq!(open(&run), 1);
    run.answer(120_000, none());
    assert_eq!(open(&run), 0);
    // An answer for a room that has ended changes nothing.
    run.report(EventKind::RoomEnded, 121_000, None);
    let participants = vec![listed(SipStatus::Active)];
    run.answer(180_000, Answered::Participants { room: room(), participants });
    assert_eq!(open(&run), 0);
}

#[test]
fn a_ringing_call_is_polled_each_second_until_it_is_answered() {
    for status in [SipStatus::Active, SipStatus::Automation] {
        let mut run = Run::new();
        run.ring(None);
        assert_eq!(run.asked(999), Vec::<&str>::new());
        for second in 1..=3 {
            assert_eq!(run.asked(second * 1000), ["participant"]);
            assert_eq!(run.asked(second * 1000), Vec::<&str>::new());
            run.poll(second * 1000, Some(SipStatus::Ringing));
        }
        assert_eq!(run.asked(4000), ["participant"]);
        run.poll(4000, Some(status));
        assert_eq!(run.sessions.next_question(), None);
        let span = run.left(9000, SipStatus::Hangup, None);
        assert_eq!(text(&span, key::SIP_ANSWER).as_deref(), Some("answered"));
        assert_eq!(text(&span, key::SIP_ANSWER_LATENCY).as_deref(), Some("4.000"));
    }
}

#[test]
fn a_call_that_is_answered_within_its_first_second_has_that_second() {
    let mut run = Run::new();
    run.ring(Some("SDR_1")).poll(1000, Some(SipStatus::Active));
    let span = run.left(9000, SipStatus::Hangup, Some("SDR_1"));
    assert_eq!(text(&span, key::SIP_ANSWER).as_deref(), Some("answered"));
    assert_eq!(text(&span, key::SIP_ANSWER_LATENCY).as_deref(), Some("1.000"));
    assert_eq!(text(&span, key::ERROR_TYPE), None);
}

#[test]
fn a_poll_long_after_the_one_before_says_that_it_was_answered_but_not_when() {
    let mut run = Run::new();
    run.ring(None).poll(1000, Some(SipStatus::Ringing));
    run.poll(3100, Some(SipStatus::Active));
    let span = run.left(9000, SipStatus::Hangup, None);
    assert_eq!(text(&span, key::SIP_ANSWER).as_deref(), Some("answered"));
    assert_eq!(text(&span, key::SIP_ANSWER_LATENCY), None);
}

#[test]
fn polls_of_a_call_that_is_never_answered_change_no_failure() {
    for is_polled in [true, false] {
        let mut run = Run::new();
        run.ring(None);
        if is_polled {
            run.poll(1000, Some(SipStatus::Dialing));
            run.poll(2000, Some(SipStatus::Ringing));
        }
        let span = run.left(9000, SipStatus::Ringing, None);
        assert_eq!(text(&span, key::SIP_ANSWER).as_deref(), Some("unanswered"));
        assert_eq!(text(&span, key::ERROR_TYPE).as_deref(), Some("sip_trunk_or_network"));
    }
}

#[test]
fn a_participant_that_is_gone_is_not_polled_again() {
    let mut run = Run::new();
    run.ring(None);
    assert_eq!(run.asked(1000), ["participant"]);
    run.poll(1000, None);
    assert_eq!(run.sessions.next_question(), None);
    assert_eq!(run.sessions.census().participants, 1, "its leave is still to come");
}

#[test]
fn a_call_whose_answer_is_known_is_not_polled() {
    let mut run = Run::new();
    run.report(EventKind::RoomCreated, 0, None);
    run.report(EventKind::ParticipantJoined, 0, Some(sip(SipStatus::Active, None)));
    assert_eq!(run.sessions.next_question(), None);
    let mut run = Run::new();
    run.ring(None);
    let answered = SipCall { answered: Some(at(500)), ..sip(SipStatus::Ringing, None) };
    run.report(EventKind::TrackPublished, 600, Some(answered));
    assert_eq!(run.sessions.next_question(), None);
}

#[test]
fn a_poll_of_another_call_or_of_nobody_known_changes_nothing() {
    let mut run = Run::new();
    run.ring(None);
    for other in [
        ListedParticipant {
            sid: ParticipantSid::new("PA_2").unwrap(),
            ..listed(SipStatus::Active)
        },
        ListedParticipant { sip: None, ..listed(SipStatus::Active) },
        ListedParticipant {
            sip: Some(SipCall { id: "SCL_2".into(), ..sip(SipStatus::Active, None) }),
            ..listed(SipStatus::Active)
        },
    ] {
        let participant = Some(other);
        run.answer(1000, Answered::Participant { room: room(), identity: identity(), participant });
    }
    assert_eq!(run.sessions.census().participants, 1);
    let span = run.left(9000, SipStatus::Ringing, None);
    assert_eq!(text(&span, key::SIP_ANSWER).as_deref(), Some("unanswered"));
}

#[test]
fn of_what_is_never_answered_only_the_newest_wishes_are_kept() {
    let mut run = Run::new();
    run.report(EventKind::RoomCreated, 0, None);
    let wishes = |run: &Run| run.sessions.questions.saved().iter().map(|it| it.1.len()).sum();
    for nth in 0..1000 {
        run.sessions.questions.ask(at(nth * 2000), dispatches());
    }
    let kept: usize = wishes(&run);
    assert!((2..=100).contains(&kept), "{kept}");
    // The first is still when it is asked.
    assert_eq!(run.sessions.next_question(), Some(at(0)));
    let none = || Answered::Dispatches { room: room(), dispatches: Vec::new() };
    run.answer(1_997_000, none());
    assert_eq!(run.sessions.next_question(), Some(at(1_998_000)), "that was too old for the last");
    run.answer(1_998_000, none());
    assert_eq!(wishes(&run), 0);
}

#[test]
fn a_rooms_turn_does_not_hurry_what_is_not_answered() {
    let mut run = Run::new();
    run.report(EventKind::RoomCreated, 0, None);
    run.sessions.questions.ask(at(0), dispatches());
    let asked = (0..60).filter(|nth| {
        run.list(nth * 60_000, Some(0));
        run.asked(nth * 60_000).contains(&"dispatches")
    });
    assert_eq!(asked.collect::<Vec<_>>(), [0, 1, 3, 7, 15, 31]);
}

#[test]
fn an_event_that_waits_for_a_participant_is_applied_by_the_answer_that_names_it() {
    let record = |is_restarted: bool| {
        let mut run = Run::new();
        run.report(EventKind::RoomCreated, 0, None);
        // It names no room, and its participant was never reported.
        let early = Event {
            reported: Some(ReportedTime { at: at(110_000), whole_seconds: false }),
            participant: Some(Participant::new(ParticipantSid::new("PA_1").unwrap())),
            ..Event::new(Origin::Analytics, EventKind::ParticipantActive)
        };
        run.sessions.event(&early, at(110_000), false, &mut run.out);
        run.out.logs.clear();
        let participants = vec![listed(SipStatus::Active)];
        run.answer(120_000, Answered::Participants { room: room(), participants });
        if is_restarted {
            run.restarted(true);
        }
        run.sessions.tick(at(121_000), &mut run.out);
        run.sessions.tick(at(200_000), &mut run.out);
        let context = run.out.logs.iter().map(|log| (log.event_name.clone(), log.context));
        (context.collect::<Vec<_>>(), crate::ids::trace(&room()))
    };
    let (logs, trace) = record(false);
    assert_eq!(logs.len(), 2, "its own, and that the participant was missed: {logs:?}");
    assert!(logs.iter().all(|(_, context)| context.is_some_and(|(of, _)| of == trace)));
    assert_eq!(record(true).0, logs);
}
