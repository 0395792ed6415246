//! Only the process's own user may open its files on disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_otel::serve::Server;
use livekit_otel_durable::store::{Directory, Files};

use crate::durable::durable;
use crate::serve::{KEY, SECRET, replay_to, the_capture};

// What others may open of a directory and everything in it, with the modes.
fn open_to_others(path: &Path) -> Vec<(PathBuf, u32)> {
    let found = fs::metadata(path).unwrap();
    let mode = found.permissions().mode() & 0o777;
    let private = if found.is_dir() { 0o700 } else { 0o600 };
    let mut open = Vec::new();
    if mode != private {
        open.push((path.to_owned(), mode));
    }
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            open.extend(open_to_others(&entry.unwrap().path()));
        }
    }
    open
}

fn names(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
        if path.is_dir() {
            names.extend(self::names(&path));
        }
    }
    names
}

// A signed webhook that can't be read becomes a dead letter; without a collector everything else waits
// in the outbox.
fn fill(journal: &Path) {
    let serve = format!(
        "umask 000; exec '{}' serve --http 127.0.0.1:0 --grpc 127.0.0.1:0 \
         --endpoint http://127.0.0.1:1 --journal-dir '{}' --log-format json",
        env!("CARGO_BIN_EXE_livekit-otel"),
        journal.display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &serve])
        .env_clear()
        .env("LIVEKIT_KEYS", format!("{KEY}: {SECRET}"))
        .env("LIVEKIT_OTEL_SHUTDOWN_TIMEOUT", "3s")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut lines = std::io::BufRead::lines(stderr).map(Result::unwrap);
    let listening = lines.find(|line| line.contains("\"listening\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(&listening).unwrap();
    let http = line.get("fields").unwrap_or(&line)["http"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for body in ["not json", &crate::durable::webhook(1)] {
        assert_eq!(runtime.block_on(crate::durable::post_to(&http, body)).0, 200);
    }
    let until = Instant::now() + Duration::from_mins(1);
    while !names(journal).iter().any(|name| name.contains("webhook-")) {
        assert!(Instant::now() < until, "{:?}", names(journal));
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    assert!(child.wait().unwrap().success());
}

fn loosen(path: &Path) {
    let is_directory = path.is_dir();
    let mode = if is_directory { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    if is_directory {
        for entry in fs::read_dir(path).unwrap() {
            loosen(&entry.unwrap().path());
        }
    }
}

#[test]
fn every_file_of_the_journal_is_private_whatever_the_umask() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    fill(&journal);
    let names = names(&journal);
    for part in ["lock", "journal", "outbox", "snapshot", "deadletter", "logs", "logs.delivered"] {
        assert!(names.iter().any(|name| name == part), "no {part} in {names:?}");
    }
    let segments = names.iter().filter(|name| name.contains("0001.log")).count();
    assert!(segments > 1 && names.iter().any(|name| name.contains("webhook-")), "{names:?}");
    assert_eq!(open_to_others(&journal), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_others_can_open_is_made_private_and_stays_usable() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let config = || durable("http://127.0.0.1:1", &journal, Arc::new(Files));
    let server = Server::start(config()).await.unwrap();
    replay_to(&server, &the_capture()).await;
    let before = server.shutdown().await.ledger;
    loosen(&journal);
    let server = Server::start(config()).await.unwrap();
    assert_eq!(open_to_others(&journal), []);
    let after = server.shutdown().await.ledger;
    assert_eq!(after.inputs[0].accepted, before.inputs[0].accepted);
}

#[test]
fn a_directory_that_can_not_be_made_private_is_refused_with_its_path_and_mode() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir(&journal).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o755)).unwrap();
    // The target of a link may be anything: its mode is not changed. Root may change all else.
    std::os::unix::fs::symlink(&elsewhere, journal.join("outbox")).unwrap();
    let error = Directory::open(&journal, Arc::new(Files)).unwrap_err().to_string();
    assert!(error.contains("journal/outbox") && error.contains("0755"), "{error}");
    assert_eq!(fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777, 0o755);
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o700)).unwrap();
    Directory::open(&journal, Arc::new(Files)).unwrap();
}
