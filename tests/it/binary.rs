//! The program itself: its commands, its exit codes, and what it never prints.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use livekit_otel_tools::demo::Collector;
use prost::Message;

use crate::port::unused_address;

const BIN: &str = env!("CARGO_BIN_EXE_livekit-otel");
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/captures/one-call.jsonl");
const KEY: &str = "devkey";
const SECRET: &str = "made-up-secret-of-thirty-two-characters";
const TURN_PASSWORD: &str = "made-up-turn-password-0000000000000000000000";
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(BIN);
    command.args(args).env_clear();
    command
}

/// A running `serve` whose log is read as it is written.
pub(crate) struct Serve {
    pub(crate) child: Child,
    pub(crate) http: String,
    pub(crate) grpc: String,
    pub(crate) admin: String,
    pub(crate) log: mpsc::Receiver<String>,
    pub(crate) seen: Vec<String>,
}

impl Serve {
    pub(crate) fn start(collector: &str, more: &[(&str, &str)]) -> Self {
        let mut serve = Self::spawn(collector, more);
        let line = serve.wait_for("listening");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = |key: &str| {
            let fields = line.get("fields").unwrap_or(&line);
            fields[key].as_str().unwrap().to_owned()
        };
        (serve.http, serve.grpc) = (address("http"), address("grpc"));
        serve.admin = address("admin");
        serve
    }

