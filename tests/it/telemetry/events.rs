//! The event and webhook of each call: upstream's events_test.go, and the calls that it leaves out.

use livekit_otel_telemetry::messages::{
    AnalyticsClientMeta, AnalyticsEvent, AnalyticsEventType as Type, AnalyticsNodeRooms,
    AnalyticsStat, ApiCallInfo, ClientInfo, EgressInfo, IngressInfo, ParticipantInfo,
    ReconnectReason, ReportInfo, Room, RoomCompositeEgressRequest, RoomEndReason, RtpStats,
    TrackInfo, TrackType, VideoLayer, VideoQuality, WebhookConfig, WebhookInfo, client_info::Sdk,
    egress_info::Request,
};
use livekit_otel_telemetry::{
    Activation, AnalyticsService, ReferenceGuard, TelemetryService, TrackContext,
};

use super::recorder::{BEGIN, Recorded, of, on, participant, room};

fn client() -> ClientInfo {
    ClientInfo {
        sdk: Sdk::Swift as i32,
        version: "v1".into(),
        os: "mac".into(),
        os_version: "v1".into(),
        device_model: "DM1".into(),
        browser: "chrome".into(),
        browser_version: "97.0.1".into(),
        ..ClientInfo::default()
    }
}

fn meta() -> AnalyticsClientMeta {
    AnalyticsClientMeta {
        region: "dark-side".into(),
        node: "moon".into(),
        client_addr: "127.0.0.1".into(),
        client_connect_time: 420,
        ..AnalyticsClientMeta::default()
    }
}

