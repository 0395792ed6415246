use super::*;
use crate::session::{Outcome, Settings};
use crate::snapshot::{Part, Writer, part};
use livekit_otel_model::event::{
    Event, EventKind, Origin, Participant as Info, ReportedTime, Room as RoomInfo,
};
use livekit_otel_model::semconv::event as name;
use livekit_otel_model::signal::Span;

fn at(secs: i64) -> Time {
    Time::from_secs(1_795_406_960 + secs).unwrap()
}

fn event(kind: EventKind, secs: i64, participant: Option<&str>) -> Event {
    let participant = participant.map(|sid| Info {
        sid: ParticipantSid::new(sid).unwrap(),
        identity: None,
        kind: None,
        joined: None,
        requested: Vec::new(),
        state: None,
        client_span: None,
        sip: None,
        disconnect_reason: None,
    });
    Event {
        reported: Some(ReportedTime { at: at(secs), whole_seconds: false }),
        node: NodeId::new("ND_1"),
        room: Some(RoomInfo { sid: RoomSid::new("RM_1"), name: None, created: None }),
        participant,
        ..Event::new(Origin::Analytics, kind)
    }
}

fn listed(sid: &str, joined: i64) -> ListedParticipant {
    ListedParticipant {
        sid: ParticipantSid::new(sid).unwrap(),
        identity: livekit_otel_model::event::Identity::new(&format!("who-{sid}")),
        kind: Some("STANDARD".into()),
        joined: Some(at(joined)),
        is_forwarded: false,
        sip: None,
    }
}

fn room(sid: &str, created: i64, participants: Vec<ListedParticipant>) -> ListedRoom {
    ListedRoom {
        sid: RoomSid::new(sid).unwrap(),
        name: livekit_otel_model::event::RoomName::new("standup"),
        created: Some(at(created)),
        participants: Some(participants),
        size: None,
    }
}

fn node(sid: &str) -> Coverage {
    Coverage::Node(NodeId::new(sid).unwrap())
}

struct Run {
    sessions: Sessions,
    out: Outputs,
}

impl Run {
    fn new() -> Self {
        Self { sessions: Sessions::new(Settings::default()), out: Outputs::default() }
    }

    fn report(&mut self, kind: EventKind, secs: i64, participant: Option<&str>) -> &mut Self {
        let event = event(kind, secs, participant);
        let outcome = self.sessions.event(&event, at(secs), false, &mut self.out);
        assert_eq!(outcome, Outcome::Applied);
        self
    }

    fn list_of(&mut self, coverage: Coverage, secs: i64, rooms: Vec<ListedRoom>) -> &mut Self {
        let list = Rooms { at: Some(at(secs)), coverage, rooms, event: None };
        self.sessions.tick(at(secs), &mut self.out);
        self.sessions.reconcile(&list, at(secs), &mut self.out);
        self
    }

    fn list(&mut self, secs: i64, rooms: Vec<ListedRoom>) -> &mut Self {
        self.list_of(Coverage::Deployment, secs, rooms)
    }

    fn disagreements(&mut self) -> Vec<&'static str> {
        let facts = std::mem::take(&mut self.out.facts);
        let what = facts.iter().filter_map(|fact| match fact {
            Fact::Disagreement(what) => Some(what.as_str()),
            _ => None,
        });
        what.collect()
    }

    fn close(mut self, secs: i64) -> Vec<Span> {
        self.sessions.close(at(secs), "shutdown", &mut self.out);
        self.out.spans
    }

    // As after a restart.
    fn restarted(&mut self) -> &mut Self {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut put = |part: &[u8]| {
            parts.push(part.to_vec());
            Ok(())
        };
        self.sessions.save(&mut Writer::new(&mut put)).unwrap();
        self.sessions = Sessions::new(Settings::default());
        for bytes in parts {
            let (kind, content) = part(&bytes).unwrap();
            assert_ne!(kind, Part::Head);
            assert!(self.sessions.load(kind, content).unwrap());
        }
        self
    }
}

fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    span.attributes.iter().find(|each| each.key == key).and_then(|each| match &each.value {
        Value::Text(text) => Some(&**text),
        _ => None,
    })
}

fn is_reconciled(span: &Span) -> bool {
    span.attributes.iter().any(|each| *each == Attribute::new(key::RECONCILED, true))
}

