//! Repeats of what was acknowledged.

use http::StatusCode;
use livekit_otel::commands::deadletter::DeadLetterFiles;
use livekit_otel_durable::journal::{DeadLetter, DeadLetters, Payload};
use livekit_otel_durable::store::{Directory, Files};
use livekit_otel_model::Source;
use livekit_otel_model::event::Time;

use super::{PROTOBUF, captured, first, gzip, post, row, serving};
use crate::serve::stop;

#[tokio::test]
async fn a_repeated_request_is_acknowledged_and_not_processed_again() {
    let server = serving(|_| {}).await;
    for source in [Source::AgentTraces, Source::AgentLogs, Source::AgentMetrics] {
        let upload = first(source);
        for nth in 0..3 {
            assert_eq!(upload.send(&server).await.status, StatusCode::OK);
            let row = row(&server, source);
            let items = row.accepted / (nth + 1);
            assert!(items > 0);
            assert_eq!((row.accepted, row.duplicates), (items * (nth + 1), items * nth), "{row:?}");
        }
    }
    let ledger = stop(server).await.ledger;
    for input in ledger.inputs {
        assert_eq!(input.processed, input.accepted, "{input:?}");
    }
}

#[tokio::test]
async fn repeats_at_once_are_one() {
    let server = serving(|_| {}).await;
    let upload = first(Source::AgentTraces);
    let answers = futures_util::future::join_all((0..8).map(|_| upload.send(&server))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    let row = row(&server, Source::AgentTraces);
    assert_eq!(row.duplicates * 8, row.accepted * 7, "{row:?}");
}

#[tokio::test]
async fn a_repeat_is_known_by_its_content_and_its_signal() {
    let server = serving(|_| {}).await;
    let body = first(Source::AgentTraces).body;
    let plain = [("content-type", PROTOBUF)];
    let zipped = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
    post(&server, "/v1/traces", &plain, body.clone()).await;
    post(&server, "/v1/traces", &zipped, gzip(&body)).await;
    let of_traces = row(&server, Source::OtlpTraces);
    assert_eq!(of_traces.duplicates * 2, of_traces.accepted);
    // The agent's upload of the same spans is another source's: the engine knows spans by their ids.
    assert_eq!(first(Source::AgentTraces).send(&server).await.status, StatusCode::OK);
    assert!(row(&server, Source::AgentTraces).accepted > 0);
    stop(server).await;
}

#[tokio::test]
async fn a_repeated_recording_is_known_by_its_session_whatever_its_boundary() {
    let server = serving(|_| {}).await;
    let recording = first(Source::AgentRecordings);
    let boundary = recording.content_type.split_once("boundary=").unwrap().1.to_owned();
    let mut again = recording.clone();
    again.content_type = again.content_type.replace(&boundary, "another");
    // The body has text and audio, so it is replaced as bytes.
    let mut body = Vec::new();
    let mut rest = recording.body.as_slice();
    while let Some(at) = rest.windows(boundary.len()).position(|part| part == boundary.as_bytes()) {
        body.extend_from_slice(&rest[..at]);
        body.extend_from_slice(b"another");
        rest = &rest[at + boundary.len()..];
    }
    body.extend_from_slice(rest);
    again.body = body;
    for upload in [&recording, &again] {
        assert_eq!(upload.send(&server).await.status, StatusCode::OK);
    }
    let of_recordings = row(&server, Source::AgentRecordings);
    assert_eq!((of_recordings.accepted, of_recordings.duplicates), (2, 1));
    // Those of another session are not.
    let others = captured("node-ordinary.agents");
    let other = others.iter().find(|upload| upload.source() == Source::AgentRecordings).unwrap();
    other.send(&server).await;
    assert_eq!(row(&server, Source::AgentRecordings).duplicates, 1);
    stop(server).await;
}

#[tokio::test]
async fn a_dead_letter_of_an_upload_is_sent_again_to_its_path() {
    let server = serving(|_| {}).await;
    let mut config = crate::serve::config("http://127.0.0.1:1");
    config.http = server.http();
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path(), std::sync::Arc::new(Files)).unwrap();
    let kept = DeadLetters::on_disk(&std::sync::Arc::new(directory), 1 << 20).unwrap();
    let at = Time::from_secs(1_795_406_960).unwrap();
    let node = captured("node-ordinary.agents");
    let json = node.iter().find(|upload| upload.source() == Source::AgentLogs).unwrap();
    for (nth, (source, body)) in [
        (Source::AgentTraces, &first(Source::AgentTraces).body),
        (Source::AgentLogs, &json.body),
        (Source::OtlpMetrics, &first(Source::AgentMetrics).body),
        (Source::AgentRecordings, &vec![0]),
    ]
    .into_iter()
    .enumerate()
    {
        let reason = "it panicked".to_owned();
        let letter = DeadLetter { payload: Payload::Input(source), items: 1, at, reason };
        kept.store(&format!("upload-{nth}"), &letter, &body.clone().into()).await;
    }
    let mut said = Vec::new();
    let letters = DeadLetterFiles::find(place.path(), &[]).unwrap();
    assert!(letters.retry(&config, &mut said).await.is_err(), "a recording is not whole");
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.matches("  accepted").count(), 3, "{said}");
    assert!(said.contains("not accepted: it can't be sent again"), "{said}");
    for source in [Source::AgentTraces, Source::AgentLogs, Source::OtlpMetrics] {
        assert!(row(&server, source).accepted > 0, "{source:?}");
    }
    stop(server).await;
}
