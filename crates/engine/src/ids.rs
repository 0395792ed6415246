//! Ids of traces and spans, as functions of LiveKit's SIDs: any tool that knows the SID can open the
//! trace, and a message that is decoded again has the same ids.
//!
//! An id is the SHA-256 of the words, joined by `/` after `livekit-otel/1`, cut to 16 bytes for a
//! trace and to 8 for a span. In a shell, a room's trace id is
//! `printf 'livekit-otel/1/trace/RM_XXXX' | sha256sum | cut -c1-32`.

use sha2::{Digest, Sha256};

use livekit_otel_model::event::{ParticipantSid, RoomSid, Time, TrackSid};
use livekit_otel_model::hex;
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
    // W3C Trace Context: an id of zeros is invalid.
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

/// The span of a room that went on at that time, after its span before.
pub(crate) fn room_again(room: &RoomSid, since: Time) -> SpanId {
    hash(&["room", room.as_str(), &since.nanos().to_string()])
}

/// A participant or a track, for an index.
pub(crate) fn entity(sid: &str) -> [u8; 8] {
    hash(&["sid", sid])
}

/// Where a metric's points are from, for an index: all that distinguishes them from others of the metric.
pub(crate) fn source(parts: [&[u8]; 4]) -> [u8; 8] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut id = [0; 8];
    id.copy_from_slice(&hasher.finalize()[..8]);
    id
}

pub(crate) fn connect(room: &RoomSid, participant: &ParticipantSid) -> SpanId {
    hash(&["connect", room.as_str(), participant.as_str()])
}

pub(crate) fn publish(room: &RoomSid, participant: &ParticipantSid, track: &TrackSid) -> SpanId {
    hash(&["publish", room.as_str(), participant.as_str(), track.as_str()])
}

/// The span of a participant's publication of a track.
pub fn track(room: &RoomSid, participant: &ParticipantSid, track: &TrackSid) -> SpanId {
    hash(&["track", room.as_str(), participant.as_str(), track.as_str()])
}

/// `attempt` counts from 1 for a participant's subscriptions to one track.
pub(crate) fn subscribe(
    room: &RoomSid,
    participant: &ParticipantSid,
    track: &TrackSid,
    attempt: usize,
) -> SpanId {
    of_attempt("subscribe", room, participant, track, attempt)
}

/// The subscription that an attempt led to.
pub(crate) fn subscription(
    room: &RoomSid,
    participant: &ParticipantSid,
    track: &TrackSid,
    attempt: usize,
) -> SpanId {
    of_attempt("subscription", room, participant, track, attempt)
}

fn of_attempt(
    kind: &str,
    room: &RoomSid,
    participant: &ParticipantSid,
    track: &TrackSid,
    attempt: usize,
) -> SpanId {
    let attempt = attempt.to_string();
    hash(&[kind, room.as_str(), participant.as_str(), track.as_str(), &attempt])
}

/// The trace of a participant that has its own.
pub fn participant_trace(room: &RoomSid, participant: &ParticipantSid) -> TraceId {
    hash(&["trace", room.as_str(), participant.as_str()])
}

/// The trace of an agent's turn that does not fit into its room's.
pub fn turn_trace(room: &RoomSid, turn: SpanId) -> TraceId {
    hash(&["trace", room.as_str(), &hex(&turn)])
}

/// A participant's trace, which is its own or its room's, and its span.
pub(crate) fn place(room: &RoomSid, who: &ParticipantSid, own_trace: bool) -> (TraceId, SpanId) {
    let trace = if own_trace { participant_trace(room, who) } else { trace(room) };
    (trace, participant(room, who))
}

/// The span of an operation such as an egress; `kind` is the span's name.
pub(crate) fn work(kind: &str, id: &str) -> SpanId {
    hash(&[kind, id])
}

/// The trace of an operation that is in no room's trace.
pub(crate) fn work_trace(kind: &str, id: &str) -> TraceId {
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
    fn different_spans_of_the_same_sids_have_different_ids() {
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
