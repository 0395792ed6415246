//! The webhook notifier, against receivers that answer as each test wants.

mod limits;
mod receiver;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use livekit_otel::config::Config;
use livekit_otel::serve::Server;
use livekit_otel_model::Source;
use livekit_otel_telemetry::messages::{
    ParticipantInfo, Room, RoomEndReason, WebhookEvent, WebhookInfo,
};
use livekit_otel_telemetry::webhook::{Keys, WebhookEndpoint, WebhookNotifier, WebhookSettings};
use livekit_otel_telemetry::{NotifyError, QueuedNotifier};
use livekit_token::Claims;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use self::receiver::Receiver;

const KEY: &str = "devkey";
const SECRET: &str = "made-up-secret-of-thirty-two-characters";
const OTHER_KEY: &str = "otherkey";
const OTHER_SECRET: &str = "another-made-up-secret-of-some-length";
const LONG: Duration = Duration::from_mins(1);

/// A notifier, and what its hook received.
struct Notifying {
    notifier: WebhookNotifier,
    processed: mpsc::UnboundedReceiver<WebhookInfo>,
}

impl Notifying {
    fn start(settings: &WebhookSettings) -> Self {
        let notifier = WebhookNotifier::start(settings).unwrap();
        let (sender, processed) = mpsc::unbounded_channel();
        notifier.register_processed_hook(Arc::new(move |info| {
            let _ = sender.send(info);
        }));
        Self { notifier, processed }
    }

    fn notify(&self, event: &WebhookEvent) -> Result<(), NotifyError> {
        self.notifier.queue_notify(event, &[])
    }

    async fn processed(&mut self) -> WebhookInfo {
        timeout(LONG, self.processed.recv()).await.expect("the hook in time").unwrap()
    }

    fn processed_so_far(&mut self) -> Vec<WebhookInfo> {
        std::iter::from_fn(|| self.processed.try_recv().ok()).collect()
    }
}

fn keys() -> Keys {
    let mut keys = Keys::default();
    keys.insert(KEY, SECRET);
    keys.insert(OTHER_KEY, OTHER_SECRET);
    keys
}

fn settings(endpoints: impl IntoIterator<Item = WebhookEndpoint>) -> WebhookSettings {
    WebhookSettings::new(keys(), KEY)
        .endpoints(endpoints)
        .max_age(LONG)
        .backoff(Duration::from_millis(1), Duration::from_millis(2))
}

fn to(receiver: &Receiver) -> WebhookSettings {
    settings([WebhookEndpoint::new(receiver.url("/hook"))])
}

fn event(id: &str, room: &str) -> WebhookEvent {
    WebhookEvent {
        event: "room_started".to_owned(),
        id: id.to_owned(),
        created_at: 1_795_406_961,
        room: Some(Room { sid: "RM_1".to_owned(), name: room.to_owned(), ..Room::default() }),
        ..WebhookEvent::default()
    }
}

#[tokio::test]
async fn livekits_receiver_reads_what_is_sent() {
    let mut receiver = Receiver::start().await;
    let mut notifying = Notifying::start(&to(&receiver));
    let sent = WebhookEvent {
        event: "room_finished".to_owned(),
        participant: Some(ParticipantInfo {
            identity: "alice".to_owned(),
            joined_at: 1_795_406_960,
            ..ParticipantInfo::default()
        }),
        room_end_reason: RoomEndReason::RoomEndApiDelete.into(),
        ..event("EV_1", "standup")
    };
    notifying.notify(&sent).unwrap();
    let received = receiver.next().await;
    assert_eq!(received.path, "/hook");
    assert_eq!(received.headers["content-type"], "application/webhook+json");
    assert_eq!(received.headers["user-agent"], "LiveKit");
    assert_eq!(received.read(KEY, SECRET), Some(sent));
    assert_eq!(received.read(KEY, OTHER_SECRET), None);
    let claims = Claims::from_unverified(received.token()).unwrap();
    assert_eq!((claims.iss.as_str(), claims.exp - claims.nbf), (KEY, 300));
    let json: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    let expected = serde_json::json!({
        "event": "room_finished",
        "id": "EV_1",
        "createdAt": "1795406961",
        "room": { "sid": "RM_1", "name": "standup" },
        "participant": { "identity": "alice", "joinedAt": "1795406960" },
        "roomEndReason": "ROOM_END_API_DELETE",
    });
    assert_eq!(json, expected);
    received.answer(200);

    let info = notifying.processed().await;
    assert_eq!((info.event_id.as_str(), info.http_status_code), ("EV_1", 200));
    assert_eq!((info.send_error.as_str(), info.is_dropped), ("", false));
    assert_eq!(info.url, receiver.url("/hook"));
    assert_eq!((info.room_name.as_str(), info.participant_identity.as_str()), ("standup", "alice"));
    assert!(info.queued_at.is_some() && info.sent_at.is_some() && info.send_duration_ns > 0);
}

