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
        state: None,
        client_span: None,
        disconnect_reason: None,
    });
    Event {
        id: "".into(),
        origin: Origin::Analytics,
        kind,
        told: Some(ReportedTime { at: at(secs), whole_seconds: false }),
        node: NodeId::new("ND_1"),
        room: Some(RoomInfo { sid: RoomSid::new("RM_1"), name: None, created: None }),
        participant,
        track: None,
        publisher: None,
        error: None,
        rtp: None,
        work: None,
        delivery: None,
        details: Vec::new(),
        caller: None,
    }
}

fn listed(sid: &str, joined: i64) -> ListedParticipant {
    ListedParticipant {
        sid: ParticipantSid::new(sid).unwrap(),
        identity: livekit_otel_model::event::Identity::new(&format!("who-{sid}")),
        kind: Some("standard".into()),
        joined: Some(at(joined)),
        is_forwarded: false,
    }
}

fn room(sid: &str, created: i64, participants: Vec<ListedParticipant>) -> ListedRoom {
    ListedRoom {
        sid: RoomSid::new(sid).unwrap(),
        name: livekit_otel_model::event::RoomName::new("standup"),
        created: Some(at(created)),
        participants: Some(participants),
    }
}

fn node(sid: &str) -> Scope {
    Scope::Node(NodeId::new(sid).unwrap())
}

struct Run {
    sessions: Sessions,
    out: Outputs,
}

impl Run {
    fn new() -> Self {
        Self { sessions: Sessions::new(Settings::default()), out: Outputs::default() }
    }

    fn tell(&mut self, kind: EventKind, secs: i64, participant: Option<&str>) -> &mut Self {
        let event = event(kind, secs, participant);
        let outcome = self.sessions.event(&event, at(secs), false, &mut self.out);
        assert_eq!(outcome, Outcome::Applied);
        self
    }

    fn list_of(&mut self, scope: Scope, secs: i64, rooms: Vec<ListedRoom>) -> &mut Self {
        let list = Rooms { at: Some(at(secs)), scope, rooms, event: None };
        self.sessions.tick(at(secs), &mut self.out);
        self.sessions.reconcile(&list, at(secs), &mut self.out);
        self
    }

