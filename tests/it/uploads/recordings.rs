//! Recordings: discarded and counted, or kept in a directory.

use std::collections::BTreeMap;
use std::path::Path;

use http::StatusCode;
use livekit_otel::source::uploads::Directory;
use livekit_otel_ledger::{RecordingOutcome, Refused};
use livekit_otel_model::Source;

use super::{Upload, captured, first, refused, row, serving};
use crate::serve::stop;

fn bytes(server: &livekit_otel::serve::Server, outcome: RecordingOutcome) -> u64 {
    server.ledger().recordings[outcome as usize].1
}

fn files(place: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

fn recording_of(capture: &str) -> Upload {
    let uploads = captured(&format!("{capture}.agents"));
    uploads.into_iter().find(|upload| upload.source() == Source::AgentRecordings).unwrap()
}

#[tokio::test]
async fn without_a_directory_audio_and_history_are_counted_and_discarded() {
    let server = serving(|_| {}).await;
    let recording = first(Source::AgentRecordings);
    assert_eq!(recording.send(&server).await.status, StatusCode::OK);
    assert_eq!(row(&server, Source::AgentRecordings).accepted, 1);
    let discarded = bytes(&server, RecordingOutcome::Discarded);
    assert!(discarded > 1000 && discarded < recording.body.len() as u64, "{discarded}");
    stop(server).await;
}

#[tokio::test]
async fn with_a_directory_they_are_files_named_by_room_and_job() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("recordings");
    let keep = Directory { path: path.clone(), max_bytes: 1 << 20 };
    let server = serving(|config| config.uploads.recordings = Some(keep)).await;
    for _ in 0..2 {
        assert_eq!(first(Source::AgentRecordings).send(&server).await.status, StatusCode::OK);
    }
    let files = files(&path);
    assert_eq!(files.len(), 2, "{:?}", files.keys());
    for (name, content) in &files {
        assert!(name.starts_with("RM_FUvZCBcbSXZo.AJ_VrX3jarp2Ciw."), "{name}");
        match name.rsplit('.').next() {
            Some("json") => {
                let history: serde_json::Value = serde_json::from_slice(content).unwrap();
                assert!(history["items"].is_array());
            }
            Some("ogg") => assert!(content.starts_with(b"OggS"), "{name}"),
            _ => panic!("{name}"),
        }
    }
    let stored: usize = files.values().map(Vec::len).sum();
    assert_eq!(bytes(&server, RecordingOutcome::Stored), stored as u64);
    stop(server).await;
}

#[tokio::test]
async fn a_redacted_session_is_never_kept() {
    let place = tempfile::tempdir().unwrap();
    let keep = || Directory { path: place.path().to_owned(), max_bytes: 1 << 20 };
    // By its header's flag.
    let server = serving(|config| config.uploads.recordings = Some(keep())).await;
    assert_eq!(recording_of("redaction").send(&server).await.status, StatusCode::OK);
    assert_eq!(row(&server, Source::AgentRecordings).accepted, 1);
    assert!(files(place.path()).is_empty());
    assert!(bytes(&server, RecordingOutcome::Discarded) > 0);
    stop(server).await;
}

// A recording of a session, whose header has no flag.
fn unflagged(room: &str, job: &str) -> Upload {
    let field = |tag: u8, text: &str| {
        [&[tag << 3 | 2, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    };
    let header = [field(1, room), field(8, job)].concat();
    let part = |name: &str, content: &[u8]| {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        [head.as_bytes(), content, b"\r\n"].concat()
    };
    let parts = [part("header", &header), part("audio", b"OggS"), b"--b--\r\n".to_vec()];
    let content_type = "multipart/form-data; boundary=b".to_owned();
    Upload { body: parts.concat(), content_type, ..first(Source::AgentRecordings) }
}

#[tokio::test]
async fn a_session_whose_records_are_redacted_is_not_kept_either() {
    let place = tempfile::tempdir().unwrap();
    let keep = Directory { path: place.path().to_owned(), max_bytes: 1 << 20 };
    let server = serving(|config| config.uploads.recordings = Some(keep)).await;
    for upload in captured("redaction.agents") {
        if upload.source() != Source::AgentRecordings {
            upload.send(&server).await;
        }
    }
    let redacted = unflagged("RM_vwS85tKjfypg", "AJ_rUcj8VKSL5DY");
    assert_eq!(redacted.send(&server).await.status, StatusCode::OK);
    assert!(files(place.path()).is_empty());
    let other = unflagged("RM_vwS85tKjfypg", "AJ_other");
    assert_eq!(other.send(&server).await.status, StatusCode::OK);
    assert_eq!(files(place.path()).len(), 1);
    stop(server).await;
}

#[tokio::test]
async fn a_recording_that_does_not_fit_is_acknowledged_and_counted() {
    let place = tempfile::tempdir().unwrap();
    let keep = Directory { path: place.path().to_owned(), max_bytes: 100 };
    let server = serving(|config| config.uploads.recordings = Some(keep)).await;
    assert_eq!(first(Source::AgentRecordings).send(&server).await.status, StatusCode::OK);
    assert_eq!(row(&server, Source::AgentRecordings).accepted, 1);
    assert!(files(place.path()).is_empty());
    assert!(bytes(&server, RecordingOutcome::Refused) > 1000);
    stop(server).await;
}

#[tokio::test]
async fn a_recording_without_a_header_or_an_end_is_malformed() {
    let place = tempfile::tempdir().unwrap();
    let keep = Directory { path: place.path().to_owned(), max_bytes: 1 << 20 };
    let server = serving(|config| config.uploads.recordings = Some(keep)).await;
    let whole = first(Source::AgentRecordings);
    let cut = Upload { body: whole.body[..whole.body.len() - 60].to_vec(), ..whole.clone() };
    let text = "--b\r\nContent-Disposition: form-data; name=\"audio\"\r\n\r\nx\r\n--b--\r\n";
    let content_type = "multipart/form-data; boundary=b".to_owned();
    let headless = Upload { body: text.into(), content_type, ..whole.clone() };
    for wrong in [cut, headless] {
        assert_eq!(wrong.send(&server).await.status, StatusCode::BAD_REQUEST);
    }
    let untyped = Upload { content_type: "application/json".to_owned(), ..whole };
    assert_eq!(untyped.send(&server).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(refused(&server, Source::AgentRecordings, Refused::Malformed), 3);
    assert!(files(place.path()).is_empty());
    stop(server).await;
}
