//! A LiveKit server that remembers what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use livekit_otel_livekit as livekit;
use livekit_otel_model::hex;
use livekit_otel_transport::frames::RawCodec;
use livekit_token::AccessToken;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tonic::transport::Channel;

use crate::program::{KEY, SECRET};
use crate::random::Random;

/// What was sent, and what of it was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Ids of acknowledged events.
    pub(crate) events: BTreeSet<String>,
    /// Participants whose joining was acknowledged.
    pub(crate) participants: BTreeSet<String>,
    /// Packets of each participant: those acknowledged, and all that were ever sent.
    pub(crate) packets: BTreeMap<String, (i64, i64)>,
    /// Ids of spans whose upload was acknowledged.
    pub(crate) spans: BTreeSet<String>,
    /// Webhooks that were acknowledged, and answers that asked to come back.
    pub(crate) webhooks: usize,
    pub(crate) refused: usize,
    /// How many bytes of no use a webhook has.
    pub(crate) padding: Arc<AtomicUsize>,
    /// Rooms that are not ended, with their participants.
    rooms: BTreeMap<String, Vec<String>>,
    next: u64,
}

/// Sends to one life of the program.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) webhook: String,
    pub(crate) uploads: String,
    pub(crate) analytics: String,
    pub(crate) oracle: Arc<Mutex<Oracle>>,
}

fn millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

fn timestamp() -> Json {
    json!(humantime::format_rfc3339_nanos(SystemTime::now()).to_string())
}

impl Sender {
    /// Sends webhooks, one after the other, until the program is gone.
    pub(crate) async fn webhooks(self, mut random: Random) {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        loop {
            let (id, who, body) = self.join("EV", &mut random);
            let padding = self.oracle.lock().unwrap().padding.load(Relaxed);
            let body = json!({
                "event": "participant_joined",
                "id": id,
                "createdAt": (millis() / 1000).to_string(),
                "room": {"sid": body.0, "name": "crash"},
                "participant": {"sid": who, "identity": "someone", "joinedAtMs": millis().to_string(),
                    "metadata": "x".repeat(padding)},
            });
            let body = body.to_string();
            let token = AccessToken::with_api_key(KEY, SECRET)
                .with_sha256(&STANDARD.encode(Sha256::digest(&body)))
                .to_jwt()
                .unwrap();
            let request = Request::post(&self.webhook).header(AUTHORIZATION, token);
            let request = request.body(Full::new(Bytes::from(body))).unwrap();
            match client.request(request).await {
                Ok(response) if response.status() == 200 => self.joined(id, who),
                Ok(response) if response.status() == 503 => {
                    self.oracle.lock().unwrap().refused += 1;
                    tokio::task::yield_now().await;
                }
                Ok(response) => panic!("a webhook is answered {}", response.status()),
                Err(_) => return,
            }
        }
    }

    /// Sends streams of events, each acknowledged by its Empty, until the program is gone.
    pub(crate) async fn events(self, mut random: Random) {
        let Ok(channel) = Channel::from_shared(self.analytics.clone()).unwrap().connect().await
        else {
            return;
        };
        loop {
            let mut sent = Vec::new();
            let mut messages = Vec::new();
            for _ in 0..=random.below(8) {
                let (id, who, (room,)) = self.join("AE", &mut random);
                messages.push(event(&id, "PARTICIPANT_JOINED", &room, &who));
                if random.below(3) == 0 {
                    let left = format!("{id}L");
                    messages.push(event(&left, "PARTICIPANT_LEFT", &room, &who));
                    sent.push((left, None));
                }
                sent.push((id, Some(who)));
            }
            if !self.stream("IngestEvents", &channel, messages).await {
                return;
            }
            let mut oracle = self.oracle.lock().unwrap();
            for (id, who) in sent {
                oracle.events.insert(id);
                oracle.participants.extend(who);
            }
        }
    }

    /// Sends streams of stats windows in the same way.
    pub(crate) async fn stats(self, mut random: Random) {
        let Ok(channel) = Channel::from_shared(self.analytics.clone()).unwrap().connect().await
        else {
            return;
        };
        loop {
            let mut sent = Vec::new();
            let mut messages = Vec::new();
            for _ in 0..=random.below(8) {
                // In the first life there may be no participant yet.
                let Some((room, who)) = self.somebody(&mut random) else { break };
                let packets = 1 + random.below(50);
                let id = format!("AS_{}", self.number());
                let body = json!({"stats": [{
                    "id": id, "kind": "UPSTREAM", "timeStamp": timestamp(), "node": "ND_1",
                    "roomId": room, "roomName": "crash", "participantId": who,
                    "trackId": "TR_1", "mime": "audio/opus",
                    "streams": [{"primaryPackets": packets, "primaryBytes": "100"}],
                }]});
                messages.push(Bytes::from(livekit::encode_capture("stats", &body).unwrap()));
                sent.push((who.clone(), i64::try_from(packets).unwrap()));
                self.oracle.lock().unwrap().packets.entry(who).or_default().1 +=
                    sent[sent.len() - 1].1;
            }
            if messages.is_empty() || !self.stream("IngestStats", &channel, messages).await {
                return;
            }
            let mut oracle = self.oracle.lock().unwrap();
            for (who, packets) in sent {
                oracle.packets.entry(who).or_default().0 += packets;
            }
        }
    }

