//! The spans, log records and metrics that a collector receives of calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use livekit_otel::config::Config;
use livekit_otel::serve::Server;
use livekit_otel_model::semconv::{event, key, metric, span};
use livekit_otel_pipeline::panics::PANICS;
use livekit_otel_telemetry::messages::{
    AnalyticsNodeRooms, AnalyticsStat, AnalyticsStream, ClientInfo, PacketTrailerFeature,
    ParticipantInfo, Room, RoomEndReason, TrackInfo, TrackSource as Source, TrackType,
    client_info::Sdk,
};
use livekit_otel_telemetry::webhook::{Keys, WebhookEndpoint, WebhookNotifier, WebhookSettings};
use livekit_otel_telemetry::{
    Activation, AnalyticsForwarder, Connecting, Direction, Fault, ForwardSettings, Histograms,
    JoinState, OtelSettings, ParticipantContext, ReferenceGuard, Report, StatsKey, Telemetry,
    TelemetryService, Time, Timing, TrackClass, TrackContext, TrackKind, TrackSource,
};
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Telemetry as Received;
use livekit_otel_tools::demo::received::{Measured, Point, Span, Value as Attribute};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tokio::time::Instant;
use tracing_subscriber::layer::SubscriberExt;

use crate::equality::points::Value;

use super::recorder::{of, on, participant, room, sent, stat};

fn start(collector: &Collector) -> Telemetry {
    let settings = OtelSettings::default().endpoint(&collector.endpoint()).unwrap();
    Telemetry::builder().node_id("ND_1").otel(settings).start().unwrap()
}

async fn end(telemetry: &Telemetry, collector: Collector) -> (Report, Received) {
    let report = telemetry.shutdown(Instant::now() + Duration::from_mins(1)).await;
    assert_eq!((&*report.faults, report.undelivered), (&[][..], 0));
    (report, Received::read(&collector.stop().await))
}

fn camera() -> TrackInfo {
    TrackInfo {
        sid: "TR_1".into(),
        r#type: TrackType::Video as i32,
        source: Source::Camera as i32,
        ..TrackInfo::default()
    }
}

fn key(direction: Direction) -> StatsKey {
    let class = TrackClass { source: Some(TrackSource::Camera), kind: TrackKind::Video };
    StatsKey::for_track("RM_1", "PA_1", "TR_1", direction, "DE", class)
}

fn call(telemetry: &Telemetry, room: &Room, who: &ParticipantInfo) {
    let (guard, camera) = (ReferenceGuard::new(), camera());
    let (at, track) = (of(room, who), on(room, who, &camera));
    telemetry.room_started(room);
    telemetry.participant_joined(at, None, None, true, Some(&guard));
    telemetry.participant_active(at, None, Activation::default(), Some(&guard));
    telemetry.track_publish_requested(track, true);
    telemetry.track_published(track, true);
    for _ in 0..3 {
        let report = AnalyticsStat { score: 4.0, ..stat([sent(1000, 10)]) };
        telemetry.track_stats(&key(Direction::Upstream), &report);
    }
    telemetry.track_unpublished(track, true, true);
    telemetry.participant_left(at, true, Some(&guard));
    telemetry.room_ended(room, RoomEndReason::RoomEndApiDelete);
}

fn spans<'a>(received: &'a Received, name: &str) -> Vec<&'a Span> {
    received.spans.iter().filter(|span| span.name == name).collect()
}

fn points<'a>(received: &'a Received, name: &str) -> Vec<&'a Point> {
    received.points.iter().filter(|point| point.name == name).collect()
}

fn last(received: &Received, name: &str) -> Measured {
    let mut values = points(received, name).into_iter().rev().map(|point| point.value.clone());
    let number = values.find(|value| matches!(value, Measured::Number(_)));
    number.unwrap_or_else(|| panic!("no point of {name}"))
}

