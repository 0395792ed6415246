//! Lists of rooms from LiveKit's API and its nodes, compared with the reported events.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use livekit_otel::config::Config;
use livekit_otel::config::JournalConfig;
use livekit_otel::serve::Server;
use livekit_otel::source::reconcile::Settings;
use livekit_otel_durable::journal;
use livekit_otel_durable::store::Files;
use livekit_otel_engine::session;
use livekit_otel_engine::stats;
use livekit_otel_engine::{Batch, Engine};
use livekit_otel_ledger::Refused;
use livekit_otel_livekit as livekit;
use livekit_otel_livekit::messages as lk;
use livekit_otel_model::Source;
use livekit_otel_model::semconv::{event as name, key, metric, span};
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;
use livekit_otel_tools::demo::Telemetry;
use livekit_otel_tools::demo::received::{Attributes, Measured};
use livekit_otel_transport::proxy::Route;
use livekit_token::TokenVerifier;
use prost::Message;
use serde_json::json;

use crate::messages::{ROOM, analytics, at, participant, rfc3339};
use crate::serve::{KEY, SECRET, adds_up, config, stop};

const HIDDEN: &str = "made-up-and-not-to-be-kept";
const LONG: Duration = Duration::from_mins(1);

// What the fake API answers.
#[derive(Default)]
struct Answers {
    rooms: Vec<(lk::Room, Vec<lk::ParticipantInfo>)>,
    // Sent instead of the rooms, if set.
    instead: Option<(StatusCode, Vec<u8>)>,
}

type Api = Arc<Mutex<Answers>>;

async fn answer(State(api): State<Api>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let answers = api.lock().unwrap();
    if let Some((status, body)) = &answers.instead {
        return (*status, body.clone()).into_response();
    }
    assert_eq!(headers[CONTENT_TYPE], "application/protobuf");
    let token = headers[AUTHORIZATION].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let Ok(claims) = TokenVerifier::with_api_key(KEY, SECRET).verify(token) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let bytes = match uri.path() {
        "/base/twirp/livekit.RoomService/ListRooms" => {
            assert!(claims.video.room_list && !claims.video.room_admin);
            let rooms = answers.rooms.iter().map(|(room, _)| room.clone()).collect();
            lk::ListRoomsResponse { rooms }.encode_to_vec()
        }
        "/base/twirp/livekit.RoomService/ListParticipants" => {
            let asked = lk::ListParticipantsRequest::decode(body).unwrap().room;
            assert!(claims.video.room_admin && claims.video.room == asked);
            let found = answers.rooms.iter().find(|(room, _)| room.name == asked);
            let Some((_, participants)) = found else {
                return StatusCode::NOT_FOUND.into_response();
            };
            lk::ListParticipantsResponse { participants: participants.clone() }.encode_to_vec()
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    bytes.into_response()
}

// It ends with the test's runtime.
async fn api() -> (Api, Uri) {
    let api = Api::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&api));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (api, url.parse().unwrap())
}

fn with_api(mut config: Config, url: Uri) -> Config {
    let interval = Duration::from_millis(20);
    let requests_per_second = 1000;
    let (key, route) = (KEY.to_owned(), Route::Direct);
    config.api = Some(Settings { url, key, interval, requests_per_second, route });
    config.session.linger = Duration::from_millis(10);
    config
}

fn on_disk(mut config: Config, directory: &Path) -> Config {
    let sync = Duration::ZERO;
    let settings = journal::Settings { max_bytes: 64 << 20, sync, snapshot: 1 << 20 };
    let directory = directory.to_owned();
    config.journal = Some(JournalConfig { directory, settings, disk: Arc::new(Files) });
    config
}

// A minute ago, which is longer than the grace.
fn long_ago() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap() - 60_000
}

fn room(created: i64) -> lk::Room {
    lk::Room {
        sid: "RM_1".into(),
        name: "standup".into(),
        creation_time_ms: created,
        creation_time: created / 1000,
        turn_password: HIDDEN.into(),
        metadata: HIDDEN.into(),
        ..lk::Room::default()
    }
}

fn listed(sid: &str, joined: i64) -> lk::ParticipantInfo {
    lk::ParticipantInfo {
        sid: sid.into(),
        identity: format!("who-{sid}"),
        state: lk::participant_info::State::Active as i32,
        joined_at_ms: joined,
        kind: lk::participant_info::Kind::Agent as i32,
        metadata: HIDDEN.into(),
        tracks: vec![lk::TrackInfo { name: HIDDEN.into(), ..lk::TrackInfo::default() }],
        ..lk::ParticipantInfo::default()
    }
}

async fn logged(collector: &Collector, what: &str) {
    let has = |received: &Received| {
        Telemetry::read(received).logs.iter().any(|log| log.event_name == what)
    };
    tokio::time::timeout(LONG, collector.received_when(has)).await.expect(what);
}

