//! Events as the `livekit` crate decodes them, built without a message.

use livekit_otel_model::event::{
    Event, EventKind, Identity, Origin, Participant, ParticipantSid, ReportedTime, Room, RoomName,
    RoomSid, Time, Track, TrackKind, TrackSid, TrackSource,
};

pub(crate) fn at(millis: u64) -> Time {
    Time::from_millis(1_795_406_960_000 + i64::try_from(millis).unwrap()).unwrap()
}

/// An analytics event of a room that was created at `created`.
pub(crate) fn event(kind: EventKind, reported: Time, room: &str, created: Time) -> Event {
    Event {
        reported: Some(ReportedTime { at: reported, whole_seconds: false }),
        room: Some(Room {
            sid: RoomSid::new(room),
            name: RoomName::new(&format!("name of {room}")),
            created: Some(created),
        }),
        ..Event::new(Origin::Analytics, kind)
    }
}

pub(crate) fn participant(sid: &str, joined: Time) -> Participant {
    Participant {
        sid: ParticipantSid::new(sid).unwrap(),
        identity: Identity::new(&format!("identity of {sid}")),
        kind: None,
        joined: Some(joined),
        requested: Vec::new(),
        state: None,
        client_span: None,
        sip: None,
        disconnect_reason: None,
    }
}

/// A track as an event of `kind` describes it: a subscription's has only the SID.
pub(crate) fn track(sid: &str, kind: &EventKind) -> Track {
    let is_publication = matches!(
        kind,
        EventKind::TrackPublishRequested
            | EventKind::TrackPublished
            | EventKind::TrackUnpublished
            | EventKind::TrackMuted
            | EventKind::TrackUnmuted
    );
    Track {
        sid: TrackSid::new(sid).unwrap(),
        kind: is_publication.then_some(TrackKind::Video),
        source: is_publication.then_some(TrackSource::Camera),
        mime_type: None,
        muted: false,
    }
}
