//! What `serve` asks LiveKit's API, by a fake one that notes each request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header::AUTHORIZATION};
use axum::response::{IntoResponse, Response};
use livekit_otel::serve::Server;
use livekit_otel::source::reconcile::Settings;
use livekit_otel_ledger::Refused;
use livekit_otel_livekit::messages as lk;
use livekit_otel_model::Source;
use livekit_otel_tools::capture::Capture;
use livekit_otel_tools::demo::Collector;
use livekit_otel_transport::proxy::Route;
use livekit_token::TokenVerifier;
use prost::Message;
use serde_json::{Value, json};

use crate::serve::{KEY, SECRET, adds_up, config, replay_to, stop};

const LONG: Duration = Duration::from_mins(1);

#[derive(Default)]
struct Fake {
    rooms: Vec<lk::Room>,
    participants: Vec<lk::ParticipantInfo>,
    failing: HashMap<&'static str, StatusCode>,
    // Methods, with the room or identity that was asked for.
    asked: Vec<String>,
}

type Api = Arc<Mutex<Fake>>;

async fn answer(State(api): State<Api>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut api = api.lock().unwrap();
    let token = headers[AUTHORIZATION].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let claims = TokenVerifier::with_api_key(KEY, SECRET).verify(token).unwrap();
    let method = uri.path().rsplit('/').next().unwrap();
    let (what, bytes) = match method {
        "ListRooms" => {
            let rooms = api.rooms.clone();
            (String::new(), Some(lk::ListRoomsResponse { rooms }.encode_to_vec()))
        }
        "ListParticipants" => {
            let asked = lk::ListParticipantsRequest::decode(body).unwrap().room;
            assert!(claims.video.room_admin && claims.video.room == asked);
            let participants = api.participants.clone();
            (asked, Some(lk::ListParticipantsResponse { participants }.encode_to_vec()))
        }
        "GetParticipant" => {
            let asked = lk::RoomParticipantIdentity::decode(body).unwrap();
            assert!(claims.video.room_admin && claims.video.room == asked.room);
            let found = api.participants.iter().find(|who| who.identity == asked.identity);
            (asked.identity, found.map(Message::encode_to_vec))
        }
        // Dispatches, egresses and ingresses: none.
        _ => (String::new(), Some(Vec::new())),
    };
    api.asked.push(format!("{method} {what}"));
    match (api.failing.get(method), bytes) {
        (Some(status), _) => status.into_response(),
        (None, Some(bytes)) => bytes.into_response(),
        (None, None) => StatusCode::NOT_FOUND.into_response(),
    }
}

struct Run {
    api: Api,
    server: Server,
    _collector: Collector,
}

impl Run {
    async fn start(fake: Fake) -> Self {
        let collector = Collector::start().await.unwrap();
        let api = Arc::new(Mutex::new(fake));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&api));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let mut config = config(&collector.endpoint());
        config.api = Some(Settings {
            url,
            key: KEY.to_owned(),
            interval: Duration::from_millis(10),
            requests_per_second: 1000,
            route: Route::Direct,
        });
        let server = Server::start(config).await.unwrap();
        Self { api, server, _collector: collector }
    }

    fn count(&self, what: &str) -> usize {
        self.api.lock().unwrap().asked.iter().filter(|asked| **asked == what).count()
    }

    // Waits until this was asked so many times.
    async fn asked(&self, what: &str, times: usize) {
        let asked = async {
            while self.count(what) < times {
                tokio::task::yield_now().await;
            }
        };
        let asked = tokio::time::timeout(LONG, asked).await;
        asked.unwrap_or_else(|_| panic!("{what}: {:?}", self.api.lock().unwrap().asked));
    }

    // Waits for more lists of rooms.
    async fn rounds(&self, more: usize) {
        self.asked("ListRooms ", self.count("ListRooms ") + more).await;
    }

    // Sends a webhook, and waits until it is processed.
    async fn report(&self, event: &str, more: Value) {
        let mut body = json!({
            "event": event, "id": format!("EV_{event}"), "createdAt": "1795406961",
            "room": {"sid": "RM_1", "name": "standup"},
        });
        crate::messages::merge(&mut body, more);
        let line = json!({"at": 1_795_406_961_000_i64, "kind": "webhook", "body": body});
        let processed = || self.server.ledger().inputs[Source::Webhook as usize].processed;
        let before = processed();
        replay_to(&self.server, &Capture::parse(line.to_string().as_bytes()).unwrap()).await;
        while processed() == before {
            tokio::task::yield_now().await;
        }
    }

    fn refused(&self, why: Refused) -> u64 {
        self.server.ledger().inputs[Source::Api as usize].refused[why as usize].1
    }
}

