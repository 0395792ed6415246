//! Random sequences of calls, as ours and as upstream's.

use std::collections::HashMap;

use livekit_otel_model::event::{Direction, TrackKind, TrackSource};
use livekit_otel_telemetry::messages::{
    AnalyticsClientMeta, AnalyticsStat, ApiCallInfo, ClientInfo, EgressInfo, IngressInfo,
    ParticipantInfo, ReconnectReason, ReportInfo, Room, RoomEndReason, RtpStats, TrackInfo,
    VideoQuality, WebhookInfo,
};
use livekit_otel_telemetry::{
    Activation, ParticipantContext, ReferenceGuard, StatsKey, Telemetry, TelemetryService,
    TrackClass, TrackContext,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::node::{self, NodeCall};

pub(super) type Guards = HashMap<u8, ReferenceGuard>;

/// Whose: a room and a participant, by number.
type Whose = (u8, u8);

#[derive(Debug, Clone)]
pub(super) enum Call {
    Advance(u64),
    Flush,
    Stats(Whose, Stream, Value),
    RoomStarted(u8),
    RoomEnded(u8, i32),
    Joined(Whose, bool, Option<u8>),
    Active(Whose, Activation, Option<u8>),
    Resumed(Whose, i32),
    Left(Whose, bool, Option<u8>),
    Track(Whose, u8, &'static str, bool),
    Roomless(&'static str),
    Node(NodeCall),
}

#[derive(Debug, Clone)]
pub(super) struct Stream {
    track: u8,
    is_upstream: bool,
    is_track: bool,
    country: &'static str,
    is_video: bool,
}

const TRACK_CALLS: [&str; 13] = [
    "track_publish_requested",
    "track_published",
    "track_unpublished",
    "track_subscribe_requested",
    "track_subscribed",
    "track_unsubscribed",
    "track_subscribe_failed",
    "track_muted",
    "track_unmuted",
    "track_published_update",
    "track_max_subscribed_video_quality",
    "track_publish_rtp_stats",
    "track_subscribe_rtp_stats",
];

const ROOMLESS_CALLS: [&str; 12] = [
    "egress_started",
    "egress_updated",
    "egress_ended",
    "ingress_created",
    "ingress_deleted",
    "ingress_started",
    "ingress_updated",
    "ingress_ended",
    "local_room_state",
    "report",
    "api_call",
    "webhook",
];

pub(super) fn sequence() -> impl Strategy<Value = Vec<Call>> {
    // Most have no invalid stats, so that their metrics can be compared.
    prop::bool::weighted(0.2).prop_flat_map(|with_invalid| vec(call(with_invalid), 1..40))
}

const GUARDS: u8 = 4;

fn call(with_invalid: bool) -> impl Strategy<Value = Call> {
    let whose = || (0..2_u8, 0..3_u8);
    let guard = || option::weighted(0.8, 0..GUARDS);
    prop_oneof![
        3 => (1..40_u64).prop_map(|seconds| Call::Advance(seconds * 1000)),
        1 => (170..190_u64).prop_map(|seconds| Call::Advance(seconds * 1000)),
        1 => Just(Call::Flush),
        12 => (whose(), stream(), stat(with_invalid)).prop_map(|(a, b, c)| Call::Stats(a, b, c)),
        1 => (0..2_u8).prop_map(Call::RoomStarted),
        1 => (0..2_u8, 0..6_i32).prop_map(|(a, b)| Call::RoomEnded(a, b)),
        5 => (whose(), any::<bool>(), guard()).prop_map(|(a, b, c)| Call::Joined(a, b, c)),
        3 => (whose(), any::<bool>(), any::<bool>(), guard()).prop_map(|(a, b, c, d)| {
            Call::Active(a, Activation::default().migration(b).warp(c), d)
        }),
        1 => (whose(), 0..5_i32).prop_map(|(a, b)| Call::Resumed(a, b)),
        4 => (whose(), any::<bool>(), guard()).prop_map(|(a, b, c)| Call::Left(a, b, c)),
        4 => (whose(), 0..3_u8, prop::sample::select(&TRACK_CALLS[..]), any::<bool>())
            .prop_map(|(a, b, c, d)| Call::Track(a, b, c, d)),
        1 => prop::sample::select(&ROOMLESS_CALLS[..]).prop_map(Call::Roomless),
        1 => node::call().prop_map(Call::Node),
    ]
}

fn stream() -> impl Strategy<Value = Stream> {
    let country = prop::sample::select(&["", "DE", "NP"][..]);
    (0..3_u8, any::<bool>(), any::<bool>(), country, any::<bool>()).prop_map(
        |(track, is_upstream, is_track, country, is_video)| Stream {
            track,
            is_upstream,
            is_track,
            country,
            is_video,
        },
    )
}

fn stat(with_invalid: bool) -> impl Strategy<Value = Value> {
    let score = prop_oneof![Just(0.0_f32), 1.0..5.0_f32];
    let mime = prop::sample::select(&["", "video/VP8", "audio/opus"][..]);
    (score, mime, vec(analytics_stream(with_invalid), 0..3)).prop_map(
        |(score, mime, streams)| json!({ "score": score, "mime": mime, "streams": streams }),
    )
}

fn analytics_stream(with_invalid: bool) -> impl Strategy<Value = Value> {
    let count = move || {
        let negative = u32::from(with_invalid);
        prop_oneof![
            30 => 0..100_000_u32,
            10 => Just(0),
            1 => Just(i32::MAX.cast_unsigned() / 64),
            negative => Just((-1_i32).cast_unsigned()),
        ]
    };
    let bytes = || 0..1_u64 << 40;
    let time = || {
        option::of((1_700_000_000..1_700_000_060_i64, 0..1000_i32)).prop_map(|at| {
            at.map(|(seconds, millis)| {
                let nanos = millis * 1_000_000;
                let at = pbjson_types::Timestamp { seconds, nanos };
                serde_json::to_value(at).unwrap()
            })
        })
    };
    let layer = (0..6_i32, 0..1000_u32, bytes(), 0..1000_u32).prop_map(
        |(layer, packets, bytes, frames)| {
            json!({ "layer": layer, "packets": packets, "bytes": bytes, "frames": frames })
        },
    );
    let counts = [(); 9].map(|()| count());
    let sums = [(); 3].map(|()| bytes());
    let delays = (prop_oneof![Just(0), 1..5000_u32], prop_oneof![Just(0), 1..900_000_u32]);
    (counts, sums, delays, time(), time(), vec(layer, 0..7)).prop_map(
        |(counts, sums, (rtt, jitter), start, end, layers)| {
            json!({
                "primaryPackets": counts[0], "retransmitPackets": counts[1],
                "paddingPackets": counts[2], "packetsLost": counts[3],
                "packetsOutOfOrder": counts[4], "frames": counts[5], "nacks": counts[6],
                "plis": counts[7], "firs": counts[8], "primaryBytes": sums[0],
                "retransmitBytes": sums[1], "paddingBytes": sums[2], "rtt": rtt,
                "jitter": jitter, "startTime": start, "endTime": end, "videoLayers": layers,
            })
        },
    )
}

// What both are given: as JSON, and read from it.
struct Given<'a> {
    prefix: &'a str,
}

impl Given<'_> {
    fn room(&self, nth: u8) -> Value {
        let sid = format!("RM_{}_{nth}", self.prefix);
        json!({ "sid": sid, "name": format!("room-{nth}") })
    }

    fn whole_room(&self, nth: u8) -> Value {
        let mut room = self.room(nth);
        room["creationTime"] = json!("1700000000");
        room["numParticipants"] = json!(3);
        room
    }

    fn participant(&self, (room, nth): Whose) -> Value {
        let sid = self.participant_sid((room, nth));
        json!({ "sid": sid, "identity": format!("user-{nth}"), "state": "JOINED" })
    }

    fn participant_sid(&self, (_, nth): Whose) -> String {
        format!("PA_{}_{nth}", self.prefix)
    }
}

fn track_sid(nth: u8) -> String {
    if nth == 0 { String::new() } else { format!("TR_{nth}") }
}

fn track(nth: u8) -> Value {
    let kind = ["AUDIO", "VIDEO", "DATA"][usize::from(nth) % 3];
    json!({
        "sid": track_sid(nth), "type": kind, "name": "a track", "muted": nth == 1,
        "packetTrailerFeatures": ["PTF_FRAME_ID", "PTF_USER_TIMESTAMP", "PTF_FRAME_ID"],
    })
}

fn client_info(of: u8) -> Value {
    let sdk = ["UNKNOWN", "GO", "SWIFT"][usize::from(of) % 3];
    json!({ "sdk": sdk, "version": "1.2.3", "os": "linux" })
}

fn client_meta() -> Value {
    json!({ "region": "eu", "clientConnectTime": 42 })
}

fn rtp_stats() -> Value {
    json!({ "packets": 100, "bytes": "20000", "jitterMax": 12.5, "rttMax": 30 })
}

fn roomless(name: &str) -> Value {
    match name.split_once('_').map_or(name, |(kind, _)| kind) {
        "egress" => json!({
            "egressId": "EG_1", "roomId": "RM_E", "roomName": "standup", "status": "EGRESS_ACTIVE",
        }),
        "ingress" => json!({ "ingressId": "IN_1", "name": "an ingress", "roomName": "standup" }),
        "local" => json!({ "nodeId": "ND_1", "timestamp": "2026-01-01T00:00:00Z" }),
        "report" => json!({ "featureUsage": { "feature": "KRISP_NOISE_CANCELLATION" } }),
        "api" => json!({ "service": "RoomService", "method": "CreateRoom" }),
        _ => json!({ "eventId": "EV_1", "event": "room_started", "isDropped": true }),
    }
}

fn message<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

impl Call {
    /// Whether it has a negative count.
    pub(super) fn is_invalid(&self) -> bool {
        let Self::Stats(_, _, stat) = self else { return false };
        let streams = stat["streams"].as_array().unwrap();
        let counts = streams.iter().flat_map(|stream| stream.as_object().unwrap().values());
        counts.filter_map(Value::as_u64).any(|count| count == u64::from(u32::MAX))
    }

    /// As upstream's program reads it.
    pub(super) fn json(&self, prefix: &str) -> Value {
        let given = Given { prefix };
        let with_guard = |mut call: Value, guard: Option<u8>| {
            if let Some(guard) = guard {
                call["guard"] = json!(format!("g{guard}"));
            }
            call
        };
        match self {
            Self::Advance(ms) => json!({ "op": "advance", "ms": ms }),
            Self::Flush => json!({ "op": "flush" }),
            Self::Stats(whose, stream, stat) => json!({
                "op": "track_stats", "room": given.room(whose.0),
                "participant_sid": given.participant_sid(*whose),
                "track_sid": track_sid(stream.track), "country": stream.country,
                "direction": if stream.is_upstream { "UPSTREAM" } else { "DOWNSTREAM" },
                "is_track": stream.is_track,
                "source": if stream.is_video { "SCREEN_SHARE" } else { "MICROPHONE" },
                "type": if stream.is_video { "VIDEO" } else { "AUDIO" }, "stat": stat,
            }),
            Self::RoomStarted(room) => {
                json!({ "op": "room_started", "room": given.whole_room(*room) })
            }
            Self::RoomEnded(room, reason) => json!({
                "op": "room_ended", "room": given.whole_room(*room), "reason": reason,
            }),
            Self::Joined(whose, send, guard) => with_guard(
                json!({
                    "op": "participant_joined", "room": given.whole_room(whose.0),
                    "participant": given.participant(*whose), "client_info": client_info(whose.1),
                    "client_meta": client_meta(), "should_send_event": send,
                }),
                *guard,
            ),
            Self::Active(whose, activation, guard) => with_guard(
                json!({
                    "op": "participant_active", "room": given.whole_room(whose.0),
                    "participant": given.participant(*whose), "client_meta": client_meta(),
                    "is_migration": activation.is_migration, "is_warp": activation.is_warp,
                }),
                *guard,
            ),
            Self::Resumed(whose, reason) => json!({
                "op": "participant_resumed", "room": given.whole_room(whose.0),
                "participant": given.participant(*whose), "node_id": "ND_1", "reason": reason,
            }),
            Self::Left(whose, send, guard) => with_guard(
                json!({
                    "op": "participant_left", "room": given.whole_room(whose.0),
                    "participant": given.participant(*whose), "should_send_event": send,
                }),
                *guard,
            ),
            Self::Track(whose, nth, name, send) => json!({
                "op": name, "room": given.whole_room(whose.0),
                "participant_sid": given.participant_sid(*whose), "identity": "ada",
                "was_published_locally": *nth != 1,
                "track": track(*nth), "track_sid": track_sid(*nth), "should_send_event": send,
                "publisher": given.participant((whose.0, 9)), "error": "no such track",
                "is_user_error": send, "mime": "video/VP8", "max_quality": 1, "layer": 2,
                "stats": rtp_stats(),
            }),
            Self::Roomless(name) => json!({ "op": name, "info": roomless(name) }),
            Self::Node(call) => call.json(),
        }
    }

    /// Made to ours.
    pub(super) fn make(&self, prefix: &str, to: &Telemetry, guards: &mut Guards) {
        let given = Given { prefix };
        let mut guard = |nth: &Option<u8>| nth.map(|nth| guards.entry(nth).or_default().clone());
        let whole = |whose: Whose| -> (Room, ParticipantInfo) {
            (message(given.whole_room(whose.0)), message(given.participant(whose)))
        };
        let meta: AnalyticsClientMeta = message(client_meta());
        match self {
            Self::Advance(_) => {}
            Self::Flush => to.flush_stats(),
            Self::Stats(whose, stream, stat) => {
                let key = stream.key(&given, *whose);
                to.track_stats(&key, &message::<AnalyticsStat>(stat.clone()));
            }
            Self::RoomStarted(room) => to.room_started(&message(given.whole_room(*room))),
            Self::RoomEnded(room, reason) => {
                let reason = RoomEndReason::try_from(*reason).unwrap();
                to.room_ended(&message(given.whole_room(*room)), reason);
            }
            Self::Joined(whose, send, nth) => {
                let (room, participant) = whole(*whose);
                let at = ParticipantContext::new(&room, &participant);
                let info: ClientInfo = message(client_info(whose.1));
                to.participant_joined(at, Some(&info), Some(&meta), *send, guard(nth).as_ref());
            }
            Self::Active(whose, activation, nth) => {
                let (room, participant) = whole(*whose);
                let at = ParticipantContext::new(&room, &participant);
                to.participant_active(at, Some(&meta), *activation, guard(nth).as_ref());
            }
            Self::Resumed(whose, reason) => {
                let (room, participant) = whole(*whose);
                let at = ParticipantContext::new(&room, &participant);
                let reason = ReconnectReason::try_from(*reason).unwrap();
                to.participant_resumed(at, "ND_1", reason);
            }
            Self::Left(whose, send, nth) => {
                let (room, participant) = whole(*whose);
                let at = ParticipantContext::new(&room, &participant);
                to.participant_left(at, *send, guard(nth).as_ref());
            }
            Self::Track(whose, nth, name, send) => {
                let room: Room = message(given.whole_room(whose.0));
                let participant_sid = &*given.participant_sid(*whose);
                let track: TrackInfo = message(track(*nth));
                let at = TrackContext::new(&room, participant_sid, &track).identity("ada");
                let publisher = message(given.participant((whose.0, 9)));
                on_track(to, at, name, *send, &publisher);
            }
            Self::Roomless(name) => on_roomless(to, name),
            Self::Node(call) => call.make(to.node()),
        }
    }
}

impl Stream {
    fn key(&self, given: &Given<'_>, whose: Whose) -> StatsKey {
        let direction = if self.is_upstream { Direction::Upstream } else { Direction::Downstream };
        let (room, who) =
            (format!("RM_{}_{}", given.prefix, whose.0), given.participant_sid(whose));
        let track = track_sid(self.track);
        if !self.is_track {
            return StatsKey::for_data(&room, &who, &track, direction, self.country);
        }
        let (source, kind) = if self.is_video {
            (TrackSource::ScreenShare, TrackKind::Video)
        } else {
            (TrackSource::Microphone, TrackKind::Audio)
        };
        let class = TrackClass { source: Some(source), kind };
        StatsKey::for_track(&room, &who, &track, direction, self.country, class)
    }
}

fn on_track(to: &Telemetry, at: TrackContext<'_>, name: &str, send: bool, by: &ParticipantInfo) {
    let totals: RtpStats = message(rtp_stats());
    match name {
        "track_publish_requested" => to.track_publish_requested(at, send),
        "track_published" => to.track_published(at, send),
        "track_unpublished" => to.track_unpublished(at, at.track.sid != track_sid(1), send),
        "track_subscribe_requested" => to.track_subscribe_requested(at),
        "track_subscribed" => to.track_subscribed(at, Some(by), send),
        "track_unsubscribed" => to.track_unsubscribed(at, send),
        "track_subscribe_failed" => to.track_subscribe_failed(at, "no such track", send),
        "track_muted" => to.track_muted(at),
        "track_unmuted" => to.track_unmuted(at),
        "track_published_update" => to.track_published_update(at),
        "track_max_subscribed_video_quality" => {
            to.track_max_subscribed_video_quality(at, "video/VP8", VideoQuality::Medium);
        }
        "track_publish_rtp_stats" => to.track_publish_rtp_stats(at, "video/VP8", 2, &totals),
        "track_subscribe_rtp_stats" => to.track_subscribe_rtp_stats(at, "video/VP8", &totals),
        other => panic!("{other}"),
    }
}

fn on_roomless(to: &Telemetry, name: &str) {
    let info = roomless(name);
    let egress = |info: Value| message::<EgressInfo>(info);
    let ingress = |info: Value| message::<IngressInfo>(info);
    match name {
        "egress_started" => to.egress_started(&egress(info)),
        "egress_updated" => to.egress_updated(&egress(info)),
        "egress_ended" => to.egress_ended(&egress(info)),
        "ingress_created" => to.ingress_created(&ingress(info)),
        "ingress_deleted" => to.ingress_deleted(&ingress(info)),
        "ingress_started" => to.ingress_started(&ingress(info)),
        "ingress_updated" => to.ingress_updated(&ingress(info)),
        "ingress_ended" => to.ingress_ended(&ingress(info)),
        "local_room_state" => to.local_room_state(&message(info)),
        "report" => to.report(&message::<ReportInfo>(info)),
        "api_call" => to.api_call(&message::<ApiCallInfo>(info)),
        "webhook" => to.webhook(&message::<WebhookInfo>(info)),
        other => panic!("{other}"),
    }
}
