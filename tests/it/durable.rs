//! A journal on disk: what it keeps across a restart, and what it does if the disk fails.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use livekit_otel::commands::deadletter::DeadLetterFiles;
use livekit_otel::commands::status;
use livekit_otel::config::Config;
use livekit_otel::config::JournalConfig;
use livekit_otel::serve::Server;
use livekit_otel_durable::journal;
use livekit_otel_durable::store::{Disk, Files};
use livekit_otel_model::semconv::span;
use livekit_otel_tools::capture::Capture;
use livekit_otel_tools::demo::Collector;
use livekit_otel_tools::demo::Received;
use livekit_otel_tools::demo::Telemetry;
use livekit_otel_transport::chain;
use livekit_token::AccessToken;
use sha2::{Digest, Sha256};

use crate::port::unused_address;
use crate::serve::{KEY, SECRET, adds_up, config, replay_to, stop, the_capture};

/// A disk that fails on request.
#[derive(Debug)]
pub(crate) struct Faulty {
    /// Bytes that still fit.
    pub(crate) free: AtomicUsize,
    /// Whether syncs fail.
    pub(crate) no_sync: AtomicBool,
}

impl Faulty {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { free: AtomicUsize::new(usize::MAX), no_sync: AtomicBool::new(false) })
    }
}

impl Disk for Faulty {
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        let free = self.free.load(Relaxed);
        if free == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // A short write if less is free.
        let written = Files.write(file, &bytes[..bytes.len().min(free)])?;
        if free != usize::MAX {
            self.free.fetch_sub(written, Relaxed);
        }
        Ok(written)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.no_sync.load(Relaxed) { Err(io::Error::other("EIO")) } else { Files.sync(file) }
    }
}

pub(crate) fn durable(collector: &str, directory: &Path, disk: Arc<dyn Disk>) -> Config {
    let sync = Duration::ZERO;
    let settings = journal::Settings { max_bytes: 64 << 20, sync, snapshot: 1 << 20 };
    let mut config = config(collector);
    config.session.linger = Duration::from_millis(200);
    config.shutdown_timeout = Duration::from_millis(500);
    config.dead_letter_bytes = 1 << 20;
    config.journal = Some(JournalConfig { directory: directory.to_owned(), settings, disk });
    config
}

/// The same, soon full when no collector is at this address.
pub(crate) fn short_of_space(collector: SocketAddr, directory: &Path) -> Config {
    let mut config = durable(&format!("http://{collector}"), directory, Arc::new(Files));
    config.export.max_request_bytes = 4 << 10;
    config.export.max_queue_bytes = 8 << 10;
    if let Some(journal) = &mut config.journal {
        journal.settings.max_bytes = 256 << 10;
        journal.settings.snapshot = 64 << 10;
    }
    config
}

fn token(body: &str) -> String {
    let token = AccessToken::with_api_key(KEY, SECRET);
    token.with_sha256(&STANDARD.encode(Sha256::digest(body))).to_jwt().unwrap()
}

/// A signed webhook as it is sent.
pub(crate) fn signed(body: &str) -> String {
    format!(
        "POST /webhook HTTP/1.1\r\nHost: test\r\nAuthorization: {}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        token(body),
        body.len()
    )
}

/// The status of a signed webhook's answer, and its `Retry-After`.
pub(crate) async fn post(server: &Server, body: &str) -> (u16, Option<String>) {
    post_to(&server.http().to_string(), body).await
}

pub(crate) async fn post_to(http: &str, body: &str) -> (u16, Option<String>) {
    let token = token(body);
    let request = Request::post(format!("http://{http}/webhook"))
        .header(AUTHORIZATION, token)
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.unwrap();
    let after = answer.headers().get(RETRY_AFTER).map(|after| after.to_str().unwrap().to_owned());
    (answer.status().as_u16(), after)
}

pub(crate) fn webhook(nth: usize) -> String {
    format!(
        r#"{{"event":"participant_joined","id":"EV_{nth}","createdAt":"1795406960",
        "room":{{"sid":"RM_1","name":"room"}},"participant":{{"sid":"PA_{nth}","identity":"who"}}}}"#
    )
}

