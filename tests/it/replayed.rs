//! Both halves of recorded calls, replayed to a server.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::SocketAddr;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use livekit_otel::serve::Server;
use livekit_otel_model::Source;
use livekit_otel_model::semconv::span;
use livekit_otel_tools::capture::Capture;
use livekit_otel_tools::demo::{Collector, Telemetry};
use livekit_otel_tools::replay::{self, Destination, Sent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::binary::command;
use crate::port::unused_address;
use crate::serve::{KEY, SECRET, adds_up, config, destination, replay_to, stop};

fn path(name: &str) -> String {
    format!("{}/tests/captures/agents/{name}.jsonl", env!("CARGO_MANIFEST_DIR"))
}

fn capture(name: &str) -> Capture {
    Capture::parse(BufReader::new(std::fs::File::open(path(name)).unwrap())).unwrap()
}

/// Both halves of a call.
pub(crate) fn both(name: &str) -> Capture {
    capture(&format!("{name}.agents")).merged(capture(&format!("{name}.server")))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_halves_of_calls_become_one_trace() {
    for name in ["ordinary", "node-ordinary"] {
        let collector = Collector::start().await.unwrap();
        let server = Server::start(config(&collector.endpoint())).await.unwrap();
        let capture = both(name);
        let sent = replay_to(&server, &capture).await;
        let report = stop(server).await;
        adds_up(&report.ledger);
        let mut lines = BTreeMap::<_, u64>::new();
        for line in &capture.lines {
            *lines.entry(line.source.as_str()).or_default() += 1;
        }
        let of = |source: Source| lines[source.as_str()];
        let counts = [sent.traces, sent.logs, sent.metrics, sent.recordings];
        let uploads =
            [Source::AgentTraces, Source::AgentLogs, Source::AgentMetrics, Source::AgentRecordings];
        assert_eq!(counts, uploads.map(of));
        assert_eq!(sent.uploads(), counts.iter().sum::<u64>());
        for source in uploads {
            let row = report.ledger.inputs.iter().find(|row| row.source == source).unwrap();
            assert!(row.accepted > 0 && row.dead_letters == 0, "{name} {row:?}");
        }
        let telemetry = Telemetry::read(&collector.stop().await);
        let named = |name: &str| telemetry.spans.iter().find(|span| span.name == name).unwrap();
        let room = named(span::ROOM);
        for name in ["agent_session", "user_turn", "agent_turn", "llm_node"] {
            assert_eq!(named(name).trace_id, room.trace_id, "{name}");
        }
        let recorded = "lk.agent.session_recorded";
        assert!(telemetry.logs.iter().any(|log| log.event_name == recorded), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_otlp_is_replayed_to_its_own_path() {
    let server = Server::start(config("http://127.0.0.1:1")).await.unwrap();
    let capture = capture("own-provider.collector");
    let sent = replay_to(&server, &capture).await;
    assert_eq!(sent, Sent { traces: 6, ..Sent::default() });
    let rows = server.ledger().inputs;
    let row = rows.iter().find(|row| row.source == Source::OtlpTraces).unwrap();
    assert!(row.accepted > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_ends_the_replay_with_its_line_and_the_reason() {
    let server = Server::start(config("http://127.0.0.1:1")).await.unwrap();
    let capture = capture("ordinary.agents");
    let error = async |to: &Destination| {
        replay::replay(&capture, to, |_| {}).await.unwrap_err().to_string()
    };
    let to = destination(&server);
    let wrong =
        Destination { secret: "another-made-up-secret-of-some-length".into(), ..to.clone() };
    let text = error(&wrong).await;
    let answered = format!("{} (http) answered 401", server.http());
    assert!(
        text.starts_with(&format!("line 1: the upload was not accepted: {answered}")),
        "{text}"
    );
    assert!(
        text.ends_with(": an access token that grants observability.write is needed"),
        "{text}"
    );
    let base = format!("http://{}/base/", server.http()).parse().unwrap();
    let based = Destination { uploads: base, ..to.clone() };
    assert_eq!(replay::replay(&capture, &based, |_| {}).await.unwrap().uploads(), 27);
    let empty = Destination { key: String::new(), ..to };
    assert!(error(&empty).await.contains("its token can't be signed"));
}

fn events_of(name: &str) -> Capture {
    let mut capture = capture(name);
    capture.lines.retain(|line| line.source == Source::Events);
    capture
}

// Answers the first stream with this status once it has sent something, and later ones at their end with success.
async fn hasty(status: &'static str) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let streams = Arc::<AtomicU64>::default();
    let count = Arc::clone(&streams);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let is_first = count.fetch_add(1, Relaxed) == 0;
                async move {
                    let mut body = request.into_body();
                    while body.frame().await.is_some() && !is_first {}
                    let status = if is_first { status } else { "0" };
                    let answer = hyper::Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", status);
                    answer.body(String::new())
                }
            });
            let connection = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (address, streams)
}

fn streams_to(address: SocketAddr) -> Destination {
    Destination {
        webhook: "http://nowhere.invalid".parse().unwrap(),
        analytics: format!("http://{address}").parse().unwrap(),
        uploads: "http://nowhere.invalid".parse().unwrap(),
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        speed: f64::INFINITY,
        // A test that would wait for it does not end.
        retry_for: Duration::from_hours(1),
    }
}

#[tokio::test]
async fn a_stream_that_was_answered_before_its_end_is_sent_again() {
    let capture = events_of("ordinary.server");
    // UNAVAILABLE, as a server answers that stops.
    let (address, streams) = hasty("14").await;
    let sent = replay::replay(&capture, &streams_to(address), |_| {}).await.unwrap();
    assert_eq!((sent.events, sent.unacknowledged), (capture.lines.len() as u64, 0));
    assert!(sent.resent > 0, "{sent:?}");
    assert_eq!(streams.load(Relaxed), 2);
}

#[tokio::test]
async fn a_refused_stream_ends_the_replay_at_once_with_its_address() {
    let capture = events_of("ordinary.server");
    let (address, streams) = hasty("16").await;
    let stopped = replay::replay(&capture, &streams_to(address), |_| {}).await.unwrap_err();
    let expected = format!("{address} (grpc) answered the events stream with Unauthenticated");
    assert_eq!(stopped.to_string(), expected);
    assert_eq!((stopped.sent.events, streams.load(Relaxed)), (0, 1));
    assert_eq!(stopped.sent.unacknowledged, capture.lines.len() as u64);
}

#[tokio::test]
async fn a_wrong_address_ends_a_replay_at_once() {
    let capture = events_of("ordinary.server");
    // It answers as a server of HTTP/1 does.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    // A minute of attempts would also end, but later ones add to what was sent again.
    let to = Destination { retry_for: Duration::from_mins(1), ..streams_to(http) };
    let stopped = replay::replay(&capture, &to, |_| {}).await.unwrap_err();
    let text = stopped.to_string();
    assert!(text.starts_with(&format!("{http} (grpc)")) && text.contains("HTTP/1"), "{text}");
    assert_eq!(stopped.sent.resent, 0, "{text}");
    let nowhere = unused_address();
    let stopped = replay::replay(&capture, &streams_to(nowhere), |_| {}).await.unwrap_err();
    let text = stopped.to_string();
    let expected = format!("{nowhere} (grpc) can't be reached: Connection refused");
    assert!(text.starts_with(&expected), "{text}");
}

fn replayed(args: &[&str], key: Option<&str>) -> Output {
    let mut command = command(&["replay", "--speed", "inf"]);
    command.args(args).env("LIVEKIT_API_SECRET", SECRET);
    key.map(|key| command.env("LIVEKIT_API_KEY", key));
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_replays_an_agents_half_alone_and_says_what_is_missing() {
    let server = Server::start(config("http://127.0.0.1:1")).await.unwrap();
    let uploads = format!("http://{}", server.http());
    let (agents, call) = (path("ordinary.agents"), path("ordinary.server"));
    let said = |args: &[&str], key: Option<&str>| {
        let output = replayed(args, key);
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        assert!(!printed.contains(SECRET) && !printed.contains("Bearer"), "{printed}");
        (output.status.code(), printed)
    };
    let (code, printed) = said(&[&agents, "--uploads", &uploads], Some(KEY));
    let counts = "sent 27 uploads: 6 of spans, 19 of log records, 1 of metrics, 1 of recordings\n";
    assert!(code == Some(0) && printed.ends_with(counts), "{code:?} {printed}");
    let (code, printed) = said(&[&agents, &call, "--uploads", &uploads], Some(KEY));
    assert_eq!(code, Some(64));
    for flag in ["--webhook: must be set", "--analytics: must be set"] {
        assert!(printed.contains(flag), "{printed}");
    }
    let (code, printed) = said(&[&agents, "--uploads", &uploads], None);
    assert!(code == Some(64) && printed.contains("LIVEKIT_API_KEY: must be set"), "{printed}");
    assert_eq!(said(&[&agents], Some(KEY)).0, Some(64));
    assert_eq!(said(&[&agents, "--uploads", "ftp://host"], Some(KEY)).0, Some(64));
    let (code, printed) = said(&[&agents, "--uploads", &uploads], Some("another-key"));
    assert!(code == Some(1) && printed.contains("line 1: the upload was not"), "{printed}");
    let (code, printed) = said(&[&agents, "/dev/null", "--uploads", &uploads], Some(KEY));
    assert!(code == Some(1) && printed.contains("/dev/null, line 1: the capture is"), "{printed}");
}
