//! What LiveKit's SIP service reports to the real server over a real Redis: the captured calls, and what the server
//! sends of them. The SIP service itself is not in the Go registry.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime};

use livekit_otel_tools::demo::{Collector, Telemetry};
use serde_json::Value;

use crate::PATIENCE;
use crate::parts::redis::Redis;
use crate::parts::{self, Part, Server};
use crate::program::Program;

const MISSING: &str = "NO SIP CALLS OVER A REAL REDIS";

// Of each number in the captures.
const NUMBER: &str = "1555";

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/calls");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.to_string_lossy().ends_with(".bus.jsonl")).collect();
    files.sort();
    files
}

// What is needed: the server, the other end of its bus, and a Redis.
fn needed(folder: &Path) -> Option<(parts::Parts, PathBuf, Redis)> {
    let parts = parts::build()?;
    let bus = parts::or_say(MISSING, parts::build_part(Part::Bus))?.path;
    let redis = parts::or_say(MISSING, Redis::start(folder))?;
    Some((parts, bus, redis))
}

fn start(parts: &parts::Parts, folder: &Path, redis: &Redis, to: &str) -> Server {
    let redis = redis.address();
    let environment = [("REDIS_HOST", redis.as_str()), ("LIVEKIT_OTEL_ADDR", to)];
    Server::start(parts, folder, parts::reserved_port(), None, &environment)
}

// The nanoseconds from the capture until now: what happened long ago is not reported as new.
fn shift(capture: &str) -> i64 {
    let first: Value = serde_json::from_str(capture.lines().next().unwrap()).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap() - first["at"].as_i64().unwrap() * 1_000_000
}

// Sends what a capture has, and returns once the server has answered all of it.
fn send(bus: &Path, redis: &Redis, capture: &str, shift: i64) {
    let mut command = Command::new(bus);
    command.args(["send", &redis.address(), &shift.to_string()]);
    let mut sender = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sender.stdin.take().unwrap().write_all(capture.as_bytes()).unwrap();
    let output = sender.wait_with_output().unwrap();
    assert!(output.status.success());
    let answered = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answered.lines().count(), capture.lines().count());
}

// A receiver of analytics.
struct Receiver {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Receiver {
    fn start(bus: &Path) -> (Self, String) {
        let mut process = Command::new(bus).arg("receive").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap();
        (Self { process, lines }, address)
    }

