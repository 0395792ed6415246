//! What became of a webhook (livekit protocol, webhook/notifier.go).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pbjson_types::Timestamp;

use crate::messages::{
    EgressInfo, EgressStatus, IngressInfo, WebhookEvent, WebhookInfo, ingress_state,
};

/// When something began, and how long it took.
pub type Took = (SystemTime, Duration);

/// The resource that an event is about: events of one resource keep their order.
pub fn resource(event: &WebhookEvent) -> &str {
    if let Some(egress) = &event.egress_info {
        &egress.egress_id
    } else if let Some(ingress) = &event.ingress_info {
        &ingress.ingress_id
    } else if let Some(room) = &event.room {
        &room.name
    } else if let Some(participant) = &event.participant {
        &participant.identity
    } else if let Some(track) = &event.track {
        &track.sid
    } else {
        "default"
    }
}

/// The info of a webhook. `queued` is how long it waited, `sent` how long it was being sent; each is
/// `None` if it did not come to that.
pub fn processed(
    event: &WebhookEvent,
    url: &str,
    queued: Option<Took>,
    sent: Option<Took>,
) -> WebhookInfo {
    #[allow(deprecated)] // upstream sends it all the same
    let num_dropped = event.num_dropped;
    let mut info = WebhookInfo {
        event_id: event.id.clone(),
        event: event.event.clone(),
        created_at: Some(Timestamp { seconds: event.created_at, nanos: 0 }),
        queued_at: queued.map(|(at, _)| timestamp(at)),
        queue_duration_ns: queued.map_or(0, |(_, took)| nanos(took)),
        sent_at: sent.map(|(at, _)| timestamp(at)),
        send_duration_ns: sent.map_or(0, |(_, took)| nanos(took)),
        url: url.to_owned(),
        num_dropped,
        ..WebhookInfo::default()
    };
    if let Some(room) = &event.room {
        info.room_name.clone_from(&room.name);
        info.room_id.clone_from(&room.sid);
    }
    if let Some(participant) = &event.participant {
        info.participant_identity.clone_from(&participant.identity);
        info.participant_id.clone_from(&participant.sid);
    }
    if let Some(track) = &event.track {
        info.track_id.clone_from(&track.sid);
    }
    if let Some(egress) = &event.egress_info {
        add_egress(&mut info, egress);
    }
    if let Some(ingress) = &event.ingress_info {
        add_ingress(&mut info, ingress);
    }
    info
}

fn add_egress(info: &mut WebhookInfo, egress: &EgressInfo) {
    info.egress_id.clone_from(&egress.egress_id);
    info.service_status = EgressStatus::try_from(egress.status)
        .map_or_else(|_| egress.status.to_string(), |status| status.as_str_name().to_owned());
    if !egress.error.is_empty() {
        info.service_error_code = egress.error_code;
        info.service_error.clone_from(&egress.error);
    }
}

fn add_ingress(info: &mut WebhookInfo, ingress: &IngressInfo) {
    info.ingress_id.clone_from(&ingress.ingress_id);
    if let Some(state) = &ingress.state {
        info.service_status = ingress_state::Status::try_from(state.status)
            .map_or_else(|_| state.status.to_string(), |status| status.as_str_name().to_owned());
        info.service_error.clone_from(&state.error);
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0) }
}

fn nanos(took: Duration) -> i64 {
    i64::try_from(took.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{IngressState, ParticipantInfo, Room, TrackInfo};

    fn everything() -> WebhookEvent {
        WebhookEvent {
            event: "egress_ended".to_owned(),
            id: "EV_1".to_owned(),
            created_at: 1_795_406_961,
            room: Some(Room {
                sid: "RM_1".to_owned(),
                name: "standup".to_owned(),
                ..Room::default()
            }),
            participant: Some(ParticipantInfo {
                sid: "PA_1".to_owned(),
                identity: "alice".to_owned(),
                ..ParticipantInfo::default()
            }),
            track: Some(TrackInfo { sid: "TR_1".to_owned(), ..TrackInfo::default() }),
            egress_info: Some(EgressInfo {
                egress_id: "EG_1".to_owned(),
                status: EgressStatus::EgressFailed.into(),
                error: "no disk".to_owned(),
                error_code: 500,
                ..EgressInfo::default()
            }),
            ingress_info: Some(IngressInfo {
                ingress_id: "IN_1".to_owned(),
                ..IngressInfo::default()
            }),
            ..WebhookEvent::default()
        }
    }

    #[test]
    fn an_event_is_about_the_first_resource_that_it_names() {
        let mut event = everything();
        assert_eq!(resource(&event), "EG_1");
        event.egress_info = None;
        assert_eq!(resource(&event), "IN_1");
        event.ingress_info = None;
        assert_eq!(resource(&event), "standup");
        event.room = None;
        assert_eq!(resource(&event), "alice");
        event.participant = None;
        assert_eq!(resource(&event), "TR_1");
        event.track = None;
        assert_eq!(resource(&event), "default");
    }

    #[test]
    fn the_info_names_everything_that_the_event_is_about() {
        let queued = (UNIX_EPOCH + Duration::from_millis(1_500), Duration::from_nanos(7));
        let sent = (UNIX_EPOCH + Duration::from_secs(2), Duration::from_nanos(9));
        let info = processed(&everything(), "http://host/", Some(queued), Some(sent));
        let expected = WebhookInfo {
            event_id: "EV_1".to_owned(),
            event: "egress_ended".to_owned(),
            created_at: Some(Timestamp { seconds: 1_795_406_961, nanos: 0 }),
            queued_at: Some(Timestamp { seconds: 1, nanos: 500_000_000 }),
            queue_duration_ns: 7,
            sent_at: Some(Timestamp { seconds: 2, nanos: 0 }),
            send_duration_ns: 9,
            url: "http://host/".to_owned(),
            room_name: "standup".to_owned(),
            room_id: "RM_1".to_owned(),
            participant_identity: "alice".to_owned(),
            participant_id: "PA_1".to_owned(),
            track_id: "TR_1".to_owned(),
            egress_id: "EG_1".to_owned(),
            ingress_id: "IN_1".to_owned(),
            service_status: "EGRESS_FAILED".to_owned(),
            service_error_code: 500,
            service_error: "no disk".to_owned(),
            ..WebhookInfo::default()
        };
        assert_eq!(info, expected);
    }

    #[test]
    fn an_ingress_has_its_state_and_an_unsent_webhook_has_no_times() {
        let mut event = everything();
        event.egress_info = None;
        event.ingress_info = Some(IngressInfo {
            state: Some(IngressState {
                status: ingress_state::Status::EndpointError.into(),
                error: "no stream".to_owned(),
                ..IngressState::default()
            }),
            ..IngressInfo::default()
        });
        let info = processed(&event, "", None, None);
        assert_eq!(info.service_status, "ENDPOINT_ERROR");
        assert_eq!((info.service_error.as_str(), info.service_error_code), ("no stream", 0));
        assert_eq!((info.queued_at, info.sent_at), (None, None));
    }
}