fn room(size: u32) -> lk::Room {
    lk::Room {
        sid: "RM_1".into(),
        name: "standup".into(),
        creation_time: 1_795_406_960,
        num_participants: size,
        ..lk::Room::default()
    }
}

fn ringing() -> lk::ParticipantInfo {
    let attributes = [("sip.callID", "SCL_1"), ("sip.callStatus", "ringing")];
    lk::ParticipantInfo {
        sid: "PA_1".into(),
        identity: "sip_1".into(),
        state: lk::participant_info::State::Active as i32,
        joined_at: 1_795_406_961,
        kind: lk::participant_info::Kind::Sip as i32,
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..lk::ParticipantInfo::default()
    }
}

#[tokio::test]
async fn a_room_that_has_ended_is_not_asked_about_even_if_it_is_listed() {
    // One participant more than is known, in each round.
    let run = Run::start(Fake { rooms: vec![room(1)], ..Fake::default() }).await;
    run.report("room_started", json!({})).await;
    run.asked("ListParticipants standup", 3).await;
    run.report("room_finished", json!({})).await;
    // What was asked meanwhile.
    run.rounds(2).await;
    let before = run.count("ListParticipants standup");
    run.rounds(30).await;
    assert_eq!(run.count("ListParticipants standup"), before);
    adds_up(&stop(run.server).await.ledger);
}

#[tokio::test]
async fn what_fails_is_asked_again_once_a_list_has_its_room() {
    let failing = HashMap::from([("ListParticipants", StatusCode::SERVICE_UNAVAILABLE)]);
    let run = Run::start(Fake { rooms: vec![room(1)], failing, ..Fake::default() }).await;
    run.report("room_started", json!({})).await;
    run.asked("ListParticipants standup", 5).await;
    let mut lists = 0;
    for asked in &run.api.lock().unwrap().asked {
        match asked.as_str() {
            "ListRooms " => lists += 1,
            "ListParticipants standup" => lists -= 1,
            _ => {}
        }
        assert!(lists >= 0, "more often than the rooms were listed");
    }
    assert!(run.refused(Refused::Unavailable) >= 4);
    // It is not listed any more.
    run.api.lock().unwrap().rooms.clear();
    run.rounds(2).await;
    let before = run.count("ListParticipants standup");
    run.rounds(30).await;
    assert_eq!(run.count("ListParticipants standup"), before);
    adds_up(&stop(run.server).await.ledger);
}

#[tokio::test]
async fn a_call_that_rings_is_polled_and_a_participant_that_is_gone_is_no_error() {
    let fake = Fake { rooms: vec![room(1)], participants: vec![ringing()], ..Fake::default() };
    let run = Run::start(fake).await;
    let attributes = json!({"sip.callID": "SCL_1", "sip.callStatus": "ringing"});
    let participant = json!({
        "sid": "PA_1", "identity": "sip_1", "kind": "SIP", "joinedAt": "1795406961",
        "attributes": attributes,
    });
    run.report("participant_joined", json!({"participant": participant})).await;
    run.asked("GetParticipant sip_1", 2).await;
    run.api.lock().unwrap().participants.clear();
    run.asked("GetParticipant sip_1", 3).await;
    run.rounds(30).await;
    assert_eq!(run.count("GetParticipant sip_1"), 3, "it is gone");
    let report = stop(run.server).await;
    adds_up(&report.ledger);
    let refused = &report.ledger.inputs[Source::Api as usize].refused;
    assert!(refused.iter().all(|(_, n)| *n == 0), "{refused:?}");
}
