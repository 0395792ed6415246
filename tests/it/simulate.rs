//! The load generator: what it sends, and what a server emits from it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, ready};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use livekit_otel::serve::{Report as Served, Server};
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;
use livekit_otel_model::semconv::{key, span};
use livekit_otel_telemetry::messages::{AnalyticsEvent, AnalyticsEventType as Type, StreamType};
use livekit_otel_tools::demo::received::Span;
use livekit_otel_tools::demo::{Collector, Telemetry};
use livekit_otel_tools::replay::Destination;
use livekit_otel_tools::simulate::report::Report;
use livekit_otel_tools::simulate::send::{self, SendError};
use livekit_otel_tools::simulate::{Due, Message, Settings, Simulation};
use proptest::prelude::*;
use tokio::net::TcpListener;

use crate::port::unused_address;
use crate::serve::{KEY, SECRET, adds_up, config, destination, stop};

fn start() -> Time {
    Time::from_secs(1_795_406_961).unwrap()
}

fn messages(settings: &Settings) -> Vec<Due> {
    Simulation::new(settings.clone(), start()).collect()
}

fn small() -> Settings {
    let duration = Duration::from_mins(10);
    Settings { rooms: 4, participants: 5, tracks: 3, duration, ..Settings::default() }
}

fn events(messages: &[Due]) -> impl Iterator<Item = (Duration, &AnalyticsEvent)> {
    messages.iter().filter_map(|due| match &due.message {
        Message::Event(event) => Some((due.at, &**event)),
        _ => None,
    })
}

fn of_type(messages: &[Due], kind: Type) -> Vec<(Duration, &AnalyticsEvent)> {
    events(messages).filter(|(_, event)| event.r#type == kind as i32).collect()
}

fn webhooks<'a>(messages: &'a [Due], name: &str) -> Vec<&'a str> {
    let named = messages.iter().filter_map(|due| match &due.message {
        Message::Webhook(webhook) if webhook.event == name => Some(&*webhook.id),
        _ => None,
    });
    named.collect()
}

// How often each entity begins and ends, by id.
type Lives = BTreeMap<String, (u32, u32)>;