#[test]
fn what_was_not_reported_is_opened_with_the_times_of_the_list() {
    let mut run = Run::new();
    run.list(100, vec![room("RM_1", 10, vec![listed("PA_1", 20)])]);
    assert_eq!(run.disagreements(), ["room_missing", "participant_missing"]);
    let names: Vec<_> = run.out.logs.iter().map(|log| &*log.event_name).collect();
    assert_eq!(names, [name::ROOM_MISSING, name::PARTICIPANT_MISSING]);
    assert!(run.out.logs.iter().all(|log| log.severity == Severity::Warn && log.time == at(100)));
    run.list(160, vec![room("RM_1", 10, vec![listed("PA_1", 20)])]);
    assert!(run.disagreements().is_empty(), "it is reported once");

    run.report(EventKind::ParticipantLeft, 170, Some("PA_1"));
    run.report(EventKind::RoomEnded, 180, None);
    let spans = run.close(300);
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert!(spans.iter().all(is_reconciled));
    assert!(spans.iter().all(|span| text(span, key::END_INFERRED).is_none()));
    assert_eq!((spans[0].start, spans[0].end), (at(20), at(170)));
    assert_eq!(text(&spans[0], key::PARTICIPANT_IDENTITY), Some("who-PA_1"));
    assert_eq!((spans[1].start, spans[1].end), (at(10), at(180)));
    assert_eq!(text(&spans[1], key::ROOM_NAME), Some("standup"));
}

#[test]
fn what_may_still_be_reported_is_not_opened() {
    let mut run = Run::new();
    run.list(100, vec![room("RM_1", 71, vec![])]);
    run.list(100, vec![room("RM_2", 10, vec![listed("PA_1", 71)])]);
    assert_eq!(run.disagreements(), ["room_missing"]);
    run.list(101, vec![room("RM_1", 71, vec![]), room("RM_2", 10, vec![listed("PA_1", 71)])]);
    assert_eq!(run.disagreements(), ["room_missing", "participant_missing"]);
}

#[test]
fn a_leaving_is_inferred_after_two_lists_without_the_participant() {
    let mut run = Run::new();
    run.report(EventKind::ParticipantJoined, 0, Some("PA_1"));
    run.report(EventKind::ParticipantJoined, 1, Some("PA_2"));
    let both = vec![listed("PA_1", 0), listed("PA_2", 1)];
    run.list(60, vec![room("RM_1", 0, both)]);
    run.list(120, vec![room("RM_1", 0, vec![listed("PA_1", 0)])]);
    assert!(run.disagreements().is_empty());
    run.list(180, vec![room("RM_1", 0, vec![listed("PA_1", 0)])]);
    assert_eq!(run.disagreements(), ["participant_gone"]);
    run.list(240, vec![room("RM_1", 0, vec![listed("PA_1", 0)])]);
    assert!(run.disagreements().is_empty(), "it is reported once");

    let left = run.out.spans.clone();
    assert_eq!(left.len(), 1, "its spans are released after the linger");
    assert_eq!(text(&left[0], key::END_INFERRED), Some("reconciled"));
    assert_eq!((left[0].start, left[0].end), (at(1), at(60)), "the newest time known of it");
    assert!(!is_reconciled(&left[0]));
}

#[test]
fn a_room_that_is_gone_ends_with_its_participants() {
    let mut run = Run::new();
    run.report(EventKind::RoomCreated, 0, None);
    run.report(EventKind::ParticipantJoined, 1, Some("PA_1"));
    run.list(60, vec![]).list(120, vec![]);
    assert_eq!(run.disagreements(), ["participant_gone", "room_gone"]);
    assert_eq!(run.sessions.census(), crate::session::Census::default());
    run.sessions.tick(at(120 + 35), &mut run.out);
    let ends: Vec<_> = run.out.spans.iter().map(|span| text(span, key::END_INFERRED)).collect();
    assert_eq!(ends, [Some("reconciled"); 2]);
    assert!(run.out.spans.iter().all(|span| span.end == at(1)), "{:?}", run.out.spans);
}

#[test]
fn a_repeated_list_counts_once_and_a_later_event_wins() {
    let mut run = Run::new();
    run.report(EventKind::ParticipantJoined, 0, Some("PA_1"));
    // The same list again, and an older one.
    run.list(60, vec![]).list(60, vec![]).list(59, vec![]);
    assert!(run.disagreements().is_empty());
    run.report(EventKind::ParticipantResumed, 100, Some("PA_1"));
    run.list(120, vec![]);
    assert!(run.disagreements().is_empty(), "it was reported after the first");
    run.list(129, vec![]);
    assert!(run.disagreements().is_empty(), "it was reported less than the grace period ago");
    run.list(130, vec![]);
    assert_eq!(run.disagreements(), ["participant_gone", "room_gone"]);
}

#[test]
fn what_has_ended_is_not_opened_again() {
    let mut run = Run::new();
    run.report(EventKind::ParticipantJoined, 0, Some("PA_1"));
    run.report(EventKind::ParticipantJoined, 0, Some("PA_2"));
    run.report(EventKind::ParticipantLeft, 50, Some("PA_1"));
    let both = || vec![room("RM_1", 0, vec![listed("PA_1", 0), listed("PA_2", 0)])];
    run.list(60, both()).list(120, both());
    run.report(EventKind::ParticipantLeft, 125, Some("PA_2"));
    run.report(EventKind::RoomEnded, 126, None);
    // However long it stays listed.
    for secs in (180..10_000).step_by(1000) {
        run.list(secs, both());
    }
    assert!(run.disagreements().is_empty());
    assert_eq!(run.sessions.rooms.len(), 1);
    run.sessions.tick(at(20_000), &mut run.out);
    assert!(run.sessions.rooms.is_empty(), "it is forgotten after that");
    assert_eq!(run.sessions.census(), crate::session::Census::default());
    let spans = run.close(20_000);
    assert_eq!(spans.len(), 3, "{spans:?}");
    assert!(!spans.iter().any(is_reconciled));
    assert!(spans.iter().all(|span| text(span, key::END_INFERRED).is_none()));
}

