use livekit_otel_model::event::rooms::ListedRoom;
use livekit_otel_model::event::{ParticipantSid, RoomName, SipStatus, WorkKind};
use lk::participant_info::{Kind, KindDetail, State};

use super::*;
use crate::read;

const AT: i64 = 1_795_406_960;

fn at() -> Time {
    Time::from_secs(AT).unwrap()
}

fn room() -> (RoomSid, RoomName) {
    (RoomSid::new("RM_1").unwrap(), RoomName::new("standup").unwrap())
}

fn participant() -> Question {
    let (room, name) = room();
    Question::Participant { room, name, identity: Identity::new("sip_+15550100").unwrap() }
}

fn questions() -> Vec<Question> {
    let (room, name) = room();
    vec![
        Question::Participants { room: room.clone(), name: name.clone() },
        participant(),
        Question::Dispatches { room, name },
        Question::Egresses,
        Question::Ingresses,
    ]
}

fn hidden() -> String {
    "hidden".to_owned()
}

// What is read again of the reduced answer, in which nothing hidden is left.
fn read(question: &Question, response: &impl Message) -> Answered {
    let answer = ApiAnswer::new(at(), question, &response.encode_to_vec()).unwrap();
    assert_eq!(answer.unknown(), event::Unknown::default());
    let raw = answer.encode();
    assert!(!raw.windows(6).any(|bytes| bytes == b"hidden"), "{question:?}");
    let Decoded::Answer(answer) = read::api(&raw).unwrap().decoded else { panic!("no answer") };
    assert_eq!(answer.at, at());
    answer.content
}

fn info(sid: &str, state: State, details: Vec<i32>) -> lk::ParticipantInfo {
    let attributes =
        [("sip.callID", "SCL_1"), ("sip.callStatus", "ringing"), ("sip.h.x", "hidden")];
    lk::ParticipantInfo {
        sid: sid.to_owned(),
        identity: "sip_+15550100".to_owned(),
        state: state as i32,
        joined_at_ms: AT * 1000 + 456,
        joined_at: AT,
        kind: Kind::Sip as i32,
        kind_details: details,
        metadata: hidden(),
        name: hidden(),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..lk::ParticipantInfo::default()
    }
}

#[test]
fn participants_that_have_not_left_are_read_with_their_sip_call() {
    let participants = vec![
        info("PA_1", State::Joining, Vec::new()),
        info("PA_2", State::Disconnected, Vec::new()),
        info("PA_3", State::Active, vec![KindDetail::Forwarded as i32]),
    ];
    let response = lk::ListParticipantsResponse { participants };
    let Answered::Participants { room, participants } = read(&questions()[0], &response) else {
        panic!("no participants")
    };
    assert_eq!(room.as_str(), "RM_1");
    let [one, three] = participants.as_slice() else { panic!("{participants:?}") };
    assert_eq!(
        (&one.sid, one.kind.as_deref(), one.joined, one.is_forwarded),
        (
            &ParticipantSid::new("PA_1").unwrap(),
            Some("SIP"),
            Time::from_millis(AT * 1000 + 456),
            false
        )
    );
    let call = one.sip.as_ref().unwrap();
    assert_eq!((&*call.id, call.status), ("SCL_1", Some(SipStatus::Ringing)));
    assert_eq!((three.sid.as_str(), three.is_forwarded), ("PA_3", true));
}

#[test]
fn one_participant_is_there_has_left_or_is_gone() {
    let is_there = |answered| {
        let Answered::Participant { identity, participant, .. } = answered else {
            panic!("no participant")
        };
        assert_eq!(identity.as_str(), "sip_+15550100");
        participant.is_some()
    };
    let question = participant();
    assert!(is_there(read(&question, &info("PA_1", State::Active, Vec::new()))));
    assert!(!is_there(read(&question, &info("PA_1", State::Disconnected, Vec::new()))));
    let gone = ApiAnswer::gone(at(), &question).unwrap().encode();
    let Decoded::Answer(gone) = read::api(&gone).unwrap().decoded else { panic!("no answer") };
    assert!(!is_there(gone.content));
    for question in questions().iter().filter(|each| **each != participant()) {
        assert_eq!(ApiAnswer::gone(at(), question), None);
    }
}