#[tokio::test]
async fn a_call_is_one_trace_with_its_logs_and_metrics() {
    let collector = Collector::start().await.unwrap();
    let telemetry = start(&collector);
    let (room, who) = (room(), participant());
    call(&telemetry, &room, &who);
    let (report, received) = end(&telemetry, collector).await;
    let names = [
        span::ROOM,
        span::PARTICIPANT,
        span::PARTICIPANT_CONNECT,
        span::TRACK_PUBLISH,
        span::TRACK,
    ];
    for name in names {
        assert_eq!(spans(&received, name).len(), 1, "{name}");
    }
    let traces: std::collections::BTreeSet<_> =
        received.spans.iter().map(|span| &span.trace_id).collect();
    assert_eq!(traces.len(), 1);
    assert!(received.spans.iter().all(|span| span.error.is_none()));
    let inferred =
        received.spans.iter().filter(|span| span.attributes.0.contains_key(key::END_INFERRED));
    assert_eq!(inferred.count(), 0);
    let logs: Vec<_> = received.logs.iter().map(|log| &*log.event_name).collect();
    let expected = [
        event::ROOM_CREATED,
        event::PARTICIPANT_JOINED,
        event::PARTICIPANT_ACTIVE,
        event::TRACK_PUBLISH_REQUESTED,
        event::TRACK_PUBLISHED,
        event::TRACK_UNPUBLISHED,
        event::PARTICIPANT_LEFT,
        event::ROOM_ENDED,
    ];
    assert_eq!(logs, expected);
    assert_eq!(last(&received, metric::NODE_PACKETS), Measured::Number(30.0));
    assert_eq!(last(&received, metric::STREAM_PACKETS), Measured::Number(30.0));
    assert_eq!(
        last(&received, metric::NODE_PARTICIPANTS),
        Measured::Number(0.0),
        "it came and left"
    );
    for input in &report.ledger.inputs {
        assert_eq!(input.waiting(), 0, "{input:?}");
    }
}

#[tokio::test]
async fn a_node_counts_reports_where_a_participant_has_windows() {
    let collector = Collector::start().await.unwrap();
    let telemetry = start(&collector);
    let (room, who) = (room(), participant());
    telemetry.participant_joined(of(&room, &who), None, None, true, None);
    telemetry.idle().await;
    for _ in 0..3 {
        telemetry.track_stats(&key(Direction::Downstream), &stat([sent(1000, 10)]));
    }
    // A participant without a worker counts on the node alone.
    let stranger = StatsKey::for_data("RM_1", "PA_9", "", Direction::Upstream, "");
    telemetry.track_stats(&stranger, &stat([sent(5, 7)]));
    telemetry.force_flush().await.unwrap();
    let (_, received) = end(&telemetry, collector).await;
    let losses = points(&received, metric::NODE_LOSS);
    let Measured::Distribution { count, .. } = losses.last().unwrap().value else { panic!() };
    assert_eq!(count, 3, "reports, not windows");
    let attributes = &losses.last().unwrap().attributes;
    assert_eq!(attributes.text(key::CLIENT_COUNTRY), Some("DE"));
    assert_eq!(attributes.text(key::TRACK_SOURCE), Some("SOURCE_CAMERA"));
    assert_eq!(attributes.text(key::NODE_ID), Some("ND_1"));
    let packets: Vec<_> = points(&received, metric::NODE_PACKETS)
        .into_iter()
        .map(|point| point.value.clone())
        .collect();
    assert!(packets.contains(&Measured::Number(7.0)), "{packets:?}");
    let windows = points(&received, metric::STREAM_PACKETS);
    let windows: Vec<_> = windows.iter().map(|point| &point.value).collect();
    let [zero, sum] = [0.0, 30.0].map(Measured::Number);
    assert_eq!(windows, [&zero, &sum, &Measured::Nothing], "one window, and the series' end");
}

