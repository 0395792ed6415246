//! All that a call with an agent passes through: LiveKit's server, a worker of agents, `serve` with a journal, a
//! collector on the shipped configuration, Jaeger.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use livekit_otel_ledger::status::Status;
use tempfile::TempDir;

use super::tree;

use crate::otlp::{self, Span};
use crate::parts::agents::{Runs, Worker};
use crate::parts::collector::Otelcol;
use crate::parts::jaeger::Jaeger;
use crate::parts::{
    Client, Part, Parts, Server, build as build_livekit, build_part, or_say, process, reserved_port,
};
use crate::program::Program;

// An agent's missing parents are inferred 35 s after it left.
const PATIENCE: Duration = Duration::from_secs(150);
const PAUSE: Duration = Duration::from_millis(100);

struct Binaries {
    livekit: Parts,
    collector: PathBuf,
    jaeger: PathBuf,
    agents: PathBuf,
}

fn build(runs: Runs) -> Option<Binaries> {
    let livekit = build_livekit()?;
    let parts = || {
        let [collector, jaeger, agents] =
            [Part::Collector, Part::Jaeger, runs.part()].map(build_part);
        Ok::<_, String>((collector?.path, jaeger?.path, agents?.path))
    };
    let (collector, jaeger, agents) = or_say("NO CALL WITH A REAL AGENT", parts())?;
    Some(Binaries { livekit, collector, jaeger, agents })
}

/// In the order in which they are let go of.
pub(super) struct Stack {
    pub(super) worker: Worker,
    pub(super) server: Server,
    program: Program,
    collector: Option<Otelcol>,
    otlp: String,
    jaeger: Jaeger,
    otelcol: PathBuf,
    folder: TempDir,
}

impl Stack {
    /// All but the collector; none where a part is missing.
    pub(super) fn start(runs: Runs) -> Option<Self> {
        let binaries = build(runs)?;
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let jaeger = Jaeger::start(&binaries.jaeger, at);
        let otlp = format!("127.0.0.1:{}", reserved_port());
        let program = Program::start(&config(at, &otlp));
        let port = reserved_port();
        let analytics = [("LIVEKIT_OTEL_ADDR", program.grpc.as_str())];
        let server = Server::start(&binaries.livekit, at, port, Some(&program.http), &analytics);
        let uploads = format!("http://{}", program.http);
        let worker = Worker::start(runs, &binaries.agents, at, port, &uploads);
        let (collector, otelcol) = (None, binaries.collector);
        Some(Self { worker, server, program, collector, otlp, jaeger, otelcol, folder })
    }

    pub(super) fn start_collector(&mut self) {
        let files = self.folder.path().join("collector");
        std::fs::create_dir(&files).unwrap();
        let variables = [
            ("FILES", files.display().to_string()),
            ("JAEGER_ENDPOINT", format!("127.0.0.1:{}", self.jaeger.otlp)),
        ];
        let root = env!("CARGO_MANIFEST_DIR");
        let configs = ["collector-config/jaeger.yaml", "tests/agents/collector.yaml"]
            .map(|file| format!("{root}/{file}"));
        let configs = configs.each_ref().map(String::as_str);
        self.collector = Some(Otelcol::start_at(&self.otlp, &self.otelcol, &configs, &variables));
    }

    /// Somebody who can speak enters a room; returns once they are in.
    pub(super) fn caller(&self, room: &str, identity: &str) -> Client {
        let mut caller = self.server.client_in(room, identity, &["-voice"]);
        caller.joined();
        caller
    }

    fn file(&self, signal: &str) -> PathBuf {
        self.folder.path().join("collector").join(format!("{signal}.jsonl"))
    }

    /// Asks for the end of the rooms. Returns once the worker has ended, the rooms' traces are whole, and nothing that
    /// was uploaded waits any more.
    pub(super) fn end(&mut self, rooms: &[&str]) -> Status {
        for room in rooms {
            self.server.delete_room(room);
        }
        self.worker.stop();
        if self.collector.is_none() {
            self.start_collector();
        }
        for room in rooms {
            let trace = self.trace(room);
            until(&format!("the trace of {room} is whole"), || {
                tree::is_whole(&spans(&self.jaeger, &trace)).then_some(())
            });
        }
        until("nothing waits", || {
            let status = self.status();
            let is_settled = status.waiting.values().all(|waiting| *waiting == 0)
                && status.ledger.inputs.iter().all(|input| input.waiting() == 0);
            is_settled.then_some(status)
        })
    }

    /// Stops `serve` and the collector.
    pub(super) fn stop(self) -> (Jaeger, TempDir) {
        let (code, printed) = self.program.stop();
        assert_eq!(code, Some(0), "{printed:#?}");
        assert_eq!(self.collector.unwrap().stop(), [""; 0]);
        (self.jaeger, self.folder)
    }

    /// All spans that the collector has received.
    pub(super) fn received(&self) -> Vec<Span> {
        otlp::all_spans(&self.file("traces"))
    }

    /// All metrics that the collector has received, as its file has them.
    pub(super) fn metrics(&self) -> String {
        std::fs::read_to_string(self.file("metrics")).unwrap_or_default()
    }

    /// The trace of a room, once the server has reported it.
    pub(super) fn trace(&self, room: &str) -> String {
        until(&format!("{room} is reported"), || {
            let records = otlp::records(&self.file("logs"));
            let is_it = |record: &&otlp::Record| {
                record.event == "lk.room.created" && record.attribute("lk.pii.room_name") == room
            };
            records.iter().find(is_it).map(|record| record.trace.clone())
        })
    }

    /// `GET /status`.
    fn status(&self) -> Status {
        let port = self.program.admin.rsplit(':').next().unwrap().parse().unwrap();
        serde_json::from_value(process::json(port, "/status").unwrap()).unwrap()
    }
}

/// The spans of a trace as Jaeger has them.
pub(super) fn spans(jaeger: &Jaeger, trace: &str) -> Vec<Span> {
    jaeger.trace(trace).map_or_else(|_| Vec::new(), |it| otlp::spans(&it["result"]))
}

/// Returns what was looked for, once it is there.
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::park_timeout(PAUSE);
    }
}

fn config(at: &Path, collector: &str) -> PathBuf {
    let path = at.join("livekit-otel.yaml");
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0'}}\n\
         session: {{linger: 2s}}\n\
         stats: {{interval: 5s}}\n\
         journal: {{dir: '{at}/journal'}}\n\
         export: {{endpoint: 'http://{collector}'}}\n",
        at = at.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}