#[test]
fn dispatches_are_read_with_their_jobs() {
    let state = lk::JobState {
        status: lk::JobStatus::JsRunning as i32,
        started_at: AT * 1_000_000_000 + 7,
        participant_identity: "agent-AJ_1".to_owned(),
        worker_id: "AW_1".to_owned(),
        agent_id: hidden(),
        ..lk::JobState::default()
    };
    let job = |id: &str, state| lk::Job {
        id: id.to_owned(),
        state,
        metadata: hidden(),
        ..Default::default()
    };
    let jobs = vec![job("AJ_1", Some(state)), job("AJ_2", None), job("", None)];
    let state = lk::AgentDispatchState { jobs, created_at: AT * 1_000_000_000, deleted_at: 0 };
    let dispatch = |id: &str, name: &str, state| lk::AgentDispatch {
        id: id.to_owned(),
        agent_name: name.to_owned(),
        room: hidden(),
        metadata: hidden(),
        state,
        ..Default::default()
    };
    let agent_dispatches = vec![
        dispatch("AD_1", "helper", Some(state)),
        dispatch("AD_2", "", None),
        dispatch("", "", None),
    ];
    let response = lk::ListAgentDispatchResponse { agent_dispatches };
    let Answered::Dispatches { dispatches, .. } = read(&questions()[2], &response) else {
        panic!("no dispatches")
    };
    let of = |id: &str| DispatchJob {
        id: id.into(),
        status: None,
        identity: None,
        worker: None,
        started: None,
        ended: None,
        error: None,
    };
    let running = DispatchJob {
        status: Some("JS_RUNNING".into()),
        identity: Identity::new("agent-AJ_1"),
        worker: Some("AW_1".into()),
        started: Time::from_nanos(u64::try_from(AT).unwrap() * 1_000_000_000 + 7),
        ..of("AJ_1")
    };
    let automatic = Dispatch {
        id: "AD_2".into(),
        agent_name: None,
        created: None,
        deleted: None,
        jobs: Vec::new(),
    };
    let named = Dispatch {
        id: "AD_1".into(),
        agent_name: Some("helper".into()),
        created: Some(at()),
        jobs: vec![running, of("AJ_2")],
        ..automatic.clone()
    };
    assert_eq!(dispatches, [named, automatic]);
}

#[test]
fn egresses_are_read_as_those_of_events() {
    let s3 = lk::S3Upload { secret: hidden(), ..Default::default() };
    let output = lk::EncodedFileOutput {
        filepath: hidden(),
        output: Some(lk::encoded_file_output::Output::S3(s3)),
        ..Default::default()
    };
    let request = lk::RoomCompositeEgressRequest {
        room_name: hidden(),
        file_outputs: vec![output],
        ..Default::default()
    };
    let file =
        lk::FileInfo { filename: hidden(), started_at: 5, ended_at: 9, ..Default::default() };
    let info = lk::EgressInfo {
        egress_id: "EG_1".to_owned(),
        room_id: "RM_1".to_owned(),
        room_name: "standup".to_owned(),
        status: lk::EgressStatus::EgressFailed as i32,
        started_at: 4,
        updated_at: 10,
        error: "no space".to_owned(),
        request: Some(lk::egress_info::Request::RoomComposite(request)),
        file_results: vec![file],
        details: hidden(),
        manifest_location: hidden(),
        ..Default::default()
    };
    let response = lk::ListEgressResponse { items: vec![info.clone()], next_page_token: None };
    let Answered::Egresses(WorkList { events, is_complete: true }) =
        read(&Question::Egresses, &response)
    else {
        panic!("no egresses")
    };
    let whole = lk::AnalyticsEvent {
        r#type: lk::AnalyticsEventType::EgressUpdated as i32,
        egress: Some(info),
        ..Default::default()
    };
    let whole = from_analytics(&whole, &mut Unknown::default());
    let reported = Some(event::ReportedTime { at: at(), whole_seconds: false });
    assert!(whole.work.as_ref().is_some_and(|work| work.result_started.is_some()));
    assert_eq!(events, [Event { reported, ..whole }]);
}

#[test]
fn ingresses_that_were_used_are_read_as_those_of_events() {
    let state = lk::IngressState {
        status: lk::ingress_state::Status::EndpointPublishing as i32,
        room_id: "RM_1".to_owned(),
        started_at: 4,
        resource_id: "r1".to_owned(),
        ..Default::default()
    };
    let info = |state| lk::IngressInfo {
        ingress_id: "IN_1".to_owned(),
        stream_key: hidden(),
        url: hidden(),
        participant_metadata: hidden(),
        state,
        ..Default::default()
    };
    let items = vec![info(Some(state)), info(None)];
    let response = lk::ListIngressResponse { items, next_page_token: None };
    let Answered::Ingresses(WorkList { events, .. }) = read(&Question::Ingresses, &response) else {
        panic!("no ingresses")
    };
    let [event] = events.as_slice() else { panic!("{events:?}") };
    let work = event.work.as_ref().unwrap();
    assert_eq!((work.kind, &*work.id, work.is_over), (WorkKind::Ingress, "IN_1/r1", false));
}

#[test]
fn a_list_that_has_another_page_is_not_complete() {
    for (token, is_whole) in [("", true), ("hidden", false)] {
        let next_page_token = Some(lk::TokenPagination { token: token.to_owned() });
        let page = lk::ListEgressResponse { items: Vec::new(), next_page_token };
        let Answered::Egresses(list) = read(&Question::Egresses, &page) else {
            panic!("no egresses")
        };
        assert_eq!(list, WorkList { events: Vec::new(), is_complete: is_whole });
        let lk::ListEgressResponse { next_page_token, .. } = page;
        let page = lk::ListIngressResponse { items: Vec::new(), next_page_token };
        let Answered::Ingresses(list) = read(&Question::Ingresses, &page) else {
            panic!("no ingresses")
        };
        assert_eq!(list, WorkList { events: Vec::new(), is_complete: is_whole });
    }
}