#[tokio::test]
async fn a_bad_value_of_a_report_leads_to_its_participants_span() {
    for histograms in [Histograms::Explicit, Histograms::Exponential] {
        let collector = Collector::start().await.unwrap();
        let settings = OtelSettings::default().endpoint(&collector.endpoint()).unwrap();
        let settings = settings.histograms(histograms);
        let telemetry = Telemetry::builder().otel(settings).start().unwrap();
        let (room, who) = (room(), participant());
        telemetry.participant_joined(of(&room, &who), None, None, true, None);
        telemetry.idle().await;
        for rtt in [20, 7000] {
            let stream = AnalyticsStream { rtt, ..sent(1000, 10) };
            telemetry.track_stats(&key(Direction::Downstream), &stat([stream]));
        }
        telemetry.force_flush().await.unwrap();
        telemetry.shutdown(Instant::now() + Duration::from_mins(1)).await;
        let received = collector.stop().await;
        let exemplars: Vec<_> = crate::equality::points::all(&received.metrics)
            .into_iter()
            .filter(|point| point.metric == metric::NODE_ROUND_TRIP)
            .filter_map(|point| match point.value {
                Value::Distribution(distribution) => Some(distribution.exemplars),
                _ => None,
            })
            .flatten()
            .collect();
        let values: Vec<_> = exemplars.iter().map(|exemplar| exemplar.0).collect();
        assert_eq!(values.len(), 2, "{histograms:?}: {exemplars:?}");
        assert!(values.contains(&7.0) && values.contains(&0.02), "{values:?}");
        let read = Received::read(&received);
        let span = spans(&read, span::PARTICIPANT)[0];
        for (_, time, trace, of) in &exemplars {
            assert_eq!((trace, of), (&span.trace_id, &span.span_id));
            assert!(*time > span.start);
        }
    }
}

// Whether it is a warp, and its SDK.
fn connecting_of(point: &Point) -> (Option<bool>, Option<&str>) {
    let warp = match point.attributes.0.get(key::JOIN_WARP) {
        Some(Attribute::Bool(is_warp)) => Some(*is_warp),
        _ => None,
    };
    (warp, point.attributes.text(key::CLIENT_SDK))
}

#[tokio::test]
async fn a_join_is_counted_by_sdk_and_an_activation_by_warp() {
    let collector = Collector::start().await.unwrap();
    let telemetry = start(&collector);
    let room = room();
    let client = |sdk| ClientInfo { sdk, ..ClientInfo::default() };
    let clients = [Some(client(Sdk::Go as i32)), Some(client(99)), None];
    for (nth, client) in clients.iter().enumerate() {
        let who = ParticipantInfo { sid: format!("PA_{nth}"), ..participant() };
        let guard = ReferenceGuard::new();
        telemetry.participant_joined(of(&room, &who), client.as_ref(), None, true, Some(&guard));
        let activation = Activation::default().warp(nth == 0);
        telemetry.participant_active(of(&room, &who), None, activation, Some(&guard));
    }
    let (_, received) = end(&telemetry, collector).await;
    let mut joins = BTreeMap::new();
    for point in points(&received, metric::NODE_JOINS) {
        let state = point.attributes.text(key::JOIN_STATE).unwrap();
        joins.insert((state, connecting_of(point)), point.value.clone());
    }
    let expected = [
        (("rtc_active", (Some(false), None)), Measured::Number(2.0)),
        (("rtc_active", (Some(true), None)), Measured::Number(1.0)),
        (("rtc_connected", (None, Some("GO"))), Measured::Number(1.0)),
        // A client that is newer than this program, and one that is not known.
        (("rtc_connected", (None, Some("UNKNOWN"))), Measured::Number(2.0)),
    ];
    assert_eq!(joins, expected.into());
}

