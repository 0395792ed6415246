//! What the log, the dead letters and the health of the process say of deliveries.

use std::fmt::Write;

use axum::http::header::CONTENT_TYPE;

use super::log::logging;
use super::*;
use crate::error::Cause;
use crate::reporter::{Answered, Reporter};
use livekit_otel_durable::journal::{dead_letter_files, read_dead_letter};
use livekit_otel_durable::store::{Directory, Files};
use livekit_otel_ledger::health::Delivering;

fn reporter(ledger: &Arc<Ledger>) -> Reporter {
    let target = settings("http://u:p@collector:4317/?k=v", Protocol::Grpc).logs;
    Reporter::new(Signal::Logs, target.attempt(), target.printable(), Arc::clone(ledger))
}

fn health(ledger: &Ledger) -> Delivering {
    ledger.health().report().delivery.remove(0)
}

fn cause(text: &str) -> Cause {
    Cause { text: text.to_owned(), hint: Some("Do something.".to_owned()) }
}

// Without times and the ports of this run.
fn masked(log: &str, address: &str) -> String {
    let log = log.replace(address, "HOST:PORT");
    let is_time = |word: &str| word.contains('T') && word.contains('Z') && word.contains(':');
    let mask = |word: &str| match word.split_once('=') {
        Some(("since", _)) => "since=TIME".to_owned(),
        _ if is_time(word) => "TIME".to_owned(),
        _ => word.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(mask).collect::<Vec<_>>().join(" ");
    log.lines().map(|text| line(text).trim_start().to_owned() + "\n").collect()
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_logged_when_it_begins_every_five_minutes_and_when_it_ends() {
    let (logged, _logging) = logging();
    let ledger = Arc::new(Ledger::default());
    ledger.queued(Signal::Logs, 7);
    let reporter = reporter(&ledger);
    let (refused, unknown) = (cause("connection refused"), cause("unknown host"));
    // 12 minutes, with an attempt every 10 seconds. The cause changes after 2.
    for attempt in 0..72 {
        reporter.failed(if attempt < 12 { &refused } else { &unknown }, false);
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    let failing = health(&ledger).failing.unwrap();
    assert_eq!(
        (failing.cause.as_str(), failing.hint.as_deref()),
        ("unknown host", Some("Do something."))
    );
    assert!(reporter.answered(true));
    assert!(!reporter.answered(true));
    assert_eq!(health(&ledger).failing, None);
    // It is over once the collector has accepted requests for 5 seconds.
    assert_eq!(reporter.due(), Some(Instant::now() + Duration::from_secs(5)));
    tokio::time::advance(Duration::from_secs(5)).await;
    reporter.flush(false);
    assert_eq!(reporter.due(), None);
    tokio::time::advance(Duration::from_mins(1)).await;
    reporter.failed(&refused, true);
    // A refusal ends an outage without a delivery.
    assert!(reporter.answered(false));
    assert_eq!(health(&ledger).failing, None);
    assert_eq!(masked(&logged.text(), "no address"), include_str!("reports/outage.txt"));
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_refuses_each_second_request_is_no_flood_of_lines() {
    let (logged, _logging) = logging();
    let ledger = Arc::default();
    let reporter = reporter(&ledger);
    for _ in 0..120 {
        reporter.failed(&cause("429 Too Many Requests"), false);
        assert!(health(&ledger).failing.is_some());
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!(reporter.answered(true));
        reporter.flush(false);
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    drop(reporter);
    let text = logged.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("can't deliver, retrying"), "{text}");
    assert!(lines[1].contains("delivering again") && lines[1].ends_with("seconds=60 times=120"));
}

#[tokio::test(start_paused = true)]
async fn two_causes_that_alternate_are_logged_once_a_minute() {
    let (logged, _logging) = logging();
    let reporter = reporter(&Arc::default());
    for attempt in 0..120 {
        reporter.failed(&cause(if attempt % 2 == 0 { "a" } else { "b" }), false);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(logged.text().lines().count(), 2, "{}", logged.text());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_repeats_is_one_line_a_minute_with_its_count() {
    let (logged, _logging) = logging();
    let ledger = Arc::new(Ledger::default());
    let reporter = reporter(&ledger);
    let note = |status: &str, words: usize| {
        reporter.note(Answered::Refused, &cause(&format!("{status}: no {words}")), 3);
    };
    note("401 Unauthorized", 0);
    assert_eq!(reporter.due(), None);
    for n in 1..20 {
        note("401 Unauthorized", n);
        note("400 Bad Request", n);
        reporter.note(Answered::Rejected, &cause(&format!("no {n}")), 1);
        reporter.flush(false);
    }
    tokio::time::advance(Duration::from_secs(59)).await;
    reporter.flush(false);
    assert_eq!(reporter.due(), Some(Instant::now() + Duration::from_secs(1)));
    tokio::time::advance(Duration::from_secs(1)).await;
    reporter.flush(false);
    assert_eq!(reporter.due(), None);
    // A minute of silence is not logged, and the next refusal is at once.
    tokio::time::advance(Duration::from_mins(1)).await;
    reporter.flush(false);
    note("401 Unauthorized", 20);
    note("401 Unauthorized", 21);
    drop(reporter);
    assert_eq!(masked(&logged.text(), "no address"), include_str!("reports/refusals.txt"));
    let refused = health(&ledger).refused.unwrap();
    assert_eq!(
        (refused.records, refused.cause.as_str()),
        (22 * 3 + 19 * 3 + 19, "401 Unauthorized: no 21")
    );
}

#[tokio::test(start_paused = true)]
async fn many_kinds_of_answers_are_bounded_and_lose_no_count() {
    let (logged, _logging) = logging();
    let reporter = reporter(&Arc::default());
    for status in (400..500).chain(400..500) {
        reporter.note(Answered::Refused, &cause(&format!("{status}: no")), 1);
        reporter.note(Answered::Refused, &cause(&format!("{status}: no")), 1);
    }
    assert_eq!(logged.text().lines().count(), 16);
    drop(reporter);
    let count = |word: &str| word.strip_prefix("records=")?.parse::<u64>().ok();
    let text = logged.text();
    assert_eq!(text.split(' ').filter_map(count).sum::<u64>(), 400);
}

// Delivers to a collector over gRPC with these answers. Returns the log and the health.
async fn delivers(answers: Vec<Scripted>) -> (String, Delivering) {
    let (logged, _logging) = logging();
    let (listener, address) = bound().await;
    let mut received = serve(listener, answers);
    let fixture = exporting(&settings(&format!("http://{address}"), Protocol::Grpc));
    fixture.log(&["a", "b"]);
    received.recv().await.unwrap();
    fixture.shutdown().await;
    (masked(&logged.text(), &address.to_string()), health(&fixture.ledger))
}

fn partial(rejected: i64, words: &str) -> ExportLogsServiceResponse {
    let (rejected_log_records, error_message) = (rejected, words.to_owned());
    let partial = ExportLogsPartialSuccess { rejected_log_records, error_message };
    ExportLogsServiceResponse { partial_success: Some(partial) }
}

#[tokio::test]
async fn the_collectors_own_words_are_logged() {
    let mut texts = String::new();
    let large = || Err(Status::resource_exhausted("max 4 MiB"));
    for (what, answers) in [
        ("refused", vec![Err(Status::unauthenticated("no\u{1b}[2J token"))]),
        ("too large", vec![large()]),
        ("too large alone", vec![large(), large(), large()]),
        ("rejected", vec![Ok(partial(1, "too old"))]),
        ("rejected without words", vec![Ok(partial(1, ""))]),
        ("warned", vec![Ok(partial(0, "an attribute is deprecated"))]),
    ] {
        let (log, health) = delivers(answers).await;
        let refused = health.refused.map(|refused| (refused.records, refused.cause));
        let warning = health.warning.map(|warning| warning.words);
        writeln!(texts, "{what}\n{log}health: {refused:?} {warning:?}\n").unwrap();
    }
    assert_eq!(texts, include_str!("reports/words.txt"));
}

#[tokio::test]
async fn refused_records_that_find_no_space_are_reported_as_lost() {
    let (logged, _logging) = logging();
    let (listener, address) = bound().await;
    let _received = serve(listener, vec![Err(Status::unauthenticated("no token"))]);
    let (ledger, dead_letters) = (Arc::default(), Arc::new(DeadLetters::in_memory(1)));
    let settings = settings(&format!("http://{address}"), Protocol::Grpc);
    let exporter = Exporter::start(&settings, Arc::clone(&ledger), &dead_letters).unwrap();
    exporter.logs(&[record("a"), record("b")]);
    exporter.shutdown(Instant::now() + Duration::from_secs(10)).await;
    let refused = health(&ledger).refused.unwrap();
    assert_eq!((refused.records, refused.lost), (2, 2));
    let text = logged.text();
    assert!(text.contains("ERROR the collector refused records, and they are lost: dead letters"));
    assert!(!text.contains("they are dead letters"), "{text}");
}

#[tokio::test]
async fn refused_records_wait_for_a_disk_that_takes_no_dead_letters() {
    let (logged, _logging) = logging();
    let (listener, address) = bound().await;
    let refused = || Err(Status::unauthenticated("no token"));
    let _received = serve(listener, vec![refused()]);
    let path = tempfile::tempdir().unwrap();
    let directory = Arc::new(Directory::open(path.path(), Arc::new(Files)).unwrap());
    let dead_letters = Arc::new(DeadLetters::on_disk(&directory, 1_000_000).unwrap());
    let folder = path.path().join("deadletter");
    std::fs::remove_dir(&folder).unwrap();
    let settings = settings(&format!("http://{address}"), Protocol::Grpc);
    let ledger = Arc::default();
    let exporter = Exporter::start(&settings, Arc::clone(&ledger), &dead_letters).unwrap();
    exporter.logs(&[record("a")]);
    while !logged.text().contains("they wait until dead letters can be written") {
        tokio::task::yield_now().await;
    }
    assert_eq!(health(&ledger).refused, None);
    std::fs::create_dir(&folder).unwrap();
    exporter.shutdown(Instant::now() + Duration::from_secs(10)).await;
    assert!(logged.text().contains("they are dead letters"));
    assert_eq!(health(&ledger).refused.unwrap().records, 1);
}

#[tokio::test]
async fn a_dead_letter_has_the_words_of_a_refusal_over_http() {
    let (listener, address) = bound().await;
    let refuse = || async {
        let kind = [(CONTENT_TYPE, "text/plain")];
        (StatusCode::UNAUTHORIZED, kind, "missing\r\n tenant").into_response()
    };
    let app = axum::Router::new().route("/v1/logs", axum::routing::post(refuse));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let path = tempfile::tempdir().unwrap();
    let directory = Arc::new(Directory::open(path.path(), Arc::new(Files)).unwrap());
    let dead_letters = Arc::new(DeadLetters::on_disk(&directory, 1_000_000).unwrap());
    let settings = settings(&format!("http://{address}/v1/logs"), Protocol::HttpProtobuf);
    let exporter = Exporter::start(&settings, Arc::default(), &dead_letters).unwrap();
    exporter.logs(&[record("a")]);
    exporter.shutdown(Instant::now() + Duration::from_secs(10)).await;
    let file = dead_letter_files(path.path()).unwrap().remove(0);
    let (dead_letter, _) = read_dead_letter(&file).unwrap();
    assert_eq!(dead_letter.reason, "401 Unauthorized: missing tenant");
}