#[test]
fn texts_of_a_dispatch_have_a_bounded_length() {
    let long = |first: &str| format!("{first}{}", "ä".repeat(LONGEST));
    let state = lk::JobState { error: long("e"), worker_id: long("AW"), ..lk::JobState::default() };
    let job = lk::Job { id: long("AJ"), state: Some(state), ..Default::default() };
    let state = lk::AgentDispatchState { jobs: vec![job], ..Default::default() };
    let dispatch = lk::AgentDispatch {
        id: long("AD"),
        agent_name: long("n"),
        state: Some(state),
        ..Default::default()
    };
    let response = lk::ListAgentDispatchResponse { agent_dispatches: vec![dispatch] };
    let Answered::Dispatches { dispatches, .. } = read(&questions()[2], &response) else {
        panic!("no dispatches")
    };
    let [Dispatch { id, agent_name, jobs, .. }] = &*dispatches else { panic!("{dispatches:?}") };
    let [DispatchJob { id: of_job, worker, error, .. }] = &**jobs else { panic!("{jobs:?}") };
    let texts = [Some(id), agent_name.as_ref(), Some(of_job), worker.as_ref(), error.as_ref()];
    // No letter of two bytes is cut in half.
    assert_eq!(texts.map(|text| text.unwrap().len()), [256, 255, 256, 256, 255]);
}

#[test]
fn a_response_that_is_no_answer_is_refused() {
    for question in questions() {
        assert!(ApiAnswer::new(at(), &question, b"{\"code\":").is_err(), "{question:?}");
    }
    for question in questions().iter().filter(|each| **each != participant()) {
        // A text where the list has a message.
        assert!(ApiAnswer::new(at(), question, b"\x0a\x03abc").is_err(), "{question:?}");
    }
}

#[test]
fn each_request_has_the_grants_that_it_needs() {
    let granted = |grants: &VideoGrants| {
        [grants.room_list, grants.room_admin, grants.room_record, grants.ingress_admin]
    };
    let rooms = ApiRequest::rooms();
    assert_eq!((granted(&rooms.grants), rooms.body.len()), ([true, false, false, false], 0));
    let requests: Vec<_> = questions().iter().map(ApiRequest::new).collect();
    for request in &requests[..3] {
        assert_eq!(granted(&request.grants), [false, true, false, false]);
        assert_eq!(request.grants.room, "standup");
    }
    assert_eq!(granted(&requests[3].grants), [false, false, true, false]);
    assert_eq!(granted(&requests[4].grants), [false, false, false, true]);
    let one = lk::RoomParticipantIdentity::decode(&*requests[1].body).unwrap();
    assert_eq!((&*one.room, &*one.identity), ("standup", "sip_+15550100"));
    assert!(lk::ListEgressRequest::decode(&*requests[3].body).unwrap().active);
}

#[test]
fn only_the_fields_that_are_read_are_kept_of_a_list_of_rooms() {
    let at = at();
    let room = |sid: &str, name: &str, size| lk::Room {
        sid: sid.to_owned(),
        name: name.to_owned(),
        creation_time: 1_795_406_900,
        creation_time_ms: 1_795_406_900_123,
        num_participants: size,
        turn_password: hidden(),
        metadata: hidden(),
        ..lk::Room::default()
    };
    let rooms = vec![room("RM_2", "two", 7), room("RM_1", "one", 0), room("", "none", 1)];
    let response = lk::ListRoomsResponse { rooms }.encode_to_vec();
    let listed = ApiRooms::new(at, &response).unwrap();
    assert_eq!(listed.unknown(), event::Unknown::default());

    let raw = listed.encode();
    assert!(!raw.windows(6).any(|bytes| bytes == b"hidden"));
    let Decoded::Rooms(read) = of_api(&raw).unwrap() else { panic!("no list") };
    assert_eq!((read.at, &read.coverage), (Some(at), &Coverage::Deployment));
    let room = |sid, name, size| ListedRoom {
        sid: RoomSid::new(sid).unwrap(),
        name: RoomName::new(name),
        created: Time::from_millis(1_795_406_900_123),
        participants: None,
        size: Some(size),
    };
    assert_eq!(read.rooms, [room("RM_2", "two", 7), room("RM_1", "one", 0)]);
}

#[test]
fn a_response_that_is_not_a_list_is_refused() {
    let at = at();
    assert!(ApiRooms::new(at, b"<html>").is_err());
    assert!(ApiRooms::new(at, &[0x0a, 0x00].repeat(MOST_ROOMS + 1)).is_err());
    let Decoded::Rooms(none) = of_api(&ApiRooms::new(at, b"").unwrap().encode()).unwrap() else {
        panic!("no list")
    };
    assert_eq!((none.at, none.rooms.len()), (Some(at), 0));
}