fn lives(
    messages: &[Due],
    begin: &[Type],
    end: &[Type],
    id: fn(&AnalyticsEvent) -> String,
) -> Lives {
    let mut lives = Lives::new();
    for (_, event) in events(messages) {
        let is = |kinds: &[Type]| kinds.iter().any(|kind| event.r#type == *kind as i32);
        if is(begin) {
            lives.entry(id(event)).or_default().0 += 1;
        }
        if is(end) {
            let life = lives.get_mut(&id(event));
            life.expect("it ends before it begins").1 += 1;
        }
    }
    lives
}

fn all_begin_and_end_once(messages: &[Due]) {
    let room = |event: &AnalyticsEvent| event.room.as_ref().unwrap().sid.clone();
    let participant = |event: &AnalyticsEvent| event.participant_id.clone();
    let track = |event: &AnalyticsEvent| event.track_id.clone();
    let link = |event: &AnalyticsEvent| format!("{} {}", event.participant_id, event.track_id);
    let left = [Type::ParticipantLeft, Type::ParticipantConnectionAborted];
    for (begin, end, id) in [
        (Type::RoomCreated, &[Type::RoomEnded][..], room as fn(&AnalyticsEvent) -> String),
        (Type::ParticipantJoined, &left, participant),
        (Type::ParticipantActive, &[Type::ParticipantLeft], participant),
        (Type::TrackPublished, &[Type::TrackUnpublished], track),
        (Type::TrackSubscribed, &[Type::TrackUnsubscribed], link),
    ] {
        for (id, counts) in lives(messages, &[begin], end, id) {
            assert_eq!(counts, (1, 1), "{begin:?} {id}");
        }
    }
    for pair in messages.windows(2) {
        assert!(pair[0].at <= pair[1].at, "not in order");
    }
}

// All ids, each of which must be unique.
fn ids(messages: &[Due]) -> Vec<String> {
    let ids = messages.iter().flat_map(|due| match &due.message {
        Message::Webhook(webhook) => vec![webhook.id.clone()],
        Message::Event(event) => vec![event.id.clone()],
        Message::Stats(stats) => stats.iter().map(|stat| stat.id.clone()).collect(),
        Message::Upload(_) => Vec::new(),
    });
    ids.collect()
}

#[test]
fn the_same_seed_and_start_send_the_same() {
    let settings = Settings { subscribe: true, loss: 0.02, failures: 0.2, ..small() };
    let once = messages(&settings);
    assert_eq!(once, messages(&settings));
    let another = messages(&Settings { seed: 2, ..settings.clone() });
    assert_ne!(once.len(), another.len());
    // A later start has the same course with other ids.
    let later = start() + Duration::from_hours(1);
    let later: Vec<Due> = Simulation::new(settings, later).collect();
    let times = |messages: &[Due]| messages.iter().map(|due| due.at).collect::<Vec<_>>();
    assert_eq!(times(&once), times(&later));
    let (ids, later): (BTreeSet<_>, BTreeSet<_>) =
        (ids(&once).into_iter().collect(), ids(&later).into_iter().collect());
    assert!(ids.is_disjoint(&later));
}

#[test]
fn the_numbers_of_rooms_and_participants_stay_as_set() {
    let settings = Settings { rooms: 8, ..small() };
    let messages = messages(&settings);
    let there = |at: Duration, begin: Type, ends: &[Type]| {
        let count = |kind| of_type(&messages, kind).iter().filter(|(when, _)| *when <= at).count();
        count(begin) - ends.iter().map(|end| count(*end)).sum::<usize>()
    };
    for second in (30..570).step_by(10) {
        let at = Duration::from_secs(second);
        let rooms = there(at, Type::RoomCreated, &[Type::RoomEnded]);
        assert!((7..=8).contains(&rooms), "{rooms} rooms after {second} s");
        let left = [Type::ParticipantLeft, Type::ParticipantConnectionAborted];
        let participants = there(at, Type::ParticipantJoined, &left);
        assert!((32..=40).contains(&participants), "{participants} after {second} s");
    }
    // Rooms and participants are replaced.
    assert!(of_type(&messages, Type::RoomCreated).len() >= 16);
    assert!(of_type(&messages, Type::ParticipantJoined).len() >= 120);
}

#[test]
fn a_room_is_reported_as_a_server_reports_it() {
    let settings = Settings { subscribe: true, ..small() };
    let messages = messages(&settings);
    for (webhook, kind) in [
        ("room_started", Type::RoomCreated),
        ("room_finished", Type::RoomEnded),
        ("participant_joined", Type::ParticipantActive),
        ("participant_left", Type::ParticipantLeft),
        ("track_published", Type::TrackPublished),
        ("track_unpublished", Type::TrackUnpublished),
    ] {
        let sent = webhooks(&messages, webhook).len();
        assert!(sent > 0);
        assert_eq!(sent, of_type(&messages, kind).len(), "{webhook}");
    }
    let deliveries = of_type(&messages, Type::Webhook);
    let all = messages.iter().filter(|due| matches!(due.message, Message::Webhook(_))).count();
    assert_eq!(deliveries.len(), all);
    assert!(!of_type(&messages, Type::TrackMuted).is_empty());
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, event) in of_type(&messages, Type::TrackPublishRequested) {
        names.entry(&event.participant_id).or_default().push(&event.track.as_ref().unwrap().name);
    }
    assert!(names.values().all(|names| *names == ["mic", "cam", "screen"]), "{names:?}");
    assert!(of_type(&messages, Type::TrackSubscribeFailed).is_empty());
    assert!(of_type(&messages, Type::ParticipantConnectionAborted).is_empty());
    let published = of_type(&messages, Type::TrackPublished).len();
    assert_eq!(of_type(&messages, Type::TrackPublishStats).len(), published);
    let subscribed = of_type(&messages, Type::TrackSubscribed).len();
    assert!(subscribed > 2 * published, "{subscribed} subscriptions of {published} tracks");
}

// All packets of a track in a direction, by windows and by totals.
#[test]
fn the_windows_of_a_track_add_up_to_its_totals() {
    let settings = Settings { subscribe: true, loss: 0.02, ..small() };
    let messages = messages(&settings);
    let mut windows: BTreeMap<(i32, String, String), (u32, u32)> = BTreeMap::new();
    for due in &messages {
        let Message::Stats(stats) = &due.message else { continue };
        for stat in stats {
            let stream = &stat.streams[0];
            let key = (stat.kind, stat.participant_id.clone(), stat.track_id.clone());
            let sums = windows.entry(key).or_default();
            sums.0 += stream.primary_packets;
            sums.1 += stream.packets_lost;
        }
    }
    let mut lost = 0;
    for (kind, totals) in [
        (StreamType::Upstream, Type::TrackPublishStats),
        (StreamType::Downstream, Type::TrackSubscribeStats),
    ] {
        for (_, event) in of_type(&messages, totals) {
            let stats = event.rtp_stats.as_ref().unwrap();
            let key = (kind as i32, event.participant_id.clone(), event.track_id.clone());
            let expected = windows.get(&key).copied().unwrap_or_default();
            assert_eq!((stats.packets, stats.packets_lost), expected, "{key:?}");
            lost += stats.packets_lost;
        }
    }
    assert!(lost > 1000, "{lost}");
}