fn files(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { files(&path) } else { std::fs::read(&path).unwrap() });
    }
    bytes
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn marks(attributes: &Attributes) -> (bool, Option<&str>) {
    (attributes.0.contains_key(key::RECONCILED), attributes.text(key::END_INFERRED))
}

#[tokio::test]
async fn missed_rooms_are_learned_from_the_api() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    let (api, url) = api().await;
    let began = long_ago();
    let both = vec![listed("PA_1", began + 1), listed("PA_2", began + 2)];
    api.lock().unwrap().rooms = vec![(room(began), both)];
    let config = on_disk(with_api(config(&collector.endpoint()), url), directory.path());
    let server = Server::start(config).await.unwrap();

    logged(&collector, name::PARTICIPANT_MISSING).await;
    assert!(contains(&files(directory.path()), "who-PA_1"), "the list is in the journal");
    assert!(!contains(&files(directory.path()), HIDDEN), "but none of its other fields");
    api.lock().unwrap().rooms[0].1.remove(1);
    logged(&collector, name::PARTICIPANT_GONE).await;
    api.lock().unwrap().rooms.clear();
    logged(&collector, name::ROOM_GONE).await;
    let spans = |received: &Received| Telemetry::read(received).spans.len() == 3;
    tokio::time::timeout(LONG, collector.received_when(spans)).await.expect("all spans");

    let report = stop(server).await;
    adds_up(&report.ledger);
    let input = &report.ledger.inputs[Source::Api as usize];
    assert!(input.processed >= 5, "{input:?}");
    assert!(input.refused.iter().all(|(_, n)| *n == 0), "{input:?}");
    let telemetry = Telemetry::read(&collector.stop().await);
    for span in &telemetry.spans {
        assert_eq!(marks(&span.attributes), (true, Some("reconciled")), "{}", span.name);
        assert!(span.end > span.start + 50_000_000_000, "{}", span.name);
    }
    let starts: HashSet<_> = telemetry.spans.iter().map(|span| (&*span.name, span.start)).collect();
    let at = |millis: i64| u64::try_from(began + millis).unwrap() * 1_000_000;
    let expected = [(span::ROOM, at(0)), (span::PARTICIPANT, at(1)), (span::PARTICIPANT, at(2))];
    assert_eq!(starts, HashSet::from(expected));
    let names: Vec<_> = telemetry.logs.iter().map(|log| &*log.event_name).collect();
    let once = |what| names.iter().filter(|name| **name == what).count();
    assert_eq!((once(name::ROOM_MISSING), once(name::PARTICIPANT_MISSING)), (1, 2), "{names:?}");
    assert_eq!((once(name::ROOM_GONE), once(name::PARTICIPANT_GONE)), (1, 2), "{names:?}");
    let agent =
        telemetry.logs.iter().find(|log| log.event_name == name::PARTICIPANT_MISSING).unwrap();
    assert_eq!(agent.attributes.text(key::PARTICIPANT_KIND), Some("AGENT"));
    assert_eq!(agent.attributes.text(key::SOURCE), Some("api"));
}

#[tokio::test]
async fn disagreements_are_counted_by_kind() {
    let collector = Collector::start().await.unwrap();
    let (api, url) = api().await;
    let began = long_ago();
    api.lock().unwrap().rooms = vec![(room(began), vec![listed("PA_1", began)])];
    let server = Server::start(with_api(config(&collector.endpoint()), url)).await.unwrap();
    logged(&collector, name::PARTICIPANT_MISSING).await;
    adds_up(&stop(server).await.ledger);
    let telemetry = Telemetry::read(&collector.stop().await);
    let mut counted = BTreeMap::new();
    for point in telemetry.points.iter().filter(|it| it.name == metric::RECONCILER_DISAGREEMENTS) {
        let Measured::Number(value) = point.value else { panic!("a count") };
        counted.insert(point.attributes.text(key::DISAGREEMENT).unwrap(), value.to_string());
    }
    let once = |what| (what, "1".to_owned());
    assert_eq!(counted, BTreeMap::from(["room_missing", "participant_missing"].map(once)));
}