    /// Does not wait until it listens: it may end before that.
    pub(crate) fn spawn(collector: &str, more: &[(&str, &str)]) -> Self {
        let mut command = command(&["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]);
        command.args(["--endpoint", collector, "--log-format", "json", "--log-level", "trace"]);
        command.env("LIVEKIT_KEYS", format!("{KEY}: {SECRET}")).envs(more.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let (http, grpc, admin) = Default::default();
        Self { child, http, grpc, admin, log, seen: Vec::new() }
    }

    pub(crate) fn wait_for(&mut self, what: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap();
            self.seen.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    }

    pub(crate) fn replay(&self) -> Output {
        command(&["replay", CAPTURE, "--speed", "1000"])
            .args(["--webhook", &format!("http://{}/webhook", self.http)])
            .args(["--analytics", &format!("http://{}", self.grpc)])
            .env("LIVEKIT_API_KEY", KEY)
            .env("LIVEKIT_API_SECRET", SECRET)
            .output()
            .unwrap()
    }

    /// SIGTERM, then the exit code and all of stdout and stderr.
    pub(crate) fn terminate(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let code = self.child.wait().unwrap().code();
        text.extend(self.seen.iter().map(String::as_str));
        text.extend(self.log.iter());
        (code, text)
    }
}

// A test that fails, or does not wait for the end, leaves no process.
impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_prints_the_ledger_and_no_secret() {
    let collector = Collector::start().await.unwrap();
    let serve = Serve::start(&collector.endpoint(), &[]);
    let replayed = serve.replay();
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let replay_printed = String::from_utf8(replayed.stdout).unwrap();
    assert!(replay_printed.contains("sent 18 webhooks"), "{replay_printed}");
    let (code, printed) = serve.terminate();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("Every record is accounted for."), "{printed}");

    let received = collector.stop().await;
    assert!(!received.traces.is_empty() && !received.logs.is_empty());
    let mut bytes = printed.into_bytes();
    bytes.extend(replay_printed.into_bytes());
    bytes.extend(replayed.stderr);
    received.traces.iter().for_each(|request| bytes.extend(request.encode_to_vec()));
    received.logs.iter().for_each(|request| bytes.extend(request.encode_to_vec()));
    received.metrics.iter().for_each(|request| bytes.extend(request.encode_to_vec()));
    assert!(contains(&bytes, "standup-0"), "the room's name is sent");
    for form in forms(TURN_PASSWORD).iter().chain(&forms(SECRET)) {
        assert!(!contains(&bytes, form), "{form}");
    }
    // Not on the allowlist either: a participant's metadata and display name.
    for private in ["\"team\"", "team", "Person user"] {
        assert!(!contains(&bytes, private), "{private}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_replaces_the_keys_and_a_wrong_file_keeps_them() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("livekit-otel.yaml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(&format!("livekit: {{keys: {{{KEY}: {SECRET}}}}}"));
    let collector = Collector::start().await.unwrap();
    let env = [("LIVEKIT_OTEL_CONFIG", file.to_str().unwrap()), ("LIVEKIT_KEYS", "")];
    let mut serve = Serve::start(&collector.endpoint(), &env);
    let hangup = |serve: &Serve| {
        let pid = serve.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    };
    write("livekit: {keys: nonsense");
    hangup(&serve);
    serve.wait_for("not reloaded");
    assert!(serve.replay().status.success());
    write("livekit: {keys: {other: another-made-up-secret-of-some-length}}");
    hangup(&serve);
    serve.wait_for("reloaded");
    assert!(!serve.replay().status.success());
    let (_, printed) = serve.terminate();
    assert!(!printed.contains("another-made-up-secret"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_prints_the_ledger_of_a_running_server() {
    let collector = Collector::start().await.unwrap();
    let serve = Serve::start(&collector.endpoint(), &[]);
    assert!(serve.replay().status.success());
    let printed = command(&["status", "--admin", &serve.admin]).output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(
        printed.lines().any(|line| line.contains("webhook") && line.contains("18")),
        "{printed}"
    );
    let json = command(&["status", "--json", "--admin", &serve.admin]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["inputs"][0]["accepted"], 18);
    serve.terminate();
    let gone = command(&["status", "--admin", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
}

// The secret itself, in hex, and in base64 with each alignment.
fn forms(secret: &str) -> Vec<String> {
    use base64::Engine;
    let bytes = secret.as_bytes();
    let hex = livekit_otel_model::hex(bytes);
    let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex];
    for engine in [
        &base64::engine::general_purpose::STANDARD_NO_PAD,
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
    ] {
        for offset in 0..3 {
            // Whole groups of three bytes from each alignment.
            let part = &bytes[offset..];
            forms.push(engine.encode(&part[..part.len() / 3 * 3]));
        }
    }
    // Half of a secret would be a leak as well.
    forms.extend([&secret[..20], &secret[20..]].map(ToOwned::to_owned));
    forms
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn undelivered_records_are_printed_and_the_exit_code_is_1() {
    let timeout = [("LIVEKIT_OTEL_SHUTDOWN_TIMEOUT", "1s")];
    let serve = Serve::start(&format!("http://{}", unused_address()), &timeout);
    assert!(serve.replay().status.success());
    let (code, printed) = serve.terminate();
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("records are lost: they were in memory only"), "{printed}");
    assert!(printed.contains("lost (shutdown)"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_own_spans_are_sent_if_enabled() {
    let file = std::env::temp_dir().join(format!("livekit-otel-it-{}.yaml", std::process::id()));
    std::fs::write(&file, "observe:\n  traces: true\n").unwrap();
    let collector = Collector::start().await.unwrap();
    let config = [("LIVEKIT_OTEL_CONFIG", file.to_str().unwrap())];
    let serve = Serve::start(&collector.endpoint(), &config);
    assert!(serve.replay().status.success());
    let (code, printed) = serve.terminate();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(code, Some(0), "{printed}");
    let telemetry = livekit_otel_tools::demo::Telemetry::read(&collector.stop().await);
    let count = |name: &str| telemetry.spans.iter().filter(|span| span.name == name).count();
    assert_eq!(count("POST /webhook"), 18);
    assert!(count("export") > 0);
    assert_eq!(count("room"), 1);
}

#[test]
fn the_demo_shows_the_call_and_accounts_for_every_record() {
    let output = command(&["demo"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = String::from_utf8(output.stdout).unwrap();
    for words in [
        "support-1",
        "2 participants, 2 tracks, 2 subscribes, 14 turns",
        "agent answers, interrupted",
        "✗ tool_error",
        "149 spans",
        "lk.agent.session_recorded          1",
        "Every record is accounted for.",
    ] {
        assert!(report.contains(words), "{words} is not in:\n{report}");
    }
    assert!(report.lines().all(|line| line.chars().count() <= 80));
    assert!(!report.contains('\u{1b}'), "no colour where it is piped");
}

#[test]
fn the_demo_accepts_another_capture() {
    let output = command(&["demo", "--capture", CAPTURE]).output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    for words in [
        "standup-0",
        "3 participants, 5 tracks, 10 subscribes\n",
        "muted 4.0 s",
        "2 attempts",
        "45 spans",
        "96 log records",
        "Every record is accounted for.",
    ] {
        assert!(report.contains(words), "{words} is not in:\n{report}");
    }
    assert!(!report.contains(TURN_PASSWORD) && !report.contains("Turns"));
}

#[test]
fn the_demo_accepts_a_part_of_a_capture() {
    let whole = std::fs::read_to_string(CAPTURE).unwrap();
    let cut: Vec<&str> = whole.lines().take(60).collect();
    let file = std::env::temp_dir().join(format!("livekit-otel-it-{}.jsonl", std::process::id()));
    std::fs::write(&file, cut.join("\n")).unwrap();
    let output = command(&["demo", "--capture", file.to_str().unwrap()]).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("end inferred: shutdown"), "{report}");
    assert!(report.contains("Every record is accounted for."), "{report}");
}

impl Serve {
    fn simulate(&self, secret: &str, more: &[&str]) -> Command {
        let mut simulate = command(&["simulate", "--json"]);
        simulate.args(["--webhook", &format!("http://{}/webhook", self.http)]);
        simulate.args(["--analytics", &format!("http://{}", self.grpc)]).args(more);
        simulate.env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", secret);
        simulate.stdout(Stdio::piped()).stderr(Stdio::piped());
        simulate
    }
}

fn report(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_ends_its_rooms_at_sigint_and_exits_with_0() {
    let collector = Collector::start().await.unwrap();
    let serve = Serve::start(&collector.endpoint(), &[]);
    let child = serve.simulate(SECRET, &["--duration", "1h"]).spawn().unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    let accepted = async || {
        let status =
            livekit_otel::commands::status::fetch(&serve.admin.parse().unwrap()).await.unwrap();
        status.ledger.inputs.iter().map(|input| input.accepted).sum::<u64>()
    };
    while accepted().await == 0 {
        assert!(std::time::Instant::now() < deadline, "nothing is accepted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(&output);
    let kinds = |source: &str, kind: &str| report["sources"][source]["kinds"][kind].clone();
    assert_eq!(report["unacknowledged"], 0);
    assert_eq!(kinds("webhook", "room_started"), kinds("webhook", "room_finished"));
    assert_eq!(kinds("events", "ROOM_CREATED"), kinds("events", "ROOM_ENDED"));
    assert!(kinds("events", "ROOM_ENDED").as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_with_refused_messages_exits_with_1() {
    let collector = Collector::start().await.unwrap();
    let serve = Serve::start(&collector.endpoint(), &[]);
    let args = ["--speed", "inf", "--rooms", "1", "--duration", "1s"];
    let output = serve.simulate("a-wrong-secret-of-some-length-too", &args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    assert_eq!(report["unacknowledged"], report["sources"]["webhook"]["sent"]);
    assert_eq!(report["sources"]["events"]["unacknowledged"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_sends_to_a_given_collector_and_prints_the_trace() {
    let collector = Collector::start().await.unwrap();
    let endpoint = collector.endpoint();
    let output = command(&["demo", "--endpoint", &endpoint]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = String::from_utf8(output.stdout).unwrap();
    let received = collector.stop().await;
    let received = livekit_otel_tools::demo::Telemetry::read(&received);
    let room = received.spans.iter().find(|span| span.name == "room").unwrap();
    assert!(report.contains(&room.trace_id), "{report}");
    assert!(report.contains("Every record is accounted for."), "{report}");
}

#[test]
fn wrong_usage_and_wrong_values_end_with_64_and_a_failed_start_with_1() {
    let code = |command: &mut Command| command.output().unwrap().status.code();
    assert_eq!(code(&mut command(&["serve", "--nonsense"])), Some(64));
    assert_eq!(code(&mut command(&["demo", "--endpoint", "ftp://x"])), Some(64));
    let replay = ["replay", CAPTURE, "--webhook", "x", "--analytics", "y", "--speed", "0"];
    let output = command(&replay).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    for flag in ["--webhook", "--analytics", "--speed", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"] {
        assert!(printed.contains(flag), "{flag}: {printed}");
    }
    let flags = ["rooms", "participants", "tracks", "duration", "interval", "speed", "loss"];
    let flags = [&flags[..], &["failures", "seed", "webhook", "analytics"]].concat();
    let flags = flags.into_iter().map(|flag| format!("--{flag}"));
    let flags: Vec<String> = flags.flat_map(|flag| [flag, "-0.5x".into()]).collect();
    let flags = flags.chunks(2).map(|pair| pair.join("="));
    let output = command(&["simulate"]).args(flags.clone()).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), printed.lines().count()), (Some(64), 13), "{printed}");
    assert_eq!(code(&mut command(&["simulate"])), Some(64));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut serve = command(&["serve", "--http", &address, "--admin", "127.0.0.1:0"]);
    let output = serve.env("LIVEKIT_KEYS", format!("{KEY}: {SECRET}")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&address));
    assert_eq!(code(&mut command(&["demo", "--capture", "no/such/file"])), Some(1));
}