    /// Uploads spans, as an agent and as any program, until the program is gone.
    pub(crate) async fn uploads(self, mut random: Random) {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        let token = format!("Bearer {}", livekit::token::mint(KEY, SECRET).unwrap());
        loop {
            let number = self.number();
            let room = self.somebody(&mut random).map(|(room, _)| room);
            let is_agents = room.is_some() && random.below(2) == 0;
            let path = if is_agents { "/observability/traces/otlp/v0" } else { "/v1/traces" };
            let body = Bytes::from(span(number, room.filter(|_| is_agents)));
            // An upload that is not acknowledged is sent again, as agents do.
            loop {
                let request = Request::post(format!("{}{path}", self.uploads))
                    .header(AUTHORIZATION, &token)
                    .header(http::header::CONTENT_TYPE, "application/x-protobuf");
                let request = request.body(Full::new(body.clone())).unwrap();
                match client.request(request).await {
                    Ok(response) if response.status() == 200 => break,
                    Ok(response) if response.status() == 503 => tokio::task::yield_now().await,
                    Ok(response) => panic!("an upload is answered {}", response.status()),
                    Err(_) => return,
                }
            }
            self.oracle.lock().unwrap().spans.insert(hex(&span_id(number)));
        }
    }

    /// Ends all rooms; whether that was acknowledged.
    pub(crate) async fn end_all(&self) -> bool {
        let Ok(channel) = Channel::from_shared(self.analytics.clone()).unwrap().connect().await
        else {
            return false;
        };
        let rooms: Vec<_> = self.oracle.lock().unwrap().rooms.keys().cloned().collect();
        let end = |room: &String| {
            let body = json!({"events": [{
                "id": format!("AE_end_{room}"), "type": "ROOM_ENDED", "timestamp": timestamp(),
                "roomId": room, "room": {"sid": room, "name": "crash"},
            }]});
            Bytes::from(livekit::encode_capture("events", &body).unwrap())
        };
        self.stream("IngestEvents", &channel, rooms.iter().map(end).collect()).await
    }

    async fn stream(&self, method: &str, channel: &Channel, messages: Vec<Bytes>) -> bool {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        if grpc.ready().await.is_err() {
            return false;
        }
        let path = format!("/livekit.AnalyticsRecorderService/{method}").parse().unwrap();
        let messages = tokio_stream::iter(messages);
        grpc.client_streaming(tonic::Request::new(messages), path, RawCodec).await.is_ok()
    }

    // Somebody new, in a room that is open.
    fn join(&self, prefix: &str, random: &mut Random) -> (String, String, (String,)) {
        let number = self.number();
        let mut oracle = self.oracle.lock().unwrap();
        if oracle.rooms.is_empty() || random.below(40) == 0 {
            oracle.rooms.insert(format!("RM_{number}"), Vec::new());
        }
        let rooms: Vec<_> = oracle.rooms.keys().cloned().collect();
        let room = rooms[usize::try_from(random.below(rooms.len() as u64)).unwrap()].clone();
        let who = format!("PA_{number}");
        oracle.rooms.get_mut(&room).unwrap().push(who.clone());
        (format!("{prefix}_{number}"), who, (room,))
    }

    fn joined(&self, id: String, who: String) {
        let mut oracle = self.oracle.lock().unwrap();
        oracle.webhooks += 1;
        oracle.events.insert(id);
        oracle.participants.insert(who);
    }

    fn somebody(&self, random: &mut Random) -> Option<(String, String)> {
        let oracle = self.oracle.lock().unwrap();
        let (room, people) = oracle.rooms.iter().next_back()?;
        // Of the newest: those that left long ago have no series any more.
        let newest = people.len().saturating_sub(8);
        let nth = newest as u64 + random.below((people.len() - newest) as u64 + 1);
        Some((room.clone(), people.get(usize::try_from(nth).unwrap())?.clone()))
    }

    fn number(&self) -> u64 {
        let mut oracle = self.oracle.lock().unwrap();
        oracle.next += 1;
        oracle.next
    }
}

fn event(id: &str, kind: &str, room: &str, who: &str) -> Bytes {
    let body = json!({"events": [{
        "id": id, "type": kind, "timestamp": timestamp(), "roomId": room,
        "room": {"sid": room, "name": "crash"}, "participantId": who,
        "participant": {"sid": who, "identity": "someone"},
    }]});
    Bytes::from(livekit::encode_capture("events", &body).unwrap())
}

fn span_id(number: u64) -> [u8; 8] {
    // Apart from ids that the program makes of SIDs.
    (0xfade_0000_0000_0000 | number).to_be_bytes()
}

// A request with a span, of a job of its own in a room, or of no agent.
fn span(number: u64, room: Option<String>) -> Vec<u8> {
    let text = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        ..KeyValue::default()
    };
    let of_room =
        |room: String| vec![text("room_id", room), text("job_id", format!("AJ_{number}"))];
    let start = u64::try_from(millis()).unwrap() * 1_000_000;
    let span = Span {
        trace_id: [span_id(number), span_id(number)].concat(),
        span_id: span_id(number).to_vec(),
        name: "job_entrypoint".to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        attributes: room.clone().map(of_room).unwrap_or_default(),
        ..Span::default()
    };
    let resource =
        Resource { attributes: room.map(of_room).unwrap_or_default(), ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec()
}