#[tokio::test]
async fn a_failing_api_is_polled_again_and_disturbs_nothing() {
    let collector = Collector::start().await.unwrap();
    let (api, url) = api().await;
    api.lock().unwrap().instead = Some((StatusCode::INTERNAL_SERVER_ERROR, Vec::new()));
    let server = Server::start(with_api(config(&collector.endpoint()), url)).await.unwrap();
    let refused = |why: Refused| {
        let ledger = server.ledger();
        ledger.inputs[Source::Api as usize].refused[why as usize].1
    };
    let until = async |done: &dyn Fn() -> bool| {
        let polled = async {
            while !done() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, polled).await.expect("in time");
    };
    for (answer, why) in [
        ((StatusCode::INTERNAL_SERVER_ERROR, Vec::new()), Refused::Unavailable),
        ((StatusCode::FORBIDDEN, Vec::new()), Refused::Unauthorized),
        ((StatusCode::FOUND, Vec::new()), Refused::Unavailable),
        ((StatusCode::OK, b"<html>".to_vec()), Refused::Malformed),
        ((StatusCode::OK, vec![0; (8 << 20) + 1]), Refused::TooLarge),
    ] {
        api.lock().unwrap().instead = Some(answer);
        let before = refused(why);
        until(&|| refused(why) > before).await;
    }
    assert_eq!(server.ledger().inputs[Source::Api as usize].accepted, 0);

    let capture = crate::serve::the_capture();
    crate::serve::replay_to(&server, &capture).await;
    api.lock().unwrap().instead = None;
    until(&|| server.ledger().inputs[Source::Api as usize].processed > 1).await;
    let report = stop(server).await;
    adds_up(&report.ledger);
    assert_eq!(report.undelivered, 0);
    assert_eq!(report.ledger.inputs[Source::Webhook as usize].accepted, 18);
    // All rooms of the capture were reported just now: an empty list ends none of them.
    let telemetry = Telemetry::read(&collector.stop().await);
    let gone = [name::ROOM_GONE, name::PARTICIPANT_GONE];
    assert!(!telemetry.logs.iter().any(|log| gone.contains(&&*log.event_name)));
}

#[tokio::test]
async fn unknown_fields_of_the_apis_answers_are_counted() {
    let collector = Collector::start().await.unwrap();
    let (api, url) = api().await;
    // A list of a room "one" or of a participant "RM_1", with the field 1000, a varint.
    let body = b"\x0a\x0e\x0a\x04RM_1\x12\x03one\xc0\x3e\x01";
    api.lock().unwrap().instead = Some((StatusCode::OK, body.to_vec()));
    let server = Server::start(with_api(config(&collector.endpoint()), url)).await.unwrap();
    let accepted = async {
        while server.ledger().inputs[Source::Api as usize].accepted < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, accepted).await.expect("in time");
    let ledger = stop(server).await.ledger;
    let answers = ledger.inputs[Source::Api as usize].accepted;
    assert_eq!(ledger.unknown.fields, answers, "one in each list");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_the_apis_answer() {
    let collector = Collector::start().await.unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap()).parse().unwrap();
    let server = Server::start(with_api(config(&collector.endpoint()), url)).await.unwrap();
    let asked = silent.accept().await.unwrap();
    // Less than the 10 s that a request may take.
    let report = tokio::time::timeout(Duration::from_secs(9), server.shutdown()).await;
    assert_eq!(report.expect("an end without the answer").undelivered, 0);
    drop(asked);
}

#[test]
fn a_nodes_rooms_are_an_event_and_are_compared() {
    let mut engine = Engine::new(session::Settings::default(), stats::Settings::default(), at(0));
    let mut out = Batch::default();
    let mut apply = |millis: i64, decoded| {
        engine.tick(at(millis), &mut out);
        engine.apply(&decoded, at(millis), true, &mut out);
    };
    let rooms = |millis: i64, sids: &[&str]| {
        let room = |sid: &&str| {
            json!({"id": sid, "name": "test", "createdAt": rfc3339(0), "participants": [
                {"id": "PA_listed", "identity": "who", "state": "ACTIVE", "joinedAt": rfc3339(1000)},
                {"id": "PA_left", "state": "DISCONNECTED", "joinedAt": rfc3339(1000)},
            ]})
        };
        let rooms: Vec<_> = sids.iter().map(room).collect();
        let body = json!({"nodeId": "ND_1", "timestamp": rfc3339(millis), "rooms": rooms});
        let raw = livekit::encode_capture("nodeRooms", &body).unwrap();
        livekit::node_rooms(&raw).unwrap().decoded
    };
    let mut joined = participant("PA_joined");
    joined["nodeId"] = "ND_1".into();
    apply(1000, analytics("PARTICIPANT_JOINED", 1000, joined));
    apply(60_000, rooms(60_000, &["RM_other"]));
    apply(90_000, rooms(90_000, &["RM_other"]));
    let names: Vec<_> = out.logs.iter().map(|log| &*log.event_name).collect();
    let expected = [
        name::PARTICIPANT_JOINED,
        name::NODE_ROOMS,
        name::ROOM_MISSING,
        name::PARTICIPANT_MISSING,
        name::NODE_ROOMS,
        name::PARTICIPANT_GONE,
        name::ROOM_GONE,
    ];
    assert_eq!(names, expected, "{ROOM} is gone, RM_other is found");
}
