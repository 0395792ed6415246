//! Ids of traces and spans, as functions of LiveKit's SIDs: any tool that knows the SID opens
//! the trace, and decoded a thing again makes the same ids.
//!
//! `H` is SHA-256 over the words, joined by `/`, the first `livekit-otel/1`, cut to 16 bytes for
//! a trace and 8 for a span. In a shell, a room's trace id is
//! `printf 'livekit-otel/1/trace/RM_XXXX' | sha256sum | cut -c1-32`.

use sha2::{Digest, Sha256};

use livekit_otel_model::event::{ParticipantSid, RoomSid, TrackSid};
use livekit_otel_model::signal::{SpanId, TraceId};

const DOMAIN: &str = "livekit-otel/1";

fn hash<const N: usize>(words: &[&str]) -> [u8; N] {
    let mut hasher = Sha256::new();
    hasher.update(DOMAIN);
    for word in words {
        hasher.update("/");
        hasher.update(word);
    }
    let digest = hasher.finalize();
    let mut id = [0; N];
    id.copy_from_slice(&digest[..N]);
    // W3C Trace Context: an id of zeros is none.
    if id == [0; N] {
        id[N - 1] = 1;
    }
    id
}

/// The trace of a room.
pub fn trace(room: &RoomSid) -> TraceId {
    hash(&["trace", room.as_str()])
}

/// The span of a room.
pub fn room(room: &RoomSid) -> SpanId {
    hash(&["room", room.as_str()])
}

/// The span of a participant.
pub fn participant(room: &RoomSid, participant: &ParticipantSid) -> SpanId {
    hash(&["participant", room.as_str(), participant.as_str()])
}

pub(super) fn connect(room: &RoomSid, participant: &ParticipantSid) -> SpanId {
    hash(&["connect", room.as_str(), participant.as_str()])
}

pub(super) fn publish(room: &RoomSid, participant: &ParticipantSid, track: &TrackSid) -> SpanId {
    hash(&["publish", room.as_str(), participant.as_str(), track.as_str()])
}

/// The span of a participant's publication of a track.
pub fn track(room: &RoomSid, participant: &ParticipantSid, track: &TrackSid) -> SpanId {
    hash(&["track", room.as_str(), participant.as_str(), track.as_str()])
}

/// `attempt` counts from 1 for a participant's subscriptions to one track.
pub(super) fn subscribe(
    room: &RoomSid,
    participant: &ParticipantSid,
    track: &TrackSid,
    attempt: usize,
) -> SpanId {
    let attempt = attempt.to_string();
    hash(&["subscribe", room.as_str(), participant.as_str(), track.as_str(), &attempt])
}

/// The subscription that an attempt came to.
pub(super) fn subscription(
    room: &RoomSid,
    participant: &ParticipantSid,
    track: &TrackSid,
    attempt: usize,
) -> SpanId {
    let attempt = attempt.to_string();
    hash(&["subscription", room.as_str(), participant.as_str(), track.as_str(), &attempt])
}

/// The trace of a participant that has one of its own.
pub fn participant_trace(room: &RoomSid, participant: &ParticipantSid) -> TraceId {
    hash(&["trace", room.as_str(), participant.as_str()])
}

/// A participant's trace, which may be its own or its room's, and its span.
pub(crate) fn place(room: &RoomSid, who: &ParticipantSid, own_trace: bool) -> (TraceId, SpanId) {
    let trace = if own_trace { participant_trace(room, who) } else { trace(room) };
    (trace, participant(room, who))
}

/// An egress, a SIP call and so on: `kind` is its span's name.
pub(super) fn work(kind: &str, id: &str) -> SpanId {
    hash(&[kind, id])
}

/// The trace of such a thing that is in no room's trace.
pub(super) fn work_trace(kind: &str, id: &str) -> TraceId {
    hash(&["trace", kind, id])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_what_the_documented_shell_command_prints() {
        let sid = RoomSid::new("RM_XXXX").unwrap();
        // printf 'livekit-otel/1/trace/RM_XXXX' | sha256sum | cut -c1-32
        let expected: u128 = 0xa669_e6e9_3263_f6d6_b4f9_8603_d6ab_658d;
        assert_eq!(u128::from_be_bytes(trace(&sid)), expected);
    }

    #[test]
    fn things_of_the_same_sids_have_ids_of_their_own() {
        let room = RoomSid::new("RM_1").unwrap();
        let pa = ParticipantSid::new("PA_1").unwrap();
        let tr = TrackSid::new("TR_1").unwrap();
        let ids = [
            super::room(&room),
            participant(&room, &pa),
            connect(&room, &pa),
            publish(&room, &pa, &tr),
            track(&room, &pa, &tr),
            subscribe(&room, &pa, &tr, 1),
            subscribe(&room, &pa, &tr, 2),
        ];
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