#[tokio::test]
async fn our_server_accepts_what_is_sent() {
    let mut config = Config::for_keys(keys());
    config.http = "127.0.0.1:0".parse().unwrap();
    config.grpc = "127.0.0.1:0".parse().unwrap();
    let export = &mut config.export;
    for target in [&mut export.traces, &mut export.logs, &mut export.metrics] {
        target.enabled = false;
    }
    let server = Server::start(config).await.unwrap();
    let url = format!("http://{}/webhook", server.http());
    let mut notifying = Notifying::start(&settings([WebhookEndpoint::new(url)]));
    notifying.notify(&event("EV_1", "standup")).unwrap();
    let info = notifying.processed().await;
    assert_eq!((info.http_status_code, info.send_error.as_str()), (200, ""));
    let ledger = crate::serve::stop(server).await.ledger;
    assert_eq!(ledger.inputs[Source::Webhook as usize].accepted, 1);
}

#[tokio::test]
async fn a_resource_keeps_its_order_and_does_not_wait_for_another() {
    let mut receiver = Receiver::start().await;
    let mut notifying = Notifying::start(&to(&receiver));
    notifying.notify(&event("slow-1", "slow")).unwrap();
    let slow = receiver.next().await;
    for n in 2..=20 {
        notifying.notify(&event(&format!("slow-{n}"), "slow")).unwrap();
        notifying.notify(&event(&format!("fast-{n}"), "fast")).unwrap();
    }
    for n in 2..=20 {
        let received = receiver.next().await;
        assert_eq!(received.id(), format!("fast-{n}"));
        received.answer(200);
    }
    assert!(receiver.is_quiet());
    slow.answer(200);
    for n in 2..=20 {
        let received = receiver.next().await;
        assert_eq!(received.id(), format!("slow-{n}"));
        received.answer(200);
    }
    for _ in 0..39 {
        assert_eq!(notifying.processed().await.send_error, "");
    }
}

#[tokio::test]
async fn webhooks_refused_by_a_full_queue_are_counted_in_the_next() {
    let mut receiver = Receiver::start().await;
    let mut notifying = Notifying::start(&to(&receiver).max_depth(1));
    notifying.notify(&event("first", "room")).unwrap();
    let first = receiver.next().await;
    notifying.notify(&event("second", "room")).unwrap();
    for id in ["lost-1", "lost-2"] {
        assert_eq!(notifying.notify(&event(id, "room")), Err(NotifyError::QueueFull));
        let info = notifying.processed().await;
        assert_eq!((info.event_id.as_str(), info.is_dropped), (id, true));
        assert_eq!((info.queued_at, info.sent_at, info.http_status_code), (None, None, 0));
    }
    first.answer(200);
    assert_eq!(notifying.processed().await.num_dropped, 0);
    let second = receiver.next().await;
    assert_eq!((second.id().as_str(), second.num_dropped()), ("second", 2));
    second.answer(200);
    let info = notifying.processed().await;
    assert_eq!((info.num_dropped, info.is_dropped), (2, false));
    notifying.notify(&event("third", "room")).unwrap();
    assert_eq!(receiver.next().await.num_dropped(), 0);
}

