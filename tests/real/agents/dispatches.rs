//! Agents that are dispatched by a real server to real workers, or to none: what Jaeger and Prometheus have of it, and
//! whether the alert that is shipped fires.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use tempfile::TempDir;

use super::stack::{spans, until};
use crate::otlp::{self, Record, Span};
use crate::parts::agents::{Runs, Worker};
use crate::parts::collector::Otelcol;
use crate::parts::jaeger::Jaeger;
use crate::parts::prometheus::Prometheus;
use crate::parts::{
    Client, Part, Server, build as build_livekit, build_part, or_say, reserved_port,
};
use crate::program::Program;
use crate::shipped;

const ALERT: &str = "LivekitAgentNeverCame";

/// In the order in which they are let go of.
struct Calls {
    server: Server,
    program: Program,
    _collector: Otelcol,
    jaeger: Jaeger,
    prometheus: Prometheus,
    agents: PathBuf,
    port: u16,
    folder: TempDir,
}

impl Calls {
    /// All but a worker; none where a part is missing.
    fn start(agents: &str) -> Option<Self> {
        let livekit = build_livekit()?;
        let parts = || {
            let parts = [Part::Collector, Part::Jaeger, Part::Prometheus, Part::PythonAgents];
            let [collector, jaeger, prometheus, agents] = parts.map(build_part);
            Ok::<_, String>((collector?.path, jaeger?.path, prometheus?.path, agents?.path))
        };
        let (otelcol, jaeger, prometheus, python) = or_say("NO DISPATCH OF A REAL AGENT", parts())?;
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let (jaeger, prometheus) = (Jaeger::start(&jaeger, at), Prometheus::start(&prometheus, at));
        let collector = collector(&otelcol, at, &jaeger, &prometheus);
        let port = reserved_port();
        let program = Program::start(&config(at, &collector.endpoint, port, agents));
        let analytics = [("LIVEKIT_OTEL_ADDR", program.grpc.as_str())];
        let server = Server::start(&livekit, at, port, Some(&program.http), &analytics);
        let agents = python;
        Some(Self {
            server,
            program,
            _collector: collector,
            jaeger,
            prometheus,
            agents,
            port,
            folder,
        })
    }

    fn worker(&self, name: &str) -> Worker {
        let uploads = format!("http://{}", self.program.http);
        let (runs, at) = (Runs::PythonThread, self.folder.path());
        Worker::start_named(name, runs, &self.agents, at, self.port, &uploads)
    }

    /// Somebody enters a room, to which these agents are dispatched.
    fn call(&self, room: &str, agents: &[&str]) -> Client {
        let mut caller = self.server.client_in(room, "alice@example.org", &["-publish"]);
        caller.joined();
        for agent in agents {
            self.server.dispatch(room, agent);
        }
        caller
    }

    fn records(&self) -> Vec<Record> {
        otlp::records(&self.folder.path().join("collector/logs.jsonl"))
    }

    fn failures(&self) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.event == "lk.agent.dispatch_failed");
        records
    }

    fn trace(&self, room: &str) -> String {
        until(&format!("{room} is reported"), || {
            let records = self.records();
            let is_it = |record: &&Record| {
                record.event == "lk.room.created" && record.attribute("lk.pii.room_name") == room
            };
            records.iter().find(is_it).map(|record| record.trace.clone())
        })
    }

    /// The spans of a room in Jaeger, once it has the room's.
    fn spans(&self, room: &str) -> Vec<Span> {
        let trace = self.trace(room);
        until(&format!("the span of {room} is there"), || {
            let spans = spans(&self.jaeger, &trace);
            spans.iter().any(|span| span.name == "room").then_some(spans)
        })
    }

    fn query(&self, query: &str) -> Vec<Value> {
        self.prometheus.query(query, SystemTime::now()).unwrap()
    }

    /// The series of the alert, by the names of the agents and why they did not come.
    fn alerts(&self) -> Vec<(String, String)> {
        let rules = shipped::rules();
        let rule = rules.iter().find(|rule| rule.name == ALERT).unwrap();
        let of = |series: &Value, label: &str| {
            series["metric"][label].as_str().unwrap_or_default().to_owned()
        };
        let series = self.query(&rule.expr);
        series.iter().map(|it| (of(it, "lk_agent_name"), of(it, "error_type"))).collect()
    }

    /// Ends the rooms; returns the spans of each.
    fn end<const N: usize>(&self, rooms: [&str; N]) -> [Vec<Span>; N] {
        for room in rooms {
            self.server.delete_room(room);
        }
        rooms.map(|room| self.spans(room))
    }
}

fn dispatches(spans: &[Span]) -> Vec<&Span> {
    spans.iter().filter(|span| span.name == "agent dispatch").collect()
}