#[tokio::test]
async fn packet_trailers_are_counted_by_track_and_by_feature() {
    let collector = Collector::start().await.unwrap();
    let telemetry = start(&collector);
    let (room, who) = (room(), participant());
    let (time, frame) = (PacketTrailerFeature::PtfUserTimestamp, PacketTrailerFeature::PtfFrameId);
    let track = |sid: &str, features: &[i32]| TrackInfo {
        sid: sid.into(),
        packet_trailer_features: features.to_vec(),
        ..camera()
    };
    let first = track("TR_1", &[time as i32, frame as i32]);
    let second = track("TR_2", &[time as i32, time as i32, 99]);
    let audio = TrackInfo { r#type: TrackType::Audio as i32, ..track("TR_3", &[time as i32]) };
    for published in [&first, &second, &audio, &track("TR_4", &[])] {
        telemetry.track_published(on(&room, &who, published), true);
    }
    // Of another node.
    telemetry.track_unpublished(on(&room, &who, &second), false, true);
    telemetry.track_unpublished(on(&room, &who, &first), true, true);
    let (_, received) = end(&telemetry, collector).await;
    assert_eq!(last(&received, metric::NODE_PACKET_TRAILER_TRACKS), Measured::Number(1.0));
    let features: BTreeMap<_, _> = points(&received, metric::NODE_PACKET_TRAILER_FEATURES)
        .into_iter()
        .map(|point| (point.attributes.text(key::PACKET_TRAILER_FEATURE), point.value.clone()))
        .collect();
    let expected = [("PTF_USER_TIMESTAMP", 1.0), ("PTF_FRAME_ID", 0.0), ("UNKNOWN", 1.0)];
    let expected = expected.map(|(name, tracks)| (Some(name), Measured::Number(tracks)));
    assert_eq!(features, expected.into());
}

#[tokio::test]
async fn measurements_without_a_call_are_recorded_on_the_node() {
    let collector = Collector::start().await.unwrap();
    let telemetry = start(&collector);
    let node = telemetry.node();
    let connecting = Connecting::default().warp(true).sdk(Sdk::Swift.as_str_name());
    node.join(JoinState::SignalValidationFailed, Connecting::default());
    node.join(JoinState::RtcCanceled, connecting);
    node.publish_cancels(TrackKind::Audio, 2);
    node.subscribe_cancels(3);
    node.session(Timing::SessionStart(16, connecting), Duration::from_millis(250));
    node.forward_latency(Duration::from_micros(300));
    node.forward_p90(Duration::from_micros(200));
    node.fec(5, 6000, 2, 0);
    node.key_frames(Direction::Upstream, 1);
    node.capped_retransmissions(TrackKind::Video, 7);
    telemetry.force_flush().await.unwrap();
    let (_, received) = end(&telemetry, collector).await;
    let joins = points(&received, metric::NODE_JOINS);
    let of = |state| {
        let join = joins.iter().find(|join| join.attributes.text(key::JOIN_STATE) == Some(state));
        connecting_of(join.unwrap())
    };
    assert_eq!(of("signal_validation_failed"), (None, None));
    assert_eq!(of("rtc_canceled"), (Some(true), Some("SWIFT")));
    assert_eq!(last(&received, metric::NODE_PUBLISHES), Measured::Number(2.0));
    assert_eq!(last(&received, metric::NODE_SUBSCRIBES), Measured::Number(3.0));
    let start = points(&received, metric::NODE_SESSION_START_DURATION);
    assert_eq!(start.last().unwrap().value, Measured::Distribution { count: 1, sum: Some(0.25) });
    assert_eq!(start.last().unwrap().attributes.number(key::PROTOCOL_VERSION), Some(16.0));
    assert_eq!(start.last().unwrap().attributes.text(key::CLIENT_SDK), Some("SWIFT"));
    assert_eq!(last(&received, metric::NODE_FORWARD_LATENCY_P90), Measured::Number(0.0002));
    let fec = points(&received, metric::NODE_FEC_PACKETS);
    let fec: BTreeMap<_, _> = fec
        .iter()
        .map(|point| (point.attributes.text(key::FEC_TYPE).unwrap(), &point.value))
        .collect();
    // What never happened has no series.
    let (received_packets, recovered) = (Measured::Number(5.0), Measured::Number(2.0));
    assert_eq!(fec, [("received", &received_packets), ("recovered", &recovered)].into());
    assert_eq!(last(&received, metric::NODE_FEC_IO), Measured::Number(6000.0));
    let frames = points(&received, metric::NODE_KEY_FRAMES);
    assert_eq!(frames.last().unwrap().attributes.text(key::DIRECTION), Some("upstream"));
    assert_eq!(last(&received, metric::NODE_CAPPED_RETRANSMISSIONS), Measured::Number(7.0));
    let latency = points(&received, metric::NODE_FORWARD_LATENCY);
    assert_eq!(
        latency.last().unwrap().value,
        Measured::Distribution { count: 1, sum: Some(0.0003) }
    );
}

#[tokio::test]
async fn an_api_handlers_trace_leads_to_the_room_and_back() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("api"));
    let subscriber = tracing_subscriber::registry().with(layer);
    let collector = Collector::start().await.unwrap();
    let telemetry = start(&collector);
    let (room, who, camera) = (room(), participant(), camera());
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("CreateRoom").in_scope(|| telemetry.room_started(&room));
        tracing::info_span!("RemoveParticipant").in_scope(|| {
            telemetry.participant_left(of(&room, &who), true, None);
            telemetry.participant_left(of(&room, &who), true, None);
        });
        tracing::info_span!("Publish").in_scope(|| {
            telemetry.track_published(on(&room, &who, &camera), true);
        });
        // Outside of any span.
        telemetry.track_muted(on(&room, &who, &camera));
    });
    provider.force_flush().unwrap();
    let handlers = exporter.get_finished_spans().unwrap();
    let (_, received) = end(&telemetry, collector).await;
    let pairs = [
        ("CreateRoom", span::ROOM),
        ("RemoveParticipant", span::PARTICIPANT),
        ("Publish", span::TRACK),
    ];
    for (handler, name) in pairs {
        let handler = handlers.iter().find(|span| span.name == handler).unwrap();
        let of_room = spans(&received, name)[0];
        let context = &handler.span_context;
        let back = (context.trace_id().to_string(), context.span_id().to_string());
        assert_eq!(of_room.links, [back], "{name} leads to the handler");
        let there = &handler.links.links[0].span_context;
        assert_eq!(there.trace_id().to_string(), of_room.trace_id, "{name}");
        assert_eq!(there.span_id().to_string(), of_room.span_id, "{name}");
    }
}