#[tokio::test]
async fn webhooks_that_waited_too_long_are_counted_in_the_next() {
    let mut receiver = Receiver::start().await;
    let max_age = Duration::from_secs(1);
    let mut notifying = Notifying::start(&to(&receiver).max_age(max_age));
    notifying.notify(&event("first", "room")).unwrap();
    let first = receiver.next().await;
    notifying.notify(&event("old", "room")).unwrap();
    assert!(timeout(max_age + Duration::from_millis(10), receiver.received.recv()).await.is_err());
    first.answer(200);
    assert!(!notifying.processed().await.is_dropped);
    let old = notifying.processed().await;
    assert_eq!((old.event_id.as_str(), old.is_dropped, old.sent_at), ("old", true, None));
    assert!(old.queued_at.is_some() && old.queue_duration_ns > 1_000_000_000);
    // Nothing is before it that it would have to wait for.
    notifying.notify(&event("young", "room")).unwrap();
    let young = receiver.next().await;
    assert_eq!((young.id().as_str(), young.num_dropped()), ("young", 1));
}

#[tokio::test]
async fn a_failing_receiver_is_retried_with_a_new_token() {
    let mut receiver = Receiver::start().await;
    let mut notifying = Notifying::start(&to(&receiver));
    notifying.notify(&event("EV_1", "room")).unwrap();
    for status in [500, 502, 429, 504] {
        let received = receiver.next().await;
        assert!(received.read(KEY, SECRET).is_some());
        received.answer(status);
    }
    let mut rotated = Keys::default();
    rotated.insert("newkey", OTHER_SECRET);
    notifying.notify(&event("EV_2", "room")).unwrap();
    let last = receiver.next().await;
    notifying.notifier.set_keys(rotated, "newkey").unwrap();
    assert_eq!(last.id(), "EV_1");
    last.answer(204);
    let info = notifying.processed().await;
    assert_eq!((info.http_status_code, info.send_error.as_str()), (204, ""));
    assert!(receiver.next().await.read("newkey", OTHER_SECRET).is_some());
}

#[tokio::test]
async fn a_webhook_that_fails_after_its_retries_is_counted_in_the_next() {
    let mut receiver = Receiver::start().await;
    let mut notifying = Notifying::start(&to(&receiver).retries(2));
    notifying.notify(&event("EV_1", "room")).unwrap();
    for _ in 0..3 {
        receiver.next().await.answer(500);
    }
    let info = notifying.processed().await;
    let expected = "the receiver answered 500 Internal Server Error";
    assert_eq!((info.http_status_code, info.send_error.as_str()), (500, expected));
    assert!(!info.is_dropped && info.sent_at.is_some());
    notifying.notify(&event("EV_2", "room")).unwrap();
    let next = receiver.next().await;
    assert_eq!((next.id().as_str(), next.num_dropped()), ("EV_2", 1));
}