    // The next event, with its times as they were in the capture.
    fn event(&mut self, shift: i64) -> Value {
        let line = self.lines.next().unwrap().unwrap();
        let mut event: Value = serde_json::from_str(&line).unwrap();
        for info in ["sipCall", "sipTransfer"] {
            let Some(fields) = event.get_mut(info).and_then(Value::as_object_mut) else { continue };
            for (_, at) in fields.iter_mut().filter(|(key, _)| key.ends_with("AtNs")) {
                let was = at.as_str().unwrap().parse::<i64>().unwrap() - shift;
                *at = was.to_string().into();
            }
        }
        comparable(event)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// Without what is new each time.
fn comparable(mut event: Value) -> Value {
    let fields = event.as_object_mut().unwrap();
    for key in ["id", "timestamp", "nodeId"] {
        assert!(fields.remove(key).is_some(), "no {key}");
    }
    event
}

#[test]
fn the_server_sends_what_the_sip_service_reports() {
    let folder = tempfile::tempdir().unwrap();
    let Some((parts, bus, redis)) = needed(folder.path()) else { return };
    let (mut receiver, address) = Receiver::start(&bus);
    let _server = start(&parts, folder.path(), &redis, &address);
    let captures = captures();
    assert_eq!(captures.len(), 11);
    for path in captures {
        let capture = std::fs::read_to_string(&path).unwrap();
        let shift = shift(&capture);
        send(&bus, &redis, &capture, shift);
        for line in capture.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let expected = comparable(line["body"]["events"][0].clone());
            assert_eq!(receiver.event(shift), expected, "{}", path.display());
        }
    }
}

fn config(folder: &Path, collector: &str) -> PathBuf {
    let path = folder.join("livekit-otel.yaml");
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\nprivacy: {{pii: drop}}\n\
         export: {{endpoint: '{collector}'}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

// What the reports say alone, without the calls' participants: by capture, the failure, whether it was answered,
// and why it ended.
type Outcome = (Option<&'static str>, &'static str, Option<&'static str>);

const OUTCOMES: [(&str, Outcome); 11] = [
    ("sip-in-caller-hangs-up", (None, "answered", Some("CLIENT_INITIATED"))),
    ("sip-in-cancelled", (None, "unanswered", Some("CLIENT_INITIATED"))),
    ("sip-in-no-answer", (Some("sip_call_failed"), "unanswered", None)),
    ("sip-in-transferred", (None, "answered", Some("CLIENT_INITIATED"))),
    ("sip-in-we-hang-up", (None, "answered", Some("PARTICIPANT_REMOVED"))),
    ("sip-out-busy", (Some("sip_busy_here"), "unanswered", Some("USER_REJECTED"))),
    ("sip-out-callee-hangs-up", (None, "answered", Some("CLIENT_INITIATED"))),
    ("sip-out-declined", (Some("sip_global_decline"), "unanswered", Some("USER_REJECTED"))),
    ("sip-out-no-answer", (None, "unanswered", Some("USER_UNAVAILABLE"))),
    (
        "sip-out-trunk-503",
        (Some("sip_service_unavailable"), "unanswered", Some("SIP_TRUNK_FAILURE")),
    ),
    ("sip-out-we-give-up", (None, "unanswered", Some("USER_UNAVAILABLE"))),
];

// Until livekit-otel has acknowledged as many events.
async fn acknowledged(server: &Server, events: usize) {
    let wait = tokio::time::timeout(PATIENCE, async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let sum =
            || server.metric("livekit_otel_analytics_acknowledged_total", "stream=\"events\"");
        while sum() < events {
            look.tick().await;
        }
    });
    assert!(wait.await.is_ok(), "{events} events are not acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_their_transfers_become_spans_without_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let Some((parts, bus, redis)) = needed(folder.path()) else { return };
    let collector = Collector::start().await.unwrap();
    let program = Program::start(&config(folder.path(), &collector.endpoint()));
    let server = start(&parts, folder.path(), &redis, &program.grpc);
    let captures = captures().into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    let captures: Vec<_> = captures.collect();
    for capture in &captures {
        send(&bus, &redis, capture, shift(capture));
    }
    acknowledged(&server, captures.iter().map(|capture| capture.lines().count()).sum()).await;
    let (code, printed) = program.stop();
    assert_eq!(code, Some(0), "{printed:#?}");
    assert!(!format!("{printed:?}").contains(NUMBER));
    let telemetry = Telemetry::read(&collector.stop().await);
    assert!(!format!("{telemetry:?}").contains(NUMBER));

    for (capture, (name, expected)) in captures.iter().zip(OUTCOMES) {
        let first: Value = serde_json::from_str(capture.lines().next().unwrap()).unwrap();
        let id = first["body"]["events"][0]["sipCallId"].as_str();
        let spans = telemetry.spans.iter();
        let mut calls = spans
            .filter(|span| span.name == "SIP call" && span.attributes.text("lk.sip.call_id") == id);
        let call = calls.next().unwrap();
        assert!(calls.next().is_none(), "{name}");
        let text = |key| call.attributes.text(key);
        let outcome = (text("error.type"), text("lk.sip.answer"), text("lk.sip.disconnect_reason"));
        assert_eq!(outcome, (expected.0, Some(expected.1), expected.2), "{name}");
        let transfers = telemetry.spans.iter().filter(|span| {
            span.name == "SIP transfer" && span.parent.as_ref() == Some(&call.span_id)
        });
        assert_eq!(transfers.count(), usize::from(name == "sip-in-transferred"), "{name}");
    }
}
