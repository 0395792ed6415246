//! The requests of captured calls, received over HTTP as agents send them and passed on over gRPC: `serve`, with each
//! request synced to its journal, in turns with a collector (`OTELCOL_OTLP`) from its otlp receiver to its otlp
//! exporter without a queue, which writes nothing. Each is on one core; its CPU is all of it while both run.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::calls::{Calls, LOGS, METRICS, TRACES, path};
use crate::client::{Client, token};
use crate::port::reserved_port;
use crate::process::{Process, on_one_core, serve_to};
use crate::sink::{self, Counts};
use livekit_otel_model::Source;

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 9;
const CALLS: usize = 320;
const PATIENCE: Duration = Duration::from_mins(1);

pub fn run() {
    println!(
        "{CALLS} captured calls a round, {CONNECTIONS} connections, {ROUNDS} rounds of each in turns; each on one core"
    );
    let head = ["spans/s", "µs CPU a span", "lowest", "highest", "bytes out"];
    println!(
        "{:<28}{:>12}{:>16}{:>10}{:>10}{:>12}",
        "", head[0], head[1], head[2], head[3], head[4]
    );
    let all = [TRACES, LOGS, METRICS];
    for (name, kinds) in [("spans", &all[..1]), ("spans, logs and metrics", &all[..])] {
        println!("{name}");
        let calls = Calls::read("ordinary", kinds);
        compare(&calls);
    }
}

fn compare(calls: &Calls) {
    let directory = tempfile::tempdir().unwrap();
    let mut sides = vec![
        ours("livekit-otel", directory.path(), "drop"),
        ours("  with content", directory.path(), "plain"),
    ];
    sides.extend(std::env::var("OTELCOL_OTLP").ok().map(|path| collector(&path, directory.path())));
    if sides.len() < 3 {
        println!("!!! OTELCOL_OTLP names no collector: none beside this one");
    }
    let token = token();
    // The first is not measured.
    for round in 0..=ROUNDS {
        let of = round * CALLS..(round + 1) * CALLS;
        let requests: Vec<_> = of.map(|nth| calls.call(nth, 0, &token, true)).collect();
        for side in &mut sides {
            side.round(&requests, calls);
        }
    }
    let spans = (ROUNDS * CALLS * calls.spans) as f64;
    let rows: Vec<f64> = sides.iter().map(|side| side.row(spans)).collect();
    if let [drop, plain, theirs] = rows[..] {
        println!(
            "  {:.2} of its CPU, {:.2} with content (at most 1, aim at 0.5)",
            drop / theirs,
            plain / theirs
        );
    }
}

struct Side {
    name: &'static str,
    program: Process,
    http: u16,
    counts: Arc<Counts>,
    sent: usize,
    // CPU in seconds at the end of each round, and what the round itself took: of CPU and of the clock.
    cpu: Vec<f64>,
    took: Vec<(f64, f64)>,
}

impl Side {
    fn start(name: &'static str, command: &Command, http: u16, counts: Arc<Counts>) -> Self {
        let program = Process::start(&mut on_one_core(command), http);
        Self { name, program, http, counts, sent: 0, cpu: Vec::new(), took: Vec::new() }
    }

    // Sends the calls, each over one connection, and waits until all of them were passed on.
    fn round(&mut self, calls: &[Vec<Vec<u8>>], of: &Calls) {
        let (cpu, began) = (self.program.cpu(), Instant::now());
        std::thread::scope(|scope| {
            for nth in 0..CONNECTIONS {
                let calls = calls.iter().skip(nth).step_by(CONNECTIONS);
                let http = self.http;
                scope.spawn(move || {
                    let mut client = Client::connect(http);
                    calls.flatten().for_each(|request| client.send(request));
                });
            }
        });
        self.sent += calls.len();
        let sent = Instant::now();
        let is_there = || {
            self.counts.spans.load(Relaxed) >= self.sent * of.spans
                && self.counts.logs.load(Relaxed) >= self.sent * of.logs
        };
        while !is_there() {
            assert!(
                sent.elapsed() < PATIENCE,
                "{} of {} spans",
                self.counts.spans.load(Relaxed),
                self.sent * of.spans
            );
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.took.push((self.program.cpu() - cpu, began.elapsed().as_secs_f64()));
        self.cpu.push(self.program.cpu());
    }

    // Prints what it took; returns the CPU of a span in µs.
    fn row(&self, spans: f64) -> f64 {
        // What it does between its rounds counts too.
        let all = (self.program.cpu() - self.cpu[0]) * 1e6 / spans;
        let rounds = &self.took[1..];
        let of_round = rounds.iter().map(|(cpu, _)| cpu * 1e6 * ROUNDS as f64 / spans);
        let (lowest, highest) =
            of_round.fold((f64::MAX, 0f64), |(l, h), it| (l.min(it), h.max(it)));
        let wall: f64 = rounds.iter().map(|(_, wall)| wall).sum();
        let bytes =
            self.counts.bytes.load(Relaxed) as f64 / spans * ROUNDS as f64 / (ROUNDS + 1) as f64;
        println!(
            "  {:<26}{:>12.0}{all:>16.1}{lowest:>10.1}{highest:>10.1}{bytes:>12.0}",
            self.name,
            spans / wall
        );
        all
    }
}

fn ours(name: &'static str, directory: &Path, content: &str) -> Side {
    let journal = directory.join(content);
    let (http, sink, counts) = ports();
    let endpoint = format!("http://127.0.0.1:{sink}");
    let mut command = serve_to(&journal, http, reserved_port(), (&endpoint, "grpc"));
    let file = directory.join(format!("{content}.yaml"));
    std::fs::write(&file, format!("privacy: {{content: {content}}}\n")).unwrap();
    command.arg("--config").arg(file);
    Side::start(name, &command, http, counts)
}

fn collector(otelcol: &str, directory: &Path) -> Side {
    let (http, sink, counts) = ports();
    let paths =
        [(TRACES, Source::AgentTraces), (LOGS, Source::AgentLogs), (METRICS, Source::AgentMetrics)];
    let paths = paths.map(|(kind, source)| format!("{kind}_url_path: {}", path(source)));
    let pipeline = "{receivers: [otlp], exporters: [otlp_grpc]}";
    let config = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{http}', {}}}}}}}}}\n\
         exporters: {{otlp_grpc: {{endpoint: '127.0.0.1:{sink}', tls: {{insecure: true}}, compression: none, \
         sending_queue: {{enabled: false}}}}}}\n\
         service: {{telemetry: {{metrics: {{level: none}}}}, pipelines: {{traces: {pipeline}, logs: {pipeline}, \
         metrics: {pipeline}}}}}\n",
        paths.join(", ")
    );
    let file = directory.join("otelcol.yaml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(otelcol);
    command.arg("--config").arg(file);
    Side::start("a collector", &command, http, counts)
}

// A port to receive on, and one of a sink with its counts.
fn ports() -> (u16, u16, Arc<Counts>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (reserved_port(), port, sink::start(listener))
}
