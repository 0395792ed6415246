//! What clients are answered, and who gets in.

use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::StatusCode;
use livekit_otel_ledger::Refused;
use livekit_otel_model::Source;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::{Value, json};

use super::{JSON, PROTOBUF, authorization, captured, first, gzip, post, refused, row, serving};
use crate::serve::stop;

#[tokio::test]
async fn every_upload_of_each_capture_is_accepted_and_processed() {
    for name in ["ordinary", "node-ordinary", "redaction", "killed", "crash", "two-process"] {
        let server = serving(|_| {}).await;
        for upload in captured(&format!("{name}.agents")) {
            let before = row(&server, upload.source()).accepted;
            let answer = upload.send(&server).await;
            assert_eq!(answer.status, StatusCode::OK, "{name} {upload:?}");
            assert!(row(&server, upload.source()).accepted > before, "{name}: {}", upload.path);
            if upload.content_type == JSON {
                assert_eq!(answer.headers[CONTENT_TYPE], JSON);
                assert_eq!(answer.body, "{}");
            } else if upload.source() != Source::AgentRecordings {
                assert_eq!(answer.headers[CONTENT_TYPE], PROTOBUF);
                assert!(answer.body.is_empty());
            }
        }
        let report = stop(server).await;
        for input in report.ledger.inputs {
            assert_eq!(input.accepted, input.processed, "{name}: {input:?}");
            assert_eq!((input.unusable, input.dead_letters), (0, 0), "{name}: {input:?}");
        }
    }
}

#[tokio::test]
async fn livekits_paths_may_have_a_base_path_and_two_slashes() {
    let server = serving(|_| {}).await;
    let mut logs = first(Source::AgentLogs);
    for (nth, base) in ["/base/path", "/"].into_iter().enumerate() {
        logs.path = format!("{base}/observability/logs/otlp/v0");
        assert_eq!(logs.send(&server).await.status, StatusCode::OK, "{base}");
        let row = row(&server, Source::AgentLogs);
        assert_eq!(row.duplicates > 0, nth > 0, "it is the same request");
    }
    logs.path = "/observability/unknown/otlp/v0".to_owned();
    assert_eq!(logs.send(&server).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn each_encoding_has_the_same_result() {
    let body = first(Source::AgentTraces).body;
    let mut items = Vec::new();
    for (encoding, sent) in [
        ("identity", body.clone()),
        ("gzip", gzip(&body)),
        ("zstd", zstd::bulk::compress(&body, 3).unwrap()),
        ("zstd", zstd::stream::encode_all(body.as_slice(), 3).unwrap()),
    ] {
        let server = serving(|_| {}).await;
        let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
        let answer = post(&server, "/v1/traces", &headers, sent).await;
        assert_eq!(answer.status, StatusCode::OK, "{encoding}");
        items.push(row(&server, Source::OtlpTraces).accepted);
    }
    assert!(items[0] > 0 && items.iter().all(|n| *n == items[0]), "{items:?}");
}

fn span(id: u8) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: if id == 0 { Vec::new() } else { vec![id; 8] },
        name: "a span".to_owned(),
        start_time_unix_nano: 1_795_406_961_000_000_000,
        end_time_unix_nano: 1_795_406_962_000_000_000,
        ..Span::default()
    }
}

pub(super) fn spans(ids: &[u8]) -> Vec<u8> {
    let spans = ids.iter().map(|id| span(*id)).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

#[tokio::test]
async fn records_that_can_not_be_used_are_a_partial_success() {
    let server = serving(|_| {}).await;
    let headers = [("content-type", PROTOBUF)];
    for (ids, unusable, accepted, rejected) in [([1, 0, 2, 0], 2, 2, 2), ([0; 4], 4, 2, 6)] {
        let answer = post(&server, "/v1/traces", &headers, spans(&ids)).await;
        assert_eq!(answer.status, StatusCode::OK);
        let partial = ExportTraceServiceResponse::decode(answer.body).unwrap();
        let partial = partial.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, unusable);
        assert!(!partial.error_message.is_empty());
        let row = row(&server, Source::OtlpTraces);
        assert_eq!(row.accepted, accepted, "{row:?}");
        while super::row(&server, Source::OtlpTraces).unusable < rejected {
            tokio::task::yield_now().await;
        }
    }
    let json = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "no id"}]}]}]});
    let answer = post(&server, "/v1/traces", &[("content-type", JSON)], json.to_string().into());
    let answer: Value = serde_json::from_slice(&answer.await.body).unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "1");
    // An empty request is no fault.
    for body in [Vec::new(), b"\n\0".to_vec()] {
        let answer = post(&server, "/v1/traces", &headers, body).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    }
    stop(server).await;
}