#[test]
fn a_late_reported_end_replaces_the_inferred_one() {
    let mut run = Run::new();
    run.report(EventKind::ParticipantJoined, 0, Some("PA_1"));
    run.list(60, vec![]).list(120, vec![]);
    run.report(EventKind::ParticipantLeft, 40, Some("PA_1"));
    run.report(EventKind::RoomEnded, 41, None);
    let spans = run.close(130);
    assert!(spans.iter().all(|span| text(span, key::END_INFERRED).is_none()), "{spans:?}");
    assert_eq!((spans[0].end, spans[1].end), (at(40), at(41)));
}

#[test]
fn a_nodes_list_does_not_cover_the_rooms_of_other_nodes() {
    let mut run = Run::new();
    // Its events are of ND_1.
    run.report(EventKind::ParticipantJoined, 0, Some("PA_1"));
    for secs in [60, 120, 180] {
        run.list_of(node("ND_2"), secs, vec![]);
        run.list_of(Coverage::Unnamed, secs, vec![]);
    }
    assert!(run.disagreements().is_empty());
    run.list_of(node("ND_1"), 200, vec![room("RM_1", 0, vec![])]);
    run.list_of(node("ND_1"), 260, vec![room("RM_1", 0, vec![])]);
    assert_eq!(run.disagreements(), ["participant_gone"]);
    // The rooms that it opens are its own.
    run.list_of(node("ND_2"), 300, vec![room("RM_2", 0, vec![listed("PA_2", 0)])]);
    assert_eq!(run.disagreements(), ["room_missing", "participant_missing"]);
    let logged = run.out.logs.last().unwrap().attributes.iter();
    let logged: Vec<_> = logged.filter(|each| each.key == key::NODE_ID).collect();
    assert_eq!(logged, [&Attribute::new(key::NODE_ID, "ND_2")]);
    run.list_of(node("ND_1"), 360, vec![]).list_of(node("ND_1"), 420, vec![]);
    assert_eq!(run.disagreements(), ["room_gone"], "RM_1, not RM_2");
}

#[test]
fn a_list_without_participants_ends_none() {
    let mut run = Run::new();
    run.report(EventKind::ParticipantJoined, 0, Some("PA_1"));
    for secs in [60, 120, 180] {
        run.list(secs, vec![ListedRoom { participants: None, ..room("RM_1", 0, vec![]) }]);
    }
    assert!(run.disagreements().is_empty());
}

#[test]
fn a_participant_forwarded_from_another_room_is_not_opened() {
    let mut run = Run::new();
    run.report(EventKind::ParticipantJoined, 0, Some("PA_1"));
    let forwarded = ListedParticipant { is_forwarded: true, ..listed("PA_2", 0) };
    run.list(60, vec![room("RM_1", 0, vec![listed("PA_1", 0), forwarded])]);
    assert!(run.disagreements().is_empty());
}

#[test]
fn a_restart_between_two_lists_changes_nothing() {
    let mut run = Run::new();
    run.report(EventKind::ParticipantJoined, 0, Some("PA_1"));
    run.restarted().list(60, vec![room("RM_2", 0, vec![])]);
    run.restarted().list(120, vec![room("RM_2", 0, vec![])]);
    assert_eq!(run.disagreements(), ["room_missing", "participant_gone", "room_gone"]);
    let spans = {
        run.restarted();
        run
    }
    .close(130);
    let marked: Vec<_> =
        spans.iter().map(|span| (text(span, key::END_INFERRED), is_reconciled(span))).collect();
    let expected =
        [(Some("reconciled"), false), (Some("reconciled"), false), (Some("shutdown"), true)];
    assert_eq!(marked, expected);
    assert_eq!((spans[2].start, spans[2].end), (at(0), at(120)), "it was listed until then");
}

#[test]
fn a_list_from_a_clock_that_is_ahead_does_not_shorten_the_grace_period() {
    let mut run = Run::new();
    run.report(EventKind::ParticipantJoined, 0, Some("PA_1"));
    for secs in [5, 10] {
        let list = Rooms {
            at: Some(at(secs + 3600)),
            coverage: Coverage::Deployment,
            rooms: Vec::new(),
            event: None,
        };
        run.sessions.reconcile(&list, at(secs), &mut run.out);
    }
    assert!(run.disagreements().is_empty());
}