#[tokio::test]
async fn calls_after_the_shutdown_are_refused_and_counted() {
    let collector = Collector::start().await.unwrap();
    let telemetry = start(&collector);
    telemetry.room_started(&room());
    end(&telemetry, collector).await;
    telemetry.room_started(&room());
    telemetry.track_stats(&key(Direction::Upstream), &stat([sent(1, 1)]));
    let refused: u64 = telemetry
        .ledger()
        .inputs
        .iter()
        .flat_map(|input| &input.refused)
        .map(|(_, refused)| refused)
        .sum();
    assert_eq!(refused, 2);
}

#[tokio::test]
async fn a_participant_without_a_room_makes_no_span() {
    let collector = Collector::start().await.unwrap();
    let telemetry = start(&collector);
    let (room, who) = (Room::default(), participant());
    let at = ParticipantContext::new(&room, &who);
    telemetry.participant_joined(at, None, None, true, None);
    let info = TrackInfo::default();
    let track = TrackContext::new(&room, "", &info);
    telemetry.track_published(track, true);
    let (_, received) = end(&telemetry, collector).await;
    assert_eq!(received.spans.len(), 0);
    assert_eq!(received.logs.len(), 2, "but it has its events");
}

#[tokio::test]
async fn a_webhook_that_was_sent_or_failed_is_an_event() {
    let mut keys = Keys::default();
    keys.insert("devkey", "made-up-secret-of-thirty-two-characters");
    // The notifier's webhooks go to a server of ours, and to a port without a listener.
    let receiver = Server::start(Config::for_keys(keys.clone())).await.unwrap();
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoints = [receiver.http(), nobody]
        .map(|address| WebhookEndpoint::new(format!("http://{address}/webhook")));
    let settings = WebhookSettings::new(keys, "devkey").endpoints(endpoints).retries(0);
    let notifier = WebhookNotifier::start(&settings);
    let collector = Collector::start().await.unwrap();
    let settings = OtelSettings::default().endpoint(&collector.endpoint()).unwrap();
    let builder = Telemetry::builder().otel(settings).notifier(Arc::new(notifier.unwrap()));
    let telemetry = builder.start().unwrap();
    telemetry.room_started(&room());
    let (_, received) = end(&telemetry, collector).await;
    let webhooks: Vec<_> =
        received.logs.iter().filter(|log| log.event_name == event::WEBHOOK).collect();
    assert_eq!(webhooks.len(), 2, "one for each URL");
    assert!(webhooks.iter().all(|log| {
        log.attributes.text(key::WEBHOOK_EVENT) == Some("room_started")
            && log.attributes.text(key::ROOM_ID) == Some("RM_1")
    }));
    let accepted = receiver.ledger().inputs[0].accepted;
    assert_eq!(accepted, 1, "and the server received its one");
}

