//! Messages as a server sends them, decoded.

use livekit_otel_livekit as livekit;
use livekit_otel_model::event::{Decoded, Time};
use serde_json::{Value as Json, json};

pub(crate) const ROOM: &str = "RM_test";

pub(crate) fn at(millis: i64) -> Time {
    Time::from_millis(1_795_406_960_000 + millis).unwrap()
}

pub(crate) fn rfc3339(millis: i64) -> String {
    let millis_of_minute = millis % 60_000;
    let (minute, second, milli) =
        (9 + millis / 60_000, millis_of_minute / 1000, millis_of_minute % 1000);
    // 1,795,406,940 is 2026-11-23T04:09:00Z, 20 s before `at(0)`.
    let second = second + 20;
    let (minute, second) = (minute + second / 60, second % 60);
    let (hour, minute) = (4 + minute / 60, minute % 60);
    format!("2026-11-23T{hour:02}:{minute:02}:{second:02}.{milli:03}000001Z")
}

/// An analytics event that happened `millis` after the start, with more fields from `more`.
pub(crate) fn analytics(kind: &str, millis: i64, more: Json) -> Decoded {
    let mut event = json!({
        "id": format!("AE_{kind}_{millis}"),
        "type": kind,
        "timestamp": rfc3339(millis),
        "roomId": ROOM,
        "room": {"sid": ROOM, "name": "test"},
    });
    merge(&mut event, more);
    let body = json!({"events": [event]});
    livekit::events(&livekit::encode_capture("events", &body).unwrap()).unwrap().decoded
}

pub(crate) fn webhook(event: &str, millis: i64, more: Json) -> Decoded {
    let mut body = json!({
        "event": event,
        "id": format!("EV_{event}_{millis}"),
        "createdAt": ((1_795_406_960_000 + millis) / 1000).to_string(),
        "room": {"sid": ROOM, "name": "test", "creationTimeMs": "1795406960000"},
    });
    merge(&mut body, more);
    livekit::webhook(body.to_string().as_bytes()).unwrap().decoded
}

pub(crate) fn merge(into: &mut Json, more: Json) {
    let Json::Object(more) = more else { panic!("an object") };
    into.as_object_mut().unwrap().extend(more);
}

pub(crate) fn participant(sid: &str) -> Json {
    json!({"participantId": sid, "participant": {
        "sid": sid, "identity": format!("who-{sid}"), "joinedAtMs": "1795406961000",
    }})
}

pub(crate) fn with_track(sid: &str, track: &str) -> Json {
    json!({"participantId": sid, "participant": {"sid": sid}, "trackId": track,
        "track": {"sid": track, "source": "CAMERA", "type": "VIDEO"}})
}