    fn list(&mut self, secs: i64, rooms: Vec<ListedRoom>) -> &mut Self {
        self.list_of(Scope::Deployment, secs, rooms)
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
fn what_nobody_told_of_is_opened_with_the_times_of_the_list() {
    let mut run = Run::new();
    run.list(100, vec![room("RM_1", 10, vec![listed("PA_1", 20)])]);
    assert_eq!(run.disagreements(), ["room_missing", "participant_missing"]);
    let names: Vec<_> = run.out.logs.iter().map(|log| &*log.event_name).collect();
    assert_eq!(names, [name::ROOM_MISSING, name::PARTICIPANT_MISSING]);
    assert!(run.out.logs.iter().all(|log| log.severity == Severity::Warn && log.time == at(100)));
    run.list(160, vec![room("RM_1", 10, vec![listed("PA_1", 20)])]);
    assert!(run.disagreements().is_empty(), "it is told once");

    run.tell(EventKind::ParticipantLeft, 170, Some("PA_1"));
    run.tell(EventKind::RoomEnded, 180, None);
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
fn what_is_so_new_that_it_may_still_be_told_is_not_opened() {
    let mut run = Run::new();
    run.list(100, vec![room("RM_1", 71, vec![])]);
    run.list(100, vec![room("RM_2", 10, vec![listed("PA_1", 71)])]);
    assert_eq!(run.disagreements(), ["room_missing"]);
    run.list(101, vec![room("RM_1", 71, vec![]), room("RM_2", 10, vec![listed("PA_1", 71)])]);
    assert_eq!(run.disagreements(), ["room_missing", "participant_missing"]);
}

#[test]
fn a_leaving_that_nobody_told_is_inferred_after_two_lists_without_it() {
    let mut run = Run::new();
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_1"));
    run.tell(EventKind::ParticipantJoined, 1, Some("PA_2"));
    let both = vec![listed("PA_1", 0), listed("PA_2", 1)];
    run.list(60, vec![room("RM_1", 0, both)]);
    run.list(120, vec![room("RM_1", 0, vec![listed("PA_1", 0)])]);
    assert!(run.disagreements().is_empty());
    run.list(180, vec![room("RM_1", 0, vec![listed("PA_1", 0)])]);
    assert_eq!(run.disagreements(), ["participant_gone"]);
    run.list(240, vec![room("RM_1", 0, vec![listed("PA_1", 0)])]);
    assert!(run.disagreements().is_empty(), "it is told once");

    let left = run.out.spans.clone();
    assert_eq!(left.len(), 1, "its spans have left after the linger");
    assert_eq!(text(&left[0], key::END_INFERRED), Some("reconciled"));
    assert_eq!((left[0].start, left[0].end), (at(1), at(60)), "the newest time known of it");
    assert!(!is_reconciled(&left[0]));
}

#[test]
fn a_room_that_is_gone_ends_with_all_that_are_in_it() {
    let mut run = Run::new();
    run.tell(EventKind::RoomCreated, 0, None);
    run.tell(EventKind::ParticipantJoined, 1, Some("PA_1"));
    run.list(60, vec![]).list(120, vec![]);
    assert_eq!(run.disagreements(), ["participant_gone", "room_gone"]);
    assert_eq!(run.sessions.census(), crate::session::Census::default());
    run.sessions.tick(at(120 + 35), &mut run.out);
    let ends: Vec<_> = run.out.spans.iter().map(|span| text(span, key::END_INFERRED)).collect();
    assert_eq!(ends, [Some("reconciled"); 2]);
    assert!(run.out.spans.iter().all(|span| span.end == at(1)), "{:?}", run.out.spans);
}

#[test]
fn one_list_is_no_two_and_what_is_told_since_counts_more() {
    let mut run = Run::new();
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_1"));
    // The same list once more, and one of before.
    run.list(60, vec![]).list(60, vec![]).list(59, vec![]);
    assert!(run.disagreements().is_empty());
    run.tell(EventKind::ParticipantResumed, 100, Some("PA_1"));
    run.list(120, vec![]);
    assert!(run.disagreements().is_empty(), "it was told of after the first");
    run.list(129, vec![]);
    assert!(run.disagreements().is_empty(), "it was told of less than the grace ago");
    run.list(130, vec![]);
    assert_eq!(run.disagreements(), ["participant_gone", "room_gone"]);
}

#[test]
fn what_has_ended_is_not_opened_again() {
    let mut run = Run::new();
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_1"));
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_2"));
    run.tell(EventKind::ParticipantLeft, 50, Some("PA_1"));
    let both = || vec![room("RM_1", 0, vec![listed("PA_1", 0), listed("PA_2", 0)])];
    run.list(60, both()).list(120, both());
    run.tell(EventKind::ParticipantLeft, 125, Some("PA_2"));
    run.tell(EventKind::RoomEnded, 126, None);
    // However long the list goes on with it.
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
fn an_end_that_is_told_after_all_replaces_the_inferred_one() {
    let mut run = Run::new();
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_1"));
    run.list(60, vec![]).list(120, vec![]);
    run.tell(EventKind::ParticipantLeft, 40, Some("PA_1"));
    run.tell(EventKind::RoomEnded, 41, None);
    let spans = run.close(130);
    assert!(spans.iter().all(|span| text(span, key::END_INFERRED).is_none()), "{spans:?}");
    assert_eq!((spans[0].end, spans[1].end), (at(40), at(41)));
}

#[test]
fn a_node_says_nothing_of_the_rooms_of_others() {
    let mut run = Run::new();
    // Its events are of ND_1.
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_1"));
    for secs in [60, 120, 180] {
        run.list_of(node("ND_2"), secs, vec![]);
        run.list_of(Scope::Unnamed, secs, vec![]);
    }
    assert!(run.disagreements().is_empty());
    run.list_of(node("ND_1"), 200, vec![room("RM_1", 0, vec![])]);
    run.list_of(node("ND_1"), 260, vec![room("RM_1", 0, vec![])]);
    assert_eq!(run.disagreements(), ["participant_gone"]);
    // What it opens is its own.
    run.list_of(node("ND_2"), 300, vec![room("RM_2", 0, vec![listed("PA_2", 0)])]);
    assert_eq!(run.disagreements(), ["room_missing", "participant_missing"]);
    let said = run.out.logs.last().unwrap().attributes.iter();
    let said: Vec<_> = said.filter(|each| each.key == key::NODE_ID).collect();
    assert_eq!(said, [&Attribute::new(key::NODE_ID, "ND_2")]);
    run.list_of(node("ND_1"), 360, vec![]).list_of(node("ND_1"), 420, vec![]);
    assert_eq!(run.disagreements(), ["room_gone"], "RM_1, not RM_2");
}

#[test]
fn a_room_of_which_the_list_does_not_say_who_is_there_keeps_all() {
    let mut run = Run::new();
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_1"));
    for secs in [60, 120, 180] {
        run.list(secs, vec![ListedRoom { participants: None, ..room("RM_1", 0, vec![]) }]);
    }
    assert!(run.disagreements().is_empty());
}

#[test]
fn who_is_forwarded_from_another_room_is_not_opened() {
    let mut run = Run::new();
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_1"));
    let forwarded = ListedParticipant { is_forwarded: true, ..listed("PA_2", 0) };
    run.list(60, vec![room("RM_1", 0, vec![listed("PA_1", 0), forwarded])]);
    assert!(run.disagreements().is_empty());
}

#[test]
fn a_restart_between_two_lists_changes_nothing() {
    let mut run = Run::new();
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_1"));
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
fn a_list_from_a_clock_that_is_ahead_cuts_no_grace() {
    let mut run = Run::new();
    run.tell(EventKind::ParticipantJoined, 0, Some("PA_1"));
    for secs in [5, 10] {
        let list = Rooms {
            at: Some(at(secs + 3600)),
            scope: Scope::Deployment,
            rooms: Vec::new(),
            event: None,
        };
        run.sessions.reconcile(&list, at(secs), &mut run.out);
    }
    assert!(run.disagreements().is_empty());
}
