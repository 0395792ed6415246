//! `GET /readyz` agrees with what senders experience: 503 and the reason exactly while nothing is accepted.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use livekit_otel::commands::status;
use livekit_otel::config::Config;
use livekit_otel::serve::Server;
use livekit_otel_durable::store::{Disk, Files, Space};
use livekit_otel_ledger::health::NotReady;
use livekit_otel_ledger::status::{LimitedBy, Status};
use livekit_otel_tools::demo::Collector;
use serde_json::Value;

use crate::admin::get;
use crate::binary::Serve;
use crate::durable::{Faulty, durable, post, short_of_space, webhook};
use crate::port::unused_address;
use crate::serve::stop;

const PATIENCE: Duration = Duration::from_mins(1);
const NOWHERE: &str = "http://127.0.0.1:1";

// The answer's status and body, which both listeners agree on.
async fn ready(server: &Server) -> (u16, String) {
    let mut answers = Vec::new();
    for at in [server.admin().unwrap(), server.http()] {
        let (status, answer) = get(at, "/readyz").await;
        answers.push((status, answer.split_once("\r\n\r\n").unwrap().1.to_owned()));
    }
    assert_eq!(answers[0].0, answers[1].0, "{answers:?}");
    answers.remove(0)
}

async fn becomes_ready(server: &Server) {
    let admin = server.admin().unwrap();
    let again = async {
        while get(admin, "/readyz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

async fn status_of(server: &Server) -> Status {
    status::fetch(&server.admin().unwrap().to_string().parse().unwrap()).await.unwrap()
}

// Fails, mends, and needs no sender to find out.
async fn is_true_while(fault: impl Fn(&Faulty), mend: impl Fn(&Faulty), reason: &str, text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let disk = Faulty::new();
    let config = durable(NOWHERE, directory.path(), Arc::<Faulty>::clone(&disk));
    let server = Server::start(config).await.unwrap();
    assert_eq!(post(&server, &webhook(0)).await.0, 200);
    assert_eq!(ready(&server).await, (200, "ok\n".to_owned()));
    fault(&disk);
    assert_eq!(post(&server, &webhook(1)).await.0, 503);
    let (status, body) = ready(&server).await;
    assert_eq!(status, 503);
    assert!(body.starts_with(&format!("{reason}: ")) && body.contains(text), "{body}");
    assert!(!body.contains(&directory.path().display().to_string()), "{body}");
    let intake = status_of(&server).await.health.intake.unwrap();
    assert_eq!(format!("{}: {}\n", intake.reason, intake.text), body);
    mend(&disk);
    becomes_ready(&server).await;
    assert_eq!(post(&server, &webhook(2)).await.0, 200);
    assert_eq!(status_of(&server).await.health.intake, None);
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_ready_while_the_disk_is_full() {
    let (full, free) = (0, usize::MAX);
    let set = |bytes| move |disk: &Faulty| disk.free.store(bytes, Relaxed);
    is_true_while(set(full), set(free), "disk_full", "refuses writes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_ready_while_the_journal_cannot_be_synced() {
    let set = |fails| move |disk: &Faulty| disk.no_sync.store(fails, Relaxed);
    is_true_while(set(true), set(false), "journal_failing", "EIO").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_ready_while_the_journal_is_at_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    let away = unused_address();
    let server = Server::start(short_of_space(away, directory.path())).await.unwrap();
    let admin = server.admin().unwrap();
    let full = async {
        for nth in 0.. {
            // A snapshot may free space between the two, until the disk holds only what is undelivered.
            if post(&server, &webhook(nth)).await.0 == 503 {
                let (status, answer) = get(admin, "/readyz").await;
                if status == 503 {
                    return answer;
                }
            }
        }
        unreachable!()
    };
    let answer = tokio::time::timeout(PATIENCE, full).await.unwrap();
    assert!(answer.contains("\r\n\r\njournal_full: the journal needs "), "{answer}");
    let usage = status_of(&server).await.journal.unwrap();
    assert!(usage.used > usage.limit / 2 && usage.highest >= usage.used, "{usage:?}");
    let _collector = Collector::start_on(away).await.unwrap();
    becomes_ready(&server).await;
    let after = status_of(&server).await.journal.unwrap();
    assert!(after.highest >= usage.highest && after.used < after.highest, "{after:?}");
    stop(server).await;
}

// A volume of this size, all of it free.
#[derive(Debug)]
struct Volume(AtomicU64);

impl Disk for Volume {
    fn space(&self, _: &Path) -> io::Result<Space> {
        let total = self.0.load(Relaxed);
        Ok(Space { total, free: total })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_grows_is_used_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let volume = Arc::new(Volume(AtomicU64::new(4 << 20)));
    let config = durable(NOWHERE, directory.path(), Arc::<Volume>::clone(&volume));
    let server = Server::start(config).await.unwrap();
    let usage = status_of(&server).await.journal.unwrap();
    assert!(usage.limit < 8 << 20 && usage.limited_by == LimitedBy::Volume, "{usage:?}");
    volume.0.store(1 << 40, Relaxed);
    let grown = async {
        // `durable` sets this as `journal.max_bytes`.
        while status_of(&server).await.journal.unwrap().limit != 64 << 20 {}
    };
    tokio::time::timeout(PATIENCE, grown).await.unwrap();
    stop(server).await;
}

fn limited(directory: &Path, memory: u64) -> Config {
    let mut config = durable(NOWHERE, directory, Arc::new(Files));
    config.memory_limit = Some(memory);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_ready_while_the_process_is_over_its_memory_limit() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(limited(directory.path(), 1 << 20)).await.unwrap();
    let mut nth = 0;
    // Until the memory is first measured.
    while post(&server, &webhook(nth)).await.0 == 200 {
        nth += 1;
    }
    let (status, body) = ready(&server).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.starts_with("memory_limit: the process takes "), "{body}");
    assert!(body.contains("above 896.0 KiB (7/8 of memory_limit)"), "{body}");
    let intake = status_of(&server).await.health.intake.unwrap();
    assert_eq!(intake.reason, NotReady::MemoryLimit);
    stop(server).await;
    let server = Server::start(limited(directory.path(), 1 << 50)).await.unwrap();
    becomes_ready(&server).await;
    assert_eq!(post(&server, &webhook(nth)).await.0, 200);
    stop(server).await;
}

// The fields of a line that was or will be logged.
fn logged(serve: &mut Serve, what: &str) -> Value {
    let seen = serve.seen.iter().find(|line| line.contains(what)).cloned();
    let line = seen.unwrap_or_else(|| serve.wait_for(what));
    let line: Value = serde_json::from_str(&line).unwrap();
    line.get("fields").unwrap_or(&line).clone()
}

#[test]
fn a_start_logs_in_one_line_what_it_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().to_str().unwrap();
    let start = || Serve::spawn(NOWHERE, &[("LIVEKIT_OTEL_JOURNAL_DIR", journal)]);
    let addresses = |serve: &mut Serve| {
        let line = logged(serve, "listening");
        let address = |key: &str| line[key].as_str().unwrap().to_owned();
        (serve.http, serve.grpc) = (address("http"), address("grpc"));
    };
    let mut serve = start();
    addresses(&mut serve);
    logged(&mut serve, "the journal is empty: there was no state to recover");
    assert!(serve.replay().status.success());
    // Killed, as without a shutdown there is no snapshot.
    drop(serve);

    let mut serve = start();
    let line = logged(&mut serve, "recovered the state");
    assert_eq!(line["message"], "recovered the state from the journal, without a snapshot");
    let count = |line: &Value, key: &str| line[key].as_u64().unwrap();
    assert!(count(&line, "entries") >= 18 && count(&line, "rooms") == 1, "{line}");
    assert!(count(&line, "logs") > 0, "{line}");
    assert_eq!((count(&line, "dead_letters"), count(&line, "damaged")), (0, 0));
    assert!(line.get("snapshot_age").is_none() && line["took"].as_str().is_some(), "{line}");
    assert_eq!(serve.terminate().0, Some(0));

    let mut serve = start();
    let line = logged(&mut serve, "recovered the state");
    assert_eq!(line["message"], "recovered the state from a snapshot and the journal after it");
    assert_eq!((count(&line, "entries"), count(&line, "rooms")), (0, 1), "{line}");
    assert!(count(&line, "logs") > 0 && line["snapshot_age"].as_str().is_some(), "{line}");
    assert_eq!(serve.terminate().0, Some(0));
}