fn logs(received: &Received) -> usize {
    Telemetry::read(received).logs.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_across_a_restart_is_one_call() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    let whole = the_capture();
    let part = |lines: &[livekit_otel_tools::capture::Line]| Capture { lines: lines.to_vec() };
    for lines in [&whole.lines[..60], &whole.lines[60..]] {
        let config = durable(&collector.endpoint(), directory.path(), Arc::new(Files));
        let server = Server::start(config).await.unwrap();
        replay_to(&server, &part(lines)).await;
        if lines.len() != 60 {
            let ended = |received: &Received| {
                Telemetry::read(received).spans.iter().any(|one| one.name == span::ROOM)
            };
            collector.received_when(ended).await;
        }
        let report = stop(server).await;
        assert_eq!(report.undelivered, 0);
    }
    let telemetry = Telemetry::read(&collector.stop().await);
    let expected = crate::capture::run(crate::capture::lines().iter(), true);
    assert_eq!(telemetry.spans.len(), expected.spans.len());
    assert_eq!(telemetry.logs.len(), expected.logs.len());
    for span in &expected.spans {
        let id = livekit_otel_model::hex(&span.span_id);
        let sent = telemetry.spans.iter().find(|sent| sent.span_id == id).unwrap();
        assert_eq!((sent.start, sent.end), (span.start.nanos(), span.end.nanos()), "{}", span.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undelivered_records_wait_for_the_next_start_and_add_up() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:1";
    let server = Server::start(durable(nowhere, directory.path(), Arc::new(Files))).await.unwrap();
    replay_to(&server, &the_capture()).await;
    let report = stop(server).await;
    assert_eq!(report.undelivered, 0);
    assert!(report.ledger.is_durable && report.ledger.outputs[1].waiting() > 0);

    let collector = Collector::start().await.unwrap();
    let config = durable(&collector.endpoint(), directory.path(), Arc::new(Files));
    let server = Server::start(config).await.unwrap();
    collector.received_when(|received| logs(received) == 96).await;
    let ledger = stop(server).await.ledger;
    adds_up(&ledger);
    assert_eq!(ledger.inputs[0].accepted, 18);
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_running() {
    let directory = tempfile::tempdir().unwrap();
    // No collector listens there.
    let config = || durable("http://127.0.0.1:9", directory.path(), Arc::new(Files));
    let server = Server::start(config()).await.unwrap();
    assert_eq!(post(&server, &webhook(1)).await.0, 200);
    server.shutdown().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let no_port = Config { grpc: taken.local_addr().unwrap(), ..config() };
    let no_page = Config { ui: Some("192.0.2.1:9292".parse().unwrap()), ..config() };
    for failing in [no_port, no_page] {
        assert!(Server::start(failing).await.is_err());
        let until = tokio::time::Instant::now() + Duration::from_mins(1);
        while tasks() > before {
            assert!(tokio::time::Instant::now() < until, "{} are left", tasks() - before);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Server::start(config()).await.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_snapshot_is_reported_and_new_records_are_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    let config = || durable(&collector.endpoint(), directory.path(), Arc::new(Files));
    let server = Server::start(config()).await.unwrap();
    for nth in 0..6 {
        assert_eq!(post(&server, &webhook(nth)).await.0, 200);
    }
    collector.received_when(|received| logs(received) == 6).await;
    server.shutdown().await;
    let snapshot = directory.path().join("snapshot");
    let whole = std::fs::read(&snapshot).unwrap();
    std::fs::write(&snapshot, &whole[..whole.len() - 30]).unwrap();
    let server = Server::start(config()).await.unwrap();
    assert_eq!(post(&server, &webhook(6)).await.0, 200);
    collector.received_when(|received| logs(received) == 7).await;
    let ledger = server.shutdown().await.ledger;
    // No entry of the journal is damaged.
    assert_eq!((ledger.snapshot_damaged > 0, ledger.journal_damaged), (true, 0));
    adds_up(&ledger);
}

async fn nothing_is_lost_by(fault: impl Fn(&Faulty), mend: impl Fn(&Faulty)) {
    let directory = tempfile::tempdir().unwrap();
    let collector = Collector::start().await.unwrap();
    let disk = Faulty::new();
    let config = durable(&collector.endpoint(), directory.path(), Arc::<Faulty>::clone(&disk));
    let server = Server::start(config).await.unwrap();
    assert_eq!(post(&server, &webhook(0)).await.0, 200);
    fault(&disk);
    for nth in 1..4 {
        let (status, after) = post(&server, &webhook(nth)).await;
        assert_eq!((status, after.as_deref()), (503, Some("2")));
    }
    assert!(server.ledger().journal_failures > 0);
    mend(&disk);
    for nth in 3..6 {
        assert_eq!(post(&server, &webhook(nth)).await.0, 200);
    }
    // Nothing that was refused, and everything that was acknowledged.
    collector.received_when(|received| logs(received) == 4).await;
    stop(server).await;
    let config = durable(&collector.endpoint(), directory.path(), Arc::new(Files));
    let server = Server::start(config).await.unwrap();
    assert_eq!(post(&server, &webhook(6)).await.0, 200);
    collector.received_when(|received| logs(received) == 5).await;
    let ledger = stop(server).await.ledger;
    assert_eq!((ledger.inputs[0].accepted, ledger.journal_damaged), (5, 0));
    assert_eq!(logs(&collector.stop().await), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_the_sender_retry_and_recovers_by_itself() {
    nothing_is_lost_by(
        |disk| disk.free.store(0, Relaxed),
        |disk| disk.free.store(usize::MAX, Relaxed),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_write_is_undone() {
    nothing_is_lost_by(
        |disk| disk.free.store(17, Relaxed),
        |disk| disk.free.store(usize::MAX, Relaxed),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsynced_message_is_not_acknowledged() {
    nothing_is_lost_by(
        |disk| disk.no_sync.store(true, Relaxed),
        |disk| {
            disk.no_sync.store(false, Relaxed);
        },
    )
    .await;
}

#[tokio::test]
async fn an_unusable_directory_is_reported_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    // Root may write anywhere: a file in the way stops it too.
    let in_the_way = directory.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let config = durable("http://127.0.0.1:1", &in_the_way, Arc::new(Files));
    let error = chain(&Server::start(config).await.unwrap_err());
    assert!(error.contains(&in_the_way.display().to_string()), "{error}");

    let config = || durable("http://127.0.0.1:1", directory.path(), Arc::new(Files));
    let server = Server::start(config()).await.unwrap();
    let error = chain(&Server::start(config()).await.unwrap_err());
    assert!(error.contains("in use by another"), "{error}");
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_leaves_a_reserve_to_webhooks() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = durable("http://127.0.0.1:1", directory.path(), Arc::new(Files));
    let body = webhook(0);
    if let Some(journal) = &mut config.journal {
        journal.settings.max_bytes = 200 * body.len() as u64;
    }
    let server = Server::start(config).await.unwrap();
    let mut accepted = 0;
    let (status, after) = loop {
        let answer = post(&server, &webhook(accepted)).await;
        if answer.0 != 200 {
            break answer;
        }
        accepted += 1;
    };
    assert_eq!((status, after.as_deref()), (503, Some("1")));
    assert!(accepted >= 5, "{accepted}");
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_accepts_again_once_the_collector_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let away = unused_address();
    let server = Server::start(short_of_space(away, directory.path())).await.unwrap();
    let mut accepted = 0;
    while post(&server, &webhook(accepted)).await.0 == 200 {
        accepted += 1;
    }
    assert!(accepted > 20, "{accepted}");
    let collector = Collector::start_on(away).await.unwrap();
    let again = async {
        while post(&server, &webhook(accepted)).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), again).await.unwrap();
    collector.received_when(|received| logs(received) > accepted).await;
    stop(server).await;
    assert_eq!(logs(&collector.stop().await), accepted + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_message_is_a_dead_letter_to_list_and_drop() {
    let directory = tempfile::tempdir().unwrap();
    let config = || durable("http://127.0.0.1:1", directory.path(), Arc::new(Files));
    let server = Server::start(config()).await.unwrap();
    assert_eq!(post(&server, "not json").await.0, 200);
    let status = loop {
        let admin = server.admin().unwrap().to_string().parse().unwrap();
        let status = status::fetch(&admin).await.unwrap();
        if status.dead_letters > 0 {
            break status;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(status.ledger.inputs[0].dead_letters, 1);
    stop(server).await;

    let find = || DeadLetterFiles::find(directory.path(), &[]).unwrap();
    let mut printed = Vec::new();
    find().list(&mut printed).unwrap();
    assert!(find().retry(&config(), &mut printed).await.is_err());
    find().remove(&mut printed).unwrap();
    find().list(&mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].starts_with("webhook-") && lines[0].contains("can't be read"), "{printed}");
    assert!(lines[1].contains("not accepted: this version can't read it either"), "{printed}");
    assert!(lines[2].ends_with("dropped") && lines[3] == "There are no dead letters.", "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_over_its_memory_limit_accepts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = durable("http://127.0.0.1:1", directory.path(), Arc::new(Files));
    config.memory_limit = Some(1 << 20);
    let server = Server::start(config).await.unwrap();
    let mut nth = 0;
    // Until the memory is first measured.
    while post(&server, &webhook(nth)).await.0 == 200 {
        nth += 1;
    }
    assert!(server.ledger().inputs[0].accepted == nth as u64);
    stop(server).await;
}