fn video() -> TrackInfo {
    TrackInfo { sid: "TR_1".into(), r#type: TrackType::Video as i32, ..TrackInfo::default() }
}

#[tokio::test]
async fn a_join_has_its_client() {
    let it = Recorded::start();
    let (room, who, guard) = (room(), participant(), ReferenceGuard::new());
    it.telemetry.participant_joined(
        of(&room, &who),
        Some(&client()),
        Some(&meta()),
        true,
        Some(&guard),
    );
    let [event] = &it.events().await[..] else { panic!("one event") };
    assert_eq!(event.r#type(), Type::ParticipantJoined);
    assert_eq!((&event.participant_id, &event.room_id), (&who.sid, &room.sid));
    assert_eq!((event.participant.as_ref(), event.room.as_ref()), (Some(&who), Some(&room)));
    assert_eq!(event.client_info, Some(client()));
    assert_eq!(event.client_meta, Some(meta()));
    assert!(event.id.starts_with("AE_"), "{}", event.id);
    assert_eq!(it.webhooks().await, [""; 0], "a participant joins once it is active");
}

#[tokio::test]
async fn a_join_without_an_event_still_makes_a_worker() {
    let it = Recorded::start();
    let (room, who, guard) = (room(), participant(), ReferenceGuard::new());
    it.telemetry.participant_joined(of(&room, &who), None, None, false, Some(&guard));
    assert_eq!(it.types().await, []);
    assert_eq!(it.telemetry.held().0, 1);
}

#[tokio::test]
async fn an_active_participant_leaves() {
    let it = Recorded::start();
    let (room, who, guard) = (room(), participant(), ReferenceGuard::new());
    it.telemetry.participant_active(
        of(&room, &who),
        Some(&AnalyticsClientMeta::default()),
        Activation::default(),
        Some(&guard),
    );
    it.telemetry.participant_left(of(&room, &who), true, Some(&guard));
    let events = it.events().await;
    assert_eq!(it.types().await, [Type::ParticipantActive, Type::ParticipantLeft]);
    assert_eq!((&events[1].participant_id, &events[1].room_id), (&who.sid, &room.sid));
    assert_eq!(events[1].room.as_ref(), Some(&room));
    assert_eq!(it.webhooks().await, ["participant_joined", "participant_left"]);
}

#[tokio::test]
async fn a_participant_that_never_was_active_aborts() {
    let it = Recorded::start();
    let (room, who, guard) = (room(), participant(), ReferenceGuard::new());
    it.telemetry.participant_joined(of(&room, &who), None, None, true, Some(&guard));
    it.telemetry.participant_left(of(&room, &who), true, Some(&guard));
    assert_eq!(it.types().await, [Type::ParticipantJoined, Type::ParticipantConnectionAborted]);
    assert_eq!(it.webhooks().await, ["participant_connection_aborted"]);
}

#[tokio::test]
async fn an_activation_has_its_connect_time() {
    let it = Recorded::start();
    let (room, who, guard) = (room(), participant(), ReferenceGuard::new());
    let joined = AnalyticsClientMeta { client_connect_time: 0, ..meta() };
    let at = of(&room, &who);
    it.telemetry.participant_joined(at, Some(&client()), Some(&joined), true, Some(&guard));
    let connected =
        AnalyticsClientMeta { client_connect_time: 420, ..AnalyticsClientMeta::default() };
    let activation = Activation::default();
    it.telemetry.participant_active(at, Some(&connected), activation, Some(&guard));
    let events = it.events().await;
    assert_eq!(it.types().await, [Type::ParticipantJoined, Type::ParticipantActive]);
    assert_eq!(events[1].client_meta.as_ref().unwrap().client_connect_time, 420);
    assert_eq!((&events[1].participant_id, &events[1].room_id), (&who.sid, &room.sid));
    assert_eq!(events[0].room.as_ref(), Some(&room));
}

#[tokio::test]
async fn a_migration_sends_no_webhook() {
    let it = Recorded::start();
    let (room, who) = (room(), participant());
    let activation = Activation::default().migration(true).warp(true);
    it.telemetry.participant_active(of(&room, &who), None, activation, None);
    assert_eq!(it.types().await, [Type::ParticipantActive]);
    assert_eq!(it.webhooks().await, [""; 0]);
}

#[tokio::test]
async fn a_resume_has_its_node_and_reason_and_makes_a_worker() {
    let it = Recorded::start();
    let (room, who) = (room(), participant());
    let reason = ReconnectReason::RrSignalDisconnected;
    it.telemetry.participant_resumed(of(&room, &who), "ND_1", reason);
    let [event] = &it.events().await[..] else { panic!("one event") };
    assert_eq!(event.r#type(), Type::ParticipantResumed);
    let meta = event.client_meta.as_ref().unwrap();
    assert_eq!((&*meta.node, meta.reconnect_reason()), ("ND_1", reason));
    assert_eq!(it.telemetry.held().0, 1);
}

#[tokio::test]
#[allow(deprecated)] // servers still fill the layers
async fn an_update_of_a_track_has_its_layers() {
    let it = Recorded::start();
    let (room, who) = (room(), participant());
    let layer = VideoLayer {
        quality: VideoQuality::High as i32,
        width: 360,
        height: 720,
        bitrate: 2048,
        ..VideoLayer::default()
    };
    let track = TrackInfo { layers: vec![layer.clone()], ..video() };
    it.telemetry.track_published_update(on(&room, &who, &track));
    let [event] = &it.events().await[..] else { panic!("one event") };
    assert_eq!(event.r#type(), Type::TrackPublishedUpdate);
    assert_eq!((&event.participant_id, &event.track_id), (&who.sid, &track.sid));
    assert_eq!(event.track.as_ref().unwrap().layers, [layer]);
}

#[tokio::test]
async fn a_subscription_has_its_publisher() {
    let it = Recorded::start();
    let (room, who, guard) = (room(), participant(), ReferenceGuard::new());
    let publisher = ParticipantInfo {
        sid: "PA_2".into(),
        identity: "publisher".into(),
        ..ParticipantInfo::default()
    };
    it.telemetry.participant_joined(of(&room, &who), None, None, true, Some(&guard));
    it.telemetry.track_subscribed(on(&room, &who, &video()), Some(&publisher), true);
    let events = it.events().await;
    assert_eq!(it.types().await, [Type::ParticipantJoined, Type::TrackSubscribed]);
    assert_eq!(events[0].room.as_ref(), Some(&room));
    assert_eq!(events[1].participant_id, who.sid);
    assert_eq!(events[1].track.as_ref(), Some(&video()));
    assert_eq!(events[1].publisher.as_ref(), Some(&publisher));
}

#[tokio::test]
async fn a_room_starts_in_whole_seconds_and_ends_with_its_reason() {
    let it = Recorded::start();
    let room = Room { creation_time: 1_795_399_990, ..room() };
    it.telemetry.room_started(&room);
    it.telemetry.room_ended(&room, RoomEndReason::RoomEndApiDelete);
    let events = it.events().await;
    assert_eq!(it.types().await, [Type::RoomCreated, Type::RoomEnded]);
    assert_eq!(events[0].room_id, "", "as upstream sends it");
    assert_eq!(events[0].timestamp.as_ref().unwrap().seconds, room.creation_time);
    assert_eq!(events[1].timestamp.as_ref().unwrap().seconds, BEGIN.cast_signed());
    assert_eq!(events[1].room_end_reason(), RoomEndReason::RoomEndApiDelete);
    assert_eq!(it.webhooks().await, ["room_started", "room_finished"]);
    let webhooks = it.recorder.webhooks.lock().unwrap();
    assert_eq!(webhooks[1].0.room_end_reason(), RoomEndReason::RoomEndApiDelete);
    assert!(webhooks[1].0.id.starts_with("EV_"));
    assert_eq!(webhooks[1].0.created_at, BEGIN.cast_signed());
}

#[tokio::test]
async fn a_publication_is_reported_from_its_request_to_its_end() {
    let it = Recorded::start();
    let (room, who, track) = (room(), participant(), video());
    let at = on(&room, &who, &track);
    it.telemetry.track_publish_requested(at, true);
    it.telemetry.track_published(at, true);
    it.telemetry.track_muted(at);
    it.telemetry.track_unmuted(at);
    it.telemetry.track_max_subscribed_video_quality(at, "video/vp8", VideoQuality::Medium);
    it.telemetry.track_unpublished(at, true, true);
    it.telemetry.track_publish_rtp_stats(at, "video/vp8", 2, &RtpStats::default());
    let events = it.events().await;
    let types = [
        Type::TrackPublishRequested,
        Type::TrackPublished,
        Type::TrackMuted,
        Type::TrackUnmuted,
        Type::TrackMaxSubscribedVideoQuality,
        Type::TrackUnpublished,
        Type::TrackPublishStats,
    ];
    assert_eq!(it.types().await, types);
    let identities: Vec<_> = events
        .iter()
        .map(|event| event.participant.as_ref().map_or("none", |who| &who.identity))
        .collect();
    assert_eq!(identities, ["ada", "ada", "", "", "", "", "none"], "as upstream sends it");
    assert_eq!((&*events[4].mime, events[4].max_subscribed_video_quality), ("video/vp8", 1));
    assert_eq!((&*events[6].mime, events[6].video_layer), ("video/vp8", 2));
    assert_eq!(events[6].track, None);
    assert_eq!(it.webhooks().await, ["track_published", "track_unpublished"]);
}

// As in a webhook, a room's details are in its own events only.
#[tokio::test]
async fn a_tracks_event_has_only_its_rooms_sid_and_name_and_its_webhook_has_the_room() {
    let it = Recorded::start();
    let whole = Room { creation_time: 1_795_399_990, num_participants: 3, ..room() };
    let (who, track) = (participant(), video());
    let at = on(&whole, &who, &track);
    it.telemetry.track_published(at, true);
    it.telemetry.track_publish_rtp_stats(at, "video/vp8", 0, &RtpStats::default());
    for event in it.events().await {
        assert_eq!((event.room, &*event.room_id), (Some(room()), "RM_1"));
    }
    assert_eq!(it.recorder.webhooks.lock().unwrap()[0].0.room, Some(whole));
}

#[tokio::test]
async fn calls_without_events_send_nothing() {
    let it = Recorded::start();
    let (room, who, track) = (room(), participant(), video());
    let at = on(&room, &who, &track);
    it.telemetry.track_publish_requested(at, false);
    it.telemetry.track_published(at, false);
    it.telemetry.track_unpublished(at, false, false);
    it.telemetry.track_subscribed(at, None, false);
    it.telemetry.track_unsubscribed(at, false);
    assert_eq!(it.types().await, []);
    assert_eq!(it.webhooks().await, [""; 0]);
}

#[tokio::test]
async fn a_subscription_is_reported_from_its_request_to_its_end() {
    let it = Recorded::start();
    let (room, who, track) = (room(), participant(), video());
    let at = on(&room, &who, &track);
    it.telemetry.track_subscribe_requested(at);
    it.telemetry.track_subscribe_failed(at, "track not found", true);
    it.telemetry.track_unsubscribed(at, true);
    it.telemetry.track_subscribe_rtp_stats(at, "video/vp8", &RtpStats::default());
    let events = it.events().await;
    let types = [
        Type::TrackSubscribeRequested,
        Type::TrackSubscribeFailed,
        Type::TrackUnsubscribed,
        Type::TrackSubscribeStats,
    ];
    assert_eq!(it.types().await, types);
    assert_eq!(events[1].error, "track not found");
    let bare = TrackInfo { sid: track.sid.clone(), ..TrackInfo::default() };
    assert_eq!(events[1].track, Some(bare));
}

#[tokio::test]
async fn an_egress_notifies_the_webhooks_that_its_request_names() {
    let it = Recorded::start();
    let extra = WebhookConfig { url: "https://hooks.example/egress".into(), ..Default::default() };
    let request =
        RoomCompositeEgressRequest { webhooks: vec![extra.clone()], ..Default::default() };
    let info = EgressInfo {
        egress_id: "EG_1".into(),
        room_id: "RM_1".into(),
        room_name: "standup".into(),
        request: Some(Request::RoomComposite(request)),
        ..EgressInfo::default()
    };
    it.telemetry.egress_started(&info);
    it.telemetry.egress_updated(&info);
    it.telemetry.egress_ended(&info);
    it.telemetry.idle().await;
    it.telemetry.notify_egress_event("egress_updated", &info);
    let types = [Type::EgressStarted, Type::EgressUpdated, Type::EgressEnded];
    assert_eq!(it.types().await, types);
    let names = ["egress_started", "egress_updated", "egress_ended", "egress_updated"];
    assert_eq!(it.webhooks().await, names);
    for (webhook, extras) in &*it.recorder.webhooks.lock().unwrap() {
        assert_eq!((&webhook.room, &webhook.egress_info), (&Some(room()), &Some(info.clone())));
        assert_eq!(extras, std::slice::from_ref(&extra));
    }
    let events = it.events().await;
    assert_eq!((&*events[0].egress_id, &*events[0].room_id), ("EG_1", "RM_1"));
}

#[tokio::test]
async fn an_ingress_sends_webhooks_for_its_start_and_end_only() {
    let it = Recorded::start();
    let info = IngressInfo {
        ingress_id: "IN_1".into(),
        room_name: "standup".into(),
        ..IngressInfo::default()
    };
    it.telemetry.ingress_created(&info);
    it.telemetry.ingress_started(&info);
    it.telemetry.ingress_updated(&info);
    it.telemetry.ingress_ended(&info);
    it.telemetry.ingress_deleted(&info);
    let types = [
        Type::IngressCreated,
        Type::IngressStarted,
        Type::IngressUpdated,
        Type::IngressEnded,
        Type::IngressDeleted,
    ];
    assert_eq!(it.types().await, types);
    assert_eq!(it.webhooks().await, ["ingress_started", "ingress_ended"]);
    let unopened = Room { sid: String::new(), ..room() };
    for (webhook, _) in &*it.recorder.webhooks.lock().unwrap() {
        assert_eq!(webhook.room.as_ref(), Some(&unopened), "an ingress knows its room's name");
    }
}

#[tokio::test]
async fn events_outside_of_rooms_are_reported() {
    let it = Recorded::start_with(|builder| builder.node_id("ND_1"));
    it.telemetry.report(&ReportInfo::default());
    it.telemetry.api_call(&ApiCallInfo { method: "CreateRoom".into(), ..Default::default() });
    it.telemetry.webhook(&WebhookInfo { event_id: "EV_1".into(), ..Default::default() });
    it.telemetry.local_room_state(&AnalyticsNodeRooms::default());
    let events = it.events().await;
    assert_eq!(it.types().await, [Type::Report, Type::ApiCall, Type::Webhook]);
    assert!(events.iter().all(|event| event.node_id == "ND_1"));
    assert_eq!(events[2].webhook.as_ref().unwrap().event_id, "EV_1");
    let rooms = it.recorder.rooms.lock().unwrap();
    assert_eq!(rooms[0].node_id, "ND_1");
    assert_eq!(rooms[0].timestamp.as_ref().unwrap().seconds, BEGIN.cast_signed());
}

#[tokio::test]
async fn a_processed_webhook_is_an_event() {
    let it = Recorded::start();
    it.processed(WebhookInfo { event_id: "EV_1".into(), is_dropped: true, ..Default::default() });
    let [event] = &it.events().await[..] else { panic!("one event") };
    assert_eq!(event.r#type(), Type::Webhook);
    assert!(event.webhook.as_ref().unwrap().is_dropped);
}

#[tokio::test]
async fn direct_messages_are_not_queued() {
    let it = Recorded::start();
    it.telemetry.send_event(AnalyticsEvent::default());
    it.telemetry.send_stats(vec![AnalyticsStat::default()]);
    it.telemetry.send_node_room_states(AnalyticsNodeRooms::default());
    assert_eq!(it.recorder.events.lock().unwrap().len(), 1);
    assert_eq!(it.recorder.stats.lock().unwrap().len(), 1);
    assert_eq!(it.recorder.rooms.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_track_without_an_identity_has_an_event() {
    let it = Recorded::start();
    let (room, track) = (room(), video());
    let at = TrackContext::new(&room, "PA_9", &track);
    it.telemetry.track_published(at, true);
    let events = it.events().await;
    assert_eq!(events[0].participant.as_ref().unwrap().sid, "PA_9");
}