#[test]
fn sources_without_a_target_send_nothing() {
    let only = |webhooks, analytics| messages(&Settings { webhooks, analytics, ..small() });
    let (webhooks, analytics) = (only(true, false), only(false, true));
    assert!(!webhooks.is_empty() && !analytics.is_empty());
    assert!(webhooks.iter().all(|due| matches!(due.message, Message::Webhook(_))));
    assert!(!analytics.iter().any(|due| matches!(due.message, Message::Webhook(_))));
    assert!(of_type(&analytics, Type::Webhook).is_empty());
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let counts = (1..4_usize, 1..5_usize, 0..5_usize, 0..3_usize, any::<bool>());
    let rest = (100..400_000_u64, 1..60_u64, any::<u64>(), 0.0..=1.0, 0.0..=1.0);
    (counts, rest).prop_map(|(counts, (millis, interval, seed, loss, failures))| {
        let (rooms, participants, tracks, agents, subscribe) = counts;
        Settings {
            rooms,
            participants,
            tracks,
            agents,
            subscribe,
            duration: Duration::from_millis(millis),
            interval: Duration::from_secs(interval),
            seed,
            loss,
            failures,
            ..Settings::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everything_that_begins_ends_within_the_duration(settings in any_settings()) {
        let messages = messages(&settings);
        all_begin_and_end_once(&messages);
        prop_assert!(messages.last().unwrap().at <= settings.duration);
        let ids = ids(&messages);
        prop_assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    #[test]
    fn a_stop_at_any_time_ends_everything_that_has_begun(settings in any_settings(), part in 0.0..1.0) {
        let all = messages(&settings);
        let kept = all.len() as f64 * part;
        let kept = all.iter().enumerate().filter(|(nth, _)| (*nth as f64) < kept).count();
        let mut simulation = Simulation::new(settings, start());
        let mut messages: Vec<Due> = simulation.by_ref().take(kept).collect();
        let before = messages.last().map_or(Duration::ZERO, |due| due.at);
        simulation.stop();
        messages.extend(simulation);
        all_begin_and_end_once(&messages);
        prop_assert_eq!(&messages[..kept], &all[..kept]);
        let last = messages.last().map_or(Duration::ZERO, |due| due.at);
        prop_assert!(last <= before + Duration::from_nanos(1));
    }
}

async fn simulated(settings: Settings) -> (Report, Served, Telemetry) {
    let collector = Collector::start().await.unwrap();
    let server = Server::start(config(&collector.endpoint())).await.unwrap();
    let simulation = Simulation::new(settings, start());
    let report = send::send(simulation, &destination(&server), pending(), |_| {}).await.unwrap();
    let served = stop(server).await;
    (report, served, Telemetry::read(&collector.stop().await))
}

fn named<'a>(telemetry: &'a Telemetry, name: &'a str) -> impl Iterator<Item = &'a Span> {
    telemetry.spans.iter().filter(move |span| span.name == name)
}

fn count(telemetry: &Telemetry, name: &str) -> u64 {
    named(telemetry, name).count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_accepts_everything_and_emits_each_participant() {
    let settings = Settings { subscribe: true, loss: 0.02, ..small() };
    let (report, served, telemetry) = simulated(settings.clone()).await;
    assert_eq!(report.unacknowledged(), 0, "{report:?}");
    assert_eq!(report.outcomes.len(), 3);
    assert_eq!(served.undelivered, 0);
    adds_up(&served.ledger);
    for (source, outcome) in &report.outcomes {
        assert!(outcome.sent > 0 && outcome.error.is_none(), "{source:?}: {outcome:?}");
        assert_eq!(outcome.sent, outcome.acknowledged);
    }
    let population = report.population;
    assert!(population.participants > 20);
    assert_eq!(count(&telemetry, span::ROOM), population.rooms);
    assert_eq!(count(&telemetry, span::PARTICIPANT), population.participants);
    assert_eq!(count(&telemetry, span::TRACK), population.tracks);
    let failed: Vec<_> = telemetry.spans.iter().filter(|span| span.error.is_some()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let is_inferred = |span: &&Span| span.attributes.0.contains_key(key::END_INFERRED);
    let inferred: Vec<_> = telemetry.spans.iter().filter(is_inferred).collect();
    assert!(inferred.is_empty(), "{inferred:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_participant_has_a_span_with_an_error() {
    let settings = Settings { failures: 1.0, ..small() };
    let (report, _, telemetry) = simulated(settings).await;
    assert_eq!(report.unacknowledged(), 0);
    assert_eq!(count(&telemetry, span::PARTICIPANT), report.population.participants);
    for span in named(&telemetry, span::PARTICIPANT) {
        assert!(span.error.is_some(), "{span:?}");
    }
    let aborted = named(&telemetry, span::PARTICIPANT_CONNECT).filter(|span| span.error.is_some());
    assert!(aborted.count() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_subscribe_has_a_span_with_an_error() {
    let settings = Settings { failures: 0.5, subscribe: true, ..small() };
    let (_, _, telemetry) = simulated(settings).await;
    let refused = named(&telemetry, span::TRACK_SUBSCRIBE).filter(|span| span.error.is_some());
    assert!(refused.count() > 0);
}

#[tokio::test]
async fn a_stop_ends_all_rooms_and_is_reported() {
    let collector = Collector::start().await.unwrap();
    let server = Server::start(config(&collector.endpoint())).await.unwrap();
    let simulation = Simulation::new(small(), start());
    let to = Destination { speed: 1.0, ..destination(&server) };
    let moment = tokio::time::sleep(Duration::from_millis(300));
    let report = send::send(simulation, &to, moment, |_| {}).await.unwrap();
    stop(server).await;
    let telemetry = Telemetry::read(&collector.stop().await);
    assert_eq!(report.unacknowledged(), 0, "{report:?}");
    assert!(report.simulated < Duration::from_mins(1));
    assert_eq!(count(&telemetry, span::ROOM), report.population.rooms);
    assert_eq!(count(&telemetry, span::PARTICIPANT), report.population.participants);
}

#[tokio::test]
async fn refused_messages_are_reported_with_their_reason() {
    let collector = Collector::start().await.unwrap();
    let server = Server::start(config(&collector.endpoint())).await.unwrap();
    let settings = Settings { analytics: false, ..small() };
    let to = Destination {
        secret: "a-wrong-secret-of-some-length-too".to_owned(),
        ..destination(&server)
    };
    let simulation = Simulation::new(settings, start());
    let report = send::send(simulation, &to, pending(), |_| {}).await.unwrap();
    let [(Source::Webhook, outcome)] = &report.outcomes[..] else { panic!("{report:?}") };
    assert_eq!((outcome.acknowledged, outcome.unacknowledged()), (0, outcome.sent));
    assert!(outcome.error.as_ref().unwrap().contains("401"), "{outcome:?}");
    let mut text = Vec::new();
    report.render(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("NOT acknowledged") && text.contains("401"), "{text}");
    assert_eq!(report.json()["sources"]["webhook"]["acknowledged"], 0);
}

#[tokio::test]
async fn a_run_does_not_begin_without_a_listener() {
    let to = only_webhooks(&unused_address().to_string());
    let settings = Settings { analytics: false, ..small() };
    let simulation = Simulation::new(settings, start());
    let sent = send::send(simulation, &to, pending(), |_| {}).await;
    assert!(matches!(sent, Err(SendError::Unreachable { .. })), "{sent:?}");
}

fn only_webhooks(address: &str) -> Destination {
    Destination {
        webhook: format!("http://{address}/webhook").parse().unwrap(),
        analytics: "http://nowhere.invalid".parse().unwrap(),
        uploads: format!("http://{address}").parse().unwrap(),
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        speed: f64::INFINITY,
        retry_for: Destination::RETRY_FOR,
    }
}

// Answers each webhook first with a 503 and then with a 200, and counts the requests.
async fn busy_at_first() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (mut refused, count) = (BTreeSet::new(), Arc::clone(&count));
            let answer = move |request: hyper::Request<Incoming>| {
                count.fetch_add(1, Relaxed);
                let token = request.headers()["authorization"].to_str().unwrap().to_owned();
                let status = if refused.insert(token) { 503 } else { 200 };
                let answer = hyper::Response::builder().status(status).header("retry-after", "0");
                ready(answer.body(String::new()))
            };
            let answer = Mutex::new(answer);
            let service = service_fn(move |request| (answer.lock().unwrap())(request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, requests)
}

#[tokio::test]
async fn retries_to_a_busy_server_are_counted() {
    let (address, requests) = busy_at_first().await;
    let to = only_webhooks(&address);
    let settings = Settings { rooms: 1, analytics: false, ..small() };
    let report = send::send(Simulation::new(settings, start()), &to, pending(), |_| {}).await;
    let report = report.unwrap();
    let [(Source::Webhook, outcome)] = &report.outcomes[..] else { panic!("{report:?}") };
    assert!(outcome.sent > 10);
    assert_eq!((outcome.acknowledged, outcome.retried), (outcome.sent, outcome.sent));
    assert_eq!(requests.load(Relaxed), 2 * outcome.sent);
}