fn collector(otelcol: &Path, at: &Path, jaeger: &Jaeger, prometheus: &Prometheus) -> Otelcol {
    let files = at.join("collector");
    std::fs::create_dir(&files).unwrap();
    let variables = [
        ("OTLP_HTTP", format!("127.0.0.1:{}", reserved_port())),
        ("FILES", files.display().to_string()),
        ("JAEGER_ENDPOINT", format!("127.0.0.1:{}", jaeger.otlp)),
        ("PROMETHEUS_ENDPOINT", format!("{}/api/v1/otlp", prometheus.url())),
    ];
    let root = env!("CARGO_MANIFEST_DIR");
    let configs = [
        "collector-config/jaeger.yaml",
        "collector-config/grafana.yaml",
        "tests/stack/collector.yaml",
    ]
    .map(|file| format!("{root}/{file}"));
    let configs = configs.each_ref().map(String::as_str);
    Otelcol::start_at(&format!("127.0.0.1:{}", reserved_port()), otelcol, &configs, &variables)
}

fn config(at: &Path, collector: &str, server: u16, agents: &str) -> PathBuf {
    let path = at.join("livekit-otel.yaml");
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\n\
         livekit: {{url: 'http://127.0.0.1:{server}'}}\n\
         session: {{linger: 1s}}\n\
         agents: {{dispatch_deadline: 8s{agents}}}\n\
         stats: {{interval: 1s}}\n\
         export: {{endpoint: '{collector}'}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn of_two_dispatches_the_one_without_an_agent_has_failed() {
    let Some(calls) = Calls::start("") else { return };
    let mut worker = calls.worker("helper");
    let mut callers =
        [("answered", "helper"), ("alone", "nobody")].map(|(room, name)| calls.call(room, &[name]));

    let failed = until("the failure is logged", || calls.failures().pop());
    assert_eq!(failed.attribute("lk.pii.room_name"), "alone");
    assert_eq!(failed.attribute("error.type"), "agent_dispatch_no_worker");
    assert_eq!(failed.attribute("lk.agent_name"), "nobody");
    until("the metric counts both", || {
        let outcome = |series: &Value| {
            let label =
                |label: &str| series["metric"][label].as_str().unwrap_or_default().to_owned();
            (label("lk_agent_name"), label("lk_dispatch_outcome"))
        };
        let series = calls.query("lk_agent_dispatch_duration_seconds_count > 0");
        let mut outcomes: Vec<_> = series.iter().map(outcome).collect();
        outcomes.sort();
        let expected = [("helper", "joined"), ("nobody", "no_worker")];
        let expected = expected.map(|(name, outcome)| (name.to_owned(), outcome.to_owned()));
        (outcomes == expected).then_some(())
    });
    let alerts = until("the alert fires", || Some(calls.alerts()).filter(|it| !it.is_empty()));
    assert_eq!(alerts, [("nobody".to_owned(), "agent_dispatch_no_worker".to_owned())]);

    for caller in &mut callers {
        caller.leave();
    }
    let [answered, alone] = calls.end(["answered", "alone"]);
    worker.stop();
    // The automatic dispatches of both rooms have no worker, which is nothing.
    let [came] = dispatches(&answered)[..] else { panic!("{answered:#?}") };
    assert!(!came.is_error);
    assert_eq!(came.attribute("lk.dispatch.outcome"), "joined");
    let latency: f64 = came.attribute("lk.dispatch.latency").parse().unwrap();
    assert!(latency < 8.0, "{latency}");
    let agent = answered.iter().find(|span| {
        let identity = span.attribute("lk.pii.participant_identity");
        span.name == "participant" && identity.starts_with("agent-")
    });
    let agent = agent.unwrap();
    let to_agent = (agent.trace.clone(), agent.id.clone());
    let job = answered.iter().find(|span| span.name == "agent job").unwrap();
    assert!(came.links.contains(&to_agent) && job.links.contains(&to_agent));
    assert_eq!(job.attribute("lk.dispatch_id"), came.attribute("lk.dispatch_id"));
    let [never] = dispatches(&alone)[..] else { panic!("{alone:#?}") };
    assert!(never.is_error);
    assert_eq!(never.attribute("error.type"), "agent_dispatch_no_worker");
    assert_eq!(failed.trace, never.trace);
    assert_eq!(calls.failures().len(), 1);
}

#[test]
fn an_automatic_dispatch_without_a_worker_has_failed_if_an_agent_is_expected() {
    let Some(calls) = Calls::start(", expected: true") else { return };
    let mut caller = calls.call("alone", &[]);
    let failed = until("the failure is logged", || calls.failures().pop());
    assert_eq!(failed.attribute("error.type"), "agent_dispatch_no_worker");
    assert_eq!(failed.attribute("lk.dispatch.automatic"), "true");
    let alerts = until("the alert fires", || Some(calls.alerts()).filter(|it| !it.is_empty()));
    assert_eq!(alerts, [(String::new(), "agent_dispatch_no_worker".to_owned())]);
    caller.leave();
    let [alone] = calls.end(["alone"]);
    let [never] = dispatches(&alone)[..] else { panic!("{alone:#?}") };
    assert!(never.is_error);
}
