//! The limits of LiveKit's sender since livekit protocol 1.54 (webhook/resource_url_notifier.go): how long
//! an attempt may take, how long a receiver may ask to wait, what the log says of a URL, and shutdown.

use std::time::Duration;

use livekit_otel_telemetry::webhook::{
    WebhookEndpoint, WebhookError, WebhookNotifier, WebhookSettings,
};
use livekit_otel_telemetry::{NotifyError, QueuedNotifier};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tracing::level_filters::LevelFilter;

use super::receiver::Receiver;
use super::{KEY, LONG, Notifying, event, keys, settings, to};
use crate::logged::Log;
use crate::port::unused_address;

#[tokio::test(start_paused = true)]
async fn each_of_five_attempts_ends_after_ten_seconds() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", deaf.local_addr().unwrap());
    let settings = WebhookSettings::new(keys(), KEY).endpoint(WebhookEndpoint::new(url));
    let mut notifying = Notifying::start(&settings);
    notifying.notify(&event("EV_1", "room")).unwrap();
    let info = notifying.processed.recv().await.unwrap();
    assert_eq!((info.send_error.as_str(), info.is_dropped), ("no answer in time", false));
    // Pauses of 1, 2, 4 and 8 s, each up to a quarter longer.
    let seconds = Duration::from_nanos(info.send_duration_ns.try_into().unwrap()).as_secs_f64();
    assert!((65.0..69.0).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_receiver_cant_ask_for_more_than_the_longest_pause() {
    let mut receiver = Receiver::start().await;
    let mut notifying = Notifying::start(&to(&receiver));
    notifying.notify(&event("EV_1", "room")).unwrap();
    for (status, after) in
        [(429, "315360000"), (503, "18446744073709551615"), (429, "Fri, 31 Dec 9999 23:59:59 GMT")]
    {
        receiver.next().await.answer_with(status, &[("retry-after", after)]);
    }
    receiver.next().await.answer(200);
    assert_eq!(notifying.processed().await.send_error, "");
}

#[tokio::test]
async fn the_user_agent_can_be_set() {
    let mut receiver = Receiver::start().await;
    let notifying = Notifying::start(&to(&receiver).user_agent("LiveKitCloud"));
    notifying.notify(&event("EV_1", "room")).unwrap();
    assert_eq!(receiver.next().await.headers["user-agent"], "LiveKitCloud");
    let error = WebhookNotifier::start(&to(&receiver).user_agent("two\nlines")).unwrap_err();
    assert!(matches!(error, WebhookError::BadUserAgent), "{error}");
}

#[tokio::test]
async fn the_log_has_no_secret_of_a_url_and_no_text_of_the_receiver() {
    let (log, _logging) = Log::start_at(LevelFilter::TRACE);
    let mut receiver = Receiver::start().await;
    let address = receiver.address;
    let url = format!("http://ann:hidden@{address}/hook?code=hidden&hidden#hidden");
    let mut notifying =
        Notifying::start(&settings([WebhookEndpoint::new(url)]).retries(1).max_depth(1));
    for (answers, dropped) in [(vec![200], false), (vec![500, 500], false), (vec![401], true)] {
        notifying.notify(&event("EV_1", "room")).unwrap();
        let first = receiver.next().await;
        if dropped {
            notifying.notify(&event("EV_2", "room")).unwrap();
            notifying.notify(&event("EV_3", "room")).unwrap_err();
        }
        first.answer_with(answers[0], &[("x-hidden", "hidden")]);
        for status in &answers[1..] {
            receiver.next().await.answer_with(*status, &[("x-hidden", "hidden")]);
        }
        notifying.processed().await;
    }
    let log = log.text();
    for outcome in
        ["webhook sent", "webhook is sent again", "webhooks failed", "webhooks were dropped"]
    {
        let line = log.lines().find(|line| line.contains(outcome)).unwrap();
        assert!(line.contains(&format!("http://{address}/hook")), "{line}");
    }
    for line in log.lines().filter(|line| line.contains("livekit_otel")) {
        assert!(!line.contains("hidden"), "{line}");
    }
}

#[tokio::test]
async fn a_receiver_that_is_away_is_one_line_with_its_likely_reason() {
    let (log, _logging) = Log::start();
    let away = unused_address();
    let url = format!("http://{away}/hook");
    let mut notifying = Notifying::start(&settings([WebhookEndpoint::new(url)]).retries(1));
    for n in 0..3 {
        notifying.notify(&event(&n.to_string(), "room")).unwrap();
        assert!(!notifying.processed().await.send_error.is_empty());
    }
    let [line] = &log.lines("webhooks failed")[..] else { panic!("{}", log.text()) };
    assert!(line.contains(&format!("hint=\"Nothing listens at {away}.")), "{line}");
}

#[tokio::test]
async fn a_shutdown_sends_what_every_queue_has() {
    let mut receiver = Receiver::start().await;
    let mut notifying = Notifying::start(&to(&receiver));
    // Half of them in one queue, and half in five.
    for n in 0..10 {
        notifying.notify(&event(&n.to_string(), "room")).unwrap();
        notifying.notify(&event(&n.to_string(), &format!("room {}", n % 5))).unwrap();
    }
    let answering = tokio::spawn(async move {
        for _ in 0..20 {
            receiver.next().await.answer(200);
        }
    });
    let deadline = Instant::now() + LONG;
    timeout(LONG, notifying.notifier.stop(deadline)).await.expect("an end in time");
    let processed = notifying.processed_so_far();
    assert_eq!(processed.len(), 20);
    assert!(processed.iter().all(|info| info.http_status_code == 200));
    answering.await.unwrap();

    assert_eq!(notifying.notify(&event("late", "room")), Err(NotifyError::Closed));
    let late = notifying.processed().await;
    assert_eq!((late.event_id.as_str(), late.is_dropped), ("late", true));
}

#[tokio::test]
async fn a_shutdown_reports_what_it_could_not_send_in_time() {
    let mut receiver = Receiver::start().await;
    let mut notifying = Notifying::start(&to(&receiver));
    for id in ["sending", "waiting-1", "waiting-2"] {
        notifying.notify(&event(id, "room")).unwrap();
    }
    let _unanswered = receiver.next().await;
    let deadline = Instant::now() + Duration::from_millis(50);
    timeout(LONG, notifying.notifier.shutdown(deadline)).await.expect("an end in time");
    assert_eq!(
        outcomes(&mut notifying),
        [
            ("sending".to_owned(), Outcome::Failed),
            ("waiting-1".to_owned(), Outcome::Dropped),
            ("waiting-2".to_owned(), Outcome::Dropped),
        ]
    );
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn a_forced_shutdown_waits_for_no_receiver_and_for_no_pause() {
    let mut receiver = Receiver::start().await;
    let settings = to(&receiver).backoff(Duration::from_millis(1), Duration::MAX);
    let mut notifying = Notifying::start(&settings);
    notifying.notify(&event("sending", "a")).unwrap();
    let _unanswered = receiver.next().await;
    notifying.notify(&event("pausing", "b")).unwrap();
    receiver.next().await.answer_with(503, &[("retry-after", "315360000")]);
    notifying.notify(&event("waiting-1", "a")).unwrap();
    notifying.notify(&event("waiting-2", "b")).unwrap();
    timeout(LONG, notifying.notifier.stop(Instant::now())).await.expect("an end at once");
    let mut outcomes = outcomes(&mut notifying);
    outcomes.sort();
    assert_eq!(
        outcomes,
        [
            ("pausing".to_owned(), Outcome::Failed),
            ("sending".to_owned(), Outcome::Failed),
            ("waiting-1".to_owned(), Outcome::Dropped),
            ("waiting-2".to_owned(), Outcome::Dropped),
        ]
    );
    assert!(receiver.is_quiet());
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Failed,
    Dropped,
}

fn outcomes(notifying: &mut Notifying) -> Vec<(String, Outcome)> {
    let outcome = |is_dropped| if is_dropped { Outcome::Dropped } else { Outcome::Failed };
    let processed = notifying.processed_so_far();
    for info in &processed {
        assert_eq!((info.sent_at.is_none(), info.http_status_code), (info.is_dropped, 0));
    }
    processed.into_iter().map(|info| (info.event_id, outcome(info.is_dropped))).collect()
}