#[tokio::test]
async fn what_is_malformed_or_too_large_is_answered_with_a_status() {
    let server = serving(|config| config.uploads.max_body = 64 << 10).await;
    let bomb = vec![0; 1 << 20];
    let zstd_bomb = zstd::stream::encode_all(bomb.as_slice(), 3).unwrap();
    let (gzip_bomb, zstd_bomb) = (gzip(&bomb), zstd_bomb);
    let mut lying = gzip_bomb.clone();
    let end = lying.len() - 4;
    lying[end..].copy_from_slice(&10_u32.to_le_bytes());
    for (media, encoding, body, status) in [
        (PROTOBUF, "identity", b"\xff\xff".to_vec(), 400),
        (PROTOBUF, "identity", b"{}".to_vec(), 400),
        (JSON, "identity", b"\n\0".to_vec(), 400),
        (JSON, "identity", b"{\"resourceSpans\": [".to_vec(), 400),
        (PROTOBUF, "gzip", b"no gzip\0\0\0\0".to_vec(), 400),
        (PROTOBUF, "zstd", b"no zstd".to_vec(), 400),
        (PROTOBUF, "br", b"".to_vec(), 415),
        ("text/plain", "identity", b"".to_vec(), 415),
        (PROTOBUF, "identity", bomb.clone(), 413),
        (PROTOBUF, "gzip", gzip_bomb, 413),
        (PROTOBUF, "gzip", lying, 413),
        (PROTOBUF, "zstd", zstd_bomb, 413),
    ] {
        let headers = [("content-type", media), ("content-encoding", encoding)];
        let answer = post(&server, "/v1/traces", &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{media} {encoding}");
        assert_eq!(answer.headers[CONNECTION], "close");
        assert!(!answer.headers.contains_key(RETRY_AFTER));
        if media == JSON {
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["code"], 3, "INVALID_ARGUMENT");
        } else {
            let body = tonic_types::Status::decode(answer.body).unwrap();
            assert!(body.code > 0 && !body.message.is_empty(), "{body:?}");
        }
    }
    assert_eq!(refused(&server, Source::OtlpTraces, Refused::TooLarge), 4);
    assert_eq!(refused(&server, Source::OtlpTraces, Refused::Malformed), 8);
    assert_eq!(row(&server, Source::OtlpTraces).accepted, 0);
    stop(server).await;
}

#[tokio::test]
async fn a_full_journal_asks_to_try_again_in_a_second() {
    let server = serving(|config| config.memory_limit = Some(1)).await;
    // Until memory is measured, uploads are accepted.
    for id in (1..=u8::MAX).cycle() {
        let sent = post(&server, "/v1/traces", &[("content-type", PROTOBUF)], spans(&[id]));
        if sent.await.status != StatusCode::OK {
            break;
        }
    }
    for upload in [first(Source::AgentTraces), first(Source::AgentRecordings)] {
        let answer = upload.send(&server).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers[RETRY_AFTER], "1");
        let status = tonic_types::Status::decode(answer.body).unwrap();
        assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        assert_eq!(refused(&server, upload.source(), Refused::Busy), 1);
    }
}

#[tokio::test]
async fn livekits_paths_always_need_a_token_and_plain_ones_do_not_on_this_machine() {
    let server = serving(|_| {}).await;
    let traces = first(Source::AgentTraces);
    let token = authorization();
    for (path, extra, status) in [
        (traces.path.as_str(), None, 401),
        (traces.path.as_str(), Some(("authorization", token.as_str())), 200),
        ("/v1/traces", None, 200),
        // A proxy on this machine, and a page in its browser.
        ("/v1/traces", Some(("x-forwarded-for", "192.0.2.1")), 401),
        ("/v1/traces", Some(("forwarded", "for=192.0.2.1")), 401),
        ("/v1/traces", Some(("origin", "https://attacker.example")), 401),
    ] {
        let headers = [Some(("content-type", PROTOBUF)), extra];
        let headers: Vec<_> = headers.into_iter().flatten().collect();
        let answer = post(&server, path, &headers, traces.body.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {extra:?}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("disabled"), "an agent would stop its uploads: {text}");
    }
    stop(server).await;
}

#[tokio::test]
async fn beyond_loopback_uploads_are_served_only_if_they_are_enabled() {
    let any = || std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let traces = first(Source::AgentTraces);
    for (enabled, is_loopback, status) in [
        (None, true, 200),
        (Some(true), true, 200),
        (Some(false), true, 404),
        (None, false, 404),
        (Some(true), false, 200),
    ] {
        let server = serving(|config| {
            config.uploads.enabled = enabled;
            if !is_loopback {
                config.http = any();
            }
        })
        .await;
        let port = server.http().port();
        assert_ne!(port, 0);
        let answer = traces.send(&server).await;
        assert_eq!(answer.status.as_u16(), status, "{enabled:?} {is_loopback}");
        stop(server).await;
    }
}
