//! Both halves of recorded calls, replayed to a server.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::process::Output;

use livekit_otel::serve::Server;
use livekit_otel_model::Source;
use livekit_otel_model::semconv::span;
use livekit_otel_tools::capture::Capture;
use livekit_otel_tools::demo::{Collector, Telemetry};
use livekit_otel_tools::replay::{self, Destination, Sent};

use crate::binary::command;
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
    assert!(text.starts_with("line 1: the upload was not accepted: it was answered 401"), "{text}");
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