#[tokio::test]
async fn an_sfu_feeds_a_central_serve() {
    let collector = Collector::start().await.unwrap();
    let mut keys = Keys::default();
    keys.insert("devkey", "made-up-secret-of-thirty-two-characters");
    let mut config = Config::for_keys(keys);
    let export = &mut config.export;
    for target in [&mut export.traces, &mut export.logs, &mut export.metrics] {
        target.endpoint = collector.endpoint().parse().unwrap();
    }
    let central = Server::start(config).await.unwrap();
    let settings = ForwardSettings::to(&format!("http://{}", central.grpc())).unwrap();
    let settings = settings.node_id("ND_1");
    let forwarder = AnalyticsForwarder::start(settings).unwrap();
    let telemetry = Telemetry::builder().analytics(Arc::new(forwarder)).start().unwrap();
    call(&telemetry, &room(), &participant());
    let report = telemetry.shutdown(Instant::now() + Duration::from_mins(1)).await;
    assert_eq!(report.undelivered, 0);
    assert_eq!(crate::serve::stop(central).await.undelivered, 0);
    let received = Received::read(&collector.stop().await);
    assert_eq!(spans(&received, span::ROOM).len(), 1);
    assert_eq!(spans(&received, span::TRACK).len(), 1);
    assert_eq!(received.logs.len(), 8, "each event once");
    // The central server counts finished windows.
    assert_eq!(last(&received, metric::NODE_PACKETS), Measured::Number(30.0));
    let losses = points(&received, metric::NODE_LOSS);
    let Measured::Distribution { count, .. } = losses.last().unwrap().value else { panic!() };
    assert_eq!(count, 1);
}

#[tokio::test]
async fn all_times_are_from_the_given_clock() {
    let collector = Collector::start().await.unwrap();
    let settings = OtelSettings::default().endpoint(&collector.endpoint()).unwrap();
    // In 2001. No listener is at that port: the failed webhook is an event too.
    let fixed = Time::from_secs(1_000_000_000).unwrap();
    let mut keys = Keys::default();
    keys.insert("key", "made-up-secret-of-thirty-two-characters");
    let endpoint = WebhookEndpoint::new("http://127.0.0.1:1/");
    let webhooks = WebhookSettings::new(keys, "key").endpoint(endpoint).retries(0);
    let notifier = Arc::new(WebhookNotifier::start(&webhooks).unwrap());
    let telemetry = Telemetry::builder().otel(settings).notifier(notifier).clock(move || fixed);
    let telemetry = telemetry.start().unwrap();
    call(&telemetry, &room(), &participant());
    telemetry.local_room_state(&AnalyticsNodeRooms::default());
    telemetry.force_flush().await.unwrap();
    let (_, received) = end(&telemetry, collector).await;
    // A delivery ends later; a series begins a moment before its first point.
    let is_near = |nanos: u64| nanos.abs_diff(fixed.nanos()) < 60_000_000_000;
    assert!(spans(&received, span::WEBHOOK_DELIVERY).len() > 1);
    for span in &received.spans {
        assert!(is_near(span.start) && is_near(span.end), "{span:?}");
    }
    for log in received.logs.iter().filter(|log| log.event_name != event::ROOM_CREATED) {
        assert!(is_near(log.time), "{log:?}");
    }
    // The program's own metrics have the SDK's times. A stream's series has the times of its reports,
    // which have none here.
    let own = |point: &&Point| !point.name.starts_with("lk.otel.") && point.time != 0;
    assert!(received.points.iter().filter(own).count() > 10);
    for point in received.points.iter().filter(own) {
        assert!(is_near(point.time), "{point:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_panics_is_a_fault_of_a_flush_and_of_the_report() {
    let collector = Collector::start().await.unwrap();
    let telemetry = start(&collector);
    telemetry.room_started(&room());
    assert_eq!(telemetry.force_flush().await, Ok(()));
    telemetry.room_started(&Room { name: PANICS.into(), ..room() });
    let panicked = Fault::Panicked("the pipeline");
    assert_eq!(telemetry.force_flush().await, Err(panicked.clone()));
    let report = telemetry.shutdown(Instant::now() + Duration::from_mins(1)).await;
    assert_eq!((report.faults, report.undelivered), (vec![panicked], 1));
}
