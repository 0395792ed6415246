//! A flush from the instruments to a collector: how long it takes, and how much more memory.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_otel::config::Config;
use livekit_otel_durable::journal::{self, Accepted, DeadLetters};
use livekit_otel_durable::memory;
use livekit_otel_engine::Engine;
use livekit_otel_engine::session;
use livekit_otel_engine::stats::NodeReports;
use livekit_otel_export::Exporter;
use livekit_otel_export::settings::Protocol;
use livekit_otel_ledger::Ledger;
use livekit_otel_livekit::keys::Keys;
use livekit_otel_model::Source;
use livekit_otel_model::event::{Decoded, Unknown};
use livekit_otel_pipeline::{self as pipeline, Clock, Parts};

use crate::otelcol::otelcol;
use crate::port::reserved_port;
use crate::sink::Sink;
use crate::streams::{Streams, at, settings};

const VALUES: u64 = 15;
const FEW: usize = 1000;

pub fn run(sizes: &[usize]) {
    println!("\nflushed, encoded and sent, 15 values and 7 attributes a stream");
    println!(
        "{:<34}{:>10}{:>10}{:>10}{:>12}{:>14}",
        "", "streams", "s", "target", "MB a second", "memory, MB"
    );
    let sink = Sink::start();
    for streams in sizes {
        let endpoint = format!("http://127.0.0.1:{}", sink.port);
        let before = sink.points();
        let target = if *streams > 100_000 { 20 } else { 10 };
        let name = "a sink that counts, over HTTP";
        let delivered = flush(name, *streams, &endpoint, Protocol::HttpProtobuf, target);
        assert_eq!(sink.points() - before, delivered);
        all(delivered, *streams);
    }
    let Some(otelcol) = otelcol() else { return };
    let collector = Otelcol::start(&otelcol);
    let endpoint = format!("http://127.0.0.1:{}", collector.port);
    let streams = 100_000;
    let name = "a real collector (nop), over gRPC";
    all(flush(name, streams, &endpoint, Protocol::Grpc, 10), streams);
}

// Two flushes, a zero that opens each counter, and what ends each series.
fn all(delivered: u64, streams: usize) {
    assert!(delivered > streams as u64 * (3 * VALUES + 12), "points were lost");
}

// The second of two flushes, whose series are open.
fn flush(name: &str, streams: usize, endpoint: &str, protocol: Protocol, target: u64) -> u64 {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let load = Streams::of(streams);
    runtime.block_on(async {
        let mut config = Config::for_keys(Keys::default());
        let metrics = &mut config.export.metrics;
        metrics.endpoint = endpoint.parse().unwrap();
        if protocol == Protocol::HttpProtobuf {
            metrics.endpoint = format!("{endpoint}/v1/metrics").parse().unwrap();
        }
        metrics.protocol = protocol;
        config.export.traces.enabled = false;
        config.export.logs.enabled = false;
        let ledger = Arc::new(Ledger::default());
        let dead_letters = Arc::new(DeadLetters::in_memory(1 << 20));
        let exporter = Exporter::start(&config.export, Arc::clone(&ledger), &dead_letters).unwrap();
        let session = session::Settings::default();
        let parts = Parts {
            engine: Engine::new(session, settings(), at(0)),
            sink: Arc::new(exporter.clone()),
            ledger: Arc::clone(&ledger),
            dead_letters,
            durable: None,
            tap: None,
            clock: Clock::default(),
            questions: None,
        };
        let (journal, reader) = journal::in_memory(usize::MAX, &ledger);
        let (ticks, task) = pipeline::start(parts, reader);
        let mut took = Duration::ZERO;
        let mut grew = 0.0;
        for nth in 1..3 {
            // Few at a time: what they leave behind in the allocator would hide what a flush takes.
            for first in (0..streams).step_by(FEW) {
                let stats = load.windows(first..streams.min(first + FEW), nth);
                let (source, items) = (Source::Stats, stats.len() as u64);
                let (decoded, raw, at) =
                    (Some(Decoded::Stats(stats)), bytes::Bytes::new(), at(nth));
                let accepted = Accepted {
                    at,
                    source,
                    items,
                    unusable: 0,
                    unknown: Unknown::default(),
                    twin_expected: false,
                    decoded,
                    raw,
                    size: 1,
                };
                assert!(journal.try_append(accepted).is_ok());
                while ledger.snapshot().inputs.iter().any(|input| input.waiting() > 0) {
                    tokio::task::yield_now().await;
                }
            }
            let (before, began) = (megabytes(memory::resident(None)), Instant::now());
            // Peaks count from here (proc(5)).
            std::fs::write("/proc/self/clear_refs", "5").unwrap();
            ticks.post_with(NodeReports::default()).await.unwrap();
            let outputs = || ledger.snapshot().outputs[2].clone();
            while outputs().waiting() > 0 {
                tokio::task::yield_now().await;
            }
            took = began.elapsed();
            grew = megabytes(memory::peak(None)) - before;
        }
        drop(journal);
        task.await.unwrap();
        exporter.shutdown(tokio::time::Instant::now() + Duration::from_mins(1)).await;
        let bytes = 4300.0 * streams as f64 / 1e6 / took.as_secs_f64();
        println!(
            "{name:<34}{streams:>10}{:>10.2}{target:>10}{bytes:>12.0}{grew:>14.1}",
            took.as_secs_f64()
        );
        ledger.snapshot().outputs[2].delivered
    })
}

// Of 1000 KiB.
fn megabytes(bytes: Option<u64>) -> f64 {
    (bytes.unwrap() >> 10) as f64 / 1000.0
}

struct Otelcol {
    process: Child,
    port: u16,
}

impl Otelcol {
    fn start(program: &str) -> Self {
        let port = reserved_port();
        let config = format!(
            "yaml:{{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{port}'}}}}}}}}, \
             exporters: {{nop: {{}}}}, service: {{telemetry: {{metrics: {{level: none}}}}, \
             pipelines: {{metrics: {{receivers: [otlp], exporters: [nop]}}}}}}}}"
        );
        let mut command = Command::new(program);
        let process =
            command.args(["--config", &config]).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut process = process.spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            // One that lacks the otlp receiver, the nop exporter or the yaml provider ends at once.
            if process.try_wait().unwrap().is_some() || Instant::now() > until {
                let _ = process.kill();
                let printed = std::io::read_to_string(process.stderr.take().unwrap()).unwrap();
                panic!("{program} does not listen:\n{printed}");
            }
            std::thread::yield_now();
        }
        Self { process, port }
    }
}

impl Drop for Otelcol {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