#[tokio::test]
async fn a_retry_waits_as_long_as_the_receiver_asks() {
    let mut receiver = Receiver::start().await;
    let backoff = Duration::from_millis(1);
    let notifying = Notifying::start(&to(&receiver).backoff(backoff, LONG));
    for status in [429, 503] {
        notifying.notify(&event("EV_1", "room")).unwrap();
        let began = Instant::now();
        receiver.next().await.answer_with(status, &[("retry-after", "1")]);
        receiver.next().await.answer(200);
        assert!(began.elapsed() >= Duration::from_secs(1), "{status}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_waiting_retry_does_not_delay_another_room() {
    let mut receiver = Receiver::start().await;
    let settings = to(&receiver).max_requests(1).backoff(Duration::from_millis(1), LONG);
    let notifying = Notifying::start(&settings);
    notifying.notify(&event("EV_1", "busy")).unwrap();
    receiver.next().await.answer_with(503, &[("retry-after", "60")]);
    notifying.notify(&event("EV_2", "other")).unwrap();
    assert_eq!(receiver.next().await.id(), "EV_2");
}

#[tokio::test]
async fn permanent_errors_are_not_retried_and_redirects_not_followed() {
    let mut receiver = Receiver::start().await;
    let mut notifying = Notifying::start(&to(&receiver));
    for status in [302, 308, 400, 401, 404, 501] {
        notifying.notify(&event("EV_1", "room")).unwrap();
        receiver.next().await.answer_with(status, &[("location", "/elsewhere")]);
        let info = notifying.processed().await;
        assert_eq!(info.http_status_code, i32::from(status));
        assert!(info.send_error.contains(&status.to_string()), "{}", info.send_error);
        assert!(!info.is_dropped);
    }
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn an_attempt_times_out_and_is_retried() {
    let mut receiver = Receiver::start().await;
    let timeout = Duration::from_millis(500);
    let mut notifying = Notifying::start(&to(&receiver).timeout(timeout).retries(1));
    notifying.notify(&event("EV_1", "room")).unwrap();
    let _unanswered = (receiver.next().await, receiver.next().await);
    let info = notifying.processed().await;
    assert_eq!((info.http_status_code, info.send_error.as_str()), (0, "no answer in time"));
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut notifying = Notifying::start(&settings([WebhookEndpoint::new(url)]));
    notifying.notify(&event("EV_1", "room")).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 2048];
    assert!(stream.read(&mut request).await.unwrap() > 0);
    let written = tokio::spawn(async move {
        let mut written: u64 = 0;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while stream.write_all(&[0; 16384]).await.is_ok() {
            written += 16384;
        }
        written
    });
    let info = notifying.processed().await;
    assert_eq!((info.http_status_code, info.send_error.as_str()), (200, ""));
    let written = timeout(LONG, written).await.expect("the connection is closed").unwrap();
    assert!(written < 100_000_000, "{written}");
}

#[tokio::test]
async fn a_dead_url_does_not_delay_another() {
    let mut receiver = Receiver::start().await;
    let mut dead = Receiver::start().await;
    let endpoints = [&dead, &receiver].map(|to| WebhookEndpoint::new(to.url("/")));
    let notifying = Notifying::start(&settings(endpoints).max_requests(1));
    for room in ["a", "b", "c"] {
        notifying.notify(&event(room, room)).unwrap();
    }
    let _unanswered = dead.next().await;
    for _ in 0..3 {
        let received = receiver.next().await;
        assert!(receiver.is_quiet(), "one request at a time");
        received.answer(200);
    }
    assert!(dead.is_quiet());
}

#[tokio::test]
async fn a_dropped_notifier_still_sends_what_is_queued() {
    let mut receiver = Receiver::start().await;
    let notifying = Notifying::start(&to(&receiver));
    for id in ["1", "2"] {
        notifying.notify(&event(id, "room")).unwrap();
    }
    drop(notifying.notifier);
    for id in ["1", "2"] {
        let received = receiver.next().await;
        assert_eq!(received.id(), id);
        received.answer(200);
    }
}

#[tokio::test]
async fn a_panicking_hook_ends_neither_the_queue_nor_the_caller() {
    let mut receiver = Receiver::start().await;
    let notifying = Notifying::start(&to(&receiver).max_depth(1));
    notifying.notifier.register_processed_hook(Arc::new(|_| panic!("the hook's own fault")));
    notifying.notify(&event("1", "room")).unwrap();
    let first = receiver.next().await;
    notifying.notify(&event("2", "room")).unwrap();
    assert_eq!(notifying.notify(&event("3", "room")), Err(NotifyError::QueueFull));
    first.answer(200);
    assert_eq!(receiver.next().await.id(), "2");
}

#[tokio::test]
async fn an_event_is_queued_from_a_thread_without_a_runtime() {
    let mut receiver = Receiver::start().await;
    let notifying = Notifying::start(&to(&receiver));
    let queued = std::thread::scope(|scope| {
        scope.spawn(|| notifying.notify(&event("EV_1", "room"))).join().unwrap()
    });
    assert_eq!(queued, Ok(()));
    assert_eq!(receiver.next().await.id(), "EV_1");
}
